"""What stable's autoscaler can't read is said with its remedy, once it has lasted and a pod was there."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ekiben.api.status import Condition, RevisionStatus, Status
from ekiben.api.v1alpha1 import parse_spec
from ekiben.core import names
from ekiben.core.reconcile import decide
from ekiben.core.revision import revision_of
from ekiben.core.snapshot import Model, Pod, Ref, Snapshot

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OF_PODS, OF_CONTAINER = "FailedGetPodsMetric", "FailedGetContainerResourceMetric"
ADAPTER, SERVER = "install the chart with adapter.enabled=true", "install metrics-server"


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def snapshot(
    told: dict[str, Any] | None, *metrics: dict[str, Any], ready: float | None = 600, said: str = ""
) -> Snapshot:
    """Return a serving model whose autoscaler says this; `ready`: seconds since its pod is, None: not."""
    block = {"maxReplicas": 4, "metrics": list(metrics or ({"concurrency": "8"}, {"cpu": "70%"}))}
    spec = parse_spec({"bento": {"image": "registry.example.com/iris:1"}, "autoscaling": block})
    born = revision_of(spec)
    name = names.revision_child("iris", born.revision)
    metadata = {"name": name, "labels": {names.REVISION: born.revision}, "uid": "u", "resourceVersion": "1"}
    live = {
        Ref("HorizontalPodAutoscaler", name): {
            "kind": "HorizontalPodAutoscaler",
            "metadata": metadata,
            "spec": {},
            "status": {"conditions": [told] if told else []},
        },
        Ref("Deployment", name): {"kind": "Deployment", "metadata": metadata, "spec": {"replicas": 1}},
    }
    pod = Pod("a", "a", born.revision, ready=ready is not None, ready_changed_at=ago(ready or 0))
    known = Condition(
        type="Scaling", status="False", reason="MetricsUnreadable", message=said, last_transition_time=NOW
    )
    status = Status(
        stable=RevisionStatus(revision=born.revision, served_at=ago(900)), conditions=(known,) if said else ()
    )
    return Snapshot(
        model=Model("ns", "iris", "uid", 1, "1"),
        spec=spec,
        status=status,
        now=NOW,
        records={born.revision: born},
        live=live,
        pods=(pod,),
    )


def active(seconds: float, reason: str = OF_PODS) -> dict[str, Any]:
    """Return the autoscaler's condition, which is what it is for so many seconds."""
    status = "True" if reason == "ValidMetricFound" else "False"
    since = ago(seconds).isoformat().replace("+00:00", "Z")
    return {"type": "ScalingActive", "status": status, "reason": reason, "lastTransitionTime": since}


def scaling(seen: Snapshot) -> tuple[str, str]:
    """Return the reason and the message of the condition Scaling."""
    status = decide(seen).status
    assert status is not None
    found = next(item for item in status.conditions if item.type == "Scaling")
    return found.reason, found.message


@pytest.mark.parametrize(
    ("reason", "metrics", "names_them", "remedy"),
    [
        (OF_PODS, (), "can't read concurrency, so no pod goes", ADAPTER),
        (OF_CONTAINER, (), "can't read cpu, so no pod goes", SERVER),
        ("FailedGetResourceMetric", ({"cpu": "1"}, {"memory": "1Gi"}), "can't read cpu, memory", SERVER),
        (OF_PODS, ({"requestsPerSecond": "5"}, {"concurrency": "8"}), "requestsPerSecond, conc", ADAPTER),
    ],
)
def test_the_remedy_is_named(
    reason: str, metrics: tuple[dict[str, Any], ...], names_them: str, remedy: str
) -> None:
    said, message = scaling(snapshot(active(90, reason), *metrics))
    assert said == "MetricsUnreadable"
    assert names_them in message
    assert remedy in message
    assert "`kubectl describe hpa iris-" in message


@pytest.mark.parametrize(
    ("told", "ready"),
    [
        (active(89), 600.0),  # not for long
        (active(600), 89.0),  # the pod has just become ready
        (active(600), None),  # no pod is
        (active(600, "ScalingDisabled"), 600.0),
        (active(600, "ValidMetricFound"), 600.0),
        (None, 600.0),  # it has said nothing yet
        ({"type": "ScalingActive", "status": "False", "reason": OF_PODS}, 600.0),
        ({**active(600), "lastTransitionTime": "2026"}, 600.0),
        ({**active(600), "lastTransitionTime": "never"}, 600.0),
    ],
)
def test_what_may_pass_by_itself_is_not_said(told: dict[str, Any] | None, ready: float | None) -> None:
    assert scaling(snapshot(told, ready=ready))[0] == "HPA"


SAID = scaling(snapshot(active(600)))[1]


def test_it_stays_said_until_metrics_were_read_for_as_long() -> None:
    assert scaling(snapshot(active(5), said=SAID))[0] == "MetricsUnreadable"
    again = active(89, "ValidMetricFound")
    assert scaling(snapshot(again, said=SAID)) == ("MetricsUnreadable", SAID)
    assert scaling(snapshot(active(90, "ValidMetricFound"), said=SAID))[0] == "HPA"


def test_what_was_said_of_another_autoscaler_says_nothing_of_this_one() -> None:
    of_another = SAID.replace("hpa iris-", "hpa iris-gone-")
    assert scaling(snapshot(active(5), said=of_another))[0] == "HPA"


def test_it_is_looked_at_again_when_it_will_have_lasted_and_at_no_other_time() -> None:
    at_rest = decide(snapshot(active(600, "ValidMetricFound"))).requeue_after
    assert decide(snapshot(active(30))).requeue_after == 60.0
    assert decide(snapshot(active(600), ready=50)).requeue_after == 40.0
    assert decide(snapshot(active(30, "ValidMetricFound"), said=SAID)).requeue_after == 60.0
    for quiet in (snapshot(active(600), said=SAID), snapshot(active(600), ready=None), snapshot(None)):
        assert decide(quiet).requeue_after == at_rest
    assert at_rest is None


def test_a_metric_of_kedas_is_not_blamed_on_metrics_server() -> None:
    seen = snapshot(active(600))
    spec = parse_spec(
        {
            "bento": {"image": "registry.example.com/iris:1"},
            "autoscaling": {"maxReplicas": 4, "engine": "external"},
        }
    )
    assert scaling(replace(seen, spec=spec))[0] == "External"
