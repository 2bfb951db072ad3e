"""How rollouts go that nothing disturbs: first revisions, promotions, waits for pods."""

from __future__ import annotations

from ekiben.api.status import Stage
from unit.sim.scenario import STEPS, canary_spec, expect, scenario, serve
from unit.sim.world import IMAGE, World, service_spec


@scenario(calm=True)
def first_revision(world: World) -> None:
    """The first revision becomes stable as soon as its pods are ready."""
    world.until_settled(within=60)
    expect(world, stable="v1", outcome="Promoted", weights="100/0", services=("v1", "v1"))


@scenario({"bento": {"image": f"{IMAGE}:v1"}}, calm=True)
def image_alone(world: World) -> None:
    """A spec of nothing but an image is served by two pods, and rolled out by replica-ratio."""
    serve(world)
    assert world.pods("v1") == (2, 2)
    world.release("v2")
    world.until_stage(Stage.HOLDING)
    assert world.pods("v2") == (2, 2)
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", services=("v2", "v2"))
    world.until(lambda: world.replicas("v1") == 0, within=5)


@scenario(calm=True)
def canary_promoted_through_the_gateway(world: World) -> None:
    """A good revision goes up step by step and takes over; the old one goes 30 s later."""
    serve(world)
    world.release("v2")
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", weights="100/0", services=("v2", "v2"), failed=[])
    world.until(lambda: world.replicas("v1") == 0, within=10)


@scenario(
    service_spec(
        rollout={"canary": {"steps": [{"weight": 20, "hold": "20s"}, {"weight": 50, "hold": "20s"}]}}
    ),
    calm=True,
)
def canary_promoted_by_replica_ratio(world: World) -> None:
    """Without a Gateway the Service selects both revisions, and their pods are the weight."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 1)
    assert (world.pods("v1"), world.pods("v2")) == ((4, 4), (1, 1))
    assert world.selects("iris") == "all"
    world.until_stage(Stage.HOLDING, 2)
    assert world.pods("v2") == (4, 4)
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", services=("v2", "v2"))


@scenario()
def first_revision_that_never_served_is_replaced(world: World) -> None:
    """A first revision that can't start is replaced at once: nobody loses anything."""
    world.behave("v1", crash_loop=True)
    world.run(40)
    assert "pods restart again and again: ended with exit code 1" in world.status.message, (
        "whoever looks must see why it does not come up"
    )
    world.release("v2")
    world.until_settled(within=120)
    expect(
        world, stable="v2", outcome="Promoted", failed=[], history=[("v2", "Promoted"), ("v1", "Superseded")]
    )


@scenario(canary_spec(rollout={"initial": "Held", "canary": {"steps": STEPS}}))
def first_revision_held(world: World) -> None:
    """With rollout.initial Held the first revision gets its pods and waits for promote."""
    world.run(60)
    assert world.in_flight
    rollout = world.rollout
    assert rollout is not None
    world.edit("rollout.promote", rollout.id)
    world.until_settled(within=60)
    expect(world, stable="v1", outcome="Promoted", services=("v1", "v1"))


@scenario(canary_spec(rollout={"initial": "Held", "progressDeadline": "2m", "canary": {"steps": STEPS}}))
def held_revision_never_ready(world: World) -> None:
    """A held first revision has nothing to go back to: beyond its deadline it is waited for without haste."""
    world.behave("v1", never_ready=True)
    world.run(300)
    passes = world.operator.passes
    world.run(60)
    assert world.operator.passes - passes <= 60 / 5
    assert world.condition("Reconciling") == "True/Starting"


@scenario(calm=True)
def image_pull_error_waits_and_recovers(world: World) -> None:
    """An image that can't be pulled is nobody's verdict: the rollout waits past its deadline and goes on."""
    serve(world)
    world.behave("v2", pullable=False)
    world.release("v2")
    world.run(1200)
    assert world.condition("Reconciling") == "True/ImagePull"
    world.behave("v2", pullable=True)
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])


@scenario()
def unschedulable_waits_and_recovers(world: World) -> None:
    """A pod without a node stops the deadline's clock."""
    serve(world)
    world.behave("v2", schedulable=False)
    world.release("v2")
    world.run(1200)
    assert world.condition("Reconciling") == "True/Unschedulable"
    world.behave("v2", schedulable=True)
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])


@scenario(
    canary_spec(
        autoscaling={"minReplicas": 2, "maxReplicas": 10},
        rollout={"canary": {"steps": [{"weight": 10, "hold": "20s"}, {"weight": 60, "hold": "20s"}]}},
    ),
    calm=True,
)
def stable_autoscaled_to_four(world: World) -> None:
    """Load has made stable four pods: the canary gets the next weight's pods before the route moves."""
    world.until_settled(within=60)
    world.autoscalers.requests_per_pod = 30.0
    world.traffic.rate = 100.0
    world.until(lambda: world.pods("v1") == (4, 4), within=120)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 2)
    assert world.pods("v2")[0] >= 3
    assert world.replicas("v1") == 4
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")
    assert world.replicas("v2") == 4


@scenario(canary_spec(rollout={"canary": {"steps": STEPS}, "scaleDownDelay": "1m"}))
def retiring_waits_for_its_delay_and_quiet_counters(world: World) -> None:
    """After a promotion the old pods stay for scaleDownDelay, and while kept connections still use them."""
    serve(world)
    world.traffic.kept["v1"] = 5.0
    world.release("v2")
    world.until(
        lambda: world.rollout is not None and world.rollout.stage is Stage.OVER and not world.in_flight
    )
    world.until(lambda: world.final()["stable"] == "v2")
    world.run(120)
    assert world.replicas("v1") == 4
    world.say("the last kept connection to v1 is closed")
    world.traffic.kept.clear()
    world.until(lambda: world.replicas("v1") == 0, within=30)
    expect(world, stable="v2", outcome="Promoted")


@scenario(canary_spec(rollout={"canary": {"steps": STEPS}, "maxSurge": "25%"}))
def surge_limit_is_named(world: World) -> None:
    """maxSurge that leaves no room for the next weight is named as what is waited for; raising it goes on."""
    serve(world)
    world.release("v2")
    world.run(300)
    assert world.condition("Reconciling") == "True/SurgeLimit"
    world.edit("rollout.maxSurge", "100%")
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")
