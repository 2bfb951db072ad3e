"""A short form of the chaos; the long ones are `make chaos` and `make soak`, told of in docs/chaos.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.__main__ import line_of, one_round
from chaos.deeds import (
    OFTEN,
    compact_etcd,
    expire_the_tokens,
    kill_an_operator,
    restart_the_api_server,
    stop_keda,
)
from chaos.round import Plan
from integration.lab import Lab

pytestmark = pytest.mark.apiserver

SEED = 4
ALONE = (compact_etcd, expire_the_tokens, stop_keda)
LEAST = 15


@pytest.mark.parametrize(
    ("kind", "plan"),
    [
        (
            "one operator",
            Plan(2, 6.0, (0.2, 1.0), (kill_an_operator, *OFTEN), ALONE, LEAST),
        ),
        ("two operators at once", Plan(2, 6.0, (0.2, 1.0), OFTEN, (restart_the_api_server,), LEAST)),
    ],
    ids=["one", "two"],
)
async def test_whatever_strikes_all_rules_hold_and_it_comes_to_rest(
    lab: Lab, tmp_path: Path, kind: str, plan: Plan
) -> None:
    with lab.keda(), lab.granting("keda.enabled=true"):
        outcome = await one_round(lab, tmp_path, f"{SEED}", kind, plan)
    print(line_of(kind, outcome))
    assert not outcome.breaches, f"seed {SEED}: {outcome.breaches}"
    assert outcome.released >= 2 * plan.sites
    assert outcome.handed_over >= 1
    assert outcome.faults.total() >= LEAST
    for rare in plan.once:
        assert outcome.faults[f"deed: {rare.__name__.replace('_', ' ')}"] >= 1
