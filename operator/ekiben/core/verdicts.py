"""What the checks of a rollout say about its current window, and what follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from ekiben.api.fields import delta, fraction, seconds
from ekiben.api.judging import Check
from ekiben.api.status import CheckResult, Counters, Stage, Totals
from ekiben.core import analysis
from ekiben.core.view import View, once

DEFAULT_HOLD = "1m"

# What follows from a check.
Deed = Literal["pass", "wait", "pause", "fail"]


@once
def deeds(view: View) -> list[tuple[CheckResult, Deed]]:
    """Return what follows from each check, by its verdict and by what the spec wants then."""
    rollout = view.trial
    checks = rollout.plan.checks if rollout and rollout.plan else ()
    return [(result, _deed(view, check, result)) for check, result in zip(checks, judged(view), strict=True)]


def _deed(view: View, check: Check, result: CheckResult) -> Deed:
    rules = view.spec.analysis
    if check.dry_run or result.verdict == "Pass":
        return "pass"
    if result.verdict == "Fail":
        return "fail"
    if result.verdict == "Inconclusive":
        return rules.on_inconclusive
    if result.verdict == "Error":
        return "fail" if _errors_in_a_row(view, result) > rules.consecutive_error_limit > 0 else "wait"
    if lacks(view, result) and waited_out(view):
        return check.on_no_data or rules.on_no_data
    return "wait"


def told(results: Sequence[CheckResult]) -> str:
    """Return the numbers that a step was passed on, for an Event; empty where nothing was judged."""
    said = (
        f"{result.message} (dry run: {result.verdict})" if result.dry_run else result.message
        for result in results
    )
    return "".join(f"; {words}" for words in said)


def lacks(view: View, result: CheckResult) -> bool:
    """Tell whether a check has no verdict because it has not seen enough requests."""
    few = result.samples < view.spec.analysis.min_samples
    return result.verdict == "Waiting" and few and result.metric in analysis.METRICS


def no_data(view: View, result: CheckResult) -> str:
    """Say that a check did not get its requests in time."""
    rules = view.spec.analysis
    return f"{result.samples} of {rules.min_samples} requests seen within {rules.max_wait}"


def _errors_in_a_row(view: View, result: CheckResult) -> int:
    """Count the looks since a check can't be judged: as many as fit, for none of them is written down."""
    seen = view.observation
    if seen is None or result.since is None:
        return 1
    lasted = (seen.at - result.since).total_seconds()
    return int(lasted / seconds(view.spec.analysis.interval)) + 1


@once
def totals(view: View) -> Totals:
    """Return what both sides served in the current window: what the status counts, or newer."""
    rollout, seen = view.status.rollout, view.observation
    if rollout is None or seen is None:
        known = rollout.totals if rollout else None
        return known if known and known.window == view.window else Totals(window=view.window)
    empty = Counters()
    return Totals(
        window=view.window,
        measured_at=seen.at,
        stable=seen.counters.get(view.stable_revision or "", empty),
        canary=seen.counters.get(rollout.revision, empty),
        resets=seen.resets.get(rollout.revision, 0),
    )


@once
def judged(view: View) -> tuple[CheckResult, ...]:
    """Judge the current window by the rollout's checks."""
    rollout = view.trial
    if rollout is None or rollout.plan is None:
        return ()
    rules, counted = view.spec.analysis, totals(view)
    terms = analysis.Terms(
        min_samples=rules.min_samples,
        waited_out=waited_out(view),
        confidence=fraction(rules.confidence),
        windows=max(sum(step.weight is not None for step in rollout.plan.steps), 1),
        since=_began(view),
    )
    results = analysis.judge(rollout.plan.checks, counted, terms)
    return analysis.dated(results, rollout.checks, counted.measured_at)


def _began(view: View) -> datetime | None:
    """Return when the requests of the current window began to be counted."""
    reached = view.trial.step_started_at if view.trial else None
    return reached + delta(view.spec.analysis.initial_delay) if reached else None


def seconds_to_wait_out(view: View) -> float | None:
    """Return the seconds until `maxWait` beyond the hold is over; None where no step is held."""
    end = hold_end(view)
    if end is None:
        return None
    return max((end + delta(view.spec.analysis.max_wait) - view.now).total_seconds(), 0.0)


def waited_out(view: View) -> bool:
    """Tell whether `maxWait` beyond the hold is over."""
    return seconds_to_wait_out(view) == 0.0


def hold_end(view: View) -> datetime | None:
    """Return when the step that is held has been held for long enough; None where no step is held."""
    rollout = view.rollout
    if rollout is None or rollout.stage is not Stage.HOLDING or rollout.step_started_at is None:
        return None
    steps = rollout.plan.steps if rollout.plan else ()
    return rollout.step_started_at + delta(steps[rollout.step - 1].hold or DEFAULT_HOLD)
