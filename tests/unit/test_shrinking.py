"""Stories of chance with a stable that shrinks: no rule is broken, and all comes to rest."""

from __future__ import annotations

from dataclasses import replace

import pytest

from unit.sim.chaos import chaos
from unit.sim.scenario import STEPS, canary_spec, run

SPEC = canary_spec(rollout={"canary": {"steps": STEPS, "shrinkStable": True}, "maxSurge": "25%"})


@pytest.mark.parametrize("seed", [3, 5, 9, 12])
def test_after_any_dozen_of_deeds_stable_has_its_pods(seed: int) -> None:
    done = run(replace(chaos(seed), spec=SPEC), seed=seed)
    assert not done.problems, "\n".join([*done.problems, done.trace])
    assert done.world.status.rollout is not None
    assert done.world.status.rollout.stage == "Over"
