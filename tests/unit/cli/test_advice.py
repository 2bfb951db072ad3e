"""`advise` on series whose right answer is known: queues by their formula, pods that share or don't."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable

import pytest

from ekiben.cli.advice import Advice, Limit, Sample, advise

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
LIMIT = Limit(0.95, 0.5)
LOOK = 5.0


def sample(
    look: int, concurrency: float, took: list[float], pod: str = "a", arrived: int | None = None
) -> Sample:
    slower = {bound: sum(seconds > bound for seconds in took) for bound in BOUNDS}
    return Sample(look, pod, LOOK, concurrency, len(took) if arrived is None else arrived, len(took), slower)


def fixed(took: Callable[[float], float], loads: list[float], pods: int = 1) -> list[Sample]:
    """Build the window of a service that takes so long with so many in flight, at load after load."""
    return [
        sample(look, each, [took(each)] * round(each / took(each) * LOOK), f"pod-{pod}")
        for look, each in enumerate(loads)
        for pod in range(pods)
    ]


def queue(rates: list[float], workers: int, service: float, seconds: float) -> list[Sample]:
    """Play a queue with exponential times (M/M/c), at one rate after the other, from empty each time."""
    rng, samples, look = random.Random(7), list[Sample](), 0
    for rate in rates:
        free, now, spans = [0.0] * workers, 0.0, list[tuple[float, float]]()
        while (now := now + rng.expovariate(rate)) < seconds:
            ends = max(heapq.heappop(free), now) + rng.expovariate(1 / service)
            heapq.heappush(free, ends)
            spans.append((now, ends))
        # The first 20 s are those of a queue that fills.
        windows = [(start, start + LOOK) for start in range(20, int(seconds), int(LOOK))]
        for start, end in windows:
            there = [(a, b) for a, b in spans if a < end and b >= start]
            took = [b - a for a, b in there if b < end]
            busy = sum(min(b, end) - max(a, start) for a, b in there)
            samples.append(sample(look, busy / LOOK, took, arrived=sum(a >= start for a, _ in there)))
            look += 1
    return samples


def ramp(least: float, most: float, steps: int = 12) -> list[float]:
    return [least * (most / least) ** (step / (steps - 1)) for step in range(steps)]


# -- found --


@pytest.mark.parametrize(("each", "pods"), [(0.1, 3), (0.05, 3), (0.02, 2)])
def test_pods_that_serve_one_at_a_time(each: float, pods: int) -> None:
    # Within 500 ms as long as no more than 0.5 / each are in flight.
    advice = advise(fixed(lambda load: each * max(load, 1), ramp(0.5, 2 / each), pods), LIMIT)
    right = 0.5 / each
    assert advice.verdict == "Found"
    assert advice.target is not None
    assert 0.6 * right <= advice.target <= right
    assert advice.good is not None
    assert advice.bad is not None
    assert advice.good.sum.concurrency <= right < advice.bad.sum.most


def test_a_queue_with_one_worker_by_its_formula() -> None:
    # M/M/1: 95 of 100 take no longer than ln(20) / (mu - rate), and rate / (mu - rate) are in flight.
    mu = 20.0
    rate = mu - math.log(20) / LIMIT.seconds
    right = rate / (mu - rate)
    advice = advise(queue([2, 4, 8, 10, 12, 13, 15, 16, 17, 18], 1, 1 / mu, 200), LIMIT)
    assert advice.verdict == "Found"
    assert advice.target is not None
    assert 0.55 * right <= advice.target <= 1.15 * right
    # 18 a second at the most and by chance some more; each pod takes 14.
    assert (advice.fewest, advice.most) == (1, 2)


def test_a_queue_with_four_workers_has_room_for_as_many() -> None:
    # M/M/c with 100 ms: 40 a second are the most for four workers, 10 for one.
    advice = advise(queue([8, 16, 24, 32, 36, 38, 39, 39.5], 4, 0.1, 200), LIMIT)
    one = advise(queue([1, 2, 4, 5, 6, 8, 9], 1, 0.1, 200), LIMIT)
    assert (advice.verdict, one.verdict) == ("Found", "Found")
    assert advice.target is not None
    assert one.target is not None
    assert advice.target > 1.5 * one.target


def test_the_pods_that_would_have_been_enough() -> None:
    # 0.1 s each, one at a time: 5 in flight are the most, of which a tenth is left.
    advice = advise(fixed(lambda load: 0.1 * max(load, 1), [1, 2, 4, 5, 6, 9, 9], pods=2), LIMIT)
    assert advice.target == pytest.approx(4.5)
    # Two pods serve 20 a second at each load, of which one would take 9; 18 are in flight at the worst.
    assert (advice.fewest, advice.most, advice.queued) == (3, 3, 4)


def test_pods_are_counted_in_whole_looks_alone() -> None:
    samples = fixed(lambda load: 0.1 * max(load, 1), [1, 2, 4, 5, 6, 9, 9], pods=2)
    # At the last look one of the two was not read.
    half = samples[:-1]
    assert advise(half, LIMIT).fewest == 2
    advice = advise(half, LIMIT, range(6))
    assert (advice.fewest, advice.most, advice.queued) == (3, 3, 4)
    unknown = advise(half, LIMIT, ())
    assert (unknown.verdict, unknown.target) == ("Found", advice.target)
    assert (unknown.fewest, unknown.most, unknown.queued) == (None, None, None)


def test_what_queues_up_counts_as_the_requests_that_came() -> None:
    quiet = [sample(look, 1.0, [0.1] * 50, arrived=50) for look in range(4)]
    good = [sample(look, 4.0, [0.4] * 50, arrived=50) for look in range(4, 8)]
    rush = [sample(look, 40.0, [3.0] * 50, arrived=100) for look in range(8, 12)]
    advice = advise([*quiet, *good, *rush], LIMIT)
    # 10 a second, then 20: one pod serves 10.
    assert (advice.fewest, advice.most, advice.queued) == (2, 3, 12)


def test_every_pod_and_every_level_is_shown() -> None:
    advice = advise(fixed(lambda load: 0.1 * max(load, 1), [1, 4, 9], pods=2), LIMIT)
    assert {name: (pod.timed, round(pod.concurrency, 2)) for name, pod in advice.pods.items()} == {
        "pod-0": (150, 4.67),
        "pod-1": (150, 4.67),
    }
    assert [(level.sum.timed, level.standing) for level in advice.levels] == [
        (100, "within"),
        (100, "within"),
        (100, "over"),
    ]


# -- what was not seen is not said --


def nothing(advice: Advice) -> bool:
    return (advice.target, advice.fewest, advice.most) == (None, None, None)


def test_a_window_within_the_limit_throughout_does_not_say_how_much_a_pod_can_take() -> None:
    advice = advise(fixed(lambda load: 0.1 * max(load, 1), [1, 2, 4], pods=2), LIMIT)
    assert (advice.verdict, nothing(advice)) == ("TooLittleLoad", True)
    assert advice.good is not None
    assert advice.good.sum.most == 4


def test_a_window_over_the_limit_throughout_does_not_say_how_little_it_must_be() -> None:
    advice = advise(fixed(lambda load: 0.1 * max(load, 1), [9, 10, 12]), LIMIT)
    assert (advice.verdict, nothing(advice)) == ("OverThroughout", True)


def test_requests_that_are_slow_by_themselves_need_no_target() -> None:
    advice = advise(fixed(lambda load: 0.8, [0.8] * 40), LIMIT)
    assert (advice.verdict, nothing(advice)) == ("SlowAlone", True)


def test_what_is_slow_at_little_load_and_quick_at_much_is_another_matter() -> None:
    advice = advise(fixed(lambda load: 0.9 if load < 4 else 0.1, [2, 3, 5, 9] * 5), LIMIT)
    assert (advice.verdict, nothing(advice)) == ("Unsteady", True)


@pytest.mark.parametrize(
    "samples",
    [
        [],
        [sample(0, 3.0, [])],
        [sample(0, 3.0, [9.0] * 99)],
        # 4 of 60 are over 5 %, and may be so by chance.
        [sample(0, 3.0, [0.1] * 56 + [0.9] * 4)],
        [sample(0, 3.0, [0.1] * 190 + [0.9] * 10)],
        # A page without durations.
        [Sample(0, "a", LOOK, 3.0, 400, 400, {})],
    ],
)
def test_too_few_requests_say_nothing(samples: list[Sample]) -> None:
    advice = advise(samples, LIMIT)
    assert (advice.verdict, nothing(advice)) == ("TooFewRequests", True)


def test_a_limit_between_two_buckets_is_judged_on_the_safe_side_of_each() -> None:
    between = Limit(0.95, 0.3)
    assert advise([sample(0, 2.0, [0.4] * 500)], between).verdict == "TooFewRequests"
    assert advise([sample(0, 2.0, [0.6] * 500)], between).verdict == "OverThroughout"
    assert advise([sample(0, 2.0, [0.2] * 500)], between).verdict == "TooLittleLoad"


def test_a_bound_that_one_pod_lacks_counts_for_none() -> None:
    other = Sample(0, "b", LOOK, 2.0, 500, 500, {0.1: 500, 1.0: 500})
    assert advise([sample(0, 2.0, [0.2] * 500), other], LIMIT).verdict == "OverThroughout"
    assert advise([sample(0, 2.0, [0.2] * 9500), other], LIMIT).levels[0].sum.known.keys() == {0.1, 1.0}
