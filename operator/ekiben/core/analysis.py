"""Judge a canary on the requests that it and stable really served.

Theory of operation
-------------------
Every metric counts *events* (bad requests) in *trials* (requests); METRICS is the table. A check passes once
enough requests were served and the share of events is within its limit. It fails earlier, without waiting for
any number of requests, as soon as the limit is *excluded*: the canary can't plausibly be that good.

We look at the same growing counts again and again, so the usual tests do not apply: looked at after
every request, a 5 % test alarms for almost any canary in the end. `excludes` bets against the limit
instead. Let p0 be the limit. A bet with stake m > 1 multiplies our money

    by m / (1 + (m - 1) p0) at each event, and by 1 / (1 + (m - 1) p0) at each good request.

If each request's chance p of being an event, given all before it, is at most p0, the expected factor is
(1 + (m - 1) p) / (1 + (m - 1) p0) <= 1, so our money is a supermartingale that starts at 1, and so is
the mean over a fixed set of stakes. By Ville's inequality the chance that it *ever* reaches 20 is then
at most 1/20: reaching 20 excludes the limit at 95 %, no matter how often or when we look. After k
events in n requests a bet has made

    m^k / (1 + (m - 1) p0)^n  =  (p1 / p0)^k  ((1 - p1) / (1 - p0))^(n - k),

the likelihood ratio of the alternative p1 whose odds are m times those of p0: stakes near 1 find a
canary just over its limit, large ones find a broken one within a few requests. The mean stake is below
20 on purpose: one bad request alone never excludes a limit above zero.

maxRatioToStable is judged given the sum of both sides' events: if the canary's rate is at most r times
stable's, each of them is the canary's with a chance of at most q0 = r nc / (r nc + ns), for nc and ns
trials. That is the same bet with limit q0. It takes the split of the trials as given; where nc and ns
are small the split is itself random, and a simulation in the tests bounds what that costs.

What no test of this kind covers are requests that fail together for a reason that is not the canary's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from ekiben.api.fields import fraction, seconds
from ekiben.api.status import CheckResult, Counters, Totals
from ekiben.api.v1alpha1 import Check

DEFAULT_CHECKS: tuple[Check, ...] = (Check(metric="error-rate", max="1%"),)
CONFIDENCE = 0.95

_STAKES = (1.1, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0)
_LOG_STAKES = tuple(math.log(stake) for stake in _STAKES)
# 1.15 x 20 % must not be below 23 %.
_FLOAT_NOISE = 1e-9

Verdict = Literal["Pass", "Fail", "Waiting", "Error"]
_WORST_FIRST: tuple[Verdict, ...] = ("Fail", "Error", "Waiting", "Pass")


class Sample(NamedTuple):
    """Bad requests among those that a metric looks at."""

    events: int
    trials: int

    @property
    def rate(self) -> float:
        """The share of bad requests; 0 where there were none to look at."""
        return self.events / self.trials if self.trials else 0.0


class _Finding(NamedTuple):
    """What one limit of a check says, and why it is no pass."""

    verdict: Verdict
    why: str = ""


def _errors(check: Check, counters: Counters) -> Sample:
    if check.exclude_sheds:
        return Sample(counters.errors - counters.sheds_5xx, counters.requests - counters.sheds_5xx)
    return Sample(counters.errors, counters.requests)


def _sheds(check: Check, counters: Counters) -> Sample:
    return Sample(counters.sheds, counters.requests)


def _slow(check: Check, counters: Counters) -> Sample | None:
    if check.over in counters.slow:
        return Sample(counters.slow[check.over], counters.requests)
    return None if counters.requests else Sample(0, 0)


# What each metric counts; None where a revision's counters can't tell.
METRICS: Mapping[str, Callable[[Check, Counters], Sample | None]] = {
    "error-rate": _errors,
    "shed-rate": _sheds,
    "slow-requests": _slow,
}


def effective_checks(checks: Sequence[Check]) -> tuple[Check, ...]:
    """Return the checks to judge by: the user's, or the default."""
    return tuple(checks) or DEFAULT_CHECKS


def bounds_of(checks: Sequence[Check]) -> dict[str, float]:
    """Return the latency bounds that checks need, by the name they are written as, in seconds."""
    return {
        check.over: seconds(check.over) for check in checks if check.metric == "slow-requests" and check.over
    }


def excludes(limit: float, events: int, trials: int, confidence: float = CONFIDENCE) -> bool:
    """Tell whether `events` of `trials` exclude that the true share is at most `limit`, a fraction.

    One-sided, and valid however often it is asked about growing counts: the chance of ever excluding a limit
    that holds is at most 1 - confidence. The module's docstring says how (Ville 1939).
    """
    if events <= 0:
        return False
    if limit <= 0:
        return True
    limit, trials = min(limit, 1.0), max(events, trials)
    logs = [
        events * log_stake - trials * math.log1p((stake - 1) * limit)
        for stake, log_stake in zip(_STAKES, _LOG_STAKES, strict=True)
    ]
    top = max(logs)
    log_mean = top + math.log(math.fsum(math.exp(log - top) for log in logs) / len(logs))
    return log_mean >= -math.log1p(-confidence)


def excludes_ratio(ratio: float, canary: Sample, stable: Sample, confidence: float = CONFIDENCE) -> bool:
    """Tell whether both sides' counts exclude that the canary's rate is at most `ratio` times stable's."""
    if not canary.trials or not stable.trials:
        return False
    share = ratio * canary.trials / (ratio * canary.trials + stable.trials)
    return excludes(share, canary.events, canary.events + stable.events, confidence)


def judge(
    checks: Sequence[Check], totals: Totals, *, min_samples: int, waited_out: bool
) -> tuple[CheckResult, ...]:
    """Judge both sides' counts by each check; `waited_out` says that nobody waits for certainty any more.

    A result's `samples` are those of the side that has fewest, of the sides that the check needs.
    """
    return tuple(_judge(check, totals, min_samples, waited_out) for check in checks)


def _judge(check: Check, totals: Totals, min_samples: int, waited_out: bool) -> CheckResult:
    if problem := _problem(check):
        return CheckResult(metric=check.metric, verdict="Error", message=f"{check.metric} {problem}")
    count = METRICS[check.metric]
    canary, stable = count(check, totals.canary), count(check, totals.stable)
    if canary is None:
        return CheckResult(metric=check.metric, verdict="Error", message=_untold(check, "the canary"))
    findings = []
    if (limit := _max(check)) is not None:
        findings.append(_judge_max(limit, canary, min_samples, waited_out))
    if check.max_ratio_to_stable is not None:
        if stable is None:
            findings.append(_Finding("Error", _untold(check, "stable")))
        else:
            ratio = float(check.max_ratio_to_stable)
            findings.append(_judge_ratio(ratio, canary, stable, min_samples, waited_out))
    worst = min(findings, key=lambda finding: _WORST_FIRST.index(finding.verdict))
    needed = [canary, stable] if check.max_ratio_to_stable is not None and stable else [canary]
    return CheckResult(
        metric=check.metric,
        verdict=worst.verdict,
        value=_percent(canary.rate, _max(check)) if canary.trials else None,
        limit=_limit(check),
        samples=min(side.trials for side in needed),
        message=_sentence(check, canary, stable, worst.why),
    )


def _problem(check: Check) -> str:
    if check.max is None and check.max_ratio_to_stable is None:
        return "has no limit: set max or maxRatioToStable"
    if check.metric == "slow-requests" and not check.over:
        return "has no bound: set over, for example 300ms"
    return ""


def _untold(check: Check, side: str) -> str:
    return (
        f"slow-requests over {check.over} can't be counted on {side}: its pods export no such bucket, "
        "because it was born before this check or its bento sets buckets of its own; use a bound that it "
        "has, or roll out a new revision"
    )


def _judge_max(limit: float, canary: Sample, min_samples: int, waited_out: bool) -> _Finding:
    if excludes(limit, canary.events, canary.trials):
        return _Finding("Fail")
    if canary.trials < min_samples:
        return _Finding("Waiting", f"{canary.trials} of {min_samples} requests seen")
    return _compare(canary.rate, limit, waited_out)


def _judge_ratio(
    ratio: float, canary: Sample, stable: Sample, min_samples: int, waited_out: bool
) -> _Finding:
    if excludes_ratio(ratio, canary, stable):
        return _Finding("Fail")
    for side, name in ((canary, "the canary"), (stable, "stable")):
        if side.trials < min_samples:
            return _Finding("Waiting", f"{side.trials} of {min_samples} requests seen on {name}")
    return _compare(canary.rate, ratio * stable.rate, waited_out)


def _compare(rate: float, limit: float, waited_out: bool) -> _Finding:
    if rate <= limit * (1 + _FLOAT_NOISE):
        return _Finding("Pass")
    if waited_out:
        return _Finding("Fail", "still over the limit when maxWait was over")
    return _Finding("Waiting", "over the limit, but not yet for certain")


def _max(check: Check) -> float | None:
    return fraction(check.max) if check.max is not None else None


def _limit(check: Check) -> str:
    ratio = f"{check.max_ratio_to_stable} x stable" if check.max_ratio_to_stable is not None else None
    return ", ".join(limit for limit in (check.max, ratio) if limit)


def _sentence(check: Check, canary: Sample, stable: Sample | None, why: str) -> str:
    name = check.metric + (f" over {check.over}" if check.over else "")
    parts = [f"{name} {_percent(canary.rate, _max(check))} of {canary.trials} requests"]
    if check.max_ratio_to_stable is not None and stable is not None:
        parts.append(f"stable {_percent(stable.rate)} of {stable.trials}")
    parts.append(f"limit {_limit(check)}")
    return ", ".join(parts) + (f": {why}" if why else "")


def _percent(rate: float, limit: float | None = None) -> str:
    """Write a share with three digits, or with more where rounding would hide that it isn't its limit."""
    shown = float(f"{100 * rate:.3g}")
    if limit is not None and rate != limit and shown == round(100 * limit, 6):
        shown = float(f"{100 * rate:.6g}")
    return f"{shown:.6f}".rstrip("0").rstrip(".") + "%"
