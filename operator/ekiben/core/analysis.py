"""Judge a canary by the checks of its rollout: what each metric counts, and what each limit says of it.

A share (METRICS) is judged by evidence.py. It fails as soon as its limit is *excluded*, without waiting
for any number of requests: the canary can't plausibly be that good. It passes once enough requests were
served and the share is within its limit. In between it waits; when nobody waits any more, it is
inconclusive.

What is no share is compared as it is: see plain.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from ekiben.api.fields import fraction, seconds
from ekiben.api.judging import Check
from ekiben.api.measured import CheckResult, Counters, Totals, Verdict
from ekiben.core.evidence import CONFIDENCE, Sample, excludes, excludes_over_stable
from ekiben.core.plain import PLAIN, judge_plain

DEFAULT_CHECKS: tuple[Check, ...] = (Check(metric="error-rate", max="1%"),)

# 1.15 x 20 % must not be below 23 %.
_FLOAT_NOISE = 1e-9
_WORST_FIRST: tuple[Verdict, ...] = ("Fail", "Error", "Inconclusive", "Waiting", "Pass")


class Terms(NamedTuple):
    """What holds for every check: `waited_out` says that nobody waits for certainty any more.

    `since` is when the counts began; `confidence` is a fraction, for checks without one of their own. It is
    about a whole rollout: each of its `windows`, one per weight, may be wrong with an equal part of the rest.
    """

    min_samples: int
    waited_out: bool
    confidence: float = CONFIDENCE
    windows: int = 1
    since: datetime | None = None


class _Finding(NamedTuple):
    """What one limit of a check says, and why it is no pass."""

    verdict: Verdict
    why: str = ""


class _Sides(NamedTuple):
    """What a check counts on both sides; None where a revision's counters can't tell."""

    canary: Sample
    stable: Sample | None


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


# The metrics that are shares, and what each counts; None where a revision's counters can't tell.
METRICS: Mapping[str, Callable[[Check, Counters], Sample | None]] = {
    "error-rate": _errors,
    "shed-rate": _sheds,
    "slow-requests": _slow,
}


def effective_checks(checks: Sequence[Check]) -> tuple[Check, ...]:
    """Return the checks to judge by: the user's, or the default."""
    return tuple(checks) or DEFAULT_CHECKS


def counts_requests(check: Check) -> bool:
    """Tell whether a check needs requests that the canary served."""
    return check.metric in METRICS or check.metric in PLAIN


def only_compares(check: Check) -> bool:
    """Tell whether a check has no limit but those that need another side."""
    return _compares(check) and check.max is None and check.min is None


def absolute(check: Check) -> Check:
    """Return a check without the limits that compare with stable."""
    return check.model_copy(update={"max_ratio_to_stable": None, "max_increase_over_stable": None})


def bounds_of(checks: Sequence[Check]) -> dict[str, float]:
    """Return the latency bounds that checks need, by the name they are written as, in seconds."""
    return {
        check.over: seconds(check.over) for check in checks if check.metric == "slow-requests" and check.over
    }


def judge(checks: Sequence[Check], totals: Totals, terms: Terms) -> tuple[CheckResult, ...]:
    """Judge both sides' counts by each check of the pods.

    A result's `samples` are those of the side that has fewest, of the sides that the check needs.
    """
    results = (_judge(check, totals, terms) for check in checks)
    return tuple(
        result.model_copy(update={"dry_run": True}) if check.dry_run else result
        for check, result in zip(checks, results, strict=True)
    )


def dated(
    results: Sequence[CheckResult], before: Sequence[CheckResult], at: datetime | None
) -> tuple[CheckResult, ...]:
    """Say of each result since when its check has said so; `before` are the results of the last look."""
    known = [*before, *[None] * len(results)]
    return tuple(
        result.model_copy(update={"since": (old.since or at) if old and _says(old) == _says(result) else at})
        for result, old in zip(results, known, strict=False)
    )


def _says(result: CheckResult) -> tuple[str, Verdict, bool]:
    return result.metric, result.verdict, bool(result.excused)


def is_counted(title: str) -> bool:
    """Tell whether a result of this title rests on requests that the pods counted, not on another source."""
    return title in METRICS or title in PLAIN


def _judge(check: Check, totals: Totals, terms: Terms) -> CheckResult:
    if problem := _problem(check):
        return _error(check, f"{check.title} {problem}")
    if check.metric in PLAIN:
        elapsed, late = _elapsed(totals, terms.since), terms.waited_out
        return judge_plain(check, totals.canary, totals.stable, elapsed=elapsed, waited_out=late)
    count = METRICS[check.title]
    canary, stable = count(check, totals.canary), count(check, totals.stable)
    if canary is None:
        return _error(check, _untold(check, "the canary"))
    sides = _Sides(canary, stable)
    worst = min(_findings(check, sides, terms), key=lambda finding: _WORST_FIRST.index(finding.verdict))
    needed = [canary, stable] if _compares(check) and stable else [canary]
    return CheckResult(
        metric=check.title,
        verdict=worst.verdict,
        value=_percent(canary.rate, _max(check)) if canary.trials else None,
        limit=_limit(check),
        samples=min(side.trials for side in needed),
        message=_sentence(check, sides, worst.why),
    )


def _findings(check: Check, sides: _Sides, terms: Terms) -> list[_Finding]:
    findings = []
    if (limit := _max(check)) is not None:
        findings.append(_judge_max(check, limit, sides.canary, terms))
    if not _compares(check):
        return findings
    if sides.stable is None:
        return [*findings, _Finding("Error", _untold(check, "stable"))]
    if check.max_ratio_to_stable is not None:
        ratio = float(check.max_ratio_to_stable)
        findings.append(_judge_over_stable(check, sides.canary, sides.stable, ratio, 0.0, terms))
    if check.max_increase_over_stable is not None:
        increase = fraction(check.max_increase_over_stable)
        findings.append(_judge_over_stable(check, sides.canary, sides.stable, 1.0, increase, terms))
    return findings


def _problem(check: Check) -> str:
    if check.metric in PLAIN:
        limits = (check.min, check.max, check.max_ratio_to_stable)
        if not any(limits):
            return "has no limit: set min, max or maxRatioToStable"
        return f"is no share: max can't be {check.max}" if check.max and check.max.endswith("%") else ""
    if check.max is None and not _compares(check):
        return "has no limit: set max, maxRatioToStable or maxIncreaseOverStable"
    if check.max is not None and not check.max.endswith("%"):
        return f"is a share: max must be a percentage such as 1%, not {check.max}"
    if check.metric == "slow-requests" and not check.over:
        return "has no bound: set over, for example 300ms"
    return ""


def _error(check: Check, message: str) -> CheckResult:
    return CheckResult(metric=check.title, verdict="Error", message=message)


def _untold(check: Check, side: str) -> str:
    return (
        f"slow-requests over {check.over} can't be counted on {side}: its pods export no such bucket, "
        "because it was born before this check or its bento sets buckets of its own; use a bound that it "
        "has, or roll out a new revision"
    )


def _judge_max(check: Check, limit: float, canary: Sample, terms: Terms) -> _Finding:
    if excludes(limit, canary.events, canary.trials, _confidence(check, terms)):
        return _Finding("Fail")
    if canary.trials < terms.min_samples:
        return _Finding("Waiting", f"{canary.trials} of {terms.min_samples} requests seen")
    return _compare(canary.rate, limit, terms)


def _judge_over_stable(
    check: Check, canary: Sample, stable: Sample, ratio: float, increase: float, terms: Terms
) -> _Finding:
    confidence = _confidence(check, terms)
    if excludes_over_stable(canary, stable, ratio=ratio, increase=increase, confidence=confidence):
        return _Finding("Fail")
    for side, name in ((canary, "the canary"), (stable, "stable")):
        if side.trials < terms.min_samples:
            return _Finding("Waiting", f"{side.trials} of {terms.min_samples} requests seen on {name}")
    return _compare(canary.rate, ratio * stable.rate + increase, terms)


def _compare(rate: float, limit: float, terms: Terms) -> _Finding:
    if rate <= limit * (1 + _FLOAT_NOISE):
        return _Finding("Pass")
    if terms.waited_out:
        return _Finding("Inconclusive", "still over the limit when maxWait was over, but not for certain")
    return _Finding("Waiting", "over the limit, but not yet for certain")


def _elapsed(totals: Totals, since: datetime | None) -> float:
    """Return the seconds over which both sides were counted."""
    return (totals.measured_at - since).total_seconds() if since and totals.measured_at else 0.0


def _confidence(check: Check, terms: Terms) -> float:
    asked = fraction(check.confidence) if check.confidence else terms.confidence
    return 1 - (1 - asked) / terms.windows


def _compares(check: Check) -> bool:
    return check.max_ratio_to_stable is not None or check.max_increase_over_stable is not None


def _max(check: Check) -> float | None:
    return fraction(check.max) if check.max is not None else None


def _limit(check: Check) -> str:
    ratio, increase = check.max_ratio_to_stable, check.max_increase_over_stable
    limits = (check.max, ratio and f"{ratio} x stable", increase and f"stable + {increase}")
    return ", ".join(limit for limit in limits if limit)


def _sentence(check: Check, sides: _Sides, why: str) -> str:
    canary, stable = sides
    name = check.title + (f" over {check.over}" if check.over else "")
    parts = [f"{name} {_percent(canary.rate, _max(check))} of {canary.trials} requests"]
    if _compares(check) and stable is not None:
        parts.append(f"stable {_percent(stable.rate)} of {stable.trials}")
    parts.append(f"limit {_limit(check)}")
    return ", ".join(parts) + (f": {why}" if why else "")


def _percent(rate: float, limit: float | None = None) -> str:
    """Write a share with three digits, or with more where rounding would hide that it isn't its limit."""
    shown = float(f"{100 * rate:.3g}")
    if limit is not None and rate != limit and shown == round(100 * limit, 6):
        shown = float(f"{100 * rate:.6g}")
    return f"{shown:.6f}".rstrip("0").rstrip(".") + "%"
