"""How long pods and revisions stay: the delays, the deadline's clock, the history's limit."""

from __future__ import annotations

from typing import Any

from ekiben.api.status import Stage
from unit.sim.scenario import STEPS, canary_spec, expect, scenario, serve
from unit.sim.world import World


def timed(**rollout: Any) -> dict[str, Any]:
    """Return a spec behind a Gateway with fields of `rollout`."""
    return canary_spec(rollout={"canary": {"steps": STEPS}, **rollout})


@scenario(timed(abortScaleDownDelay="0s"))
def failed_canary_goes_at_once(world: World) -> None:
    """With abortScaleDownDelay: 0s a failed canary's pods go as soon as its requests have stopped."""
    serve(world)
    world.behave("v2", errors=0.5)
    world.release("v2")
    world.until(lambda: world.rollout is not None and str(world.rollout.outcome) == "RolledBack", within=300)
    world.until(lambda: world.replicas("v2") == 0, within=15)
    expect(world, stable="v1", outcome="RolledBack", weights="100/0")


@scenario(timed(abortScaleDownDelay="2h"))
def failed_canary_stays_for_two_hours(world: World) -> None:
    """With abortScaleDownDelay: 2h its pods are there to be looked at, and a fix does not wait for them."""
    serve(world)
    world.behave("v2", errors=0.5)
    world.release("v2")
    world.until(lambda: not world.in_flight and world.status.failed_revisions != (), within=300)
    world.run(3600)
    assert (world.replicas("v2"), world.weights(), world.selects("iris-canary")) == (1, "100/0", "v1")
    world.release("v3")
    world.until_stage(Stage.HOLDING, 2)
    assert world.replicas("v2") == 1
    world.until_settled(within=3 * 3600)
    expect(world, stable="v3", outcome="Promoted")
    assert world.replicas("v2") == 0


@scenario(timed(abortScaleDownDelay="2h"))
def superseded_canary_is_not_kept(world: World) -> None:
    """abortScaleDownDelay is for pods that failed: those that were superseded go at once."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 2)
    world.release("v3")
    world.until(lambda: world.replicas("v2") == 0, within=30)
    world.until_settled()
    expect(world, stable="v3", outcome="Promoted")


@scenario(timed(scaleDownDelay="0s"))
def old_revision_goes_at_once(world: World) -> None:
    """With scaleDownDelay: 0s the old pods go as soon as their requests have stopped, and none is lost."""
    serve(world)
    world.release("v2")
    world.until(lambda: not world.in_flight and world.final()["stable"] == "v2")
    world.until(lambda: world.replicas("v1") == 0, within=15)
    expect(world, stable="v2", outcome="Promoted")


@scenario(timed(scaleDownDelay="2h"))
def old_revision_stays_for_two_hours(world: World) -> None:
    """With scaleDownDelay: 2h going back to v1 finds its pods ready, and takes its steps all the same."""
    serve(world)
    world.release("v2")
    world.until(lambda: not world.in_flight and world.final()["stable"] == "v2")
    world.run(3600)
    assert world.pods("v1") == (4, 4)
    world.release("v1")
    world.until_stage(Stage.HOLDING, 1, within=5)
    assert world.pods("v1") == (4, 4)
    world.until_settled(within=3 * 3600)
    expect(world, stable="v1", outcome="Promoted")


SLOW = {"canary": {"steps": [{"weight": 25, "hold": "5m"}, {"weight": 50, "hold": "5m"}]}}


@scenario(canary_spec(rollout={**SLOW, "progressDeadline": "2m"}))
def the_deadlines_clock_begins_anew_with_each_scale_up(world: World) -> None:
    """Pods take 55 s of 2 min, three times in a row, and steps last for 5 min: nothing is late."""
    # Another seed may make it twice as long, and the deadline has no jitter.
    world.behave("v2", start=55.0)
    serve(world)
    world.release("v2")
    world.until_settled()
    assert world.clock.now > 5 * 120
    expect(world, stable="v2", outcome="Promoted", failed=[])


@scenario(canary_spec(rollout={**SLOW, "progressDeadline": "2m"}))
def late_pods_of_a_later_step_fail_it(world: World) -> None:
    """The first pod was ready in time; one that the second step asks for never is, and fails 2 min later."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 1)
    world.behave("v2", never_ready=True)
    world.until_stage(Stage.SHIFTING, 2)
    asked = world.clock.now
    world.until(lambda: not world.in_flight, within=300)
    assert 120 <= world.clock.now - asked < 130
    world.until_settled()
    expect(world, stable="v1", outcome="RolledBack", weights="100/0", failed=[("v2", "NeverReady")])


@scenario(timed(revisionHistoryLimit=0))
def no_history_is_kept(world: World) -> None:
    """With revisionHistoryLimit: 0 a revision goes with its last pod."""
    serve(world)
    for tag in ("v2", "v3"):
        world.release(tag)
        world.until_settled()
    world.run(60)
    kept = {
        (ref.kind, ref.name)
        for ref in world.server.objects
        if ref.kind in ("Deployment", "ControllerRevision")
    }
    assert {name for _, name in kept} == {world.revision_child("v3")}
    expect(world, stable="v3", outcome="Promoted")
