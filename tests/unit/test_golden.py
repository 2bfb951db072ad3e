"""Every scenario as prose: what happens, when and why, compared with the trace that was read and approved.

`UPDATE_GOLDEN=1 pytest tests/unit/test_golden.py` rewrites the traces: read what changed.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from unit.sim import scenarios
from unit.sim.scenario import SCENARIOS, run

GOLDEN = Path(__file__).parent / "golden"
assert scenarios.__all__


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_a_scenario_goes_as_its_trace_says(name: str) -> None:
    done = run(SCENARIOS[name])
    assert not done.problems, "\n".join([*done.problems, done.trace])
    path, text = GOLDEN / f"{name}.trace", f"{SCENARIOS[name].story}\n\n{done.trace}"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


def test_every_trace_belongs_to_a_scenario() -> None:
    assert {path.stem for path in GOLDEN.glob("*.trace")} == set(SCENARIOS)
