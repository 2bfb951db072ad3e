"""What the checks of a rollout say about its current window, and what follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

from ekiben.api.fields import delta, fraction, seconds
from ekiben.api.judging import Check
from ekiben.api.measured import CheckResult, Counters, Totals
from ekiben.api.status import RolloutStatus, Stage
from ekiben.core import analysis, growing, sources
from ekiben.core.steps import DEFAULT_HOLD, current_step, gets_requests, hold_of, steps_of
from ekiben.core.view import View, once

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
    if check.dry_run or result.verdict == "Pass" or excuse(view, check):
        return "pass"
    if result.verdict == "Fail":
        return "fail"
    if result.verdict == "Inconclusive":
        return rules.on_inconclusive
    if result.verdict == "Error":
        return "fail" if _errors_in_a_row(view, check, result) > rules.consecutive_error_limit > 0 else "wait"
    if lacks(view, result) and waited_out(view) and not _may_yet_come(view, result):
        return check.on_no_data or rules.on_no_data
    return "wait"


def excuse(view: View, check: Check) -> str:
    """Say why a check decides nothing now; empty where it does.

    What comes in by the preview says nothing about users' requests: no check on requests rests on it.
    """
    rollout = view.trial
    if rollout is not None and rollout.stage is Stage.BAKING:
        lone = f"{check.title} is not judged in the bake: there is no other side to compare with"
        return lone if analysis.only_compares(check) else ""
    if rollout is None or gets_requests(rollout, rollout.step) or not analysis.counts_requests(check):
        return ""
    return f"{check.metric} is not judged at 0%: it counts requests, and none are sent to the canary"


def counts(view: View) -> bool:
    """Tell whether any check rests on what is counted now."""
    plan = view.trial.plan if view.trial else None
    return plan is None or not all(excuse(view, check) for check in plan.checks)


def numbers_text(results: Sequence[CheckResult]) -> str:
    """Return the numbers that a step was passed on, for an Event; empty where nothing was judged."""
    said = (
        f"{result.message} (dry run: {result.verdict})" if result.dry_run else result.message
        for result in results
    )
    return "".join(f"; {words}" for words in said)


def lacks(view: View, result: CheckResult) -> bool:
    """Tell whether a check has no verdict because it has not seen enough requests."""
    if sources.has_no_data(result):
        return True
    if result.excused:
        return False
    few = result.samples < view.spec.analysis.min_samples
    return result.verdict == "Waiting" and few and result.metric in analysis.METRICS


def awaits_pods(view: View, result: CheckResult) -> bool:
    """Tell whether a check waits for pods that are missing, or for requests since they came."""
    if result.dry_run:
        return False
    return bool(result.excused) or (growing.began_anew(view, result) is not None and lacks(view, result))


def reason_of(view: View, result: CheckResult) -> str:
    """Name what a check that keeps a step from passing waits for, as one word."""
    if result.verdict == "Error":
        return "CheckError"
    if result.excused:
        return growing.REASON if growing.growth(view) else "Analysing"
    if lacks(view, result):
        return "Samples" if analysis.is_counted(result.metric) else "NoSeries"
    return "OverLimit" if result.value is not None or analysis.is_counted(result.metric) else "Analysing"


def no_data(view: View, result: CheckResult) -> str:
    """Say that a check did not get its requests, or anything at all, in time."""
    if not analysis.is_counted(result.metric):
        return f"{result.message}, within {_max_wait(view)}"
    return f"{result.samples} of {view.spec.analysis.min_samples} requests seen within {_max_wait(view)}"


def looked_at(view: View, check: Check) -> datetime | None:
    """Return when a check's source was last looked at in the current window; None where it was not."""
    if check.metric is None:
        return sources.looked_at(view, check)
    return view.observation.at if view.observation else None


def _errors_in_a_row(view: View, check: Check, result: CheckResult) -> int:
    """Count the looks since a check can't be judged: as many as fit, for none of them is written down."""
    seen = looked_at(view, check)
    if seen is None or result.since is None:
        return 1
    lasted = (seen - result.since).total_seconds()
    # Nobody looks more often than once a second, whatever a spec says that the API server never saw.
    interval = max(seconds(check.interval or view.spec.analysis.interval), 1.0)
    return int(lasted / interval) + 1


@once
def totals(view: View) -> Totals:
    """Return what both sides served in the current window: what the status counts, or newer."""
    rollout, seen = view.status.rollout, view.observation
    if rollout is None or seen is None:
        known = rollout.totals if rollout else None
        return known if known and known.window == view.window else Totals(window=view.window)
    empty = Counters()
    # In a bake the new revision is stable, and there is no other side.
    other = view.stable_revision if view.stable_revision != rollout.revision else None
    return Totals(
        window=view.window,
        measured_at=seen.at,
        stable=seen.counters.get(other or "", empty),
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
        windows=_windows(view, rollout),
        since=_began(view),
    )
    before = [*rollout.checks, *[None] * len(rollout.plan.checks)]
    return tuple(
        _judged(view, check, known, counted, terms)
        for check, known in zip(rollout.plan.checks, before, strict=False)
    )


def _judged(
    view: View, check: Check, before: CheckResult | None, counted: Totals, terms: analysis.Terms
) -> CheckResult:
    """Judge by one check, whatever its source, and say since when it has said so."""
    if check.metric is None:
        result, at = sources.judge(view, check, before), sources.looked_at(view, check)
    else:
        result, at = _by_counts(view, check, counted, terms), counted.measured_at
        if seconds_to_bake_out(view) != 0.0:
            result = growing.excused(view, check, result, before, waited_out=terms.waited_out)
        elif (grown := growing.growth(view)) and result.verdict == "Fail":
            result = result.model_copy(update={"message": f"{result.message}; {grown.why}"})
    if why := excuse(view, check):
        update = {"verdict": "Waiting", "value": None, "samples": 0, "message": why, "excused": None}
        result = result.model_copy(update=update)
    (dated,) = analysis.dated((result,), (before,) if before else (), at)
    return dated


def _by_counts(view: View, check: Check, counted: Totals, terms: analysis.Terms) -> CheckResult:
    """Judge by what the pods counted; how long requests take, once the pods are there that they need."""
    is_baking = view.trial is not None and view.trial.stage is Stage.BAKING
    if check.metric in growing.DURATIONS:
        counted = growing.judged_counts(view, counted)
        terms = terms._replace(windows=terms.windows * growing.tries(view))
    (result,) = analysis.judge((analysis.absolute(check) if is_baking else check,), counted, terms)
    return result


def _windows(view: View, rollout: RolloutStatus) -> int:
    """Count the windows in which requests are judged: they share what `confidence` allows."""
    weighted = (
        step.weight or (step.analysis and gets_requests(rollout, number))
        for number, step in enumerate(steps_of(rollout), start=1)
    )
    bakes = delta(view.spec.analysis.bake) > timedelta()
    return max(sum(map(bool, weighted)) + bakes, 1)


def _began(view: View) -> datetime | None:
    """Return when the requests of the current window began to be counted."""
    rollout = view.trial
    if rollout is not None and rollout.stage is Stage.BAKING:
        return rollout.stage_started_at
    reached = rollout.step_started_at if rollout else None
    return reached + delta(view.spec.analysis.initial_delay) if reached else None


def seconds_to_wait_out(view: View) -> float | None:
    """Return the seconds until `maxWait` beyond the hold is over; None where no step is held."""
    end = hold_end(view)
    if end is None:
        return None
    return max((end + delta(_max_wait(view)) - view.now).total_seconds(), 0.0)


def waited_out(view: View) -> bool:
    """Tell whether `maxWait` beyond the hold is over."""
    return seconds_to_wait_out(view) == 0.0


def seconds_to_bake_out(view: View) -> float | None:
    """Return the seconds until `maxWait` beyond the bake is over; None where nothing bakes.

    What is slow then serves everybody, and there is something to go back to: nothing is excused any more.
    """
    rollout, rules = view.rollout, view.spec.analysis
    if rollout is None or rollout.stage is not Stage.BAKING or rollout.stage_started_at is None:
        return None
    end = rollout.stage_started_at + delta(rules.bake) + delta(rules.max_wait)
    return max((end - view.now).total_seconds(), 0.0)


def _may_yet_come(view: View, result: CheckResult) -> bool:
    """Tell whether `maxWait` is not over since a check's counts began anew, where that was in time."""
    anew, end, wait = growing.began_anew(view, result), hold_end(view), delta(_max_wait(view))
    return anew is not None and end is not None and anew < end + wait and view.now < anew + wait


def hold_end(view: View) -> datetime | None:
    """Return when the step that is held has been held for long enough; None where no step is held."""
    rollout = view.rollout
    if rollout is None or rollout.stage is not Stage.HOLDING or rollout.step_started_at is None:
        return None
    step = current_step(rollout)
    return rollout.step_started_at + delta(hold_of(step) if step else DEFAULT_HOLD)


def _max_wait(view: View) -> str:
    """Return the longest wait beyond the hold, as the step or the spec says it."""
    step = current_step(view.rollout) if view.rollout else None
    own = step.analysis.max_wait if step and step.analysis else None
    return own or view.spec.analysis.max_wait
