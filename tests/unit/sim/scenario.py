"""A scenario: a story that one function plays on a world, and what running it leaves behind."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ekiben.core.plan import Plan
from ekiben.core.reconcile import decide as core_decide
from ekiben.core.snapshot import Snapshot
from unit.sim.invariants import Invariants
from unit.sim.operator import Fault
from unit.sim.trace import Trace
from unit.sim.world import World, gateway_spec

Play = Callable[[World], None]

STEPS = [{"weight": 10, "hold": "20s"}, {"weight": 50, "hold": "20s"}]
RATE = 100.0
CALM = 120.0
STEADY = 900.0

SCENARIOS: dict[str, Scenario] = {}


@dataclass(frozen=True)
class Scenario:
    """One story; `loses` says that pods are lost on purpose, so that requests may be too.

    `calm` says that nothing disturbs a step, so that its writes can be counted.
    """

    name: str
    story: str
    spec: Mapping[str, Any]
    play: Play
    loses: bool = False
    calm: bool = False


@dataclass
class Run:
    """One scenario played to its end."""

    world: World
    invariants: Invariants
    trace: str
    problems: list[str]


def scenario(
    spec: Mapping[str, Any] | None = None, *, loses: bool = False, calm: bool = False
) -> Callable[[Play], Play]:
    """Register a function as a scenario, named after it; its docstring is the story."""

    def registered(play: Play) -> Play:
        story = (play.__doc__ or "").strip()
        register(play.__name__, story, canary_spec() if spec is None else spec, play, loses=loses, calm=calm)
        return play

    return registered


def register(
    name: str, story: str, spec: Mapping[str, Any], play: Play, *, loses: bool = False, calm: bool = False
) -> None:
    """Register a play as a scenario: one of several that a loop makes."""
    name = name.replace("_", "-")
    SCENARIOS[name] = Scenario(name, story, spec, play, loses, calm)


def canary_spec(**parts: Any) -> dict[str, Any]:
    """Return a spec behind a Gateway with two short steps."""
    return gateway_spec(**{"rollout": {"canary": {"steps": STEPS}}, **parts})


def run(
    item: Scenario,
    *,
    seed: int = 0,
    fault: Fault | None = None,
    decide: Callable[[Snapshot], Plan] = core_decide,
) -> Run:
    """Play a scenario, let it come to rest, and collect whatever was not as it must be."""
    world = World(item.spec, seed=seed, fault=fault, decide=decide)
    invariants, trace = Invariants(world), Trace(world)
    problems: list[str] = []
    try:
        item.play(world)
        world.run(CALM)
    except AssertionError as failure:
        line = traceback.extract_tb(failure.__traceback__)[-1].line
        problems.append(f"story: {str(failure) or line}: {world.describe()}")
    text = trace.text()
    problems += invariants.violations
    if not problems:
        problems += _not_steady(world)
    if not item.loses and world.traffic.lost >= 1:
        problems.append(f"I5: {world.traffic.lost:.1f} requests lost: {dict(world.traffic.lost_why)}")
    if item.calm and not seed and fault is None:
        problems += invariants.budget.over()
    return Run(world, invariants, text, problems)


def _not_steady(world: World) -> list[str]:
    """I7: in steady state nothing is written, and little is thought about."""
    written, passes = len(world.operator.writes), world.operator.passes
    world.run(STEADY)
    new = world.operator.writes[written:]
    ticks = [write for write in new if write.verb == "status"] if world.in_flight else []
    problems = []
    if len(new) > len(ticks) or len(ticks) > STEADY / 15 + 1:
        problems.append(
            f"I7: {len(new)} writes in steady state, such as {new[0].verb} {new[0].ref} at {new[0].at:.0f}s"
        )
    if world.operator.passes - passes > STEADY / 5:
        problems.append(f"I7: {world.operator.passes - passes} passes in {STEADY:.0f}s of steady state")
    return problems


def serve(world: World, rate: float = RATE) -> None:
    """Let the first revision come up and requests come in."""
    world.until_settled(within=600)
    world.traffic.rate = rate
    world.run(5)


def expect(world: World, **wanted: Any) -> None:
    """Assert parts of what a run must end with."""
    final = world.final()
    got = {key: final[key] for key in wanted}
    assert got == wanted, f"ended with {got}, not {wanted}"
