"""Who carries how much where stable gives its pods up as the canary's share grows (`shrinkStable`).

Everything is counted in N, the pods that carried all traffic when the rollout began: `fullSize` in status.
k ready pods carry floor(100 k / N) percent, so stable gives up k pods once the canary carries so much, and
takes the weight back only as far as its own pods are ready. A canary that fails outright loses all at once.
"""

from __future__ import annotations

from datetime import timedelta
from math import ceil

from ekiben.api.fields import delta
from ekiben.api.status import RolloutStatus, Stage
from ekiben.api.steps import TrafficRamp
from ekiben.core.view import View

# Reasons that say that the canary's pods can't serve: whoever is left serves better, however few they are.
OUTRIGHT = frozenset({"CrashLoop", "NeverReady", "Restarted", "ReadinessLost", "CounterReset"})


def will_shrink(view: View) -> bool:
    """Tell whether a rollout that begins now takes pods from stable as the canary's share grows."""
    rules = view.spec.rollout
    wanted = rules.canary.shrink_stable and rules.strategy == "Canary"
    return wanted and view.spec.traffic is not None and view.spec.autoscaling is None


def is_shrinking(view: View) -> bool:
    """Tell whether the rollout in flight takes pods from stable."""
    # One that fell back to Recreate gives no share to anybody: stable goes as a whole.
    return view.trial is not None and view.trial.full_size is not None and not view.recreates


def pods_given_up(weight: int, full_size: int) -> int:
    """Return the pods that stable can do without while the canary carries a weight, in percent."""
    if weight <= 0:
        return 0
    # The most pods that carry no more than this weight.
    return min(((weight + 1) * full_size - 1) // 100, ceil(weight * full_size / 100))


def fails_outright(rollout: RolloutStatus) -> bool:
    """Tell whether the rollout is given up because the canary's pods can't serve."""
    return rollout.outcome is not None and rollout.reason in OUTRIGHT


def least_weight(view: View) -> int:
    """Return the percent that must stay with the canary for now, because stable can't take it yet.

    0 where stable has all its pods, and where the canary fails outright. Where both together have too few
    pods, each carries what its share of them is.
    """
    rollout, stable, canary = view.rollout, view.stable, view.canary
    if rollout is None or stable is None or canary is None or fails_outright(rollout) or not canary.ready:
        return 0
    least = ramped(view, rollout)
    if rollout.full_size is not None:
        lacks = max(view.full_size - stable.ready, 0)
        fair = 100 * canary.ready // (canary.ready + stable.ready)
        least = max(least, min(100 * lacks // view.full_size, fair))
    return least


def ramped(view: View, rollout: RolloutStatus) -> int:
    """Return the percent that `trafficRamp` still leaves with a canary that is given up."""
    ramp, since = view.spec.rollout.canary.traffic_ramp, rollout.stage_started_at
    if rollout.stage is not Stage.ABORTING or ramp is None or rollout.returning_from is None or since is None:
        return 0
    taken = max((view.now - since) // _pace(ramp), 0) + 1
    return max(rollout.returning_from - taken * ramp.step, 0)


def _pace(ramp: TrafficRamp) -> timedelta:
    """Return the time between two steps, above zero also where the API server never saw the spec."""
    return max(delta(ramp.every), timedelta(seconds=1))


def seconds_to_ramp(view: View) -> float | None:
    """Return the seconds until `trafficRamp` takes more from the canary; None where it leaves it nothing."""
    rollout, ramp = view.rollout, view.spec.rollout.canary.traffic_ramp
    if rollout is None or ramp is None or rollout.stage_started_at is None or not ramped(view, rollout):
        return None
    every = _pace(ramp)
    passed = max(view.now - rollout.stage_started_at, timedelta())
    return (every - passed % every).total_seconds()


def is_cold(view: View) -> bool:
    """Tell whether stable is to be eased back into its traffic: it lacks pods, or some of them are new."""
    rollout, stable = view.rollout, view.stable
    if rollout is None or stable is None or rollout.started_at is None:
        return False
    began = rollout.started_at
    is_new = any(pod.ready and pod.started_at and pod.started_at > began for pod in stable.pods)
    return stable.ready < view.full_size or is_new
