"""What a rollout of each kind may cost in writes, Events included: the table in docs/architecture.md."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, get_args

import pytest

from ekiben.api.rollout import Step
from ekiben.api.strategy import Strategy
from unit.sim import scenarios
from unit.sim.budget import FIRST, STEP_WRITES
from unit.sim.scenario import SCENARIOS, run
from unit.sim.world import World

PAGE = Path(__file__).parents[2] / "docs" / "architecture.md"
ROW = re.compile(r"\| ([^|]+) \| `([a-z0-9-]+)` \| (\d+) \| (\d+) \| (\d+) \| ([^|]*)\|")
KINDS = ("start", "step", "end")
assert scenarios.__all__


class Kind(NamedTuple):
    """One row: what is allowed before the first step, in each step, and behind the last one."""

    name: str
    scenario: str
    start: int
    step: int
    end: int
    why: str

    def allowed(self, part: str) -> int:
        return int(getattr(self, part))


TABLE = [
    Kind(name, scenario, int(start), int(step), int(end), why.strip())
    for name, scenario, start, step, end, why in ROW.findall(PAGE.read_text())
]


def parts(world: World, spent: dict[str, list[str]]) -> Iterator[tuple[str, str, list[str]]]:
    """Yield the parts of every rollout but the first revision's."""
    for part, writes in spent.items():
        if part == FIRST or part.endswith(".1"):
            continue
        yield part.partition(" ")[0], world.named(part), writes


@pytest.mark.parametrize("kind", TABLE, ids=[kind.scenario for kind in TABLE])
def test_a_rollout_of_this_kind_writes_no_more_than_its_row_says(kind: Kind) -> None:
    done = run(SCENARIOS[kind.scenario])
    assert done.problems == []
    most = dict.fromkeys(KINDS, 0)
    for what, part, writes in parts(done.world, done.invariants.budget.spent):
        assert len(writes) <= kind.allowed(what), f"{part}: {writes}"
        most[what] = max(most[what], len(writes))
    # A row that allows more than is used would hide what comes to cost more.
    assert most == {what: kind.allowed(what) for what in KINDS}
    written = len(done.world.operator.writes)
    done.world.run(3600)
    assert len(done.world.operator.writes) == written, "at rest nothing is written"


def test_whatever_takes_more_than_a_step_may_says_why() -> None:
    over = [kind for kind in TABLE if max(kind.start, kind.step) > STEP_WRITES]
    assert [kind.name for kind in over if not kind.why] == []


def test_every_strategy_and_every_kind_of_step_has_a_row() -> None:
    rollouts = [SCENARIOS[kind.scenario].spec.get("rollout", {}) for kind in TABLE]
    assert {rollout.get("strategy", "Canary") for rollout in rollouts} == set(get_args(Strategy))
    steps = [step for rollout in rollouts for step in rollout.get("canary", {}).get("steps", ())]
    kinds = set(Step.model_fields) - {"hold"}
    assert {name for step in steps for name in step} >= kinds
