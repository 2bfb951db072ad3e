"""Which revision gets which part of the traffic.

A weight is written for pods that are ready, never for pods that are hoped for: gateways do not route around
an empty backend. Lowering is always allowed; raising needs the capacity first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ekiben.api.status import RolloutStatus, Stage
from ekiben.core import names
from ekiben.core.scaling import need
from ekiben.core.sharing import is_shrinking, least_weight
from ekiben.core.snapshot import Manifest, Ref
from ekiben.core.splitting import percent_to, rules_of
from ekiben.core.steps import Headers, header_rules, header_text, is_reached, step_weight, steps_of
from ekiben.core.view import FINISHING, GIVEN_UP, RECALLABLE, View, once, recreates, switches_at_once
from ekiben.core.warming import warm_pods

ON_TRIAL = frozenset({Stage.HOLDING, Stage.PAUSED, Stage.ENLARGING, Stage.TAKING_ALL})
_BY_HEADER = ON_TRIAL | {Stage.SHIFTING}


@dataclass(frozen=True, slots=True)
class RouteState:
    """What the live HTTPRoute does: the canary backend's percent, and whether every Gateway took it over.

    `by_header` is the percent of the requests that a rule of their own takes, by their headers. `problem`
    says why a Gateway refuses it; that a change takes a moment is none.
    """

    weight: int
    settled: bool
    by_header: Mapping[Headers, int] = field(default_factory=dict)
    serving: bool = True
    problem: str = ""


def live_route(view: View) -> Manifest | None:
    """Return our HTTPRoute as it is."""
    return view.live.get(Ref("HTTPRoute", names.route(view.model.name)))


@once
def route_state(view: View) -> RouteState | None:
    """Read the live HTTPRoute; None while there is none."""
    route = live_route(view)
    if route is None:
        return None
    canary = names.canary_service(view.model.name)
    shares = {headers: percent_to(rule, canary) for headers, rule in rules_of(route)}
    weight = shares.pop(frozenset(), 0)
    settled, problem = not route_problem(route), route_problem(route, any_generation=True)
    serving = any(
        condition.get("type") == "Accepted" and condition.get("status") == "True"
        for parent in route.get("status", {}).get("parents", ())
        for condition in parent.get("conditions", ())
    )
    return RouteState(weight, settled, shares, serving=serving, problem=problem)


def route_problem(route: Manifest, *, any_generation: bool = False) -> str:
    """Say why the Gateways don't serve the route as it is now, or as it ever was; empty when they all do."""
    parents = route.get("status", {}).get("parents", ())
    if not parents:
        return "no Gateway has answered for the route yet"
    generation = 0 if any_generation else route.get("metadata", {}).get("generation", 0)
    for parent in parents:
        by_type: dict[str, dict[str, Any]] = {item.get("type"): item for item in parent.get("conditions", ())}
        for kind in ("Accepted", "ResolvedRefs"):
            condition = by_type.get(kind)
            if condition is None or condition.get("observedGeneration", generation) < generation:
                return f"Gateway {parent.get('parentRef', {}).get('name')} has not taken the change over yet"
            if condition.get("status") != "True":
                return f"{condition.get('reason')}: {condition.get('message', '')}".rstrip(": ")
    return ""


def target_weight(rollout: RolloutStatus | None) -> int:
    """Return the percent that the canary's backend should get at this stage."""
    if rollout is None or recreates(rollout):
        return 0
    match rollout.stage:
        case Stage.SHIFTING | Stage.HOLDING | Stage.PAUSED | Stage.ENLARGING:
            return step_weight(rollout, rollout.step)
        case Stage.TAKING_ALL | Stage.REPOINTING | Stage.RECALLING | Stage.REINSTATING:
            return 100
        case _:
            return 0


def canary_backend(view: View) -> str | None:
    """Return the revision that the canary's Service selects: stable where there is no other.

    In a bake that is the revision before, so that everything can go back through it; it stays there until the
    route has let go of it.
    """
    rollout = view.rollout
    if view.previous:
        return view.previous.revision
    if rollout is not None and rollout.stage in GIVEN_UP and rollout.previous == view.stable_revision:
        return view.stable_revision
    return (view.is_fielded and view.canary_revision) or view.stable_revision


def carried_weight(view: View) -> int:
    """Return the percent that really goes to the rollout's revision, as the live objects say."""
    rollout = view.rollout
    if rollout is not None and rollout.stage in RECALLABLE:
        state = route_state(view) if view.uses_gateway else None
        if state is None:
            return 100
        return 100 - state.weight if state.settled else rollout.weight
    if rollout is not None and rollout.stage in GIVEN_UP and rollout.previous == view.stable_revision:
        return 0
    return observed_weight(view)


def recall_weight(view: View) -> int:
    """Return the percent to send back now: as far as the old revision's ready pods can carry it."""
    previous = view.previous
    if previous is None or previous.ready == 0:
        return 0
    if view.stable is None or view.stable.ready == 0:
        return 100
    return min(100 * previous.ready // view.full_size, 100)


def next_weight(view: View) -> int:
    """Return the percent to write now: the target as far as ready pods can carry it."""
    rollout, target = view.rollout, target_weight(view.rollout)
    if rollout is None or rollout.stage in FINISHING | {Stage.REINSTATING} or view.is_first:
        return target
    if rollout.stage is Stage.RECALLING:
        return recall_weight(view)
    state, canary = route_state(view), view.canary
    current = state.weight if state else 0
    if canary is None or canary.ready == 0:
        return 0
    capacity = min(100 * canary.ready // view.full_size, 100)
    if view.stable_is_down and rollout.outcome is None and canary.ready >= view.full_size:
        return 100
    # What is not warm keeps the weight it has, and gets no more.
    warm = min(100 * warm_pods(view, canary) // view.full_size, 100)
    if is_shrinking(view):
        # It rises with each pod that gets ready: stable makes room for the next one by that.
        target = 100 if rollout.stage is Stage.ENLARGING else target
        wanted = min(target, max(min(current, capacity), warm))
    else:
        wanted = target if target <= warm else min(current, target, capacity)
    return wanted if wanted >= current else min(current, max(wanted, least_weight(view)))


def header_weight(view: View, headers: Headers) -> int:
    """Return the percent to write now for requests with these headers: all of them or none.

    One ready pod is enough: how many such requests there are nobody knows before. On the way back from a bake
    they leave the revision that is judged bad with the first part of the others.
    """
    weight, rollout = next_weight(view), view.rollout
    if weight == 100 or (weight and rollout is not None and rollout.stage is Stage.RECALLING):
        return 100
    canary = view.canary
    return target_by_header(view, headers) if canary is not None and canary.ready else 0


def target_by_header(view: View, headers: Headers) -> int:
    """Return the percent that requests with these headers should send to the canary at this stage."""
    rollout = view.rollout
    if target_weight(rollout) == 100:
        return 100
    if rollout is None or rollout.stage not in _BY_HEADER:
        return 0
    return 100 if is_reached(headers, steps_of(rollout)[: rollout.step]) else 0


def missing_rules(view: View) -> tuple[Headers, ...]:
    """Return what the rollout's steps match by header, and the live route has no rule for."""
    state = route_state(view)
    known = state.by_header if state else {}
    wanted = header_rules(steps_of(view.rollout)) if view.uses_gateway else ()
    return tuple(headers for headers in wanted if headers not in known)


def may_reshape(view: View) -> bool:
    """Tell whether the route may get another shape: no rollout has any traffic yet, or none is in flight."""
    if view.trial is None or not view.uses_gateway:
        return True
    state = route_state(view)
    unused = state is None or not (state.weight or any(state.by_header.values()))
    return view.trial.stage in (Stage.PREFLIGHT, Stage.PREPARING) and unused


def is_widened(view: View) -> bool:
    """Tell, without a Gateway, whether the stable Service selects the canary's pods too."""
    rollout, canary = view.rollout, view.canary
    if rollout is None or canary is None or view.uses_gateway:
        return False
    if view.recreates or switches_at_once(rollout):
        return False
    if rollout.stage in ON_TRIAL:
        return step_weight(rollout, rollout.step) > 0 or rollout.stage is Stage.ENLARGING
    if rollout.stage is Stage.SHIFTING:
        wanted = need(step_weight(rollout, rollout.step), view.full_size, gateway=False)
        everybody = names.pod_selector(view.model.name, None)
        usable = canary.ready if live_selector(view) == everybody else warm_pods(view, canary)
        return usable >= wanted or step_weight(rollout, rollout.step - 1) > 0
    return view.stable_is_down and rollout.outcome is None and canary.ready > 0


def stable_selector(view: View) -> dict[str, str]:
    """Return what the stable Service should select."""
    if is_widened(view):
        return names.pod_selector(view.model.name, None)
    return names.pod_selector(view.model.name, view.stable_revision or "none")


def live_selector(view: View) -> dict[str, str] | None:
    """Return what the stable Service selects; None while there is none."""
    service = view.live.get(Ref("Service", names.stable_service(view.model.name)))
    return dict(service.get("spec", {}).get("selector") or {}) if service else None


def selects_stable(view: View) -> bool:
    """Tell whether the stable Service selects the stable revision and nothing else."""
    return live_selector(view) == names.pod_selector(view.model.name, view.stable_revision)


def observed_weight(view: View) -> int:
    """Return the percent that really goes to the revision under trial, as the live objects say."""
    if view.uses_gateway:
        state = route_state(view)
        if state and not state.settled and view.rollout:
            return view.rollout.weight
        return state.weight if state else 0
    stable, canary = view.stable, view.canary
    if canary is None or live_selector(view) != names.pod_selector(view.model.name, None):
        return 0
    together = canary.ready + (stable.ready if stable else 0)
    return round(100 * canary.ready / together) if together else 0


def observed_headers(view: View) -> tuple[str, ...]:
    """Return which requests really go to the revision under trial by their headers, as the route says."""
    state = route_state(view) if view.uses_gateway else None
    # In a bake and on the way back from it the canary's Service selects the revision before.
    if state is None or view.rollout is None or view.rollout.stage in RECALLABLE:
        return ()
    if not state.settled:
        return view.rollout.headers or ()
    if state.weight == 100:
        return ()
    return tuple(header_text(headers) for headers, percent in state.by_header.items() if percent)


def is_observed(view: View, target: int) -> bool:
    """Tell whether the live objects carry the target weight and the Gateways took it over."""
    if view.uses_gateway:
        state = route_state(view)
        if state is None:
            return target == 0
        wanted = {headers: target_by_header(view, headers) for headers in state.by_header}
        carried = bool(target or any(wanted.values()))
        # A route that no Gateway serves carries nothing to the canary: taking its weight away is done.
        taken_over = state.settled or (not carried and not state.serving)
        return state.weight == target and state.by_header == wanted and taken_over
    wide = live_selector(view) == names.pod_selector(view.model.name, None)
    return wide if target else not wide
