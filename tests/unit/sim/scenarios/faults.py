"""What the cluster and people may do to a rollout: pods lost, children deleted, status lost, clocks wrong."""

from __future__ import annotations

from datetime import timedelta

from ekiben.api.status import Stage
from ekiben.core.snapshot import Ref
from unit.sim.scenario import STEPS, canary_spec, expect, scenario, serve
from unit.sim.world import World


@scenario(canary_spec(rollout={"canary": {"steps": [{"weight": 10, "hold": "10m"}]}}), loses=True)
def stable_broken_does_not_block_the_fix(world: World) -> None:
    """Stable has no ready pod for 60 s: the fix takes everything it can, whatever its steps say."""
    serve(world)
    world.behave("v1", never_ready=True)
    world.lose_readiness("v1")
    world.run(5)
    at = world.clock.now
    world.release("v2")
    world.until(lambda: world.weights() == "0/100", within=300)
    assert 55 <= world.clock.now - at <= 90
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", services=("v2", "v2"))


@scenario(loses=True)
def canary_pods_lost_mid_step(world: World) -> None:
    """The canary's pods vanish: stable carries everything within one pass, and the step goes on."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 2)
    world.kill_pods("v2")
    world.until(lambda: world.weights() == "100/0" or world.pods("v2") == (2, 2), within=2)
    world.until(lambda: world.weights() == "50/50", within=30)
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])


@scenario(loses=True)
def one_canary_pod_lost(world: World) -> None:
    """One of two canary pods vanishes: the other one's capacity bounds the weight until it is back."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 2)
    world.kill_pods("v2", count=1)
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])


@scenario(loses=True)
def promoted_pods_lost(world: World) -> None:
    """The new stable loses its pods while the route still points to the canary's Service: all ends well."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.REPOINTING)
    world.kill_pods("v2")
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", services=("v2", "v2"))


@scenario(loses=True)
def children_deleted_by_hand_come_back(world: World) -> None:
    """Children that somebody deletes in the middle of a step are there again, and the step goes on."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 1)
    canary = world.revision_child("v2")
    for ref in (
        Ref("Service", "iris-canary"),
        Ref("Deployment", canary),
        Ref("ControllerRevision", canary),
        Ref("PodDisruptionBudget", canary),
    ):
        world.delete_child(*ref)
        world.run(10)
        assert ref in world.server.objects
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])


@scenario(loses=True)
def route_deleted_by_hand_comes_back(world: World) -> None:
    """A deleted route comes back, with the weight that the rollout has reached."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 2)
    world.delete_child("HTTPRoute", "iris")
    world.until(lambda: world.weights() == "50/50", within=5)
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")


@scenario(loses=True)
def stable_service_deleted_by_hand_comes_back(world: World) -> None:
    """A deleted Service of stable comes back at once."""
    serve(world)
    world.delete_child("Service", "iris")
    world.until(lambda: world.selects("iris") == "v1", within=2)
    expect(world, stable="v1")


@scenario()
def weight_edited_by_hand_is_put_right(world: World) -> None:
    """A weight that somebody writes into the route is put back."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 1)
    world.set_weights_by_hand(40)
    world.until(lambda: world.weights() == "90/10", within=2)
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")


@scenario()
def replicas_edited_by_hand_are_put_right(world: World) -> None:
    """Pods that somebody takes from stable come back."""
    serve(world)
    world.say("user scales v1 to 3")
    world.server.scale(world.revision_child("v1"), 3)
    world.until(lambda: world.pods("v1") == (4, 4), within=30)
    expect(world, stable="v1")


@scenario()
def status_lost_mid_rollout(world: World) -> None:
    """A status that is lost in the middle of a step is rebuilt: stable is known, the canary starts again."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 2)
    world.lose_status()
    world.until(lambda: world.final()["stable"] == "v1", within=2)
    world.until(lambda: world.weights() == "100/0", within=5)
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", services=("v2", "v2"), failed=[])


@scenario()
def status_lost_in_steady_state(world: World) -> None:
    """A status that is lost while nothing is going on comes back without touching a pod."""
    serve(world)
    world.release("v2")
    world.until_settled()
    world.run(60)
    pods = set(world.nodes.pods)
    world.lose_status()
    world.run(60)
    assert set(world.nodes.pods) == pods
    expect(world, stable="v2", services=("v2", "v2"), weights="100/0", failed=[])
    assert world.condition("Ready") == "True/Serving"


@scenario()
def status_lost_after_a_failure(world: World) -> None:
    """A lost status does not make a failed revision be tried again."""
    serve(world)
    world.behave("v2", errors=0.5)
    world.release("v2")
    world.until_settled(within=300)
    world.run(60)
    world.lose_status()
    world.run(120)
    expect(world, stable="v1", weights="100/0", services=("v1", "v1"))
    assert [tag for tag, _ in world.final()["failed"]] == ["v2"]


@scenario()
def gateway_missing_then_present(world: World) -> None:
    """A Gateway that does not exist is named in TrafficApplied; when it appears, everything goes on."""
    world.set_gateway(present=False)
    world.run(60)
    assert world.condition("TrafficApplied") == "False/GatewayNotFound"
    assert world.condition("Ready") == "True/Serving"
    world.set_gateway(present=True)
    world.until(lambda: world.condition("TrafficApplied") == "True/Accepted", within=10)
    serve(world)
    world.release("v2")
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")


@scenario()
def gateway_stops_answering_mid_rollout(world: World) -> None:
    """A Gateway that takes nothing over any more: no weight is believed that it has not observed."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 1)
    world.gateway.present = False
    world.say("the Gateway's controller stops")
    world.until_stage(Stage.SHIFTING, 2)
    world.run(300)
    assert world.rollout is not None
    assert world.rollout.stage is Stage.SHIFTING
    world.say("the Gateway's controller is back")
    world.gateway.appear()
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")


@scenario()
def clock_jumps_forward(world: World) -> None:
    """The operator's clock jumps ahead of every deadline in the middle of a step: nothing is lost."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 1)
    world.run(5)
    world.jump_clock(timedelta(minutes=12))
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])


@scenario()
def clock_jumps_back(world: World) -> None:
    """The operator's clock jumps a minute back: the step takes longer, no more."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 1)
    world.run(5)
    world.jump_clock(-timedelta(minutes=1))
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])


@scenario()
def child_name_taken(world: World) -> None:
    """Somebody else's Service has a child's name: it is left alone, and said; when it goes, all goes on."""
    world.take_name("Service", "iris-canary")
    world.run(60)
    assert world.condition("Stalled") == "True/ChildConflict"
    assert "app" in world.server.objects[Ref("Service", "iris-canary")]["spec"]["selector"]
    world.delete_child("Service", "iris-canary")
    world.until(lambda: world.condition("Stalled") == "False/Idle", within=90)
    serve(world)
    expect(world, stable="v1", services=("v1", "v1"))


@scenario()
def child_rejected_then_accepted(world: World) -> None:
    """A Deployment that the server rejects is shown with its message and tried again; stable serves on."""
    serve(world)
    world.server.admit = lambda intent: "admission webhook says no" if intent["kind"] == "Deployment" else ""
    world.release("v2")
    world.run(30)
    assert world.condition("Reconciling") == "True/ChildRejected"
    assert "admission webhook says no" in world.status.message
    expect(world, stable="v1", weights="100/0")
    world.say("the webhook is gone")
    world.server.admit = lambda intent: ""
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")


@scenario()
def model_deleted_mid_rollout(world: World) -> None:
    """A model that is being deleted is left to the garbage collector: nothing is written any more."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 1)
    world.run(1)
    world.say("user deletes the model")
    world.server.delete_model()
    world.run(1)
    written = len(world.operator.writes)
    world.run(120)
    assert len(world.operator.writes) == written


@scenario(canary_spec(rollout={"canary": {"steps": STEPS}, "abortScaleDownDelay": "5m"}))
def failed_canary_keeps_its_pods_for_a_look(world: World) -> None:
    """After a rollback the canary's pods stay for abortScaleDownDelay, without traffic."""
    serve(world)
    world.behave("v2", errors=0.5)
    world.release("v2")
    world.until(lambda: bool(world.status.failed_revisions))
    world.run(240)
    assert world.replicas("v2") > 0
    assert world.weights() == "100/0"
    world.until(lambda: world.replicas("v2") == 0, within=120)
    expect(world, stable="v1", failed=[("v2", "AnalysisFailed")])
