"""Config that is missing, and Secrets to be looked at, of a rollout that stands in the line."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from ekiben.api.status import Stage, Status
from ekiben.api.v1alpha1 import Spec, parse_spec
from ekiben.core import names
from ekiben.core.asking import Answer
from ekiben.core.configuring import SecretLook
from ekiben.core.plan import Plan
from ekiben.core.reconcile import decide
from ekiben.core.render import build_config_copy
from ekiben.core.revision import revision_of
from ekiben.core.snapshot import Content, Line, Model, Pod, Ref, Snapshot

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KNOWN, MISSING = {"flags": Content("blue")}, {"flags": Content()}
KEY = SecretLook(name="key-v1")
IMMUTABLE = {KEY: Answer(NOW, True)}
WAITING = Line(turn=False, place=1, waiting=1, running=1, limit=1)
TURN = replace(WAITING, turn=True)


def spec(tag: str) -> Spec:
    tracked = [{"configMap": "flags"}, {"secret": "key-v1"}]
    return parse_spec({"bento": {"image": f"iris:{tag}", "trackedConfig": tracked}, "replicas": 1})


OLD, NEW = (revision_of(spec(tag), config=KNOWN) for tag in ("1", "2"))
QUEUED = {"id": f"{NEW.revision}.2", "revision": NEW.revision, "stage": "Queued"}


def snapshot(line: Line, *, queued: bool = True) -> Snapshot:
    """Return a model that serves, whose next rollout is to begin or stands in the line."""
    said = {"stable": {"revision": OLD.revision, "servedAt": NOW}} | ({"rollout": QUEUED} if queued else {})
    return Snapshot(
        model=Model("shop", "iris", "u", 1, "1"),
        spec=spec("2"),
        status=Status.model_validate(said),
        now=NOW,
        records={OLD.revision: replace(OLD, number=1)},
        pods=(Pod("iris-1", "p1", OLD.revision, ready=True, started_at=NOW),),
        line=line,
        config=KNOWN,
    )


def reason(plan: Plan) -> str:
    """Return why the model waits."""
    assert plan.status is not None
    return next(item.reason for item in plan.status.conditions if item.type == "Reconciling")


def stage(plan: Plan) -> Stage | None:
    """Return where the rollout is."""
    return plan.status.rollout.stage if plan.status and plan.status.rollout else None


def test_in_the_line_no_secret_is_looked_at() -> None:
    plan = decide(snapshot(WAITING))
    assert (stage(plan), reason(plan), plan.questions) == (Stage.QUEUED, "Queued", ())


def test_a_config_map_that_goes_missing_costs_no_place_in_the_line() -> None:
    for line in (WAITING, TURN):
        plan = decide(replace(snapshot(line), config=MISSING))
        assert (stage(plan), reason(plan)) == (Stage.QUEUED, "MissingConfig")


def test_a_secret_is_looked_at_before_the_line_and_once_more_when_its_turn_has_come() -> None:
    first = decide(snapshot(WAITING, queued=False))
    assert (stage(first), first.questions) == (None, (KEY,))
    assert stage(decide(replace(snapshot(WAITING, queued=False), answers=IMMUTABLE))) is Stage.QUEUED
    again = decide(snapshot(TURN))
    assert (stage(again), again.questions) == (Stage.QUEUED, (KEY,))
    assert stage(decide(replace(snapshot(TURN), answers=IMMUTABLE))) is Stage.PREPARING


def test_what_failed_or_is_paused_has_no_secret_looked_at() -> None:
    begun = snapshot(TURN, queued=False)
    paused = begun.spec.model_copy(  # type: ignore[union-attr]
        update={"rollout": begun.spec.rollout.model_copy(update={"paused": True})}  # type: ignore[union-attr]
    )
    assert decide(replace(begun, spec=paused)).questions == ()
    failed = {"revision": NEW.revision, "rollout": f"{NEW.revision}.2", "reason": "CrashLoop", "at": NOW}
    status = Status.model_validate(
        {"stable": {"revision": OLD.revision, "servedAt": NOW}, "failedRevisions": [failed]}
    )
    assert decide(replace(begun, status=status)).questions == ()


def test_a_copy_that_others_made_is_asked_for_as_if_there_were_none() -> None:
    serving = snapshot(TURN, queued=False)
    ref = Ref("ConfigMap", names.config_copy("iris", OLD.revision, "flags"))
    assert [copy.source for copy in decide(serving).copies] == ["flags"]
    held = replace(serving, live={ref: build_config_copy(serving.model, OLD.revision, "flags")})
    assert decide(held).copies == ()
    (copy,) = decide(replace(held, doubtful=frozenset({ref}))).copies
    assert (copy.source, copy.digest) == ("flags", "blue")
