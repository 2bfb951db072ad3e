"""Sums that pages can't show to a sampler on purpose: BentoML counts a request and its duration apart."""

from __future__ import annotations

import math

import pytest

from ekiben.api.status import Counters
from ekiben.samples.metrics import Reading
from ekiben.samples.window import Tally

APART = {
    "durations ahead of requests are cut to the requests": ({200: 1}, {0.3: 0, math.inf: 2}, 1),
    "a bucket ahead of all durations is no slow request": ({200: 1}, {0.3: 2, math.inf: 1}, 0),
    "durations behind requests are what they are": ({200: 5}, {0.3: 1, math.inf: 3}, 2),
}


@pytest.mark.parametrize(("codes", "within", "slow"), APART.values(), ids=APART)
def test_slow_requests_stay_between_none_and_all(
    codes: dict[int, int], within: dict[float, int], slow: int
) -> None:
    tally, delta = Tally(Counters(requests=10, slow={"300ms": 4})), Reading(codes, within)
    tally.see(delta)
    tally.add(delta)
    assert tally.counters({"300ms": 0.3}).slow == {"300ms": 4 + slow}
