"""A command is honoured when it did something, and says so for as long as its line stands."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from ekiben.api.status import RevisionStatus, RolloutStatus, Stage, Status
from ekiben.api.v1alpha1 import Spec, parse_spec
from ekiben.core.reconcile import decide
from ekiben.core.revision import revision_of
from ekiben.core.snapshot import Model, Snapshot
from ekiben.core.starting import plan_of
from ekiben.core.view import View

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STEPS = [{"pause": {}}, {"weight": 10, "hold": "1m"}]


def snapshot(stage: Stage, step: int, **commands: str) -> Snapshot:
    """Return a model whose second revision is at a stage and step."""
    before = revision_of(parse_spec({"bento": {"image": "registry.example.com/iris:1"}}))
    rollout = {"canary": {"steps": STEPS}, **commands}
    spec = parse_spec({"bento": {"image": "registry.example.com/iris:2"}, "rollout": rollout})
    after = revision_of(spec)
    seen = Snapshot(
        model=Model("ns", "iris", "uid", 1, "1"),
        spec=spec,
        status=Status(stable=RevisionStatus(revision=before.revision, served_at=NOW)),
        now=NOW,
        records={record.revision: record for record in (before, after)},
    )
    on_its_way = RolloutStatus(
        id=f"{after.revision}.2",
        revision=after.revision,
        stage=stage,
        stage_started_at=NOW,
        step=step,
        plan=plan_of(View(snapshot=seen, spec=spec, status=seen.status, wanted=after)),
    )
    return replace(seen, status=seen.status.model_copy(update={"rollout": on_its_way}))


def ticket(step: int) -> str:
    """Name a pause of the rollout in `snapshot`."""
    rollout = snapshot(Stage.PAUSED, 1).status.rollout
    assert rollout is not None
    return f"{rollout.id}/{step}"


def said(status: Status | None) -> list[tuple[str, str]]:
    """Return what a status says of each command."""
    assert status is not None
    return [(item.command, item.result) for item in status.commands]


def test_resume_is_honoured_where_it_ends_a_pause_and_stays_so() -> None:
    seen = snapshot(Stage.PAUSED, 1, resume=ticket(1))
    plan = decide(seen)
    assert plan.status is not None
    assert plan.status.rollout is not None
    assert plan.status.rollout.step == 2
    assert said(plan.status) == [("resume", "Honoured")]
    later = decide(replace(seen, status=plan.status))
    assert said(later.status or plan.status) == [("resume", "Honoured")]


def test_resume_of_a_step_that_was_never_paused_is_ignored() -> None:
    plan = decide(snapshot(Stage.HOLDING, 2, resume=ticket(1)))
    assert said(plan.status) == [("resume", "Ignored")]


def test_resume_of_a_step_that_is_held_skips_what_is_left_of_it_once() -> None:
    seen = snapshot(Stage.HOLDING, 2, resume=ticket(2))
    plan = decide(seen)
    assert plan.status is not None
    assert plan.status.rollout is not None
    assert plan.status.rollout.stage is Stage.ENLARGING
    assert said(plan.status) == [("resume", "Honoured")]
    # The step is entered again, as by edited steps: the line that still stands is used up.
    again = seen.status.model_copy(update={"commands": plan.status.commands})
    later = decide(replace(seen, status=again))
    assert later.status is not None
    assert later.status.rollout is not None
    assert later.status.rollout.stage is Stage.HOLDING


def test_a_hold_that_paused_stops_is_not_skipped_and_the_command_waits() -> None:
    seen = snapshot(Stage.HOLDING, 2, resume=ticket(2))
    assert isinstance(seen.spec, Spec)
    stopped = seen.spec.model_copy(update={"rollout": seen.spec.rollout.model_copy(update={"paused": True})})
    plan = decide(replace(seen, spec=stopped))
    assert plan.status is not None
    assert plan.status.rollout is not None
    assert plan.status.rollout.stage is Stage.HOLDING
    assert said(plan.status) == [("resume", "Ignored")]


def test_resume_of_a_later_pause_is_ignored_until_then() -> None:
    plan = decide(snapshot(Stage.PAUSED, 1, resume=ticket(2)))
    assert plan.status is not None
    assert plan.status.rollout is not None
    assert plan.status.rollout.step == 1
    assert said(plan.status) == [("resume", "Ignored")]


def test_a_pause_says_when_nobody_is_there_to_serve_meanwhile() -> None:
    plan = decide(snapshot(Stage.PAUSED, 1))
    assert plan.status is not None
    assert plan.status.stable is not None
    assert plan.status.message.endswith(f"; no pod of {plan.status.stable.revision} is ready")
