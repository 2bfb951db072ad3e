"""Checks that a Kubernetes Job makes: one Job for each step and check, whose exit status is the verdict.

A Job is a child like any other, but is never applied again: most of it can't be changed. What became of it is
read from its status. Those of the last rollout stay for their logs until the next one begins.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import partial

from ekiben.api.judging import Check
from ekiben.api.measured import CheckResult, Verdict
from ekiben.core import names
from ekiben.core.filling import UnknownPlaceholderError, words_of
from ekiben.core.plan import Child
from ekiben.core.render.job import build_job
from ekiben.core.sampling import asks_others
from ekiben.core.snapshot import Manifest, Ref
from ekiben.core.view import View

_DEADLINE = "DeadlineExceeded"


def ref_of_job(view: View, check: Check) -> Ref:
    """Name a check's Job in the current window: another one in the next, and when the steps are edited."""
    digest = hashlib.sha256(f"{view.window} {check.title}".encode()).hexdigest()[:9]
    return Ref("Job", names.revision_child(view.model.name, f"j{digest}"))


def missing_jobs(view: View) -> Iterator[Child]:
    """Yield the Jobs that are to be made now."""
    rollout = view.trial
    if rollout is None or rollout.plan is None or not asks_others(view):
        return
    words = words_of(view)
    for check in rollout.plan.checks:
        ref = ref_of_job(view, check)
        if check.job is None or ref in view.live or _problem(view, check):
            continue
        secrets = view.spec.image_pull_secrets or ()
        render = partial(build_job, view.model, ref.name, rollout.id, check.job, words, secrets)
        yield Child(ref, (check, rollout.id), render)


def unwanted_jobs(view: View) -> Iterator[Ref]:
    """Yield the Jobs that may go: of other rollouts, and those that still run for a step that is over."""
    rollout = view.status.rollout
    checks = rollout.plan.checks if view.trial and rollout and rollout.plan else ()
    current = {ref_of_job(view, check) for check in checks if check.job} if asks_others(view) else set()
    for ref, live in view.live.items():
        if ref.kind != "Job" or ref in current:
            continue
        labels = live["metadata"].get("labels") or {}
        if rollout is None or labels.get(names.ROLLOUT) != rollout.id or not _ended(live):
            yield ref


def judge_job(view: View, check: Check) -> CheckResult:
    """Say what a check's Job says: it passes by exit status 0 and fails by any other."""
    if problem := _problem(view, check):
        return _result(check, "Error", f"{check.title} {problem}")
    ref = ref_of_job(view, check)
    live = view.live.get(ref)
    if live is None:
        return _result(check, "Waiting", f"{check.title}: Job {ref.name} is not there yet")
    kind, reason, message = _ended(live) or ("", "", "")
    if kind == "Complete":
        return _result(check, "Pass", f"{check.title}: Job {ref.name} ended with exit status 0", "succeeded")
    if kind == "Failed" and reason == _DEADLINE:
        return _result(
            check,
            "Error",
            f"{check.title}: Job {ref.name} did not end within its deadline; delete it to run it again",
        )
    if kind == "Failed":
        return _result(check, "Fail", f"{check.title}: Job {ref.name} failed: {message or reason}", "failed")
    return _result(check, "Waiting", f"{check.title}: Job {ref.name} runs")


def _ended(live: Manifest) -> tuple[str, str, str] | None:
    """Return how a Job ended, why, and as a sentence; None while it runs."""
    for condition in (live.get("status") or {}).get("conditions") or ():
        if condition.get("type") in ("Complete", "Failed") and condition.get("status") == "True":
            message = str(condition.get("message") or "")[:300]
            return condition["type"], str(condition.get("reason") or ""), message
    return None


def _problem(view: View, check: Check) -> str:
    """Say why a Job can't be made."""
    if check.job is None:
        return "has no job"
    try:
        build_job(view.model, "x", "x", check.job, words_of(view), ())
    except UnknownPlaceholderError as problem:
        return str(problem)
    return ""


def _result(check: Check, verdict: Verdict, message: str, value: str | None = None) -> CheckResult:
    return CheckResult(
        metric=check.title,
        verdict=verdict,
        value=value,
        limit="exit status 0",
        samples=1 if value else 0,
        message=message,
        dry_run=True if check.dry_run else None,
    )
