"""The scaler of each revision: at most one, and never beside somebody else's.

Theory of operation. A HorizontalPodAutoscaler and a ScaledObject on one Deployment both stand still. So
from one engine to the other the old scaler is deleted first, and the new one made once nothing is left of it,
the HorizontalPodAutoscaler that KEDA makes of a ScaledObject included. Meanwhile nobody writes replicas: the
pods are what the load had made of them. Where another's scaler targets a Deployment of ours, it is named, and
we neither scale there nor write replicas, but for a pod count of zero, which autoscalers leave alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from ekiben.core import names
from ekiben.core.blocks import block_of, scaled_of
from ekiben.core.engines import SCALERS, engine_for, metrics_for
from ekiben.core.plan import Child
from ekiben.core.render import (
    ScaleTarget,
    build_autoscaler,
    build_scaled_object,
    build_trigger_authentication,
)
from ekiben.core.scaling import Size
from ekiben.core.snapshot import Manifest, Ref, Scaler
from ekiben.core.view import View, once

KINDS = tuple(SCALERS.values())


def kind_wanted(view: View, revision: str, size: Size) -> str | None:
    """Return the kind of scaler that a revision should have; None for none."""
    chosen = engine_for(view, revision)
    if chosen is None or not size.autoscaled or not metrics_for(view, revision):
        return None
    return None if foreign_scaler(view, revision) else SCALERS.get(chosen.name)


def live_scaler(view: View, kind: str, revision: str) -> Manifest | None:
    """Return a revision's scaler of a kind, as far as it exists."""
    return view.live.get(Ref(kind, names.revision_child(view.model.name, revision)))


def left_of_others(view: View, revision: str, kind: str | None) -> Ref | None:
    """Return what must be gone before a revision may have a scaler of this kind, or replicas by our hand."""
    for other in KINDS:
        live = live_scaler(view, other, revision)
        if live is not None and (other != kind or "deletionTimestamp" in live["metadata"]):
            return Ref(other, str(live["metadata"]["name"]))
    made = made_by_keda(view, revision)
    return Ref(made.kind, made.name) if made and kind != SCALERS["keda"] else None


def is_scaled(view: View, revision: str) -> bool:
    """Tell whether any scaler of ours still sizes a revision."""
    has = any(live_scaler(view, kind, revision) is not None for kind in KINDS)
    return has or made_by_keda(view, revision) is not None


def may_size(view: View, revision: str, replicas: int) -> bool:
    """Tell whether we may write a revision's replicas: no scaler does."""
    if is_scaled(view, revision):
        return False
    foreign = foreign_scaler(view, revision)
    if foreign is None:
        return True
    at_zero = replicas == 0 or view.side(revision).replicas == 0
    return at_zero and foreign.kind != SCALERS["keda"]


def foreign_scaler(view: View, revision: str) -> Scaler | None:
    """Return another's autoscaler of a revision's pods; None where the spec leaves scaling to others."""
    if (chosen := engine_for(view, revision)) and chosen.name == "external":
        return None
    deployment = names.revision_child(view.model.name, revision)
    # By /scale an autoscaler sets spec.replicas, which counts only where no engine is ours.
    targets = {deployment} | ({""} if scaled_of(view, revision) else set())
    return next(
        (item for item in view.snapshot.cluster.scalers if not item.ours and item.target in targets), None
    )


@once
def foreign_scalers(view: View) -> tuple[Scaler, ...]:
    """Return others' autoscalers of revisions that have pods."""
    revisions = (side.revision for side in (view.stable, view.canary, view.previous) if side)
    found = (foreign_scaler(view, revision) for revision in revisions)
    return tuple(dict.fromkeys(item for item in found if item))


def made_by_keda(view: View, revision: str) -> Scaler | None:
    """Return the HorizontalPodAutoscaler that KEDA made of a revision's ScaledObject, by that one's name."""
    deployment = names.revision_child(view.model.name, revision)
    scalers = view.snapshot.cluster.scalers
    return next((item for item in scalers if item.ours and item.target == deployment), None)


def scaler_children(view: View, revision: str, size: Size) -> Iterator[Child]:
    """Yield a revision's scaler and what that needs, once nothing of another is left."""
    kind, record = kind_wanted(view, revision, size), view.record(revision)
    block = block_of(view, revision)
    if kind is None or record is None or block is None or left_of_others(view, revision, kind):
        return
    side = view.side(revision)
    # The scaler comes after the first scaling: from then on replicas are its own.
    sized = side.deployment is not None and side.replicas >= size.replicas
    if not sized and live_scaler(view, kind, revision) is None:
        return
    metrics = metrics_for(view, revision)
    target = ScaleTarget(view.model, record, block, metrics, size.replicas, size.max_replicas, size.hold)
    ref, made_of = Ref(kind, target.name), (block, size, metrics)
    if kind == SCALERS["hpa"]:
        yield Child(ref, made_of, partial(build_autoscaler, target))
        return
    scaling = view.status.scaling
    # Whoever takes over from us must know where to look for what we make.
    if scaling is not None and scaling.engine == "keda":
        yield from _authentications(view, revision)
        fallback = _fallback(view, target)
        yield Child(ref, (*made_of, fallback), partial(build_scaled_object, target, fallback=fallback))


def _fallback(view: View, target: ScaleTarget) -> int:
    """Return the fewest pods while a metric can't be read, between the sizes that are allowed."""
    of_stable = target.record.revision == view.stable_revision
    wanted = (target.block.fallback_replicas or 0) if of_stable else 0
    return min(max(wanted, target.min_replicas), target.max_replicas)


def _authentications(view: View, revision: str) -> Iterator[Child]:
    for number, metric in enumerate(metrics_for(view, revision)):
        if (query := metric.prometheus) and (query.bearer or query.basic):
            name = names.trigger_authentication(view.model.name, revision, number)
            render = partial(build_trigger_authentication, view.model, revision, number, query)
            yield Child(Ref("TriggerAuthentication", name), (query,), render)


def unwanted_scalers(view: View, revision: str, size: Size | None) -> Iterator[Ref]:
    """Yield the scalers of a revision that should not be there, and what only they needed."""
    name = names.revision_child(view.model.name, revision)
    kind = kind_wanted(view, revision, size) if size else None
    for other in KINDS:
        if other != kind:
            yield Ref(other, name)
    kept = {child.ref for child in _authentications(view, revision)} if kind == SCALERS["keda"] else set()
    for ref in view.live:
        if ref.kind == "TriggerAuthentication" and ref.name.startswith(f"{name}-") and ref not in kept:
            yield ref
