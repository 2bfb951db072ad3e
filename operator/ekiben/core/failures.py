"""What fails a revision: the evidence that it is bad. One small function each, the first that speaks wins."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ekiben.api.fields import delta
from ekiben.api.status import Stage
from ekiben.core import verdicts, warming
from ekiben.core.snapshot import Pod
from ekiben.core.steps import gets_requests
from ekiben.core.view import Side, View

_CRASH_LOOP_RESTARTS = 3


@dataclass(frozen=True, slots=True)
class Failure:
    """Evidence that the revision is bad; `looked_at` is the look that a verdict rests on."""

    reason: str
    message: str
    looked_at: datetime | None = None


def verdict(view: View) -> Failure | None:
    """Return the evidence that the revision that is judged is bad, if there is any."""
    rollout, judged = view.rollout, view.judged
    if rollout is None or judged is None or rollout.plan is None:
        return None
    for sign in (_crash_loop, _never_ready, _never_warm, _bad_signs, _serves_nothing, _bad_checks):
        if failure := sign(view, judged):
            return failure
    return None


def _crash_loop(view: View, canary: Side) -> Failure | None:
    for pod in canary.pods:
        restarts = max(pod.restarts, pod.init_restarts)
        if restarts >= _CRASH_LOOP_RESTARTS and not pod.ready:
            why = f": {pod.waiting_message}" if pod.waiting_message else ""
            return Failure("CrashLoop", f"pod {pod.name} restarted {restarts} times{why}")
    return None


def _deadline(view: View, pod: Pod) -> datetime | None:
    if pod.ready or pod.deleting or pod.started_at is None or pod.lost_readiness:
        return None
    # The node's clock says when it started and ours what time it is: where ours jumped, the stage is younger.
    entered = view.rollout.stage_started_at if view.rollout else None
    since = max(pod.started_at, entered) if entered else pod.started_at
    return since + delta(view.spec.rollout.progress_deadline)


def seconds_to_deadline(view: View, pods: tuple[Pod, ...]) -> float | None:
    """Return the seconds until the first of the pods is late; None where none can be."""
    ends = [end for pod in pods if (end := _deadline(view, pod))]
    return max((min(ends) - view.now).total_seconds(), 0.0) if ends else None


def _never_ready(view: View, canary: Side) -> Failure | None:
    for pod in canary.pods:
        end = _deadline(view, pod)
        if end and view.now >= end:
            deadline = view.spec.rollout.progress_deadline
            return Failure("NeverReady", f"pod {pod.name} started but was not ready within {deadline}")
    return None


def _never_warm(view: View, canary: Side) -> Failure | None:
    """A pod that answers its warm-up with errors, or too late, is given as long as one that isn't ready."""
    entered = view.rollout.stage_started_at if view.rollout else None
    for pod in canary.pods:
        answer, ready = warming.answer_of(view, pod), pod.ready_changed_at
        if answer is None or answer.reason not in warming.OWN_FAULT or ready is None or not pod.ready:
            continue
        deadline = view.spec.rollout.progress_deadline
        if view.now >= max(ready, entered or ready) + delta(deadline):
            return Failure("WarmupFailed", f"pod {pod.name} was not warm within {deadline}: {answer.problem}")
    return None


def _bad_signs(view: View, canary: Side) -> Failure | None:
    """Restarts, lost readiness and counters that fall back fail a canary that carries traffic."""
    rollout = view.rollout
    if rollout is None or rollout.stage is Stage.PREPARING or rollout.stage_started_at is None:
        return None
    if view.recreates:
        return None
    since = min(rollout.stage_started_at, rollout.step_started_at or rollout.stage_started_at)
    for pod in canary.pods:
        if pod.restarts and (pod.started_at is None or pod.started_at > since):
            carries = rollout.stage is Stage.BAKING or gets_requests(rollout, rollout.step)
            did = "carried traffic" if carries else "was judged"
            return Failure("Restarted", f"pod {pod.name} restarted while it {did}")
        if pod.lost_readiness:
            return Failure("ReadinessLost", f"pod {pod.name} was ready and is not any more")
    if verdicts.totals(view).resets:
        whose = "the canary" if view.canary else rollout.revision
        return Failure("CounterReset", f"request counters of {whose} fell back: a worker died")
    return None


def _serves_nothing(view: View, judged: Side) -> Failure | None:
    """In a bake, pods that are gone for long fail the revision: others have theirs."""
    if view.previous is None or not view.previous.ready or not view.stable_is_down:
        return None
    return Failure("NoReadyPods", f"no pod of {judged.revision} has been ready for 60s")


def _bad_checks(view: View, canary: Side) -> Failure | None:
    rollout = view.rollout
    if rollout is None or rollout.stage is Stage.PREPARING or not view.is_past_initial_delay:
        return None
    checks = rollout.plan.checks if rollout.plan else ()
    failed = (
        (check, result)
        for check, (result, deed) in zip(checks, verdicts.deeds(view), strict=False)
        if deed == "fail"
    )
    check, bad = next(failed, (None, None))
    if check is None or bad is None:
        return None
    if bad.verdict == "Error":
        limit = view.spec.analysis.consecutive_error_limit
        return Failure("CheckError", f"for more than {limit} looks in a row: {bad.message}")
    return (
        Failure("NoData", verdicts.no_data(view, bad))
        if verdicts.lacks(view, bad)
        else Failure(
            "JobFailed" if check.job else "AnalysisFailed", bad.message, verdicts.looked_at(view, check)
        )
    )


def forgiven(view: View, failure: Failure) -> bool:
    """Tell whether `failureLimit` forgives this failed look, or has forgiven it already."""
    rollout, limit = view.rollout, view.spec.analysis.failure_limit
    if failure.reason != "AnalysisFailed" or rollout is None or limit == 0:
        return False
    return rollout.failed_looks < limit or not is_new_look(view, failure)


def is_new_look(view: View, failure: Failure) -> bool:
    """Tell whether a failure rests on a look after the last one that was counted as failed."""
    rollout, seen = view.rollout, failure.looked_at
    if rollout is None or seen is None:
        return False
    return rollout.failed_look_at is None or seen > rollout.failed_look_at
