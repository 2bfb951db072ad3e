"""The order of things does not matter: other seeds, and an operator that dies or hears nothing, end the same.

How much is played is set by the environment: with EKIBEN_SIM_SEEDS different orders each scenario,
with the operator failing at every EKIBEN_SIM_STRIDE-th write, and EKIBEN_SIM_CHANCES stories of chance.
"""

from __future__ import annotations

import os

import pytest

from unit.sim.chaos import RECREATE_SPECS, chaos
from unit.sim.fleet import CHAOS, Job, Outcome, play, play_all
from unit.sim.operator import Fault
from unit.sim.scenario import SCENARIOS, run

SEEDS = int(os.environ.get("EKIBEN_SIM_SEEDS", "1"))
CHANCES = int(os.environ.get("EKIBEN_SIM_CHANCES", "20"))
STRIDE = int(os.environ.get("EKIBEN_SIM_STRIDE", "211"))


@pytest.fixture(scope="module")
def wanted() -> dict[str, Outcome]:
    """Return what each scenario ends with when nothing goes wrong and everything happens in order."""
    return {job.name: outcome for job, outcome in play_all(Job(name) for name in SCENARIOS)}


def differences(job: Job, outcome: Outcome, wanted: Outcome) -> list[str]:
    """Say what a run did that it must not, and where it ended elsewhere."""
    found = [f"{job}: {problem}" for problem in outcome.problems]
    for key, value in wanted.final.items():
        if outcome.final[key] != value:
            found.append(f"{job}: {key} is {outcome.final[key]}, not {value}")
    return found


def test_any_order_of_controllers_ends_the_same(wanted: dict[str, Outcome]) -> None:
    jobs = [Job(name, seed) for name in SCENARIOS for seed in range(1, SEEDS + 1)]
    found = [text for job, outcome in play_all(jobs) for text in differences(job, outcome, wanted[job.name])]
    assert not found, "\n".join(found)


def test_an_operator_that_dies_or_hears_nothing_ends_the_same(wanted: dict[str, Outcome]) -> None:
    faults = [
        Job(name, 0, Fault(kind, number))
        for name, outcome in wanted.items()
        for number in range(1, outcome.writes + 1)
        for kind in ("dies", "answer lost")
    ]
    jobs = [job for place, job in enumerate(faults) if place % STRIDE == 0]
    found = [text for job, outcome in play_all(jobs) for text in differences(job, outcome, wanted[job.name])]
    assert not found, "\n".join(found)


def test_after_any_dozen_of_deeds_everything_comes_to_rest() -> None:
    jobs = [Job(CHAOS, seed) for seed in range(1, CHANCES + 1)]
    found = [f"{job}: {problem}" for job, outcome in play_all(jobs) for problem in outcome.problems]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("seed", range(1, 1 + max(CHANCES // 3, 1)))
def test_a_model_that_is_recreated_comes_to_rest_too(seed: int) -> None:
    assert run(chaos(seed, RECREATE_SPECS), seed=seed).problems == []


def test_a_run_is_repeatable() -> None:
    job = Job("canary-promoted-through-the-gateway", 7)
    assert play(job) == play(job)
