"""Rules of capacity: nobody gets more than ready pods carry, and nobody loses pods that are needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta

from ekiben.api.status import Stage
from ekiben.core import names
from ekiben.core.snapshot import Manifest, Ref, Snapshot
from unit.sim.operator import Pass
from unit.sim.passes import (
    ROUTE,
    in_flight,
    planned,
    ready_pods,
    recreates,
    to_canary_by_header,
    weights_by_revision,
)
from unit.sim.world import MODEL

SLICE = Ref("EndpointSlice", names.activator_slice(MODEL))
# Kubernetes' own slice of a Service may be behind by a second and more.
HEARD = timedelta(seconds=5)
PODS_FAIL = ("CrashLoop", "NeverReady", "Restarted", "ReadinessLost", "CounterReset")


def raised_within_capacity(done: Pass, manifest: Manifest, services: Mapping[Ref, Manifest]) -> Iterator[str]:
    """I1: a weight is written upward only as far as ready pods can carry it."""
    snapshot = done.snapshot
    stable, before = snapshot.status.stable, snapshot.live.get(ROUTE)
    if stable is None or before is None:
        return
    size = full_size(snapshot, stable.revision)
    old, new = weights_by_revision(before, services), weights_by_revision(manifest, services)
    for revision, weight in new.items():
        capacity = 100 * ready_pods(snapshot, revision) // max(size, 1)
        if not ready_pods(snapshot, stable.revision) and ready_pods(snapshot, revision):
            rollout = in_flight(snapshot.status)
            if rollout is not None and rollout.stage is Stage.RECALLING:
                continue  # Nothing serves any more but what is gone back to.
        if revision != stable.revision and weight > max(old.get(revision, 0), min(capacity, 100)):
            yield f"I1: {weight}% written for {revision}, whose ready pods can carry {capacity}% of {size}"


def stable_has_pods(done: Pass) -> Iterator[str]:
    """I26: another revision becomes stable, forward or back, only where it has a pod for the requests."""
    snapshot, status = done.snapshot, done.plan.status
    before, now = snapshot.status.stable, status.stable if status else None
    if before is None or now is None or before.revision == now.revision:
        return
    if ready_pods(snapshot, before.revision) and not ready_pods(snapshot, now.revision):
        yield f"I26: {now.revision} becomes stable in place of {before.revision}, and has no ready pod"


def no_weight_without_pods(done: Pass) -> Iterator[str]:
    """Say which canary would keep its weight without pods."""
    snapshot = done.snapshot
    stable, live = snapshot.status.stable, snapshot.live.get(ROUTE)
    if stable is None or live is None or not ready_pods(snapshot, stable.revision):
        return
    after = planned(done)
    for revision, weight in weights_by_revision(after[ROUTE], after).items():
        if revision not in ("", stable.revision) and weight and not ready_pods(snapshot, revision):
            yield f"I2: {revision} keeps {weight}% without a ready pod"


def no_header_without_pods(done: Pass) -> Iterator[str]:
    """I16: requests are sent to the canary by their headers only while it has a ready pod to serve them."""
    snapshot, route = done.snapshot, planned(done).get(ROUTE)
    rollout = in_flight(snapshot.status)
    if route is None or rollout is None or done.plan.requeue_after == 0.0:
        return
    # On the way back from a bake the canary's Service selects the revision before.
    reached = rollout.previous if rollout.stage in (Stage.RECALLING, Stage.REINSTATING) else None
    reached = reached or rollout.revision
    if not ready_pods(snapshot, reached) and any(to_canary_by_header(route).values()):
        yield f"I16: requests with headers go to {reached}, which has no ready pod"


def stable_not_shrunk(done: Pass, ref: Ref) -> Iterator[str]:
    """I4: the operator never scales stable down while a rollout is in flight."""
    status, live = done.snapshot.status, done.snapshot.live.get(ref)
    stable, rollout = status.stable, in_flight(status)
    if rollout is None or rollout.full_size is not None or stable is None or live is None:
        return
    asked = next(item.replicas for item in done.plan.scales if item.deployment == ref.name)
    if recreates(rollout) and rollout.stage in (Stage.DRAINING, Stage.CLEARING):
        return
    if ref.name == names.revision_child(MODEL, stable.revision) and asked < live["spec"]["replicas"]:
        yield f"I4: stable scaled from {live['spec']['replicas']} to {asked} in {in_flight(status)}"


def full_size(snapshot: Snapshot, stable: str) -> int:
    """Return the pods that carry all traffic: stable's, or those that it had before it gave some up."""
    rollout = in_flight(snapshot.status)
    deployment = snapshot.live.get(Ref("Deployment", names.revision_child(MODEL, stable)))
    recorded = rollout.full_size if rollout and rollout.full_size else 0
    return max(recorded or (deployment["spec"]["replicas"] if deployment else 1), 1)


def stable_shrunk_within_capacity(done: Pass, ref: Ref) -> Iterator[str]:
    """I22: stable gives up no pod that its share needs, nor one without a ready pod of the canary for it."""
    snapshot, rollout = done.snapshot, in_flight(done.snapshot.status)
    stable, route = snapshot.status.stable, snapshot.live.get(ROUTE)
    if rollout is None or rollout.full_size is None or stable is None or route is None:
        return
    if ref.name != names.revision_child(MODEL, stable.revision) or stable.revision == rollout.revision:
        return
    asked = next(item.replicas for item in done.plan.scales if item.deployment == ref.name)
    before, full = snapshot.live[ref]["spec"]["replicas"], full_size(snapshot, stable.revision)
    weight = weights_by_revision(route, planned(done)).get(rollout.revision, 0)
    given_up = max(full - asked, 0)
    if asked < before and (
        100 * given_up // full > weight or given_up > ready_pods(snapshot, rollout.revision)
    ):
        yield f"I22: stable scaled to {asked} of {full} while the route gives the canary {weight}%"
    if asked < before and asked < 1:
        yield "I22: stable scaled to nothing before the canary is stable"


def given_back_within_capacity(done: Pass, manifest: Manifest) -> Iterator[str]:
    """I23: stable that shrank gets back what its ready pods carry, unless the canary fails outright."""
    snapshot, rollout = done.snapshot, in_flight(done.snapshot.status)
    stable, before = snapshot.status.stable, snapshot.live.get(ROUTE)
    if rollout is None or rollout.full_size is None or stable is None or before is None:
        return
    if stable.revision == rollout.revision or rollout.reason in PODS_FAIL:
        return
    services = snapshot.live
    old, new = weights_by_revision(before, services), weights_by_revision(manifest, services)
    canary, pods = new.get(rollout.revision, 0), ready_pods(snapshot, rollout.revision)
    ready, full = ready_pods(snapshot, stable.revision), full_size(snapshot, stable.revision)
    least = 100 * max(full - ready, 0) // full
    if pods and canary < old.get(rollout.revision, 0) and canary < least and pods + ready >= full:
        yield f"I23: {canary}% left with the canary while {ready} pods of stable carry {100 - least}%"


def canary_not_shrunk(done: Pass, ref: Ref) -> Iterator[str]:
    """I12: no revision is scaled below what the weight needs that the route still gives it."""
    snapshot = done.snapshot
    stable, route = snapshot.status.stable, snapshot.live.get(ROUTE)
    if stable is None or route is None:
        return
    full = full_size(snapshot, stable.revision)
    asked = next(item.replicas for item in done.plan.scales if item.deployment == ref.name)
    before = snapshot.live[ref]["spec"]["replicas"] if ref in snapshot.live else asked
    for revision, weight in weights_by_revision(route, planned(done)).items():
        is_it = revision != stable.revision and ref.name == names.revision_child(MODEL, revision)
        if is_it and asked < before and 100 * asked < weight * full:
            yield f"I12: {revision} scaled to {asked} while the route gives it {weight}%"


def emptied_while_held(done: Pass, ref: Ref) -> Iterator[str]:
    """I27: outside a rollout stable loses its last pods only while the activator has its requests."""
    snapshot = done.snapshot
    stable, rollout = snapshot.status.stable, in_flight(snapshot.status)
    if stable is None or rollout is not None or ref.name != names.revision_child(MODEL, stable.revision):
        return
    asked = next(item.replicas for item in done.plan.scales if item.deployment == ref.name)
    slice_ = snapshot.live.get(SLICE)
    if asked == 0 and (slice_ is None or not slice_["endpoints"]):
        yield f"I27: {stable.revision} scaled to nothing, and nobody holds its requests"


def left_once_pods_are_known(done: Pass) -> Iterator[str]:
    """I32: the activator leaves the path of a model only once everybody has heard of a ready pod."""
    snapshot = done.snapshot
    if snapshot.status.stable is None or SLICE not in {item.ref for item in done.plan.deletes}:
        return
    revision = snapshot.status.stable.revision
    serving = [pod for pod in snapshot.pods if pod.revision == revision and pod.ready and not pod.deleting]
    since = [pod.ready_changed_at for pod in serving if pod.ready_changed_at]
    if since and snapshot.now < min(since) + HEARD:
        yield f"I32: the activator is gone, and {revision} has just got ready"
