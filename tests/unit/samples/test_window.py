"""Sums that pages can't show to a sampler on purpose: BentoML counts a request and its duration apart."""

from __future__ import annotations

import math

import pytest

from ekiben.api.measured import Counters, Latency, Load
from ekiben.core.plan import Extras
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


SHOWN = Extras(buckets=(0.1, 0.25, 0.5))
QUANTILES = {
    "every quantile is the bound of its bucket": ([90, 96, 100], "<= 100ms", "<= 250ms", "<= 500ms"),
    "one in a hundred may be slower": ([0, 99, 99], "<= 250ms", "<= 250ms", "<= 250ms"),
    "beyond the last bound is no number": ([50, 60, 70], "<= 100ms", "> 500ms", "> 500ms"),
}


@pytest.mark.parametrize(("within", "p50", "p95", "p99"), QUANTILES.values(), ids=QUANTILES)
def test_a_quantile_is_the_bound_that_it_is_within(within: list[int], p50: str, p95: str, p99: str) -> None:
    tally = Tally(Counters())
    buckets = dict(zip((*SHOWN.buckets, math.inf), (*within, 100), strict=True))
    tally.see(Reading({}, buckets))
    tally.add(Reading({200: 100}, buckets))
    assert tally.counters({}, SHOWN).latency == Latency(p50=p50, p95=p95, p99=p99)


def test_quantiles_rest_on_buckets_of_every_pod_and_on_some_request() -> None:
    tally = Tally(Counters())
    assert tally.counters({}, SHOWN).latency is None
    for bounds in ((0.1, 0.25), (0.25, 0.5)):
        buckets = {**dict.fromkeys(bounds, 10), math.inf: 10}
        tally.see(Reading({}, buckets))
        tally.add(Reading({200: 10}, buckets))
    latency = tally.counters({}, SHOWN).latency
    assert latency is not None
    assert latency.p50 == "<= 250ms"


def test_the_load_adds_up_on_its_base_and_time_that_runs_back_is_none() -> None:
    tally = Tally(Counters(load=Load(batches=1, batched=2, busy_ms=3, watched_ms=4)))
    tally.add(Reading({}, {}, busy_ms=500, batches=2, batched=9), seconds=10.0)
    tally.add(Reading({}, {}, busy_ms=1), seconds=-60.0)
    assert tally.counters({}).load is None
    assert tally.counters({}, Extras(busy=True)).load == Load(
        batches=3, batched=11, busy_ms=504, watched_ms=10_004
    )
