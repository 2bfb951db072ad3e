"""Recreate beyond its scenarios: whatever a status says, something is decided, and the size is never lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from ekiben.api.status import RevisionStatus, RolloutPlan, RolloutStatus, Stage, Status
from ekiben.api.strategy import Strategy
from ekiben.api.v1alpha1 import parse_spec
from ekiben.core.reconcile import decide
from ekiben.core.revision import revision_of
from ekiben.core.snapshot import Model, Ref, Snapshot

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OLD = "oldoldoldo"
SPEC = parse_spec(
    {"bento": {"image": "registry.example.com/iris:v2"}, "replicas": 3}
    | {"rollout": {"strategy": "Recreate"}}
)
NEW = revision_of(SPEC).revision
IN_FLIGHT = [stage for stage in Stage if stage not in (Stage.OVER, Stage.QUEUED)]


def at(stage: Stage, strategy: Strategy, replicas: int, stable: str | None = OLD) -> Snapshot:
    """Return a model whose rollout stands at a stage, its stable with so many replicas."""
    plan = RolloutPlan(hash="", strategy=strategy)
    rollout = RolloutStatus(id=f"{NEW}.2", revision=NEW, stage=stage, stage_started_at=NOW, plan=plan)
    status = Status(rollout=rollout, stable=RevisionStatus(revision=stable) if stable else None)
    deployment = {
        "kind": "Deployment",
        "metadata": {"name": f"iris-{OLD}", "uid": "1", "labels": {"ekiben.dev/revision": OLD}},
        "spec": {"replicas": replicas},
    }
    model = Model("shop", "iris", "uid", 1, "1")
    return Snapshot(model, SPEC, status, NOW, live={Ref("Deployment", f"iris-{OLD}"): deployment})


@pytest.mark.parametrize("strategy", ["Canary", "BlueGreen", "Recreate"])
@pytest.mark.parametrize("stage", IN_FLIGHT)
@pytest.mark.parametrize("stable", [OLD, NEW, None])
def test_every_stage_of_any_strategy_is_decided(stage: Stage, strategy: Strategy, stable: str | None) -> None:
    assert decide(at(stage, strategy, 3, stable)).status is not None


@pytest.mark.parametrize(
    ("replicas", "remembered"), [(5, 5), (1, 1), (0, 3)], ids=["larger", "smaller", "at 0"]
)
def test_the_size_to_come_back_with_is_written_before_anything_is_taken_down(
    replicas: int, remembered: int
) -> None:
    begun = at(Stage.PREPARING, "Recreate", replicas)
    taken_over = decide(begun).status  # The plan that the spec comes to, with its hash.
    assert taken_over is not None
    plan = decide(replace(begun, status=taken_over))
    assert plan.status is not None
    assert plan.status.rollout is not None
    assert (plan.status.rollout.stage, plan.status.rollout.stable_replicas) == (Stage.DRAINING, remembered)
    assert (plan.scales, plan.deletes, plan.applies) == ((), (), ())
