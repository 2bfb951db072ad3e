"""Weigh counts against a limit, as often as one likes: the statistics behind every check.

Theory of operation
-------------------
Every metric that is judged counts *events* (bad requests) in *trials* (requests). We look at the same
growing counts again and again, so the usual tests do not apply: looked at after every request, a 5 % test
alarms for almost any canary in the end. We bet against the limit instead. Whoever bets starts with 1 and
owns the product of one factor per request; the factors are made such that no request is expected to win
anything while the limit holds. Then the money is a supermartingale, and so is the mean, with fixed
weights, of many who play with different stakes. By Ville's inequality the chance that it *ever* reaches
20 is then at most 1/20: reaching 20 excludes the limit at 95 %, no matter how often or when we look.

One limit. Let d be the largest share allowed. With the stake m > 1, an event multiplies the money by m /
(1 + (m - 1) d) and a good request by 1 / (1 + (m - 1) d). If a request's chance p of being an event,
given all before it, is at most d, the expected factor is (1 + (m - 1) p) / (1 + (m - 1) d) <= 1. The
money is the likelihood ratio of the share whose odds are m times those of d: stakes near 1 find a canary
just over its limit, large ones find a broken one within a few requests. Their mean is below 20 on
purpose: one bad request alone never excludes a limit above zero at 95 %.

Two sides. The limit is now: the canary's chance is at most r p + d, with p the chance on stable, whatever
p is. r = 1, d = 0 is "no worse than stable". Per stable request there are w canary requests. With some g
>= 0 below 1 / d and 1 / (r w) let the factors be

    canary: A (1 - d g) for an event and 1 - d g for a good request, with A = 1 + g / (1 - d g);
    stable: B = 1 - r w g for an event and 1 for a good request.

The expected factor of a canary request at its limit is (1 + (r p + d)(A - 1)) (1 - d g) = 1 + r p g, that
of a stable one 1 - r w p g, and those of w canary requests and one stable request together

    (1 + r p g)^w (1 - r w p g) <= exp(w r p g) exp(-r w p g) = 1

for every p, because 1 + x <= exp(x): nobody has to know p, and it need not stay the same. For a stake m
we take g = h / (1 + r w h) with h = (m - 1)(1 - q) / (1 + d (m - 1)(1 - q)) and q = r w / (1 + r w), the
canary's fair share of the events. With r = 0 that is the bet on one limit; with d = 0 it bets on who gets
the next event, at m times the odds of q : 1 - q.

What is taken as given: w, which is read off the counts. The weight is constant in the window that is
judged, so w is, too, but for chance; docs/analysis.md shows what chance, bursts and unequal sides cost,
by simulation (`python -m judges`). What no test of this kind covers are requests that fail together for a
reason that is not the canary's.
"""

from __future__ import annotations

import math
from typing import NamedTuple

CONFIDENCE = 0.95

# Half of the money plays on shares of 1.25 to 3 times the odds, which are the hardest to tell from the limit.
_STAKES = (
    (1.1, 2), (1.25, 4), (1.5, 6), (2.0, 6), (3.0, 4), (4.0, 3), (6.0, 2), (8.0, 2), (12.0, 2), (16.0, 2),
    (24.0, 2), (32.0, 2), (48.0, 1), (64.0, 1),
)  # fmt: skip
_MONEY = sum(weight for _, weight in _STAKES)


class Sample(NamedTuple):
    """Bad requests among those that a metric looks at."""

    events: int
    trials: int

    @property
    def rate(self) -> float:
        """The share of bad requests; 0 where there were none to look at."""
        return self.events / self.trials if self.trials else 0.0


def excludes(limit: float, events: int, trials: int, confidence: float = CONFIDENCE) -> bool:
    """Tell whether `events` of `trials` exclude that the true share is at most `limit`, a fraction.

    One-sided, and valid however often it is asked about growing counts: the chance of ever excluding a limit
    that holds is at most 1 - confidence. The module's docstring says how (Ville 1939).
    """
    return _excludes(0.0, limit, Sample(events, max(events, trials)), Sample(0, 1), confidence)


def excludes_over_stable(
    canary: Sample,
    stable: Sample,
    *,
    ratio: float = 1.0,
    increase: float = 0.0,
    confidence: float = CONFIDENCE,
) -> bool:
    """Tell whether both sides' counts exclude that the canary's share is at most ratio x stable's + increase.

    Valid as `excludes` is, for any shares and any sizes of the two sides; `increase` is a fraction.
    """
    if canary.trials <= 0 or stable.trials <= 0:
        return False
    return _excludes(ratio, increase, canary, stable, confidence)


def _excludes(ratio: float, increase: float, canary: Sample, stable: Sample, confidence: float) -> bool:
    if canary.rate <= ratio * stable.rate + increase:
        # Whoever bets that an observed share within its limit is above it has not won anything.
        return False
    if increase <= 0 and ratio <= 0:
        return True
    if confidence >= 1:
        # The API server refuses 100%: no counts are ever that certain.
        return False
    logs = _log_money(ratio, min(max(increase, 0.0), 1.0), canary, stable)
    top = max(logs)
    mean = math.fsum(weight * math.exp(log - top) for log, (_, weight) in zip(logs, _STAKES, strict=True))
    return top + math.log(mean / _MONEY) >= -math.log1p(-confidence)


def _log_money(ratio: float, increase: float, canary: Sample, stable: Sample) -> list[float]:
    """Return the logarithm of what each stake has made, in the terms of the module's docstring."""
    fair = ratio * canary.trials / (ratio * canary.trials + stable.trials)
    logs = []
    for stake, _ in _STAKES:
        hedge = 1 + increase * (stake - 1) * (1 - fair)
        paid = 1 + (stake - 1) * fair / hedge  # 1 / B
        gain = (stake - 1) * (1 - fair) / hedge / paid  # g
        rest = 1 - increase * gain
        log = canary.events * math.log1p(gain / rest)
        if increase:
            log += canary.trials * math.log(rest)
        if fair:
            log -= stable.events * math.log(paid)
        logs.append(log)
    return logs
