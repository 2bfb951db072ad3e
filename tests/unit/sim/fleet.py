"""Many runs at once, on every core: what they came to, in a form that can be compared."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

from unit.sim import scenarios
from unit.sim.chaos import chaos
from unit.sim.operator import Fault
from unit.sim.scenario import SCENARIOS, run

CHAOS = "chaos"
__all__ = ["CHAOS", "Job", "Outcome", "play", "play_all", "scenarios"]


class Job(NamedTuple):
    """One run: a scenario, a seed for the order of things, and what goes wrong."""

    name: str
    seed: int = 0
    fault: Fault | None = None

    def __str__(self) -> str:
        wrong = f", operator {self.fault.kind} at write {self.fault.at_write}" if self.fault else ""
        return f"{self.name}, seed {self.seed}{wrong}"


@dataclass(frozen=True)
class Outcome:
    """What a run ended with, what was wrong with it, and how many writes it tried."""

    final: dict[str, Any]
    problems: list[str]
    writes: int


def play(job: Job) -> Outcome:
    """Play one run."""
    item = chaos(job.seed) if job.name == CHAOS else SCENARIOS[job.name]
    done = run(item, seed=job.seed, fault=job.fault)
    return Outcome(done.world.final(), done.problems, done.world.operator.attempts)


def play_all(jobs: Iterable[Job]) -> Iterator[tuple[Job, Outcome]]:
    """Play many runs, as many at a time as there are cores."""
    listed = list(jobs)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
        yield from zip(listed, pool.map(play, listed, chunksize=8), strict=True)
