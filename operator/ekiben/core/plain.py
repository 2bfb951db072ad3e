"""Judge what is no share: numbers that are compared as they are, over the whole step.

There is no evidence to weigh, so none of them ever fails a canary: one that is not within its limits is
waited for, and is inconclusive when nobody waits any more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from ekiben.api.judging import Check
from ekiben.api.measured import CheckResult, Counters, Load, Verdict


class _Figure(NamedTuple):
    """What a metric measures on one side: `value` None where nothing was there to be measured."""

    value: float | None
    samples: int
    over: str


class _Broken(NamedTuple):
    """Why a canary is not within its limits, as `{why} so far` and `still {why}` say it."""

    why: str


def _throughput(counters: Counters, elapsed: float) -> _Figure:
    rate = counters.requests / elapsed if elapsed > 0 else None
    return _Figure(rate, counters.requests, f"{elapsed:.0f}s")


def _batch_size(counters: Counters, elapsed: float) -> _Figure:
    load = counters.load or Load()
    mean = load.batched / load.batches if load.batches else None
    return _Figure(mean, load.batches, f"{load.batches} batches")


def _concurrency(counters: Counters, elapsed: float) -> _Figure:
    load = counters.load or Load()
    mean = load.busy_ms / load.watched_ms if load.watched_ms else None
    return _Figure(mean, counters.requests, f"{load.watched_ms / 1000:.0f}s of pods")


# The metrics that are no shares, and what each measures.
PLAIN: Mapping[str, Callable[[Counters, float], _Figure]] = {
    "throughput": _throughput,
    "mean-batch-size": _batch_size,
    "concurrency": _concurrency,
}
_NOTHING = {
    "throughput": "below the limit",
    "mean-batch-size": "no batch seen",
    "concurrency": "nothing measured",
}


def judge_plain(
    check: Check, canary: Counters, stable: Counters, *, elapsed: float, waited_out: bool
) -> CheckResult:
    """Compare both sides' counts, made over `elapsed` seconds, with the limits of a check."""
    measure = PLAIN[check.title]
    ours, theirs = measure(canary, elapsed), measure(stable, elapsed)
    broken = _broken(check, ours, theirs)
    verdict: Verdict = "Pass" if broken is None else "Inconclusive" if waited_out else "Waiting"
    unit = "/s" if check.title == "throughput" else ""
    limit = _limit(check, unit)
    said = [f"{check.title} {_number(ours.value or 0.0)}{unit} over {ours.over}"]
    if check.max_ratio_to_stable is not None:
        said.append(f"stable {_number(theirs.value or 0.0)}{unit} over {theirs.over}")
    why = f": {_why(broken.why, waited_out=waited_out)}" if broken else ""
    return CheckResult(
        metric=check.title,
        verdict=verdict,
        value=f"{_number(ours.value)}{unit}" if ours.value is not None else None,
        limit=limit,
        samples=ours.samples,
        message=", ".join([*said, f"limit {limit}"]) + why,
    )


def _why(why: str, *, waited_out: bool) -> str:
    return f"still {why} when maxWait was over" if waited_out else f"{why} so far"


def _broken(check: Check, ours: _Figure, theirs: _Figure) -> _Broken | None:
    """Return the first limit that the canary is not within; None when it is within all of them."""
    if ours.value is None:
        return _Broken(_NOTHING[check.title])
    if check.min is not None and ours.value < float(check.min):
        return _Broken("below the limit")
    if check.max is not None and ours.value > float(check.max):
        return _Broken("above the limit")
    if check.max_ratio_to_stable is None:
        return None
    if theirs.value is None:
        return _Broken(f"{_NOTHING[check.title]} on stable")
    if ours.value > float(check.max_ratio_to_stable) * theirs.value:
        return _Broken("above the limit")
    return None


def _limit(check: Check, unit: str) -> str:
    limits = (
        check.min and f"at least {check.min}{unit}",
        check.max and f"at most {check.max}{unit}",
        check.max_ratio_to_stable and f"at most {check.max_ratio_to_stable} x stable",
    )
    return ", ".join(limit for limit in limits if limit)


def _number(value: float) -> str:
    return f"{value:.3g}"
