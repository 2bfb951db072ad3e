"""The conditions: one function each, every reason from the table in `conditions.py`."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, NamedTuple

from ekiben.api.status import Condition, Outcome, Stage, Status
from ekiben.api.v1alpha1 import DEFAULT_REPLICAS
from ekiben.core import children, sleeping
from ekiben.core import conditions as c
from ekiben.core.configuring import NEEDS_HAND
from ekiben.core.gates import Wait
from ekiben.core.previewing import preview_problem
from ekiben.core.queueing import place_text
from ekiben.core.scaling_said import scaling_said
from ekiben.core.starting import hindrance, plan_of
from ekiben.core.templates import template_problem
from ekiben.core.traffic import live_route, route_problem
from ekiben.core.view import FINISHING, View

NO_ACTIVATOR = (
    "autoscaling.minReplicas is 0, but no activator is there to hold requests, so one pod stays: install the"
    " chart with activator.enabled, or set minReplicas to 1"
)


class Said(NamedTuple):
    """One condition before its times are known."""

    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str


def conditions_of(view: View, status: Status, wait: Wait | None) -> tuple[Condition, ...]:
    """Return every condition."""
    failed = failed_outcome(view)
    said = (
        _ready(view, status),
        _reconciling(view, status, wait),
        _stalled(view, status, failed),
        _traffic_applied(view),
        *_scaling(view),
        *_outcome(view, status, failed, wait),
    )
    return tuple(timed(item, view.status, view.model.generation, view.now) for item in said)


def failed_outcome(view: View) -> Outcome | None:
    """Return how the spec's revision failed, when it did and nothing is in flight."""
    if view.rollout is not None or view.queued is not None or view.failure is None:
        return None
    return Outcome.ABORTED if view.failure.reason == "Aborted" else Outcome.ROLLED_BACK


def timed(said: Said, before: Status, generation: int, now: datetime) -> Condition:
    """Return a condition with its times: the transition time moves with the condition's status only."""
    known = next((item for item in before.conditions if item.type == said.type), None)
    return Condition(
        type=said.type,
        status=said.status,
        reason=said.reason,
        message=said.message,
        observed_generation=generation,
        last_transition_time=known.last_transition_time if known and known.status == said.status else now,
    )


def _ready(view: View, status: Status) -> Said:
    stable = status.stable
    serves = stable is not None and stable.ready_replicas > 0
    if not serves and view.recreates and view.rollout and view.rollout.stage is not Stage.PREPARING:
        return Said(c.READY, "False", "Recreating", status.message)
    if asleep := sleeping.told(view):
        holds: Literal["True", "False", "Unknown"] = "True" if asleep[0] == "Asleep" else "Unknown"
        return Said(c.READY, "False" if asleep[0] == "ActivatorMissing" else holds, *asleep)
    if stable and serves:
        remarks = (f"{stable.revision} serves", *_remarks(view))
        return Said(c.READY, "True", "Serving", "; ".join(remarks))
    if stable and stable.served_at:
        return Said(c.READY, "False", "NoReadyPods", status.message)
    return Said(c.READY, "False", "Starting", status.message)


def _remarks(view: View) -> list[str]:
    """Say what serves differently from what the spec's reader may think."""
    remarks = []
    digests = {pod.image_digest for pod in (view.stable.pods if view.stable else ()) if pod.image_digest}
    if len(digests) > 1:
        remarks.append("its tag was pushed again, so its pods differ: use a new tag or a digest")
    if view.spec.replicas != DEFAULT_REPLICAS and view.spec.scaled is not None:
        remarks.append("replicas is ignored, because autoscaling decides")
    return remarks


def _reconciling(view: View, status: Status, wait: Wait | None) -> Said:
    rollout = view.rollout
    if view.snapshot.rejections:
        ref, why = min(view.snapshot.rejections.items())
        if ref.kind == "ConfigMap":
            return Said(c.RECONCILING, "True", "ConfigNotCopied", why)
        return Said(c.RECONCILING, "True", "ChildRejected", f"{ref.kind} {ref.name} was rejected: {why}")
    if rollout is None:
        if wait and wait.reason not in NEEDS_HAND:
            return Said(c.RECONCILING, "True", wait.reason, wait.message)
        if place_text(view):
            return Said(c.RECONCILING, "True", "Queued", status.message)
        return _at_rest(view)
    if view.is_first:
        return Said(c.RECONCILING, "True", wait.reason if wait else "FirstRevision", status.message)
    if rollout.stage in FINISHING:
        return Said(c.RECONCILING, "True", "Promoting", status.message)
    if rollout.outcome is not None:
        return Said(c.RECONCILING, "True", "Aborting", status.message)
    return Said(c.RECONCILING, "True", wait.reason if wait else "Waiting", status.message)


def _at_rest(view: View) -> Said:
    if view.status.retiring:
        return Said(c.RECONCILING, "False", "Retiring", "an old revision still has pods")
    if (asleep := sleeping.told(view)) and asleep[0] == "Waking":
        return Said(c.RECONCILING, "True", *asleep)
    if sleeping.lacks_activator(view):
        return Said(c.RECONCILING, "False", "ActivatorMissing", NO_ACTIVATOR)
    return Said(c.RECONCILING, "False", "Idle", "")


def obstacle(view: View) -> tuple[str, str] | None:
    """Return the reason and the sentence for what only somebody's hand can take away."""
    if view.snapshot.foreign:
        ref = min(view.snapshot.foreign)
        return "ChildConflict", (
            f"{ref.kind} {ref.name} exists and is not ours: delete or rename it,"
            " or give the ModelDeployment another name"
        )
    if newer := children.too_new(view):
        return "TemplateTooNew", (
            f"the pods of {newer} were made by a newer operator and are left as they are:"
            " upgrade the operator again, or delete the ModelDeployment"
        )
    if (wait := hindrance(view)) and wait.reason in NEEDS_HAND:
        return wait.reason, wait.message
    if _needs_templates(view) and (problem := template_problem(view)):
        return "TemplateUnusable", problem
    return None


def _needs_templates(view: View) -> bool:
    """Tell whether a rollout on its way is to take over an edit: otherwise it keeps to what it began with."""
    plan = view.trial.plan if view.trial else None
    return plan is not None and plan.hash != plan_of(view).hash


def _stalled(view: View, status: Status, failed: Outcome | None) -> Said:
    if stuck := obstacle(view):
        return Said(c.STALLED, "True", *stuck)
    if failed:
        return Said(c.STALLED, "True", str(failed), status.message)
    return Said(c.STALLED, "False", "Idle", "")


def _traffic_applied(view: View) -> Said:
    traffic, cluster = view.spec.traffic, view.snapshot.cluster
    if traffic is None:
        return Said(c.TRAFFIC_APPLIED, "True", "ServiceOnly", "the Service splits the traffic")
    if not cluster.gateway_api:
        message = "traffic.parentRefs needs the Gateway API: install its CRDs, or leave traffic out"
        return Said(c.TRAFFIC_APPLIED, "False", "GatewayAPIMissing", message)
    for gateway in cluster.gateways:
        where = f"{gateway.namespace}/{gateway.name}"
        if not gateway.found:
            message = (
                f"traffic.parentRefs names Gateway {where}, which does not exist: create it or name another"
            )
            return Said(c.TRAFFIC_APPLIED, "False", "GatewayNotFound", message)
        if not gateway.class_found:
            message = f"Gateway {where} is of class {gateway.class_name}, which does not exist"
            return Said(c.TRAFFIC_APPLIED, "False", "GatewayClassNotFound", message)
        if gateway.message and not gateway.programmed:
            message = f"Gateway {where} is not programmed: {gateway.message}"
            return Said(c.TRAFFIC_APPLIED, "False", "GatewayNotProgrammed", message)
    if cluster.claims:
        claim = cluster.claims[0]
        message = (
            f"HTTPRoute {claim.namespace}/{claim.name} already answers {claim.hostname}{traffic.path.prefix}:"
            " choose another traffic.hostnames or traffic.path.prefix"
        )
        return Said(c.TRAFFIC_APPLIED, "False", "HostnameTaken", message)
    route = live_route(view)
    # During a rollout only weights are on their way: the route itself is served all the time.
    moving = view.trial is not None
    problem = route_problem(route, any_generation=moving) if route else "the route is not there yet"
    if problem:
        return Said(c.TRAFFIC_APPLIED, "False", "RouteNotAccepted", problem)
    if lacks := preview_problem(view):
        return Said(c.TRAFFIC_APPLIED, "False", *lacks)
    return Said(c.TRAFFIC_APPLIED, "True", "Accepted", "every Gateway serves the route")


def _scaling(view: View) -> tuple[Said, ...]:
    said = scaling_said(view)
    return (Said(c.SCALING, *said),) if said else ()


def _outcome(view: View, status: Status, failed: Outcome | None, wait: Wait | None) -> tuple[Said, Said]:
    if view.rollout is None and wait and wait.reason in NEEDS_HAND:
        return (
            Said(c.ROLLED_OUT, "False", wait.reason, wait.message),
            Said(c.SETTLED, "True", wait.reason, wait.message),
        )
    if failed:
        return (
            Said(c.ROLLED_OUT, "False", str(failed), status.message),
            Said(c.SETTLED, "True", str(failed), status.message),
        )
    if view.rollout is not None or wait or view.wanted.revision != view.stable_revision:
        return (
            Said(c.ROLLED_OUT, "Unknown", "InProgress", status.message),
            Said(c.SETTLED, "Unknown", "InProgress", status.message),
        )
    message = f"{view.stable_revision} serves"
    return Said(c.ROLLED_OUT, "True", "Promoted", message), Said(c.SETTLED, "True", "Promoted", message)
