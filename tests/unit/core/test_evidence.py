"""That weighing counts keeps its promise: seldom wrong however often it is asked, and soon right."""

from __future__ import annotations

import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ekiben.core.evidence import Sample, _log_money, excludes, excludes_over_stable

limits = st.floats(0.00001, 0.99)
shares = st.integers(0, 500).flatmap(lambda k: st.tuples(st.just(k), st.integers(k, k + 5000)))


@given(limits, shares)
def test_one_more_bad_request_never_speaks_for_the_canary(limit: float, counts: tuple[int, int]) -> None:
    events, trials = counts
    if excludes(limit, events, trials):
        assert excludes(limit, events + 1, trials + 1)
        assert excludes(limit, events + 1, max(trials, events + 1))


@given(limits, shares)
def test_one_more_good_request_never_speaks_against_it(limit: float, counts: tuple[int, int]) -> None:
    events, trials = counts
    if not excludes(limit, events, trials):
        assert not excludes(limit, events, trials + 1)


@given(limits, limits, shares)
def test_whatever_excludes_a_limit_excludes_every_stricter_one(
    one: float, other: float, counts: tuple[int, int]
) -> None:
    if excludes(max(one, other), *counts):
        assert excludes(min(one, other), *counts)


@given(limits, shares)
def test_a_share_within_the_limit_never_excludes_it(limit: float, counts: tuple[int, int]) -> None:
    events, trials = counts
    if excludes(limit, events, trials):
        assert events > limit * trials


@given(st.floats(0, 1), st.integers(0, 10**6))
def test_no_bad_request_never_excludes_anything(limit: float, trials: int) -> None:
    assert not excludes(limit, 0, trials)


@given(limits, st.integers(1, 10**6))
def test_one_bad_request_alone_never_excludes_a_limit_above_zero(limit: float, trials: int) -> None:
    assert not excludes(limit, 1, trials)


@given(st.floats(-1, 2), st.integers(-1, 10**12), st.integers(-1, 10**12), st.sampled_from([0.5, 0.95, 1.0]))
def test_any_counts_get_an_answer(limit: float, events: int, trials: int, confidence: float) -> None:
    assert excludes(limit, events, trials, confidence) in (True, False)


@given(st.lists(st.integers(-3, 10**12), min_size=4, max_size=4), st.sampled_from([0.0, 0.5, 1.0, 9999.0]))
def test_any_counts_of_two_sides_get_an_answer(counts: list[int], ratio: float) -> None:
    canary, stable = Sample(*counts[:2]), Sample(*counts[2:])
    for increase in (0.0, 0.01, 1.0):
        for confidence in (0.0, 0.95, 1.0):
            told = excludes_over_stable(canary, stable, ratio=ratio, increase=increase, confidence=confidence)
            assert told in (True, False)


def test_no_counts_are_certain_to_100_percent() -> None:
    assert not excludes(0.01, 10**6, 10**6, 1.0)


def test_one_bad_request_excludes_a_limit_of_zero_and_none_excludes_all() -> None:
    assert excludes(0.0, 1, 10**6)
    assert not excludes(1.0, 10**6, 10**6)


def test_more_confidence_needs_more_evidence() -> None:
    assert excludes(0.01, 5, 90)
    assert not excludes(0.01, 5, 90, confidence=0.999)


def test_the_closed_form_is_the_mean_of_the_likelihood_ratios() -> None:
    """Compare with the sum written out: odds times m gives p1, and each p1's likelihood ratio is averaged."""
    stakes = (1.1, 1.25, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
    money = (2, 4, 6, 6, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1)
    for limit in (0.001, 0.01, 0.2):
        for events in (1, 2, 3, 5, 8):
            for trials in range(events, 400, 7):
                odds = [stake * limit / (1 - limit) for stake in stakes]
                ratios = [
                    (p1 / limit) ** events * ((1 - p1) / (1 - limit)) ** (trials - events)
                    for p1 in (o / (1 + o) for o in odds)
                ]
                assert excludes(limit, events, trials) == (statistics.fmean(ratios, money) >= 20)


STREAMS = 2000


def errors_of(chance: float, requests: int, dice: random.Random) -> list[int]:
    """Draw a stream of requests and return the numbers (from 1) of those that fail."""
    numbers, at = [], 0
    while (at := at + 1 + int(math.log(1.0 - dice.random()) / math.log(1.0 - chance))) <= requests:
        numbers.append(at)
    return numbers


def first_alarm(limit: float, errors: list[int]) -> int | None:
    """Return the request at which the limit is first excluded.

    Only requests that fail are looked at: a good one never speaks against the canary, as shown above.
    """
    return next((at for count, at in enumerate(errors, start=1) if excludes(limit, count, at)), None)


def lower_bound(alarms: int) -> float:
    """Return the lower end of the one-sided 99 % interval of a share of STREAMS (Wilson's score)."""
    z, share = 2.326, alarms / STREAMS
    spread = z * math.sqrt(share * (1 - share) / STREAMS + z * z / (4 * STREAMS * STREAMS))
    return (share + z * z / (2 * STREAMS) - spread) / (1 + z * z / STREAMS)


@pytest.mark.parametrize("limit", [0.001, 0.01, 0.05, 0.2])
def test_a_canary_exactly_at_its_limit_is_seldom_blamed_however_often_we_look(limit: float) -> None:
    dice = random.Random(20260101)
    requests = int(40 / limit)
    alarms = sum(first_alarm(limit, errors_of(limit, requests, dice)) is not None for _ in range(STREAMS))
    assert lower_bound(alarms) <= 0.05
    # If this were 0 the bound would not have been put to the test at all.
    assert alarms > 0


def test_a_test_made_for_one_look_would_blame_many_of_the_same_canaries() -> None:
    """Show that the simulation can tell: it convicts the usual 5 % test when it is repeated."""
    limit, dice = 0.05, random.Random(20260101)

    def blamed(errors: list[int]) -> bool:
        return any(
            count >= limit * at + 1.645 * math.sqrt(at * limit * (1 - limit))
            for count, at in enumerate(errors, start=1)
        )

    alarms = sum(blamed(errors_of(limit, 800, dice)) for _ in range(STREAMS))
    assert lower_bound(alarms) > 0.05


@pytest.mark.parametrize(
    ("chance", "requests"), [(0.02, 1500), (0.05, 150), (0.2, 20), (0.5, 8)], ids=lambda value: f"{value}"
)
def test_a_bad_canary_is_found_soon(chance: float, requests: int) -> None:
    dice = random.Random(20260102)
    alarms = [first_alarm(0.01, errors_of(chance, 20 * requests, dice)) for _ in range(300)]
    assert statistics.median(alarm or math.inf for alarm in alarms) <= requests
    assert sum(alarm is not None for alarm in alarms) >= 297


def ratio_alarm(canary: float, stable: float, weight: float, requests: int, dice: random.Random) -> bool:
    """Tell whether a ratio of 1 is ever excluded while requests are split at random by weight."""
    counts = {True: [0, 0], False: [0, 0]}
    for _ in range(requests):
        to_canary = dice.random() < weight
        bad = dice.random() < (canary if to_canary else stable)
        counts[to_canary][0] += bad
        counts[to_canary][1] += 1
        if excludes_over_stable(Sample(*counts[True]), Sample(*counts[False])):
            return True
    return False


@pytest.mark.parametrize(("weight", "chance"), [(0.05, 0.1), (0.5, 0.05)])
def test_a_canary_as_good_as_stable_is_seldom_blamed_by_a_ratio(weight: float, chance: float) -> None:
    dice = random.Random(20260103)
    alarms = sum(ratio_alarm(chance, chance, weight, 100, dice) for _ in range(STREAMS))
    assert lower_bound(alarms) <= 0.05
    assert alarms > 0


def test_a_canary_much_worse_than_stable_is_found_by_a_ratio() -> None:
    dice = random.Random(20260104)
    assert sum(ratio_alarm(0.3, 0.02, 0.25, 400, dice) for _ in range(100)) >= 95


@pytest.mark.parametrize(
    ("ratio", "increase"),
    [
        (0.0, 0.02),
        (0.0, 0.3),
        (0.5, 0.0),
        (1.0, 0.0),
        (3.0, 0.0),
        (1.0, 0.02),
        (1.0, 0.3),
        (2.0, 0.1),
        (1.0, 1.0),
    ],
)
@pytest.mark.parametrize("sizes", [(1, 20), (6, 6), (20, 3)])
def test_nobody_is_expected_to_win_while_the_limit_holds(
    ratio: float, increase: float, sizes: tuple[int, int]
) -> None:
    """Add up the money over every outcome, by its chance, with a canary exactly at its limit."""
    canary, stable = sizes
    for share in (0.0, 0.001, 0.1, 0.33, 0.9):
        worst = min(ratio * share + increase, 1.0)
        expected = [0.0] * len(_log_money(ratio, increase, Sample(0, canary), Sample(0, stable)))
        for bad in range(canary + 1):
            for others in range(stable + 1):
                chance = binomial(bad, canary, worst) * binomial(others, stable, share)
                money = _log_money(ratio, increase, Sample(bad, canary), Sample(others, stable))
                expected = [
                    total + chance * math.exp(log) for total, log in zip(expected, money, strict=True)
                ]
        assert max(expected) <= 1 + 1e-9


def binomial(events: int, trials: int, share: float) -> float:
    """Return the chance of so many events."""
    return math.comb(trials, events) * share**events * (1 - share) ** (trials - events)


sides = st.tuples(shares, shares)


@given(sides, st.floats(0, 3), st.floats(0, 0.5))
def test_a_canary_within_its_limit_over_stable_never_excludes_it(
    counts: tuple[tuple[int, int], tuple[int, int]], ratio: float, increase: float
) -> None:
    canary, stable = Sample(*counts[0]), Sample(*counts[1])
    if canary.trials and stable.trials and canary.rate <= ratio * stable.rate + increase:
        assert not excludes_over_stable(canary, stable, ratio=ratio, increase=increase)


@given(sides, st.floats(0.1, 3), st.floats(0, 0.5))
def test_one_more_bad_request_speaks_against_the_side_that_it_is_on(
    counts: tuple[tuple[int, int], tuple[int, int]], ratio: float, increase: float
) -> None:
    (bad, trials), (others, served) = counts
    canary, stable = Sample(bad, trials + 1), Sample(others, served + 1)
    if excludes_over_stable(canary, stable, ratio=ratio, increase=increase):
        worse = Sample(bad + 1, trials + 1)
        assert excludes_over_stable(worse, stable, ratio=ratio, increase=increase)
    else:
        worse = Sample(others + 1, served + 1)
        assert not excludes_over_stable(canary, worse, ratio=ratio, increase=increase)


@given(shares, limits)
def test_stable_without_any_bad_request_leaves_the_increase_alone_as_the_limit(
    counts: tuple[int, int], limit: float
) -> None:
    canary = Sample(*counts)
    if canary.trials:
        alone = excludes(limit, *canary)
        assert excludes_over_stable(canary, Sample(0, 10**12), increase=limit) == alone
