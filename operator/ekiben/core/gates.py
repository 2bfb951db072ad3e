"""What a rollout waits for, and what ends it: one small function each, the first that objects wins.

A gate returns a `Wait` that names the one thing waited for. A verdict returns a `Failure`: the evidence that
the revision itself is bad. Trouble that is not the revision's fault (image pulls, scheduling, quotas, missing
config, unreachable metrics) is always a `Wait`, and never runs the deadline down.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from ekiben.api.fields import delta
from ekiben.api.status import Stage
from ekiben.core import verdicts
from ekiben.core.freezing import frozen_until
from ekiben.core.scaling import canary_need, surge_limit
from ekiben.core.snapshot import Pod
from ekiben.core.traffic import is_observed, route_state, target_weight
from ekiben.core.view import Side, View, step_weight


@dataclass(frozen=True, slots=True)
class Wait:
    """The one thing that is waited for; `seconds` until it is worth another look without any event."""

    reason: str
    message: str
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Evidence that the revision is bad."""

    reason: str
    message: str


Gate = Callable[[View], Wait | None]

_IMAGE_PULL = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}
_MISSING_CONFIG = {"CreateContainerConfigError", "CreateContainerError"}
_CRASH_LOOP_RESTARTS = 3


def blocked(view: View, side: Side) -> Wait | None:
    """Say what keeps a revision from getting its pods that is not the revision's fault."""
    rejections = view.snapshot.rejections.items()
    rejection = next((text for ref, text in rejections if ref.name.endswith(side.revision)), None)
    if rejection:
        return Wait("ChildRejected", rejection)
    if side.replica_failure:
        return Wait("Quota", side.replica_failure)
    for pod in side.pods:
        # A pod that was just created has no node either, and nothing to explain.
        if not pod.scheduled and pod.waiting_reason:
            return Wait("Unschedulable", f"pod {pod.name} can't be scheduled: {pod.waiting_message}")
        if pod.waiting_reason in _IMAGE_PULL:
            return Wait("ImagePull", f"pod {pod.name} can't pull its image: {pod.waiting_message}")
        if pod.waiting_reason in _MISSING_CONFIG:
            return Wait("MissingConfig", f"pod {pod.name} can't start: {pod.waiting_message}")
    return None


def paused(view: View) -> Wait | None:
    """Wait while the spec says paused."""
    return (
        Wait("Paused", "paused by rollout.paused; set it to false to go on")
        if view.spec.rollout.paused
        else None
    )


def pods_ready(view: View) -> Wait | None:
    """Wait until the canary has the ready pods that its next weight needs."""
    canary = view.canary
    if canary is None:
        return None
    wanted = canary_need(view)
    if canary.ready >= wanted:
        return None
    if hindrance := blocked(view, canary):
        return hindrance
    if (limit := surge_limit(view)) < wanted:
        return Wait(
            "SurgeLimit",
            f"rollout.maxSurge {view.spec.rollout.max_surge} allows {limit} of the {wanted} pods"
            " that are needed; raise it",
        )
    seconds = _seconds_to_deadline(view, canary.pods)
    reason = "Starting" if view.rollout and view.rollout.stage is Stage.PREPARING else "Scaling"
    return Wait(reason, f"{canary.ready} of {wanted} canary pods are ready", seconds)


def alone(view: View) -> Wait | None:
    """Wait, without a Gateway, until no third revision has pods that a widened Service would select."""
    both = {view.stable_revision, view.canary_revision}
    others = {pod.revision for pod in view.snapshot.pods if pod.ready and pod.revision not in both}
    if view.uses_gateway or not others:
        return None
    return Wait("Retiring", f"revision {min(others)} still has pods that the Service would select")


def metrics_readable(view: View) -> Wait | None:
    """Wait until both sides' metrics were read: an unreadable page is an error, never 'no data'."""
    seen = view.observation
    for side in (view.canary, view.stable):
        if side is None or side.ready == 0:
            continue
        scrape = seen.scrapes.get(side.revision) if seen else None
        if scrape is None or not (scrape.pods_read or scrape.pods_failed):
            return Wait("Starting", f"reading the metrics of {side.revision} for the first time", 1.0)
        if scrape.reason:
            return Wait(scrape.reason, scrape.message)
    return None


def frozen(view: View) -> Wait | None:
    """Wait while `rollout.freeze` wants no step; a way back takes none, and goes on."""
    rollout = view.rollout
    if rollout is None or rollout.plan is None or not rollout.plan.steps:
        return None
    until = frozen_until(view.spec.rollout.freeze, view.now)
    if until is None:
        return None
    message = f"frozen by rollout.freeze until {until:%Y-%m-%dT%H:%MZ}; rollout.promote goes all the way now"
    return Wait("Frozen", message, (until - view.now).total_seconds())


def held(view: View) -> Wait | None:
    """Wait for `promote` where there is no stable and the first revision is held."""
    rollout = view.rollout
    if view.stable is None and rollout is not None:
        return Wait("Held", f"rollout.initial is Held: set rollout.promote to {rollout.id} to serve it")
    return None


def weight_observed(view: View) -> Wait | None:
    """Wait until the live objects carry the stage's weight and the Gateways took it over."""
    target = target_weight(view.rollout)
    if is_observed(view, target):
        return None
    state = route_state(view) if view.uses_gateway else None
    detail = f": {state.problem}" if state and state.problem else ""
    return Wait("Traffic", f"waiting for weight {target}% to be taken over{detail}")


def hold_over(view: View) -> Wait | None:
    """Wait until the step has been held for as long as it says."""
    end = verdicts.hold_end(view)
    left = (end - view.now).total_seconds() if end else 0.0
    return Wait("Analysing", f"holding for another {left:.0f}s", left) if left > 0 else None


def checks_pass(view: View) -> Wait | None:
    """Wait until every check passes; a check that fails is a verdict, not a wait."""
    if not view.is_past_initial_delay:
        return Wait(
            "Analysing", f"not judging yet: analysis.initialDelay is {view.spec.analysis.initial_delay}"
        )
    if unreadable := metrics_readable(view):
        return unreadable
    first = next((result for result, deed in verdicts.deeds(view) if deed != "pass"), None)
    if first is None:
        return None
    reason = {"Error": "CheckError"}.get(first.verdict) or (
        "Samples" if verdicts.lacks(view, first) else "OverLimit"
    )
    return Wait(reason, first.message, verdicts.seconds_to_wait_out(view))


def verdict(view: View) -> Failure | None:
    """Return the evidence that the canary is bad, if there is any."""
    rollout, canary = view.rollout, view.canary
    if rollout is None or canary is None or rollout.plan is None:
        return None
    for sign in (_crash_loop, _never_ready, _bad_signs, _bad_checks):
        if failure := sign(view, canary):
            return failure
    return None


def crashes(side: Side) -> str:
    """Say why pods of a revision restart instead of getting ready; empty when none does.

    Neither counts nor names a pod: it would be written anew with each restart.
    """
    whys = (pod.waiting_message for pod in side.pods if (pod.restarts or pod.init_restarts) and not pod.ready)
    why = next((why for why in whys if why), "")
    return f"pods restart again and again: {why}" if why else ""


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


def _seconds_to_deadline(view: View, pods: tuple[Pod, ...]) -> float | None:
    ends = [end for pod in pods if (end := _deadline(view, pod))]
    return max((min(ends) - view.now).total_seconds(), 0.0) if ends else None


def _never_ready(view: View, canary: Side) -> Failure | None:
    for pod in canary.pods:
        end = _deadline(view, pod)
        if end and view.now >= end:
            deadline = view.spec.rollout.progress_deadline
            return Failure("NeverReady", f"pod {pod.name} started but was not ready within {deadline}")
    return None


def _bad_signs(view: View, canary: Side) -> Failure | None:
    """Restarts, lost readiness and counters that fall back fail a canary that carries traffic."""
    rollout = view.rollout
    if rollout is None or rollout.stage is Stage.PREPARING or rollout.stage_started_at is None:
        return None
    since = min(rollout.stage_started_at, rollout.step_started_at or rollout.stage_started_at)
    for pod in canary.pods:
        if pod.restarts and (pod.started_at is None or pod.started_at > since):
            return Failure("Restarted", f"pod {pod.name} restarted while it carried traffic")
        if pod.lost_readiness:
            return Failure("ReadinessLost", f"pod {pod.name} was ready and is not any more")
    if verdicts.totals(view).resets:
        return Failure("CounterReset", "request counters of the canary fell back: a worker died")
    return None


def _bad_checks(view: View, canary: Side) -> Failure | None:
    rollout = view.rollout
    if rollout is None or not step_weight(rollout, rollout.step) or not view.is_past_initial_delay:
        return None
    bad = next((result for result, deed in verdicts.deeds(view) if deed == "fail"), None)
    if bad is None:
        return None
    if bad.verdict == "Error":
        limit = view.spec.analysis.consecutive_error_limit
        return Failure("CheckError", f"for more than {limit} looks in a row: {bad.message}")
    return (
        Failure("NoData", verdicts.no_data(view, bad))
        if verdicts.lacks(view, bad)
        else Failure("AnalysisFailed", bad.message)
    )


def forgiven(view: View, failure: Failure) -> bool:
    """Tell whether `failureLimit` forgives this failed look, or has forgiven it already."""
    rollout, limit = view.rollout, view.spec.analysis.failure_limit
    if failure.reason != "AnalysisFailed" or rollout is None or limit == 0:
        return False
    return rollout.failed_looks < limit or not is_new_look(view)


def is_new_look(view: View) -> bool:
    """Tell whether there was a look after the last one that was counted as failed."""
    rollout, seen = view.rollout, view.observation
    if rollout is None or seen is None:
        return False
    return rollout.failed_look_at is None or seen.at > rollout.failed_look_at


def current_step(view: View) -> tuple[int, int]:
    """Return the step that the rollout is at, and how many steps there are."""
    rollout = view.rollout
    if rollout is None or rollout.plan is None:
        return 0, 0
    return rollout.step, len(rollout.plan.steps)
