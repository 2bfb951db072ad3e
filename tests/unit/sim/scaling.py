"""Rules of scaling: one scaler for each Deployment, and none of ours beside somebody else's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ekiben.core.snapshot import Manifest, Ref
from unit.sim.apiserver import ref_of
from unit.sim.operator import Pass

SCALERS = ("HorizontalPodAutoscaler", "ScaledObject")


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
