"""Judge by what others than the pods say: one number of each look, within its limits or not.

A number is judged as it is, without statistics: whoever answers has done theirs. No number is never a
verdict about the canary: an empty answer of Prometheus is "no data" (onNoData), everything else that is no
number, and no answer, is an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from ekiben.api.fields import delta, seconds
from ekiben.api.judging import Check
from ekiben.api.measured import CheckResult, Verdict
from ekiben.api.status import Stage
from ekiben.core.asking import Answer, Question
from ekiben.core.filling import UnknownPlaceholderError, words_of
from ekiben.core.jobs import judge_job
from ekiben.core.measuring import Measure, Measured, build_measure
from ekiben.core.sampling import asks_others
from ekiben.core.view import View

NO_DATA = "no data"
# 0.1 + 0.2 must not be above 0.3.
_FLOAT_NOISE = 1e-9


def open_questions(view: View) -> Iterator[Question]:
    """Yield what is to be asked about the canary now: nothing before its first weight was observed."""
    rollout = view.trial
    if rollout is None or rollout.plan is None or not asks_others(view):
        return
    for check in rollout.plan.checks:
        if (check.prometheus or check.web) and not _problem(view, check):
            question = _question(view, check)
            assert not isinstance(question, str)
            yield question


def seconds_to_first_asking(view: View) -> float | None:
    """Return the seconds until initialDelay is over; None where nobody waits for it."""
    rollout = view.trial
    checks = rollout.plan.checks if rollout and rollout.plan else ()
    began = rollout.step_started_at if rollout else None
    if began is None or view.is_past_initial_delay or all(check.metric for check in checks):
        return None
    return (began + delta(view.spec.analysis.initial_delay) - view.now).total_seconds()


def looked_at(view: View, check: Check) -> datetime | None:
    """Return when a check's source was last looked at in the window; a Job is watched all the time."""
    if check.job is not None:
        return view.now
    answer = _answer(view, check)
    return answer.at if answer else None


def judge(view: View, check: Check, before: CheckResult | None) -> CheckResult:
    """Judge by the last answer in the current window; before there is one, what was said last holds.

    So an operator that starts again says what it said, until it has asked again.
    """
    if check.job is not None:
        return judge_job(view, check)
    if problem := _problem(view, check):
        return _result(check, "Error", f"{check.title} {problem}")
    answer = _answer(view, check)
    if answer is None:
        known = before if before is not None and before.metric == check.title else None
        return known or _result(check, "Waiting", f"{check.title} was not answered yet")
    if answer.problem:
        return _result(check, "Error", f"{check.title} can't be measured: {answer.problem}")
    return _compare(check, answer.value)


def has_no_data(result: CheckResult) -> bool:
    """Tell whether a source answered that there is nothing to judge by."""
    return result.verdict == "Waiting" and result.value == NO_DATA


def _compare(check: Check, measured: Measured) -> CheckResult:
    low, high = measured.low, measured.high
    if low is None or high is None:
        return _result(check, "Waiting", f"{check.title}: the query finds no series", NO_DATA)
    value = _said(low) if low == high else f"{_said(low)} to {_said(high)}"
    above = check.max is not None and high > _with_noise(float(check.max))
    below = check.min is not None and low < -_with_noise(-float(check.min))
    verdict: Verdict = "Fail" if above or below else "Pass"
    return _result(check, verdict, f"{check.title} {value}, limit {_limit(check)}", value, samples=1)


def _with_noise(limit: float) -> float:
    return limit + abs(limit) * _FLOAT_NOISE


def _said(number: float) -> str:
    return f"{number:.6g}"


def _limit(check: Check) -> str:
    parts = (check.min and f"at least {check.min}", check.max and f"at most {check.max}")
    return ", ".join(part for part in parts if part)


def _result(
    check: Check, verdict: Verdict, message: str, value: str | None = None, samples: int = 0
) -> CheckResult:
    return CheckResult(
        metric=check.title,
        verdict=verdict,
        value=value,
        limit=_limit(check) or None,
        samples=samples,
        message=message,
        dry_run=True if check.dry_run else None,
    )


def _problem(view: View, check: Check) -> str:
    """Say why a check can't be judged by what its source says, whatever that is; CEL refuses most of it."""
    if check.max is None and check.min is None:
        return "has no limit: set max or min"
    if check.max is not None and check.max.endswith("%"):
        return f'has a share as its limit: write {float(check.max[:-1]) / 100:g} in place of "{check.max}"'
    question = _question(view, check)
    return question if isinstance(question, str) else ""


def _answer(view: View, check: Check) -> Answer | None:
    question = _question(view, check)
    return None if isinstance(question, str) else view.snapshot.answers.get(question)


def _question(view: View, check: Check) -> Question | str:
    """Return the question of a check: the same for every look of a window, and another in the next.

    Where it can't be asked, return why.
    """
    key = (_question, check)
    if key not in view.memo:
        view.memo[key] = _measure(view, check)
    found: Question | str = view.memo[key]
    return found


def _measure(view: View, check: Check) -> Measure | str:
    if check.prometheus is None and check.web is None:
        return "has no source: set one of metric, prometheus, web and job"
    rollout = view.trial
    began = rollout.step_started_at if rollout else None
    if rollout is not None and rollout.stage is Stage.BAKING:
        began = rollout.stage_started_at
    since = (began + delta(view.spec.analysis.initial_delay)).timestamp() if began else 0.0
    try:
        return build_measure(
            check,
            words_of(view),
            every=seconds(check.interval or view.spec.analysis.interval),
            about=view.window,
            since=since,
        )
    except UnknownPlaceholderError as problem:
        return str(problem)
