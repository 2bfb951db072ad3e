"""What went wrong in other rollout tools, each named after what must not happen here.

The numbers are those of docs/comparison.md, which names where each lesson was learnt, and the tests that hold
the other lessons.
"""

from __future__ import annotations

from typing import Any

import pytest

from ekiben.api.status import Outcome, Stage
from ekiben.core import names
from ekiben.core.snapshot import Ref
from unit.sim.scenario import canary_spec, serve
from unit.sim.scenarios.gating import URL, Gates
from unit.sim.world import MODEL, World

AUTOSCALED = {"minReplicas": 2, "maxReplicas": 10, "metrics": [{"cpu": "70%"}]}
PAUSING = {"canary": {"steps": [{"weight": 50, "hold": "20s"}, {"pause": {}}]}}


def serving(**parts: Any) -> World:
    world = World(canary_spec(**parts))
    # Autoscalers follow the load: a test that changes it sees them move.
    world.autoscalers.requests_per_pod = 50.0
    serve(world)
    return world


def released(stage: Stage = Stage.HOLDING, step: int | None = None, **parts: Any) -> World:
    world = serving(**parts)
    world.release("v2")
    world.until_stage(stage, step)
    return world


def autoscalers(world: World) -> dict[str, str]:
    """Return what each autoscaler scales."""
    return {
        ref.name: item["spec"]["scaleTargetRef"]["name"]
        for ref, item in world.server.objects.items()
        if ref.kind == "HorizontalPodAutoscaler"
    }


def test_1_no_autoscaler_sees_the_pods_of_another_revision() -> None:
    world = released(step=2, autoscaling=AUTOSCALED)
    found = autoscalers(world)
    assert found == {name: name for name in (world.revision_child("v1"), world.revision_child("v2"))}


def test_2_scale_does_not_count_the_canarys_pods() -> None:
    world = released(step=2, autoscaling=AUTOSCALED)
    stable, canary = world.replicas("v1"), world.replicas("v2")
    assert canary > 0
    assert world.status.replicas == stable
    assert world.status.selector is not None
    assert world.status.stable is not None
    assert f"ekiben.dev/revision={world.status.stable.revision}" in world.status.selector


def test_3_stable_is_never_scaled_to_zero_by_an_autoscaler_on_the_way() -> None:
    world = serving(autoscaling=AUTOSCALED)
    least = [world.replicas("v1")]
    world.server.watchers.append(
        lambda ref: least.append(world.replicas("v1")) if ref.kind == "Deployment" else None
    )
    world.traffic.rate = 400.0
    world.release("v2")
    world.until_stage(Stage.HOLDING, 2)
    world.traffic.rate = 20.0
    world.until(lambda: world.rollout is not None and world.rollout.stage is Stage.OVER)
    assert max(least) > min(least) >= AUTOSCALED["minReplicas"]


def test_5_a_size_that_moves_after_the_promotion_does_not_keep_it_from_ending() -> None:
    world = released(Stage.RETURNING, autoscaling=AUTOSCALED)
    world.traffic.rate = 600.0
    world.until_settled(within=300)
    assert world.final()["outcome"] == "Promoted"
    assert world.replicas("v2") == AUTOSCALED["maxReplicas"]


@pytest.mark.parametrize("trouble", [{"schedulable": False}, {"pullable": False}])
def test_6_pods_that_a_peak_asks_for_and_that_come_late_do_not_fail_a_version_that_was_ready(
    trouble: dict[str, bool],
) -> None:
    rollout = PAUSING | {"progressDeadline": "1m"}
    world = released(Stage.PAUSED, autoscaling=AUTOSCALED, rollout=rollout)
    world.behave("v2", **trouble)
    world.traffic.rate = 500.0
    world.run(600)
    ready, asked_for = world.pods("v2")
    assert 0 < ready < asked_for, "the peak asks for pods that don't come within the deadline"
    assert world.in_flight
    assert world.status.failed_revisions == ()
    world.behave("v2", **dict.fromkeys(trouble, True))
    world.resume()
    world.until_settled()
    assert (world.final()["stable"], world.final()["outcome"]) == ("v2", "Promoted")


@pytest.mark.parametrize(
    "stage", [Stage.PREPARING, Stage.SHIFTING, Stage.HOLDING, Stage.ENLARGING, Stage.TAKING_ALL]
)
def test_22_and_23_an_abort_never_waits_for_stable_to_grow_nor_for_the_canary_to_shrink(stage: Stage) -> None:
    world = released(stage)
    stable = world.pods("v1")
    world.command("abort")
    world.until(lambda: world.weights() == "100/0", within=5)
    assert world.pods("v1") == stable == (4, 4)
    world.until_settled(within=120)
    assert world.final()["outcome"] == "Aborted"
    assert world.traffic.lost < 1


def test_29_nothing_of_a_canary_leaks_into_the_next_one() -> None:
    world = released(step=2)
    world.release("v3")
    world.until(lambda: world.rollout is not None and world.tag(world.rollout.revision) == "v3")
    assert world.weights() == "100/0"
    assert world.rollout is not None
    assert (world.rollout.step, world.rollout.totals, world.rollout.checks) == (0, None, ())
    world.until_settled()
    assert world.final()["stable"] == "v3"


def test_30_an_abort_with_nothing_in_flight_scales_nothing() -> None:
    world = serving()
    assert world.rollout is not None
    world.command("abort")
    world.run(60)
    assert world.pods("v1") == (4, 4)
    assert [(item.command, item.result) for item in world.status.commands] == [("abort", "Ignored")]
    assert world.traffic.lost < 1


def test_30_an_abort_after_the_promotion_is_no_hot_loop() -> None:
    world = released()
    world.until_settled()
    world.command("abort")
    world.run(5)
    passes = world.operator.passes
    world.run(600)
    assert world.operator.passes - passes < 10
    assert world.final()["stable"] == "v2"


def test_34_going_back_on_the_way_deletes_no_pod_that_serves_and_makes_no_third_set() -> None:
    world = released(step=2)
    before = {pod.uid for pod in world.nodes.of("v1")}
    world.release("v1")
    world.until_settled()
    assert {pod.uid for pod in world.nodes.of("v1")} == before
    deployments = {ref.name for ref in world.server.objects if ref.kind == "Deployment"}
    assert deployments == {world.revision_child("v1"), world.revision_child("v2")}
    assert world.traffic.lost < 1


def test_35_old_pods_that_are_ready_are_not_taken_for_new_ones() -> None:
    world = serving()
    world.behave("v2", never_ready=True)
    world.release("v2")
    world.run(120)
    assert world.pods("v2")[0] == 0
    assert world.condition("RolledOut") == "Unknown/InProgress"
    assert world.weights() == "100/0"


def test_36_a_failed_change_is_told_apart_from_serving() -> None:
    world = serving()
    world.behave("v2", errors=0.9)
    world.release("v2")
    world.until_settled()
    found = {kind: world.condition(kind) for kind in ("Ready", "RolledOut", "Settled", "Stalled")}
    assert found == {
        "Ready": "True/Serving",
        "RolledOut": "False/RolledBack",
        "Settled": "True/RolledBack",
        "Stalled": "True/RolledBack",
    }


def test_37_the_weight_in_the_status_is_never_one_that_the_gateway_does_not_serve() -> None:
    world = serving()
    wrong: list[str] = []

    def look() -> None:
        rollout = world.rollout
        live = world.server.objects.get(Ref("HTTPRoute", names.route(MODEL)))
        if rollout is None or live is None or not world.in_flight:
            return
        weights = world.traffic.weights or {}
        carried = weights.get(names.canary_service(MODEL), 0)
        written = live["spec"]["rules"][0]["backendRefs"][1]["weight"]
        if rollout.weight not in (carried, written):
            wrong.append(f"{rollout.weight} said, {carried} carried, {written} written")

    world.server.model_watchers.append(look)
    world.release("v2")
    world.until_settled()
    assert wrong == []


@pytest.mark.parametrize(("then", "outcome"), [("fail", "RolledBack"), ("pass", "Promoted"), ("pause", None)])
def test_38_nobody_waits_for_a_gate_for_ever_and_its_end_is_told(then: str, outcome: str | None) -> None:
    gate = {"name": "change", "url": URL, "when": "BeforePromotion", "maxWait": "2m", "onTimeout": then}
    world = World(canary_spec(rollout={"gates": [gate]}))
    Gates(world)
    serve(world)
    world.release("v2")
    world.run(1800)
    told = [write.verb for write in world.operator.writes if write.verb.startswith("event ")]
    rollout = world.rollout
    assert rollout is not None
    if outcome is None:
        assert (world.status.phase, world.condition("Reconciling")) == ("Paused", "True/GateTimeout")
        assert "event GateTimeout" in told
    else:
        assert (rollout.outcome, rollout.stage) == (outcome, Stage.OVER)
        assert ("event RolledBack" if then == "fail" else "event GateTimeout") in told


@pytest.mark.parametrize(
    ("command", "outcome"),
    [("resume", Outcome.PROMOTED), ("promote", Outcome.PROMOTED), ("abort", Outcome.ABORTED)],
)
def test_39_an_inconclusive_pause_is_not_stuck_whatever_the_hand_says(command: str, outcome: Outcome) -> None:
    world = serving(analysis={"maxWait": "30s", "onNoData": "pause"})
    world.traffic.rate = 1.0
    world.release("v2")
    world.until(lambda: world.rollout is not None and world.rollout.reason == "NoData", within=900)
    world.traffic.rate = 100.0
    if command == "resume":
        world.resume()
    else:
        world.command(command)
    world.until_settled()
    assert world.final()["outcome"] == str(outcome)


def test_40_whether_a_change_is_over_and_how_is_never_said_of_another_change() -> None:
    """What `kubectl wait --for=condition=Settled` and a pipeline read, at every status that is written."""
    world = World(canary_spec())
    said: list[tuple[str | None, str]] = []

    def look() -> None:
        wire = world.server.model["status"]
        settled = next((item for item in wire.get("conditions", ()) if item["type"] == "Settled"), None)
        if settled is None or settled["observedGeneration"] != world.server.model["metadata"]["generation"]:
            return
        moving = world.rollout.revision if world.rollout else None
        found = (world.tag(moving), f"{settled['status']}/{settled['reason']}")
        if found not in said:
            said.append(found)

    world.server.model_watchers.append(look)
    serve(world)
    world.release("v2")
    world.until_settled()
    world.behave("v3", errors=0.9)
    world.release("v3")
    world.until_settled()
    ends = {"v1": "Promoted", "v2": "Promoted", "v3": "RolledBack"}
    assert said == [
        (tag, state) for tag, end in ends.items() for state in ("Unknown/InProgress", f"True/{end}")
    ]
    assert [world.tag(item.revision) for item in world.status.history] == ["v3", "v2", "v1"]


def test_42_no_traffic_is_no_failure() -> None:
    world = serving(analysis={"maxWait": "1m"})
    world.traffic.rate = 0.0
    world.release("v2")
    world.run(1800)
    assert world.in_flight
    assert world.status.failed_revisions == ()
    assert world.condition("Reconciling") == "True/NoData"


def test_43_nothing_is_judged_before_the_canary_serves() -> None:
    world = released(Stage.PREPARING)
    looked: list[int] = []
    world.server.model_watchers.append(
        lambda: (
            looked.append(len(world.rollout.checks))
            if world.rollout is not None and world.rollout.stage is Stage.PREPARING
            else None
        )
    )
    world.until_stage(Stage.HOLDING, 1)
    assert set(looked) <= {0}


def test_46_an_abort_is_heard_while_it_waits_for_a_hand() -> None:
    world = released(Stage.PAUSED, rollout=PAUSING)
    world.command("abort")
    world.until(lambda: world.weights() == "100/0", within=5)
    world.until_settled()
    assert world.final()["outcome"] == "Aborted"


def test_50_no_state_is_in_annotations_or_finalizers() -> None:
    world = released(step=2)
    metadata = world.server.model["metadata"]
    assert not metadata.get("annotations")
    assert not metadata.get("finalizers")
    ours = [item for item in world.server.objects.values() if item["metadata"].get("finalizers")]
    assert ours == []
