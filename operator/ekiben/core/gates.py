"""What a rollout waits for: one small function each, the first that objects wins.

A gate returns a `Wait` that names the one thing waited for. Trouble that is not the revision's fault (image
pulls, scheduling, quotas, missing config, unreachable metrics) is always a `Wait`, and never runs the
deadline down; what is the revision's fault is in failures.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ekiben.api.measured import CheckResult
from ekiben.api.status import RolloutStatus, Stage
from ekiben.core import growing, keda_said, verdicts, warming
from ekiben.core.commands import pause_of
from ekiben.core.failures import seconds_to_deadline
from ekiben.core.freezing import frozen_until
from ekiben.core.reach import reachable
from ekiben.core.scaling import canary_need, surge_limit
from ekiben.core.sharing import is_shrinking, least_weight, seconds_to_ramp
from ekiben.core.steps import header_text, steps_of
from ekiben.core.traffic import is_observed, missing_rules, route_state, selects_stable, target_weight
from ekiben.core.view import Side, View


@dataclass(frozen=True, slots=True)
class Wait:
    """The one thing that is waited for; `seconds` until it is worth another look without any event."""

    reason: str
    message: str
    seconds: float | None = None


Gate = Callable[[View], Wait | None]

_IMAGE_PULL = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}
_MISSING_CONFIG = {"CreateContainerConfigError", "CreateContainerError"}


def blocked(view: View, side: Side) -> Wait | None:
    """Say what keeps a revision from getting its pods that is not the revision's fault."""
    for ref, text in sorted(view.snapshot.rejections.items()):
        if ref.kind == "ConfigMap" and ref.name.startswith(f"{view.model.name}-{side.revision}-"):
            return Wait("ConfigNotCopied", text)
        if ref.name.endswith(side.revision):
            return Wait("ChildRejected", text)
    if side.replica_failure:
        return Wait("Quota", side.replica_failure)
    # Whichever was named before is named again: many pods with one trouble are no news one by one.
    for pod in sorted(side.pods, key=lambda pod: pod.name not in view.status.message):
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


def resumed(view: View) -> Wait | None:
    """Wait at a pause until `rollout.resume` names this rollout and step."""
    rollout = view.rollout
    if rollout is None:
        return None
    ticket = pause_of(rollout)
    if view.spec.rollout.resume == ticket:
        return None
    reason = rollout.reason or "PauseStep"
    why = f" ({rollout.message})" if rollout.message else ""
    return Wait(reason, f"paused at step {rollout.step}{why}; set rollout.resume to {ticket} to go on")


def first_ready(view: View) -> Wait | None:
    """Wait until the first revision has the pods that the spec asks for."""
    stable = view.stable
    if stable is None or stable.ready >= view.floor:
        return None
    said = f"{stable.ready} of {view.floor} pods of the first revision are ready"
    if restarts := crashes(stable):
        # Nothing better serves, so nothing fails it: whoever looks must see why it does not come up.
        return Wait("FirstRevision", f"{said}; {restarts}")
    return blocked(view, stable) or Wait("FirstRevision", said)


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
    if (limit := surge_limit(view)) < wanted and not is_shrinking(view):
        return Wait(
            "SurgeLimit",
            f"rollout.maxSurge {view.spec.rollout.max_surge} allows {limit} of the {wanted} pods"
            f" that are needed{_within_reach(view)}; raise it",
        )
    said = f"{canary.ready} of {wanted} canary pods are ready"
    if canary.replicas < wanted and (keda := keda_said.hindrance(view, canary.revision)):
        return Wait(keda.reason, f"{said}: {keda.message}")
    seconds = seconds_to_deadline(view, canary.pods)
    reason = "Starting" if view.rollout and view.rollout.stage is Stage.PREPARING else "Scaling"
    return Wait(reason, said, seconds)


def _within_reach(view: View) -> str:
    """Say which part of the step's weight the pods allow that may be had."""
    rollout = view.rollout
    if rollout is None or rollout.stage is not Stage.SHIFTING or not holds(rollout):
        return ""
    weight = target_weight(rollout)
    return f" for {weight}%, which is {reachable(view, weight, gateway=view.uses_gateway)}%"


def warmed_up(view: View) -> Wait | None:
    """Wait until so many of the canary's pods are warm as its next weight needs."""
    canary = view.canary
    if canary is None or view.stable_is_down:
        return None
    wanted, warm = canary_need(view), warming.warm_pods(view, canary)
    if warm >= wanted:
        return None
    # Without a count of what is warm: it would be written anew with each pod.
    said = f"warming up canary pods: {wanted} must be warm"
    answers = ((pod.name, warming.answer_of(view, pod)) for pod in canary.pods)
    first = next(
        (f"; pod {name}: {answer.problem}" for name, answer in answers if answer and answer.problem), ""
    )
    return Wait("WarmingUp", said + first)


def alone(view: View) -> Wait | None:
    """Wait, without a Gateway, until no third revision has pods that a widened Service would select."""
    both = {view.stable_revision, view.canary_revision}
    others = {pod.revision for pod in view.snapshot.pods if pod.ready and pod.revision not in both}
    if view.uses_gateway or not others:
        return None
    return Wait("Retiring", f"revision {min(others)} still has pods that the Service would select")


def metrics_readable(view: View) -> Wait | None:
    """Wait until both sides' metrics were read: an unreadable page is an error, never 'no data'.

    Who is judged by others than the pods alone needs no metrics of theirs: strict mTLS may hide them.
    """
    plan = view.rollout.plan if view.rollout else None
    if plan is not None and plan.checks and all(check.metric is None for check in plan.checks):
        return None
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


def routed(view: View) -> Wait | None:
    """Wait until the route has the rules that the steps need: they come while no rollout has traffic."""
    lacks = missing_rules(view)
    if not lacks:
        return None
    return Wait("Traffic", f"waiting for the route's rule for requests with {header_text(lacks[0])}")


def holds(rollout: RolloutStatus) -> bool:
    """Tell whether the rollout is at a step that is held, as one with a weight or an analysis is."""
    steps = steps_of(rollout)[: rollout.step]
    return bool(steps) and (steps[-1].weight is not None or steps[-1].analysis is not None)


def stepping(view: View) -> Wait | None:
    """Wait, behind a step that is not held, while `rollout.freeze` wants no next one."""
    return frozen(view) if view.rollout and not holds(view.rollout) else None


def frozen(view: View) -> Wait | None:
    """Wait while `rollout.freeze` wants no step; a way back goes on, unless serving stops for it."""
    rollout = view.rollout
    if rollout is None or rollout.plan is None or not (rollout.plan.steps or view.recreates):
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
    if target == 0 and least_weight(view):
        # Without figures: each of them would be a write of its own.
        by_time = seconds_to_ramp(view)
        how = "by trafficRamp" if by_time else f"as pods of {view.stable_revision} get ready"
        return Wait("Traffic", f"traffic goes back {how}", by_time)
    if view.rollout and view.rollout.stage is Stage.SHIFTING and not holds(view.rollout):
        return Wait("Traffic", f"waiting for the route's rules to be taken over{detail}")
    return Wait("Traffic", f"waiting for weight {target}% to be taken over{detail}")


def service_repointed(view: View) -> Wait | None:
    """Wait until the stable Service selects the new revision and nothing else."""
    if selects_stable(view):
        return None
    return Wait("Promoting", "waiting for the stable Service to select the new revision")


def stable_whole(view: View) -> Wait | None:
    """Wait, where stable gave up pods, until it has been given them back."""
    stable = view.stable
    if stable is None or not is_shrinking(view) or stable.replicas >= view.full_size:
        return None
    return Wait("Scaling", f"giving {stable.revision} its {view.full_size} pods back")


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
    return waiting_for(view, first, verdicts.seconds_to_wait_out(view))


def waiting_for(view: View, result: CheckResult, seconds: float | None) -> Wait:
    """Wait for a check to pass; where it waits for pods, for what keeps them and is nobody's fault."""
    hindrance = _growth_blocked(view) if result.excused else None
    return hindrance or Wait(verdicts.reason_of(view, result), result.message, seconds)


def _growth_blocked(view: View) -> Wait | None:
    """Say what keeps the pods from coming that the autoscaler wants, and that is nobody's fault."""
    grown, side = growing.growth(view), view.judged
    return blocked(view, side) if grown and grown.phase == "Growing" and side else None


def crashes(side: Side) -> str:
    """Say why pods of a revision restart instead of getting ready; empty when none does.

    Neither counts nor names a pod: it would be written anew with each restart.
    """
    whys = (pod.waiting_message for pod in side.pods if (pod.restarts or pod.init_restarts) and not pod.ready)
    why = next((why for why in whys if why), "")
    return f"pods restart again and again: {why}" if why else ""
