"""The sizes of both revisions where stable gives its pods up as the canary's share grows.

`maxSurge` then bounds the pods of both together, on the way up and on the way back.
"""

from __future__ import annotations

from math import ceil

from ekiben.api.status import Stage
from ekiben.core import scaling
from ekiben.core.scaling import Size, surge_of
from ekiben.core.sharing import is_shrinking, pods_given_up
from ekiben.core.traffic import observed_weight, route_state
from ekiben.core.view import FINISHING, View


def canary_size(view: View) -> Size:
    """Size the canary; on the way back it makes room for stable's pods, as far as it has lost its traffic."""
    canary, rollout = view.canary, view.rollout
    if canary is None or rollout is None or not is_shrinking(view) or rollout.stage is not Stage.ABORTING:
        return scaling.canary_size(view)
    state = route_state(view)
    carried = max(state.weight if state else 0, observed_weight(view))
    needed = ceil(carried * view.full_size / 100)
    return Size(min(canary.replicas, max(surge_of(view), needed)))


def stable_size(view: View) -> Size:
    """Size stable: all its pods, less those that the canary's traffic makes dispensable."""
    stable, canary, rollout = view.stable, view.canary, view.rollout
    shrinks = is_shrinking(view) and rollout is not None and rollout.stage not in FINISHING
    if stable is None or canary is None or rollout is None or not shrinks:
        return scaling.stable_size(view)
    full = view.full_size
    free = 0
    if rollout.stage is not Stage.ABORTING and view.spec.rollout.canary.shrink_stable:
        state = route_state(view)
        carried = min(state.weight if state else 0, observed_weight(view))
        free = min(pods_given_up(carried, full), canary.ready)
    # In-cluster callers know stable alone: it keeps one pod until the other is stable.
    wanted = max(full - free, 1)
    room = full + surge_of(view) - canary.replicas
    return Size(max(min(wanted, room), min(stable.replicas, wanted)))
