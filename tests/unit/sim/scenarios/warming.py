"""Warm-up calls: who is called, what waits for it, and that nothing of it is judged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ekiben.api.status import Stage
from ekiben.asking.asker import UnansweredError
from ekiben.core.warming import WARMUP_FAILED, WARMUP_REFUSED, WarmUpCall
from unit.sim.scenario import STEPS, canary_spec, expect, scenario, serve
from unit.sim.world import World, service_spec

WARMUP: dict[str, Any] = {"requests": 40, "path": "/predict", "body": "[[1]]", "maxLatency": "300ms"}
WARMED = {"canary": {"steps": STEPS}, "warmup": WARMUP, "progressDeadline": "2m"}


class Calls:
    """Answers warm-up calls: each leaves its requests in the pod's counters, as calls do."""

    def __init__(self, world: World, problem: Callable[[], tuple[str, str] | None] = lambda: None) -> None:
        self.world, self.problem = world, problem
        self.called: list[str] = []
        world.answer(WarmUpCall, self)

    def __call__(self, call: WarmUpCall) -> None:
        pod = self.world.nodes.pods[call.uid]
        self.called.append(pod.tag)
        # Five errors would fail the canary if a single one of them were judged.
        pod.served.requests += call.requests
        pod.served.errors += call.requests / 2
        if found := self.problem():
            raise UnansweredError(*found)


@scenario(canary_spec(rollout=WARMED))
def cold_canary_waits_until_it_is_quick(world: World) -> None:
    """No weight is given before the pods are warm, and what they answered until then is not judged."""
    slow = [("after 40 calls an answer to POST /predict still takes 0.8 s, more than 0.3 s", WARMUP_FAILED)]
    calls = Calls(world, lambda: slow[0] if slow else None)
    serve(world)
    world.release("v2")
    world.run(60)
    assert (world.condition("Reconciling"), world.weights()) == ("True/WarmingUp", "100/0")
    slow.clear()
    world.say("v2 has become quick")
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")
    assert set(calls.called) == {"v2"}


@scenario(canary_spec(rollout=WARMED))
def warm_up_that_fails_is_rolled_back(world: World) -> None:
    """A revision that answers its warm-up with errors for as long as progressDeadline fails."""
    Calls(world, lambda: ("answers 500 to POST /predict ('boom')", WARMUP_FAILED))
    serve(world)
    world.release("v2")
    world.until_settled(within=300)
    expect(world, stable="v1", outcome="RolledBack", failed=[("v2", "WarmupFailed")], weights="100/0")


@scenario(canary_spec(rollout=WARMED))
def warm_up_that_is_refused_waits(world: World) -> None:
    """A path that the pods don't have is the spec's fault: it waits, and goes on once it is corrected."""
    wrong = [("answers 404 to POST /wrong: correct rollout.warmup", WARMUP_REFUSED)]
    Calls(world, lambda: wrong[0] if wrong else None)
    serve(world)
    world.release("v2")
    world.run(600)
    assert world.condition("Reconciling") == "True/WarmingUp"
    wrong.clear()
    world.edit("rollout.warmup.path", "/predict")
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")


@scenario(canary_spec(rollout=WARMED), loses=True)
def stable_pods_that_start_meanwhile_are_warmed(world: World) -> None:
    """A pod of stable that starts during the rollout is called too; an abort waits for nothing of it."""
    calls = Calls(world)
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 1)
    world.kill_pods("v1", 2)
    world.run(15)
    assert calls.called.count("v1") == 2
    world.command("abort")
    world.until(lambda: world.weights() == "100/0", within=1)
    world.until_settled()
    expect(world, stable="v1", outcome="Aborted")


@scenario(canary_spec(rollout=WARMED))
def aborted_while_it_warms_up(world: World) -> None:
    """An abort waits for no warm-up, and no call is made after it."""
    calls = Calls(world, lambda: ("can't be called", "Unanswered"))
    serve(world)
    world.release("v2")
    world.until(lambda: world.condition("Reconciling") == "True/WarmingUp")
    world.run(30)
    world.command("abort")
    world.until_settled(within=60)
    expect(world, stable="v1", outcome="Aborted")
    made = len(calls.called)
    world.run(60)
    assert len(calls.called) == made


@scenario(service_spec(rollout=WARMED))
def warm_pods_before_the_service_is_widened(world: World) -> None:
    """Without a Gateway the Service selects the canary's pods once they are warm."""
    cold = [("can't be called", "Unanswered")]
    Calls(world, lambda: cold[0] if cold else None)
    serve(world)
    world.release("v2")
    world.run(30)
    assert world.selects("iris") == "v1"
    cold.clear()
    world.say("v2 can be called")
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")
