"""What the steps of a rollout ask for, and what they can't have: a weight by whole pods, or too many pods."""

from __future__ import annotations

from collections.abc import Iterator

from ekiben.api.rollout import Step
from ekiben.api.status import RolloutStatus
from ekiben.core.scaling import most_pods, need, pods_granted
from ekiben.core.steps import header_text, headers_of, pods_asked
from ekiben.core.view import View


def reachable(view: View, weight: int, *, gateway: bool) -> int:
    """Return the percent that comes of a weight: what the pods carry that may be had, or what they are."""
    full = view.full_size
    pods = min(need(weight, full, gateway=gateway), most_pods(view))
    if gateway:
        return min(weight, 100 * pods // full)
    return weight if weight >= 100 and pods >= full else round(100 * pods / (pods + full))


def sets(view: View, rollout: RolloutStatus, steps: tuple[Step, ...]) -> str:
    """Say what the last of these steps sets, and how far it can."""
    step = steps[-1]
    if step.headers:
        header = header_text(headers_of(step.headers))
        return f"requests with {header} to {rollout.revision}"
    if step.replicas:
        asked, granted = pods_asked(steps, view.full_size), pods_granted(view, steps)
        bounded = f", of {asked} asked for: rollout.maxSurge or maxReplicas allows no more"
        return f"{granted} pods for {rollout.revision}{bounded if granted < asked else ''}"
    weight = step.weight or 0
    share = reachable(view, weight, gateway=view.uses_gateway)
    whole = f", which whole pods make {share}%" if not view.uses_gateway and share != weight else ""
    return f"{weight}% to {rollout.revision}{whole}"


def shortfalls(view: View, steps: tuple[Step, ...], *, gateway: bool) -> tuple[str, ...]:
    """Say of each step, and of the promotion, what it can't have; `gateway` is what splits the traffic."""
    return tuple(_shortfalls(view, steps, gateway=gateway))


def _shortfalls(view: View, steps: tuple[Step, ...], *, gateway: bool) -> Iterator[str]:
    for number, step in enumerate(steps, start=1):
        said = _of_step(view, steps[:number], gateway=gateway)
        if step.weight is not None and said:
            yield f"step {number}: {said}"
        asked, granted = pods_asked(steps[:number], view.full_size), pods_granted(view, steps[:number])
        if step.replicas is not None and gateway and granted < asked:
            yield f"step {number}: {granted} of {asked} pods, rollout.maxSurge or maxReplicas allows no more"
    if (limit := most_pods(view)) < view.full_size:
        yield (
            f"the promotion needs {view.full_size} canary pods, and rollout.maxSurge"
            f" {view.spec.rollout.max_surge} allows {limit}: it would wait with SurgeLimit; raise it"
        )


def _of_step(view: View, steps: tuple[Step, ...], *, gateway: bool) -> str:
    weight, full = steps[-1].weight, view.full_size
    if weight is None:
        return ""
    wanted, limit = need(weight, full, gateway=gateway), most_pods(view)
    share = reachable(view, weight, gateway=gateway)
    if wanted > limit:
        how = "raise it" if gateway else "write a lower weight, or add traffic.parentRefs"
        return (
            f"{weight}% needs {wanted} canary pods, and rollout.maxSurge {view.spec.rollout.max_surge}"
            f" allows {limit}, which is {share}%: it would wait with SurgeLimit; {how}"
        )
    if share != weight:
        return f"{weight}% becomes {share}%, because pods are whole: {wanted} beside {full}"
    return ""
