"""What the status says of scaling: the engine, why it was taken, and what keeps it from its work."""

from __future__ import annotations

from typing import Literal, NamedTuple

from ekiben.api.sizing import ScalingStatus
from ekiben.core import keda_said
from ekiben.core.children import sizes
from ekiben.core.engines import OF_SCALING, SCALERS, Chosen, engine_for, engine_of, metrics_for
from ekiben.core.scalers import foreign_scalers, kind_wanted, left_of_others
from ekiben.core.snapshot import Ref, Scaler
from ekiben.core.unreadable import REASON, unreadable
from ekiben.core.view import View, once

_TRUE = {
    "hpa": ("HPA", "a HorizontalPodAutoscaler for each revision"),
    "keda": ("KEDA", "a ScaledObject for each revision"),
    "external": ("External", "replicas are left to others"),
    "none": ("Fixed", "the pods are replicas"),
}


class ScalingSaid(NamedTuple):
    """The condition Scaling before its times are known."""

    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str


def scaling_status(view: View) -> ScalingStatus | None:
    """Return what the status remembers of scaling; None where the spec says nothing of it."""
    chosen, block = engine_of(view), view.spec.autoscaling
    if any(ref.kind == SCALERS["keda"] for ref in view.live) and (chosen is None or chosen.name != "keda"):
        # As long as it says so, ScaledObjects are watched, also by whoever takes over from us.
        return ScalingStatus(engine="keda", why="its ScaledObjects are still there", asked=_asked(view))
    coming = _coming(view)
    if coming and coming.name == "keda" and (chosen is None or chosen.name != "keda"):
        # Before the first of them is made.
        return ScalingStatus(engine="keda", why=f"of the new revision {coming.why}", asked=_asked(view))
    if chosen is None or block is None:
        return None
    return ScalingStatus(engine=chosen.name, why=chosen.why, asked=_asked(view))


def _asked(view: View) -> int | None:
    """Return the `replicas` of the spec that are done with: carried out, or there when scaling began."""
    chosen, before = engine_of(view), view.status.scaling
    if chosen is None or chosen.name != "external":
        return view.spec.replicas
    known = before.asked if before else None
    if known is None and not view.is_first:
        return view.spec.replicas
    has = view.stable.replicas if view.stable else 0
    return view.spec.replicas if has == view.spec.replicas else known


@once
def scaling_said(view: View) -> ScalingSaid | None:
    """Say whether scaling is as the spec says; None where it says nothing of it and nobody scales."""
    chosen = engine_of(view)
    if foreign := foreign_scalers(view):
        return ScalingSaid("False", "ForeignScaler", _foreign(view, foreign[0]))
    if chosen is None:
        return None
    if chosen.problem:
        return ScalingSaid("False", *chosen.problem)
    if left := _left(view):
        return ScalingSaid("Unknown", "HandingOver", _leaving(left))
    if refused := _refused(view):
        return ScalingSaid("False", "ScalerRejected", refused)
    if _lacks_metric(view, chosen):
        return ScalingSaid(
            "False",
            "NoMetric",
            "autoscaling.metrics is empty, and CPU says nothing about a model on a GPU: write some, such as"
            " concurrency; the pods stay as many as there are",
        )
    if trouble := _trouble(view):
        return trouble
    if remedy := unreadable(view):
        return ScalingSaid("False", REASON, remedy)
    if (coming := _coming(view)) and coming.problem:
        reason, message = coming.problem
        return ScalingSaid("False", reason, f"of the new revision {message}")
    reason, message = _TRUE[chosen.name]
    return ScalingSaid("True", reason, f"{message}: {chosen.why}")


def _coming(view: View) -> Chosen | None:
    """Return the engine of the revision on trial, where its block is its own."""
    revision = view.canary_revision
    return engine_for(view, revision) if revision and view.is_fielded else None


def scaling_problem(view: View) -> str:
    """Say what keeps the pods from being scaled; "" where nothing does."""
    said = scaling_said(view)
    return said.message if said and said.status == "False" else ""


def _foreign(view: View, scaler: Scaler) -> str:
    target = f"Deployment {scaler.target}" if scaler.target else f"ModelDeployment {view.model.name}"
    way_out = "set autoscaling.engine to external"
    if scaler.target and view.spec.scaled is None:
        way_out = f"have it target ModelDeployment {view.model.name}, or {way_out}"
    return (
        f"{scaler.kind} {view.model.namespace}/{scaler.name} scales {target}, so nothing of ours does:"
        f" delete it, or {way_out}"
    )


def _left(view: View) -> Ref | None:
    for revision, size in sizes(view).items():
        kind = kind_wanted(view, revision, size)
        left = left_of_others(view, revision, kind)
        # An autoscaler is gone in a moment; that a revision without pods loses its own is no hand-over.
        if left and (kind is not None or left.kind == SCALERS["keda"]):
            return left
    return None


def _refused(view: View) -> str:
    """Return what was said to a scaler, or to what it needs, that is refused; KEDA's webhooks do that."""
    told = (
        " ".join(why.split())
        for ref, why in sorted(view.snapshot.rejections.items())
        if ref.kind in OF_SCALING
    )
    return next((f"rejected: {why}"[: keda_said.LONGEST] for why in told), "")


def _leaving(left: Ref) -> str:
    remark = "; if it stays, KEDA does not run" if left.kind == SCALERS["keda"] else ""
    return f"waiting until {left.kind} {left.name} is gone, the pods stay as many as there are{remark}"


def _lacks_metric(view: View, chosen: Chosen) -> bool:
    scales = chosen.name in SCALERS and chosen.metrics is None
    return scales and view.stable is not None and not metrics_for(view, view.stable.revision)


def _trouble(view: View) -> ScalingSaid | None:
    """Return what KEDA says, or does not, of the ScaledObjects of stable and of the canary."""
    revisions = [side.revision for side in (view.stable, view.canary) if side]
    for said in (keda_said.hindrance, keda_said.fallback):
        for revision in revisions:
            if trouble := said(view, revision):
                return ScalingSaid("False", *trouble)
    return None
