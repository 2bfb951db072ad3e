"""Rules of scaling: one scaler for each Deployment, none of ours beside another's, none's work blamed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ekiben.api.fields import delta
from ekiben.api.status import RolloutStatus, Stage
from ekiben.api.v1alpha1 import Spec
from ekiben.core import names
from ekiben.core.snapshot import Manifest, Ref
from unit.sim.apiserver import ref_of
from unit.sim.operator import Pass
from unit.sim.passes import in_flight, ready_pods
from unit.sim.world import MODEL

SCALERS = ("HorizontalPodAutoscaler", "ScaledObject")
BACK = frozenset({Stage.ABORTING, Stage.RECALLING, Stage.REINSTATING})
# The weight is what it was: pods that are missing are those that the load asks for.
AT_REST = frozenset({Stage.HOLDING, Stage.PAUSED, Stage.BAKING})


def one_scaler(manifest: Manifest, objects: Mapping[Ref, Manifest]) -> Iterator[str]:
    """I30: a scaler is written only where no other one sizes the same Deployment."""
    ref = ref_of(manifest)
    if ref.kind not in SCALERS:
        return
    target = manifest["spec"]["scaleTargetRef"]["name"]
    for other, live in objects.items():
        if other.kind not in SCALERS or other == ref:
            continue
        owners = live["metadata"].get("ownerReferences") or ()
        made_of_it = any((owner["kind"], owner["name"]) == ref for owner in owners)
        if live["spec"]["scaleTargetRef"]["name"] == target and not made_of_it:
            yield f"I30: {ref.kind} {ref.name} is written beside {other.kind} {other.name}"


def nobody_fought(done: Pass, ref: Ref) -> Iterator[str]:
    """I31: where another's autoscaler is seen, no replicas are written but to and from zero."""
    scale = next(item for item in done.plan.scales if item.deployment == ref.name)
    live = done.snapshot.live.get(ref)
    has = live["spec"]["replicas"] if live else 0
    for scaler in done.snapshot.cluster.scalers:
        if scaler.target == ref.name and has and scale.replicas:
            yield f"I31: {ref.name} is scaled to {scale.replicas} beside {scaler.kind} {scaler.name}"


def not_blamed_for_missing_pods(done: Pass) -> Iterator[str]:
    """I34: no revision goes back for slow requests while its autoscaler still brings pods.

    But out of a bake that has waited for them for as long as it may.
    """
    before = in_flight(done.snapshot.status)
    after = in_flight(done.plan.status) if done.plan.status else None
    if before is None or after is None or before.stage not in AT_REST or after.stage not in BACK:
        return
    child = names.revision_child(MODEL, before.revision)
    live = done.snapshot.live
    if after.reason != "AnalysisFailed" or not any(Ref(kind, child) in live for kind in SCALERS):
        return
    if before.stage is Stage.BAKING and _has_waited_out(done, before):
        return
    has, wanted = (
        ready_pods(done.snapshot, before.revision),
        live[Ref("Deployment", child)]["spec"]["replicas"],
    )
    if "slow-requests" in after.message and has < wanted:
        yield f"I34: {after.revision} goes back with {has} of {wanted} pods: {after.message}"


def _has_waited_out(done: Pass, rollout: RolloutStatus) -> bool:
    spec, began = done.snapshot.spec, rollout.stage_started_at
    if began is None or not isinstance(spec, Spec):
        return False
    rules = spec.analysis
    return done.snapshot.now >= began + delta(rules.bake) + delta(rules.max_wait)
