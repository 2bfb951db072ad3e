"""What is concluded from models that woke, and from what an activator passed on."""

from __future__ import annotations

from typing import Any

import pytest

from bench.figures import BenchError
from bench.watching import Change
from bench.zero import Pair, answered, is_ready, passed_on, waited
from load.client import Answer
from rig.models import is_asleep, is_awake


def answer(seconds: float, status: int = 200, at: float = 0.0) -> Answer:
    return Answer("id", at, seconds, status, "1.0.0", True)


def test_a_held_request_is_judged_beside_a_start_by_hand_and_beyond_its_own_pods() -> None:
    # The pods' own starts differ by more than what the requests waited beyond them.
    pairs = [Pair(held=own + 0.3, own=own, answers=3.0, ready=3.2) for own in (2.5, 3.0, 5.0)]
    beside, beyond = waited(pairs)
    assert (beside.value, beside.ok) == (0.3, True)
    assert (beyond.value, beyond.ok) == (0.3, True)
    _, late = waited([*pairs, Pair(held=5.5, own=3.0, answers=3.0, ready=3.2)])
    assert (late.value, late.ok) == (2.5, False)


def test_one_lost_request_of_a_burst_is_lost_and_told() -> None:
    lost, count = answered([[answer(1.0, at=0.25), answer(2.0)], [answer(1.0), answer(0.1, 503)]])
    assert (lost.value, lost.ok) == (1, False)
    assert count.value == 2
    assert lost.details[0] == "burst 1: 2 sent within 0.25 s, answered after 1.00 to 2.00 s"
    assert "lost: {'status 503': 1}" in lost.details


def test_what_passing_on_costs_is_the_difference_of_the_percentiles() -> None:
    through = [answer(0.005 + number / 10_000) for number in range(100)]
    direct = [answer(0.002 + number / 10_000) for number in range(100)]
    assert passed_on(through, direct).value == 3.0


@pytest.mark.parametrize("through", [[], [answer(0.1, 502)]])
def test_nothing_is_compared_where_a_request_was_lost_or_none_sent(through: list[Answer]) -> None:
    with pytest.raises(BenchError, match="to a pod that is awake"):
        passed_on(through, [answer(0.1)])


def test_when_a_model_is_asleep_and_when_it_is_awake() -> None:
    def model(reason: str, replicas: int, **status: Any) -> dict[str, Any]:
        conditions = [{"type": "Ready", "reason": reason}]
        return {"status": {"conditions": conditions, "stable": {"replicas": replicas}, **status}}

    assert is_asleep(model("Asleep", 0))
    assert not is_asleep(model("Asleep", 1)), "its pod is still there"
    assert not is_asleep({})
    assert is_awake(model("Serving", 1))
    assert not is_awake(model("Serving", 1, sleep={"state": "Waking"}))


def test_a_pod_is_ready_by_its_condition() -> None:
    def pod(value: str) -> Change:
        return Change(0.0, "MODIFIED", {"status": {"conditions": [{"type": "Ready", "status": value}]}})

    assert [is_ready(pod(value)) for value in ("True", "False")] == [True, False]
    assert not is_ready(Change(0.0, "ADDED", {"kind": "Pod"}))
