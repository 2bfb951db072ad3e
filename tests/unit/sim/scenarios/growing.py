"""Pods that an autoscaler brings on the way: what is slow for want of them is not held against a version."""

from __future__ import annotations

from typing import Any

from ekiben.api.status import Stage
from unit.sim.scenario import canary_spec, expect, scenario, serve
from unit.sim.scenarios.judging import SLOW, expect_rolled_back
from unit.sim.scenarios.scaling import QUERY, scaled
from unit.sim.world import World

CPU = {"cpu": "70%"}
HALF = {"canary": {"steps": [{"weight": 50, "hold": "20s"}]}}


def judged(*metrics: dict[str, Any], most: int = 8, **analysis: Any) -> dict[str, Any]:
    """Return a spec that sends half of the requests to the canary, is judged by latency, scales by itself."""
    block = scaled(*metrics or (CPU,), maxReplicas=most)
    return canary_spec(analysis=SLOW | analysis, autoscaling=block, rollout=HALF)


def short_of_pods(world: World, **behaviour: Any) -> None:
    """Roll out a version whose pods take 20 requests a second each, until one of them gets 50."""
    world.autoscalers.requests_per_pod = 50.0
    world.behave("v2", capacity=20.0, **behaviour)
    serve(world)
    world.until(lambda: world.pods("v1") == (2, 2), within=60)
    world.release("v2")
    world.until_stage(Stage.HOLDING)
    assert world.pods("v2") == (1, 1)


def until_growing(world: World) -> None:
    """Let time pass until the status says that pods are missing."""
    world.until(lambda: world.rollout is not None and world.rollout.growing_since is not None, within=60)


def until_set_aside(world: World, times: int = 1) -> None:
    """Let time pass until the counts of the window have begun anew so often.

    An operator that was away may come back to checks that pass, and then sets nothing aside.
    """

    def begun() -> bool:
        rollout = world.rollout
        return rollout is not None and rollout.set_aside is not None and rollout.set_aside.times == times

    def passed() -> bool:
        checks = world.rollout.checks if world.rollout else ()
        return world.operator.fault is not None and all(check.verdict == "Pass" for check in checks)

    try:
        world.until(lambda: begun() or not world.in_flight, within=120)
    except AssertionError:
        assert passed(), world.describe()
    assert begun() or passed(), world.describe()


@scenario(judged())
def slow_until_its_pods_are_there(world: World) -> None:
    """Half of the requests are too many for v2's one pod: it is slow until its autoscaler brings more."""
    short_of_pods(world)
    until_growing(world)
    world.until(lambda: world.condition("Reconciling") == "True/InsufficientCapacity", within=40)
    assert "pods that its autoscaler wants" in world.status.message
    until_set_aside(world)
    assert world.pods("v2") == (3, 3)
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])


@scenario(judged(QUERY))
def slow_until_kedas_pods_are_there(world: World) -> None:
    """The same where KEDA scales: what counts is what its autoscaler wrote into the Deployment."""
    world.set_keda("installed")
    short_of_pods(world)
    until_set_aside(world)
    assert (world.scaler("v2"), world.pods("v2")) == ("ScaledObject", (3, 3))
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])


@scenario(judged())
def slow_with_all_its_pods_too(world: World) -> None:
    """v2 is short of pods, and slow by itself: it is rolled back once they are there and wants no more."""
    short_of_pods(world, slow=0.3)
    until_set_aside(world)
    assert world.in_flight
    assert world.pods("v2") == (3, 3)
    world.until_settled(within=300)
    expect_rolled_back(world, "AnalysisFailed")


@scenario(judged(most=2))
def slow_at_its_most_pods(world: World) -> None:
    """maxReplicas are not enough for v2: that counts against it as soon as all of them are there."""
    short_of_pods(world)
    until_growing(world)
    world.until_settled(within=120)
    expect_rolled_back(world, "AnalysisFailed")


@scenario(judged(maxWait="1m"))
def slow_because_its_pods_find_no_node(world: World) -> None:
    """The pods that v2 wants can't be scheduled: that is said, and after maxWait a hand decides."""
    short_of_pods(world)
    world.behave("v2", schedulable=False)
    world.until(lambda: world.condition("Reconciling") == "True/Unschedulable", within=60)
    world.until_stage(Stage.PAUSED, within=120)
    assert world.condition("Reconciling") == "True/Inconclusive"
    assert "1 of the 3 pods that its autoscaler wants are ready" in world.status.message
    world.run(300)
    assert world.in_flight
    world.behave("v2", schedulable=True)
    until_set_aside(world)
    world.resume()
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])


@scenario(judged(bake="3m"))
def slow_in_its_bake_until_its_pods_are_there(world: World) -> None:
    """Everything is too much for the pods that half of it needed: the bake waits for more of them, too."""
    short_of_pods(world)
    world.until_stage(Stage.BAKING)
    until_growing(world)
    until_set_aside(world)
    assert world.pods("v2") == (5, 5)
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])


@scenario(judged(bake="3m"))
def slow_in_its_bake_with_all_its_pods_too(world: World) -> None:
    """In its bake v2 turns slow by itself while pods are missing: all goes back once they are there."""
    short_of_pods(world)
    world.until_stage(Stage.BAKING)
    until_growing(world)
    world.behave("v2", slow=0.3)
    until_set_aside(world)
    assert world.in_flight
    world.until_settled()
    expect_rolled_back(world, "AnalysisFailed")


@scenario(judged(bake="20s"))
def slow_at_the_end_of_its_bake_until_its_pods_are_there(world: World) -> None:
    """The bake is shorter than the autoscaler takes: it lasts until the pods are there and were judged."""
    short_of_pods(world)
    world.until_stage(Stage.BAKING)
    world.run(30)
    assert world.condition("Reconciling") == "True/InsufficientCapacity"
    until_set_aside(world)
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])


@scenario(judged(bake="20s", maxWait="2m"))
def slow_in_its_bake_because_its_pods_find_no_node(world: World) -> None:
    """Everybody waits for pods that can't be scheduled: after maxWait all goes back to what has its pods."""
    short_of_pods(world)
    world.until_stage(Stage.BAKING)
    world.behave("v2", schedulable=False)
    world.until(lambda: world.condition("Reconciling") == "True/Unschedulable", within=90)
    world.run(30)
    assert world.in_flight
    world.until_settled(within=150)
    expect_rolled_back(world, "AnalysisFailed")


@scenario(judged())
def slow_by_itself_while_its_autoscaler_may_answer(world: World) -> None:
    """v2 is slow and its autoscaler wants no more pods: it has its time to say so, then v2 is rolled back."""
    world.autoscalers.requests_per_pod = 50.0
    world.behave("v2", slow=0.3)
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING)
    world.run(60)
    assert world.condition("Reconciling") == "True/Analysing"
    assert "may yet want more pods than 1" in world.status.message
    world.until_settled(within=90)
    expect_rolled_back(world, "AnalysisFailed")


@scenario(judged(minSamples=20000))
def slow_for_a_moment_when_the_load_rises_late(world: World) -> None:
    """Minutes into a step the load doubles: what is slow before the autoscaler notices is excused, too."""
    short_of_pods(world)
    until_set_aside(world)
    world.run(200)
    world.traffic.rate = 200.0
    until_set_aside(world, times=2)
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])


@scenario(judged(minSamples=3000))
def slow_whenever_the_load_rises(world: World) -> None:
    """The load doubles twice within one step: each time the counts begin anew, and v2 is promoted."""
    short_of_pods(world)
    until_set_aside(world)
    world.traffic.rate = 200.0
    until_set_aside(world, times=2)
    assert world.pods("v2") == (5, 5)
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])


@scenario(judged(minSamples=3000, maxWait="1m", onNoData="fail"))
def slow_until_its_pods_are_there_and_few_requests_left(world: World) -> None:
    """The counts begin anew shortly before maxWait is over: requests have maxWait from then on to come."""
    short_of_pods(world)
    until_set_aside(world)
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])


@scenario(judged(minSamples=3000, maxWait="1m", onNoData="fail"))
def slow_until_its_pods_are_there_and_no_requests_left(world: World) -> None:
    """After the counts have begun anew nobody asks any more: once more maxWait, and it is no data."""
    short_of_pods(world)
    until_set_aside(world)
    world.traffic.rate = 0.0
    world.until_settled(within=150)
    expect_rolled_back(world, "NoData")


@scenario(judged(maxWait="1m", onNoData="fail"))
def quick_while_more_pods_come(world: World) -> None:
    """Paused for long, v2 gets more pods for more load and was never slow: what it has counted stays."""
    world.autoscalers.requests_per_pod = 50.0
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING)
    world.edit("rollout.paused", True)
    world.run(300)
    world.traffic.rate = 200.0
    until_growing(world)
    world.run(60)
    assert world.pods("v2") == (2, 2)
    assert world.rollout is not None
    assert world.rollout.set_aside is None
    world.edit("rollout.paused", False)
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])
