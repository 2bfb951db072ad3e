"""What is said of a KEDA that can't use a ScaledObject, is paused, or does nothing; and what is not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ekiben.api.status import RevisionStatus, ScalingStatus, Status
from ekiben.api.v1alpha1 import parse_spec
from ekiben.core import names
from ekiben.core.reconcile import decide
from ekiben.core.revision import revision_of
from ekiben.core.snapshot import Cluster, Model, Pod, Reading, Ref, Scaler, Snapshot

NOW = datetime(2026, 1, 1, tzinfo=UTC)
QUERY = {"address": "http://prometheus:9090", "query": "sum(queue)", "threshold": "8"}
SPEC = parse_spec(
    {
        "bento": {"image": "registry.example.com/iris:1"},
        "autoscaling": {"minReplicas": 2, "maxReplicas": 4, "metrics": [{"prometheus": QUERY}]},
    }
)
BORN = revision_of(SPEC)
NAME = names.revision_child("iris", BORN.revision)


def ago(seconds: float) -> str:
    return (NOW - timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def made(least: int = 2, most: int = 4, reading: Reading | None = None) -> Scaler:
    """Return what KEDA made of the ScaledObject."""
    return Scaler("ScaledObject", NAME, NAME, ours=True, bounds=(least, most), reading=reading)


def condition(kind: str, status: str, message: str = "") -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": "Checked", "message": message}


def snapshot(*scalers: Scaler, asked: float = 60, told: Any = (), **about: Any) -> Snapshot:
    """Return a serving model whose ScaledObject is as asked for since so many seconds."""
    metadata = {"name": NAME, "labels": {names.REVISION: BORN.revision}, "uid": "u", "resourceVersion": "1"}
    kept = {"creationTimestamp": ago(3600), "askedAt": ago(asked), **about}
    scaled = {
        "kind": "ScaledObject",
        "metadata": {**metadata, **kept},
        "spec": {"minReplicaCount": 2, "maxReplicaCount": 4},
        "status": {"conditions": list(told)},
    }
    return Snapshot(
        model=Model("ns", "iris", "uid", 1, "1"),
        spec=SPEC,
        status=Status(
            stable=RevisionStatus(revision=BORN.revision, served_at=NOW - timedelta(hours=1)),
            scaling=ScalingStatus(engine="keda", why=""),
        ),
        now=NOW,
        records={BORN.revision: BORN},
        live={
            Ref("ScaledObject", NAME): scaled,
            Ref("Deployment", NAME): {"kind": "Deployment", "metadata": metadata, "spec": {"replicas": 2}},
        },
        pods=tuple(
            Pod(name, name, BORN.revision, ready=True, ready_changed_at=NOW - timedelta(hours=1))
            for name in "ab"
        ),
        cluster=Cluster(keda="installed", scalers=scalers),
    )


def scaling(seen: Snapshot) -> tuple[str, str]:
    """Return the reason and the message of the condition Scaling."""
    status = decide(seen).status
    assert status is not None
    found = next(item for item in status.conditions if item.type == "Scaling")
    return found.reason, found.message


def test_what_keda_has_done_is_no_trouble() -> None:
    assert scaling(snapshot(made()))[0] == "KEDA"


def test_no_autoscaler_after_a_while_names_keda_and_what_to_do() -> None:
    reason, message = scaling(snapshot())
    assert reason == "KEDASilent"
    assert f"it has made no HorizontalPodAutoscaler of ScaledObject {NAME}" in message
    assert "see to its operator, or set autoscaling.engine to hpa" in message


def test_bounds_that_are_not_taken_over_name_keda() -> None:
    reason, message = scaling(snapshot(made(1)))
    assert reason == "KEDASilent"
    assert "it has not taken over 2 to 4 pods" in message


@pytest.mark.parametrize("scalers", [(), (made(1),), (made(2, 9),)])
def test_a_while_is_given_from_when_we_asked_and_then_it_is_looked_at_again(
    scalers: tuple[Scaler, ...],
) -> None:
    seen = snapshot(*scalers, asked=20)
    assert scaling(seen)[0] == "KEDA"
    assert decide(seen).requeue_after == 40.0
    assert decide(snapshot(made(), asked=20)).requeue_after is None
    assert decide(snapshot(*scalers)).requeue_after is None


def test_where_nobody_says_when_we_asked_its_birth_counts() -> None:
    assert scaling(snapshot(asked=20, askedAt=None))[0] == "KEDASilent"
    assert scaling(snapshot(askedAt=None, creationTimestamp=ago(20)))[0] == "KEDA"


@pytest.mark.parametrize("when", ["never", "2026", 7, {}])
def test_a_time_that_is_none_says_nothing(when: Any) -> None:
    assert scaling(snapshot(askedAt=when, creationTimestamp=when))[0] == "KEDA"


def test_bounds_that_are_not_known_say_nothing() -> None:
    assert scaling(snapshot(replace(made(), bounds=None)))[0] == "KEDA"


def test_one_that_is_on_its_way_out_is_waited_for_and_no_other_is_missed() -> None:
    assert scaling(snapshot(deletionTimestamp=ago(100)))[0] == "HandingOver"


def test_kedas_own_word_comes_before_its_silence() -> None:
    reason, message = scaling(snapshot(told=[condition("Ready", "False", "no such trigger")]))
    assert (reason, "no such trigger" in message) == ("KEDANotReady", True)


def test_a_pause_is_no_silence_and_one_that_lets_the_bounds_through_is_no_trouble() -> None:
    paused = [condition("Paused", "True")]
    reason, message = scaling(snapshot(told=paused))
    assert (reason, "autoscaling.keda.sh/paused" in message) == ("KEDAPaused", True)
    assert scaling(snapshot(made(), told=paused))[0] == "KEDA"


def test_a_fallback_is_said_once_all_is_done() -> None:
    assert scaling(snapshot(made(), told=[condition("Fallback", "True")]))[0] == "Fallback"


@pytest.mark.parametrize(
    ("seconds", "reason", "said"),
    [
        (90, "FailedGetExternalMetric", "MetricsUnreadable"),
        (89, "FailedGetExternalMetric", "KEDA"),
        (90, "ScalingDisabled", "KEDA"),
    ],
)
def test_an_autoscaler_of_kedas_that_nobody_answers_names_keda(
    seconds: float, reason: str, said: str
) -> None:
    found, message = scaling(snapshot(made(reading=Reading("False", reason, ago(seconds)))))
    assert found == said
    if said == "MetricsUnreadable":
        assert "can't read prometheus, so no pod goes: see to KEDA's operator" in message
        assert f"`kubectl describe hpa keda-hpa-{NAME}`" in message


def test_a_metric_is_said_to_be_unread_by_its_kind_and_not_by_its_name() -> None:
    block = SPEC.autoscaling
    assert block is not None
    named = block.model_copy(update={"metrics": (block.metrics[0].model_copy(update={"name": "work"}),)})
    seen = snapshot(made(reading=Reading("False", "FailedGetExternalMetric", ago(90))))
    reason, message = scaling(replace(seen, spec=SPEC.model_copy(update={"autoscaling": named})))
    assert reason == "MetricsUnreadable"
    assert "can't read prometheus, so no pod goes" in message
