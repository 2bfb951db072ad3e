"""What only a hand can take away is said everywhere, and what serves is left as it is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from ekiben.api.status import RevisionStatus, Status
from ekiben.api.v1alpha1 import parse_spec
from ekiben.core.plan import Plan
from ekiben.core.reconcile import decide
from ekiben.core.revision import revision_of
from ekiben.core.snapshot import Cluster, GatewayView, Model, Ref, Snapshot

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SPEC = parse_spec({"bento": {"image": "registry.example.com/iris:1"}})
BORN = revision_of(SPEC)
SERVING = Snapshot(
    model=Model("ns", "iris", "uid", 1, "1"),
    spec=SPEC,
    status=Status(stable=RevisionStatus(revision=BORN.revision, served_at=NOW)),
    now=NOW,
    records={BORN.revision: BORN},
)


def stalled(plan: Plan) -> tuple[str, str, str]:
    """Return the Stalled condition and the message that `kubectl get` shows."""
    assert plan.status is not None
    condition = next(item for item in plan.status.conditions if item.type == "Stalled")
    return condition.status, condition.reason, plan.status.message


def test_pods_that_a_newer_operator_made_are_left_as_they_are() -> None:
    newer = replace(BORN, template_version=99)
    plan = decide(replace(SERVING, records={BORN.revision: newer}))
    status, reason, message = stalled(plan)
    assert (status, reason) == ("True", "TemplateTooNew")
    assert BORN.revision in message
    assert "Deployment" not in {child["kind"] for child in plan.applies}


def test_a_name_that_somebody_else_holds_is_named_and_never_applied() -> None:
    plan = decide(replace(SERVING, foreign=frozenset({Ref("Service", "iris")})))
    status, reason, message = stalled(plan)
    assert (status, reason) == ("True", "ChildConflict")
    assert message.startswith("Service iris exists and is not ours")
    assert ("Service", "iris") not in {(c["kind"], c["metadata"]["name"]) for c in plan.applies}


def test_a_gateway_that_is_not_programmed_is_told_with_its_own_words() -> None:
    spec = parse_spec(
        {"bento": {"image": "registry.example.com/iris:1"}, "traffic": {"parentRefs": [{"name": "models"}]}}
    )
    gateway = GatewayView("ns", "models", True, "envoy", class_found=True, message="NoResources: no address")
    for seen, reason in (
        (gateway, "GatewayNotProgrammed"),
        (replace(gateway, message=""), "RouteNotAccepted"),
    ):
        plan = decide(replace(SERVING, spec=spec, cluster=Cluster(gateways=(seen,))))
        assert plan.status is not None
        applied = next(item for item in plan.status.conditions if item.type == "TrafficApplied")
        assert (applied.status, applied.reason) == ("False", reason)
        if seen is gateway:
            assert applied.message == "Gateway ns/models is not programmed: NoResources: no address"
