"""Stable gives up pods as the canary's share grows, and takes the traffic back as they get ready again."""

from __future__ import annotations

from typing import Any

from ekiben.api.status import Stage
from unit.sim.scenario import canary_spec, expect, scenario, serve
from unit.sim.world import World

STEPS = [{"weight": 25, "hold": "20s"}, {"weight": 75, "hold": "20s"}]


def shrinking(surge: str = "25%", **canary: Any) -> dict[str, Any]:
    """Return a spec whose stable shrinks, where both together have a quarter more than 4 pods."""
    return canary_spec(
        rollout={"canary": {"steps": STEPS, "shrinkStable": True, **canary}, "maxSurge": surge}
    )


def to_the_last_step(world: World) -> None:
    """Roll v2 out as far as 75%, with one pod of stable left."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 2)
    world.until(lambda: (world.pods("v1"), world.pods("v2")) == ((1, 1), (3, 3)), within=10)
    assert world.weights() == "25/75"


@scenario(shrinking())
def stable_shrinks_as_the_canary_grows(world: World) -> None:
    """Five pods are all there may be: the weight rises pod by pod, and stable's go one by one."""
    serve(world)
    world.release("v2")
    most = 0
    world.until(lambda: world.rollout is not None and world.rollout.full_size == 4, within=5)

    def promoted() -> bool:
        nonlocal most
        most = max(most, world.replicas("v1") + (world.replicas("v2") if world.in_flight else 0))
        return not world.in_flight

    world.until(promoted)
    assert most == 5
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", weights="100/0", failed=[])
    assert world.pods("v2") == (4, 4)


@scenario(shrinking("100%"))
def stable_shrinks_with_room_to_spare(world: World) -> None:
    """With room for both the canary has its pods at once, and stable gives up its own behind it."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 2)
    world.until(lambda: world.pods("v1") == (1, 1), within=10)
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", weights="100/0", failed=[])


@scenario(shrinking())
def shrunk_stable_takes_the_traffic_back_pod_by_pod(world: World) -> None:
    """abort at 75%: one pod of stable can't take it all, so the weight falls as its pods get ready."""
    to_the_last_step(world)
    world.command("abort")
    world.until(lambda: world.rollout is not None and world.rollout.stage is Stage.ABORTING, within=1)
    world.run(1)
    assert world.weights() == "25/75"
    assert "traffic goes back as pods of" in world.status.message
    world.until(lambda: world.weights() == "50/50", within=30)
    world.until(lambda: world.weights() == "100/0", within=60)
    assert world.pods("v1")[0] == 4
    world.until_settled(within=120)
    expect(world, stable="v1", outcome="Aborted", failed=[("v2", "Aborted")])
    assert world.pods("v1") == (4, 4)


@scenario(shrinking(), loses=True)
def shrunk_stable_takes_everything_from_pods_that_fail(world: World) -> None:
    """The canary's containers die at 75%: whatever stable has left gets everything at once."""
    to_the_last_step(world)
    world.restart_pods("v2")
    world.until(lambda: world.weights() == "100/0", within=2)
    world.until_settled(within=300)
    expect(world, stable="v1", outcome="RolledBack", failed=[("v2", "Restarted")])
    assert world.pods("v1") == (4, 4)


@scenario(shrinking())
def bad_answers_of_most_pods_are_taken_back_pod_by_pod(world: World) -> None:
    """Checks fail at 75%: the pods themselves work, so they keep what stable can't take yet."""
    to_the_last_step(world)
    world.behave("v2", errors=0.5)
    world.until_stage(Stage.ABORTING, within=120)
    world.run(0.5)
    assert world.weights() == "25/75"
    world.until_settled(within=300)
    expect(world, stable="v1", outcome="RolledBack", weights="100/0", failed=[("v2", "AnalysisFailed")])


@scenario(shrinking())
def superseded_while_stable_is_shrunk(world: World) -> None:
    """v3 is applied at 75% of v2: stable gets its pods and its traffic back first, then v3 begins."""
    to_the_last_step(world)
    world.release("v3")
    world.until(lambda: world.rollout is not None and world.tag(world.rollout.revision) == "v3", within=120)
    assert world.pods("v1")[0] == 4
    world.until_settled()
    expect(world, stable="v3", outcome="Promoted", failed=[])


@scenario(shrinking(), loses=True)
def shrunk_stable_and_a_canary_pod_lost(world: World) -> None:
    """One of three canary pods dies at 75%: until it is back each pod that is left carries the same."""
    to_the_last_step(world)
    world.kill_pods("v2", count=1)
    world.until(lambda: world.weights() == "34/66" or world.pods("v2") == (3, 3), within=2)
    world.until(lambda: world.weights() == "25/75", within=30)
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])


@scenario(shrinking(), loses=True)
def shrunk_stable_loses_its_last_pod(world: World) -> None:
    """The last pod of stable dies at 75%: another one comes, and nobody takes the canary's traffic."""
    to_the_last_step(world)
    world.kill_pods("v1")
    world.until(lambda: world.pods("v1") == (1, 1), within=30)
    assert world.weights() == "25/75"
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])


@scenario(shrinking())
def shrinking_is_given_up_mid_rollout(world: World) -> None:
    """shrinkStable is taken away at 75%: stable gets its pods back, as far as the sum allows."""
    to_the_last_step(world)
    world.edit("rollout.canary.shrinkStable", None)
    world.until(lambda: world.pods("v1") == (2, 2), within=30)
    world.command("abort")
    world.until_settled(within=300)
    expect(world, stable="v1", outcome="Aborted", weights="100/0")
    assert world.pods("v1") == (4, 4)


@scenario(shrinking())
def promoted_by_hand_while_stable_shrinks(world: World) -> None:
    """promote at 25%: the rest of the way is taken pod by pod, too."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 1)
    world.command("promote")
    world.until_settled(within=300)
    expect(world, stable="v2", outcome="Promoted", weights="100/0")


RAMP = {"step": 25, "every": "10s"}


@scenario(shrinking("100%", trafficRamp=RAMP))
def traffic_comes_back_on_a_ramp(world: World) -> None:
    """Aborted at 75% with pods of stable that are cold: a quarter comes back every 10 s."""
    to_the_last_step(world)
    world.command("abort")
    world.until(lambda: world.pods("v1") == (4, 4), within=30)
    world.until(lambda: world.weights() == "50/50", within=5)
    world.until(lambda: world.weights() == "75/25", within=11)
    world.until(lambda: world.weights() == "100/0", within=11)
    world.until_settled(within=120)
    expect(world, stable="v1", outcome="Aborted")


@scenario(shrinking("100%", trafficRamp=RAMP), loses=True)
def no_ramp_for_pods_that_fail(world: World) -> None:
    """The canary's containers die: no ramp keeps requests with them."""
    to_the_last_step(world)
    world.restart_pods("v2")
    world.until(lambda: world.weights() == "100/0", within=2)
    world.until_settled(within=300)
    expect(world, stable="v1", outcome="RolledBack", failed=[("v2", "Restarted")])


@scenario(canary_spec(rollout={"canary": {"steps": STEPS, "trafficRamp": RAMP}}))
def no_ramp_where_stable_is_warm(world: World) -> None:
    """Stable has had all its pods all along: an abort takes everything back at once."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 2)
    world.command("abort")
    world.until(lambda: world.weights() == "100/0", within=1)
    world.until_settled(within=120)
    expect(world, stable="v1", outcome="Aborted")


@scenario(canary_spec(rollout={"canary": {"steps": STEPS, "trafficRamp": RAMP}}), loses=True)
def a_ramp_for_stable_pods_that_are_new(world: World) -> None:
    """Stable's pods were replaced while v2 had 75%: they are cold, so an abort takes it back on the ramp."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 2)
    world.kill_pods("v1", count=2)
    world.until(lambda: world.pods("v1") == (4, 4), within=30)
    world.command("abort")
    world.until(lambda: world.weights() == "50/50", within=2)
    world.until(lambda: world.weights() == "100/0", within=30)
    world.until_settled(within=120)
    expect(world, stable="v1", outcome="Aborted")
