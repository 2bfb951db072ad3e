"""A run that costs more than what is kept is told apart from one that does not."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from scale.gate import PHASES, STATUS, figures, read, regressions, yardstick

KEPT: dict[str, Any] = {
    phase: {"cpu": 0.1, "requests": {STATUS: 3.0, "create events": 2.0}} for phase in PHASES
}


def changed(phase: str, **requests: float) -> dict[str, Any]:
    found = deepcopy(KEPT)
    found[phase]["requests"] |= {name.replace("_", " "): count for name, count in requests.items()}
    return found


def test_what_costs_the_same_is_no_regression() -> None:
    assert list(regressions(KEPT, deepcopy(KEPT))) == []


@pytest.mark.parametrize("count", [1.0, 2.05, 3.0])
def test_every_other_number_of_requests_is_one(count: float) -> None:
    (problem,) = regressions(KEPT, changed("roll", create_events=count))
    assert problem == f"roll: {count:g} x create events per object, 2 are kept"


def test_a_request_of_a_new_kind_is_one() -> None:
    (problem,) = regressions(KEPT, changed("idle", list_pods=0.05))
    assert problem == "idle: 0.05 x list pods per object, 0 are kept"


def test_a_status_may_be_told_a_little_more_often_and_not_much() -> None:
    told = deepcopy(KEPT)
    told["create"]["requests"][STATUS] = 4.5
    assert list(regressions(KEPT, told)) == []
    told["create"]["requests"][STATUS] = 5.5
    assert len(list(regressions(KEPT, told))) == 1


@pytest.mark.parametrize(("cpu", "problems"), [(0.149, 0), (0.151, 1)])
def test_cpu_may_be_half_more(cpu: float, problems: int) -> None:
    found = deepcopy(KEPT)
    found["restart"]["cpu"] = cpu
    assert len(list(regressions(KEPT, found))) == problems


def test_cpu_is_a_multiple_of_work_done_in_the_same_run() -> None:
    costs = {phase: {"cpu_ms": 50.0, "requests": {}} for phase in PHASES}
    assert figures(costs, 200.0)["roll"]["cpu"] == 0.25
    assert yardstick() > 0


def test_what_is_kept_has_every_phase() -> None:
    assert set(read()) == set(PHASES)
