"""Canaries twice as bad as they may be: how many are found, and how soon against a test of a fixed size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import islice
from statistics import NormalDist, median

import numpy as np

from ekiben.api.judging import Analysis, Check
from ekiben.api.measured import Totals
from ekiben.core.analysis import Terms, judge
from ekiben.core.evidence import CONFIDENCE
from judges.figures import Found, Row, limit_of, percent
from judges.streams import Shares, Traffic, looks

POWER, PATIENCE = 0.8, 2.5
# As many looks as fit into 2.5 times the best fixed size.
LOOKS = 50
HEADER = (
    "check", "stable", "canary", "weight", "fixed size: requests, the canary's", "found by it",
    "found within 2.5 x", "99 % lower bound", "half are found within", "holds",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A canary worse than its limit at one weight, in percent; `allowed` is the worst that it may be.

    `steps` is how many steps the rollout has, which share its confidence.
    """

    check: Check
    shares: Shares
    allowed: float
    weight: int
    steps: int = 1


MAX = Check(metric="error-rate", max="1%")
AS_STABLE = Check(metric="error-rate", max_ratio_to_stable="1")
ONE_MORE = Check(metric="error-rate", max_increase_over_stable="1%")
DEGRADED = Shares(0.01, 0.02)

CASES = (
    Case(MAX, DEGRADED, 0.01, 100),
    *(Case(AS_STABLE, DEGRADED, 0.01, weight) for weight in (5, 25, 50)),
    *(Case(AS_STABLE, DEGRADED, 0.01, weight, steps=3) for weight in (5, 25, 50)),
    Case(ONE_MORE, Shares(0.01, 0.03), 0.02, 25),
)


def fixed_size(case: Case) -> float:
    """Return the requests to both sides that the best one-sided test looked at once needs for 80 % power.

    The normal approximation of the difference of two shares (Fleiss); without stable, of one share.
    """
    alpha, beta = NormalDist().inv_cdf(_confidence(case)), NormalDist().inv_cdf(POWER)
    weight, canary = case.weight / 100, case.shares.canary
    under = _variance(case.allowed) / weight
    over = _variance(canary) / weight
    if weight < 1:
        pooled = _pooled(case)
        under = _variance(pooled[0]) / weight + _variance(pooled[1]) / (1 - weight)
        over += _variance(case.shares.stable) / (1 - weight)
    return ((alpha * math.sqrt(under) + beta * math.sqrt(over)) / (canary - case.allowed)) ** 2


def _pooled(case: Case) -> tuple[float, float]:
    """Return both shares as they would be at the limit: the same requests, bad ones evenly taken."""
    weight, gap = case.weight / 100, case.allowed - case.shares.stable
    mean = weight * case.shares.canary + (1 - weight) * case.shares.stable
    return mean + (1 - weight) * gap, mean - weight * gap


def _variance(share: float) -> float:
    return share * (1 - share)


def _confidence(case: Case) -> float:
    return 1 - (1 - CONFIDENCE) / case.steps


def _finds(case: Case, seen: Totals) -> bool:
    """Tell whether the test of a fixed size finds the canary worse than its limit."""
    canary, stable, weight = seen.canary, seen.stable, case.weight / 100
    rate = canary.errors / canary.requests
    gap = case.allowed if weight == 1 else case.allowed - case.shares.stable
    spread = _variance(case.allowed) / canary.requests
    if weight < 1:
        mean = (canary.errors + stable.errors) / (canary.requests + stable.requests)
        rate -= stable.errors / stable.requests
        spread = _variance(mean + (1 - weight) * gap) / canary.requests
        spread += _variance(max(mean - weight * gap, 0.0)) / stable.requests
    return rate - gap > NormalDist().inv_cdf(_confidence(case)) * math.sqrt(spread)


def measure(case: Case, streams: int, seed: int) -> Row:
    """Show many such canaries to the check, and to the test of a fixed size."""
    chance = np.random.default_rng(seed)
    size = fixed_size(case)
    traffic = Traffic(PATIENCE * size / LOOKS)
    terms = Terms(Analysis().min_samples, waited_out=False, windows=case.steps)
    times, once = [], 0
    for _ in range(streams):
        totals = list(islice(looks(traffic, case.shares, case.weight / 100, chance), LOOKS))
        once += _finds(case, totals[round(LOOKS / PATIENCE) - 1])
        failed = (
            number
            for number, seen in enumerate(totals, start=1)
            if judge((case.check,), seen, terms)[0].verdict == "Fail"
        )
        times.append(next(failed, math.inf) * PATIENCE / LOOKS)
    hits = Found(sum(time <= PATIENCE for time in times), streams)
    cells = (
        limit_of(case.check),
        percent(case.shares.stable),
        percent(case.shares.canary),
        f"{case.weight}%, {case.steps} step{'s' if case.steps > 1 else ''}",
        f"{size:,.0f}, {size * case.weight / 100:,.0f}",
        percent(once / streams),
        percent(hits.share),
        percent(hits.lower),
        f"{median(times):.2f} x",
    )
    return Row(cells, hits.lower >= POWER)
