"""What scenarios come to, damaged: no status and no spec that slipped past the API server ends a decision.

Each scene is a snapshot of a scenario, with the pods, routes, Jobs and answers of that moment; so the stages
and fields that only some features reach are damaged too. `tests/unit/test_fuzz_status.py` draws whole ones.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ekiben.api.status import RolloutStatus, Stage, Status
from ekiben.core.plan import Plan
from ekiben.core.reconcile import decide
from ekiben.core.snapshot import InvalidSpec, Snapshot
from ekiben.observe import observe_spec, observe_status
from fuzz import examples
from fuzz.mill import ANYTHING, PASSES_AT_ONCE
from fuzz.schemas import damaged
from unit.sim import scenarios
from unit.sim.scenario import SCENARIOS, run

assert scenarios.__all__
PLAYED = (
    *("bake-goes-back-after-a-switch", "blue-green-waits-for-a-hand", "config-changed"),
    *("errors-in-a-row-fail", "gates-are-asked-before-each-move", "pods-asked-for-beyond-the-surge"),
    *("preflight-falls-back-to-recreate", "promoted-by-a-job", "promoted-by-a-template"),
    *("promoted-by-what-others-say", "recreate-brings-the-old-back-when-the-new-crashes"),
    *("testers-go-first-by-header", "traffic-comes-back-on-a-ramp", "failed-looks-are-forgiven"),
    *("stable-shrinks-with-room-to-spare", "warm-up-that-fails-is-rolled-back"),
    *("slow-because-its-pods-find-no-node", "a-formula-over-a-queue-and-a-query"),
)
TOO_MUCH = [{"metric": "error-rate", "max": "1%"}] * 20


@cache
def scenes() -> tuple[Snapshot, ...]:
    """Play the scenarios, and keep one snapshot of each stage that each of them comes to."""
    kept: dict[tuple[str, object], Snapshot] = {}
    for name in PLAYED:

        def look(snapshot: Snapshot, name: str = name) -> Plan:
            rollout = snapshot.status.rollout
            kept[name, rollout and (rollout.stage, rollout.outcome)] = snapshot
            return decide(snapshot)

        run(SCENARIOS[name], decide=look)
    return tuple(kept.values())


def follow(snapshot: Snapshot) -> None:
    """Decide, and go on from what is written, until nothing more is due at once."""
    for _ in range(PASSES_AT_ONCE):
        plan = decide(snapshot)
        if plan.status is not None:
            written = json.loads(json.dumps(plan.status.to_wire()))
            snapshot = replace(snapshot, status=Status.model_validate(written))
        if plan.requeue_after != 0:
            return
        assert plan.status is not None, f"comes back at once and writes nothing: {plan.notes}"
    raise AssertionError(f"a loop: {plan.notes}")


def spec_of(scene: Snapshot) -> dict[str, Any]:
    assert not isinstance(scene.spec, InvalidSpec)
    return scene.spec.model_dump(mode="json", by_alias=True, exclude_none=True)


def test_the_scenes_have_every_stage_and_every_field_of_a_rollout() -> None:
    rollouts = [scene.status.rollout for scene in scenes() if scene.status.rollout]
    filled = {field for rollout in rollouts for field in rollout.model_dump(exclude_defaults=True)}
    assert set(RolloutStatus.model_fields) - filled == set()
    # Queued needs a line of many models.
    assert set(Stage) - {rollout.stage for rollout in rollouts} == {Stage.QUEUED}


@examples(250)
@given(st.data())
def test_a_damaged_status_of_any_stage_is_survived(data: st.DataObject) -> None:
    scene = data.draw(st.sampled_from(scenes()))
    status = data.draw(damaged(st.just(scene.status.to_wire())))
    follow(replace(scene, status=observe_status({"status": status})))


@examples(250)
@given(st.data())
def test_a_damaged_spec_at_any_stage_is_followed_or_refused(data: st.DataObject) -> None:
    scene = data.draw(st.sampled_from(scenes()))
    spec = observe_spec({"spec": data.draw(damaged(st.just(spec_of(scene))))}, ANYTHING)
    if isinstance(spec, InvalidSpec):
        assert spec.message.startswith("spec")
    follow(replace(scene, spec=spec))


@pytest.mark.parametrize("part", ["checks", "steps"])
def test_a_plan_with_more_than_a_spec_may_have_is_kept_to_while_the_spec_is_refused(part: str) -> None:
    invalid = InvalidSpec("spec.bento.image: must be an image")
    for scene in scenes():
        status = scene.status.to_wire()
        plan = status.get("rollout", {}).get("plan")
        if plan:
            plan[part] = TOO_MUCH if part == "checks" else [{"weight": 50}] * 30
            follow(replace(scene, spec=invalid, status=Status.model_validate(status)))


@pytest.mark.parametrize(
    "change",
    [
        {"rollout": {"canary": {"trafficRamp": {"step": 1, "every": "0s"}}}},
        {"analysis": {"interval": "0s", "maxWait": "0s", "initialDelay": "0s"}},
        {"analysis": {"confidence": "100%"}},
        {"analysis": {"confidence": "0%"}},
        {"rollout": {"progressDeadline": "0s", "scaleDownDelay": "0s", "abortScaleDownDelay": "0s"}},
        {"rollout": {"maxSurge": "0%"}, "replicas": 10000},
        {"rollout": {"strategy": "Recreate"}, "analysis": {"bake": "10m", "templates": [{"name": "gone"}]}},
        {"autoscaling": {"minReplicas": 9, "maxReplicas": 1, "metrics": [{}, {"concurrency": "0"}]}},
    ],
    ids=str,
)
def test_what_only_the_api_server_refuses_ends_no_decision(change: dict[str, Any]) -> None:
    for scene in scenes():
        spec = observe_spec({"spec": merged(spec_of(scene), change)}, ANYTHING)
        assert not isinstance(spec, InvalidSpec), spec
        follow(replace(scene, spec=spec))


def merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    both = old | new
    deep = {key for key in old.keys() & new if isinstance(old[key], dict) and isinstance(new[key], dict)}
    return both | {key: merged(old[key], new[key]) for key in deep}
