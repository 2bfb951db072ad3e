"""How many pods each revision should have, and who decides it.

Stable holds its size while a rollout is in flight, so that aborting needs no new pod. The canary gets the
pods of the next weight before the route moves, and never fewer while it is on trial.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor

from ekiben.api.fields import fraction
from ekiben.api.rollout import Step
from ekiben.api.scaling import Autoscaling
from ekiben.api.status import RolloutStatus, Stage
from ekiben.core.blocks import scaled_of
from ekiben.core.engines import engine_of, metrics_for
from ekiben.core.sharing import is_shrinking, will_shrink
from ekiben.core.steps import pods_asked, step_weight, steps_of
from ekiben.core.view import FINISHING, View, switches_at_once

CARRYING_ALL = frozenset({Stage.ENLARGING, Stage.TAKING_ALL})
# Recreate: stable has no pods at these stages.
DOWN = frozenset({Stage.DRAINING, Stage.REPLACING, Stage.CLEARING})


@dataclass(frozen=True, slots=True)
class Size:
    """The size of one revision: `replicas` to start from, and the autoscaler's bounds where it has one."""

    replicas: int
    autoscaled: bool = False
    max_replicas: int = 0
    hold: bool = False


def need(weight: int, full_size: int, *, gateway: bool) -> int:
    """Return the pods that a weight (percent) needs, where `full_size` pods carry all traffic.

    Behind a Gateway the weight is exact and the pods follow; without one the pods are the weight.
    """
    if weight >= 100:
        return full_size
    pods = ceil(weight * full_size / 100) if gateway else round(full_size * weight / (100 - weight))
    return max(pods, 1)


def surge_of(view: View) -> int:
    """Return the pods above stable's size that `maxSurge` allows, at least 1."""
    return max(floor(fraction(view.spec.rollout.max_surge) * view.full_size), 1)


def surge_limit(view: View) -> int:
    """Return how many pods the canary may have: `maxSurge` of stable's size, and what stable gave up."""
    given_up = view.full_size - view.stable.replicas if is_shrinking(view) and view.stable else 0
    return surge_of(view) + max(given_up, 0)


def most_pods(view: View) -> int:
    """Return how many pods the canary can come to have in a rollout of the spec as it is."""
    grows = will_shrink(view) if view.trial is None else is_shrinking(view)
    return max(view.full_size if grows else 0, surge_of(view))


def canary_need(view: View) -> int:
    """Return the pods that the canary needs for the weight it carries or is about to carry."""
    rollout = view.rollout
    if rollout is None:
        return 0
    if rollout.stage in (Stage.ABORTING, Stage.REINSTATING):
        return view.canary.replicas if view.canary else 0
    everything = rollout.stage in CARRYING_ALL or switches_at_once(rollout)
    if everything or view.stable is None or view.stable_is_down:
        return view.full_size
    numbered = [number for number, step in enumerate(steps_of(rollout), start=1) if _sizes(step)]
    if rollout.stage is not Stage.PREPARING and any(number <= rollout.step for number in numbered):
        return pods_at(view, rollout, rollout.step)
    # Up to the first step that needs pods it has the pods for that one.
    first = next(iter(numbered), None)
    pods = pods_at(view, rollout, first) if first else view.full_size
    # Stable gives no pods up before there is any traffic for others.
    return min(pods, surge_of(view)) if is_shrinking(view) else pods


def _sizes(step: Step) -> bool:
    """Tell whether a step needs pods."""
    return bool(step.weight or step.headers or step.replicas)


def pods_at(view: View, rollout: RolloutStatus, step: int) -> int:
    """Return the pods that a step of a rollout needs: for its weight, and what a step before asked for."""
    weight = need(step_weight(rollout, step), view.full_size, gateway=view.uses_gateway)
    return max(weight, pods_granted(view, steps_of(rollout)[:step]))


def pods_granted(view: View, steps: tuple[Step, ...]) -> int:
    """Return the pods of the last `replicas` among these steps, as far as the spec's bounds allow."""
    if not view.uses_gateway:
        return 0
    bounds = [pods_asked(steps, view.full_size), surge_of(view)]
    if scaled := _coming_scaled(view):
        bounds.append(scaled.most)
    return min(bounds)


def _coming_scaled(view: View) -> Autoscaling | None:
    """Return how an autoscaler of ours is to size the revision on its way, or else the one asked for."""
    return scaled_of(view, view.canary_revision or view.wanted.revision)


def canary_size(view: View) -> Size:
    """Size the canary: what its weight needs, never fewer than it has, never above the surge limit."""
    canary, rollout = view.canary, view.rollout
    if canary is None or rollout is None:
        return Size(0)
    if view.recreates:
        return Size(replacing_size(view))
    wanted = min(canary_need(view), surge_limit(view))
    scaled = scaled_of(view, canary.revision)
    # Without a Gateway the pods are the weight: an autoscaler would move traffic.
    if scaled is None or not view.uses_gateway or not metrics_for(view, canary.revision):
        # Only a Service that is narrow takes no notice of pods that go: a route may still be on its way back.
        shrinks = rollout.stage is Stage.PREPARING and not view.uses_gateway
        return Size(wanted if shrinks else max(wanted, canary.replicas))
    return Size(wanted, autoscaled=True, max_replicas=max(scaled.most, wanted), hold=True)


def stable_size(view: View) -> Size:
    """Size stable: what the spec says, and while others run beside it never fewer than it has."""
    stable = view.stable
    rollout = view.rollout
    if stable is None or view.is_asleep or (rollout and rollout.stage in DOWN):
        return Size(0)
    if rollout and rollout.stage is Stage.RESTORING:
        return Size(rollout.stable_replicas or 1)
    hold = is_held(view)
    has = stable.replicas if stable.deployment else 0
    scaled, chosen = view.spec.scaled, engine_of(view)
    if scaled is None:
        wanted = has if has and is_left_to_others(view) else view.spec.replicas
        return Size(max(wanted, has) if hold else wanted)
    keeps = has if view.rollout and view.rollout.stage in FINISHING else 0
    floor_ = max(scaled.floor, keeps)
    if not metrics_for(view, stable.revision):
        # Nobody knows what the load asks for: what there is stays.
        return Size(max(floor_, has))
    hold = hold or bool(chosen and chosen.problem)
    return Size(floor_, autoscaled=True, max_replicas=max(scaled.most, floor_), hold=hold)


def is_left_to_others(view: View) -> bool:
    """Tell whether stable's size is whatever others make it: `replicas` was carried out when it was set."""
    chosen, scaling = engine_of(view), view.status.scaling
    if chosen is None or chosen.name != "external" or view.is_first:
        return False
    return scaling is None or scaling.asked in (None, view.spec.replicas)


def replacing_size(view: View) -> int:
    """Return the pods that the new revision gets in stable's place: what stable had, or the spec says.

    Its autoscaler comes when it serves; until then nobody else sets its size.
    """
    scaled, rollout = _coming_scaled(view), view.rollout
    had = (rollout.stable_replicas if rollout else None) or view.full_size
    if scaled is None:
        return had if is_left_to_others(view) else view.spec.replicas
    return min(max(had, scaled.floor), scaled.most)


def previous_size(view: View) -> Size:
    """Size the revision before, in a bake: never fewer than it has, nor than all traffic needs now."""
    previous = view.previous
    if previous is None:
        return Size(0)
    scaled = scaled_of(view, previous.revision)
    wanted = max(previous.replicas, view.full_size)
    if scaled is None or not metrics_for(view, previous.revision):
        return Size(wanted)
    return Size(wanted, autoscaled=True, max_replicas=max(scaled.most, wanted), hold=True)


def is_held(view: View) -> bool:
    """Tell whether stable keeps its size: a trial is on, or the old revision has not gone yet."""
    return view.trial is not None or bool(view.status.retiring)
