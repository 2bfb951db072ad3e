"""Who scales a model: the engine that its metrics need, and what to say where none can serve them.

What can't be served holds the capacity: nobody then takes a pod away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from ekiben.api.scaling import Autoscaling, ScalingMetric
from ekiben.api.triggers import EVERY_TRIGGER
from ekiben.core.blocks import block_of
from ekiben.core.devices import asks_for_device
from ekiben.core.view import View, once

Name = Literal["hpa", "keda", "external", "none"]

# The kind of object by which an engine scales a revision.
SCALERS: dict[str, str] = {"hpa": "HorizontalPodAutoscaler", "keda": "ScaledObject"}
# A scaler, and what it needs: KEDA's webhooks are asked about them.
OF_SCALING = frozenset({*SCALERS.values(), "TriggerAuthentication"})
_REVISION = "{{revision}}"
DEFAULT_METRIC = ScalingMetric(cpu="70%")
_ONE_OF_THESE = (
    "prometheus, schedule and trigger need KEDA, and concurrency, requestsPerSecond and latency a"
    " HorizontalPodAutoscaler"
)
# The API server refuses it, but for a CRD that is older.
_ALONE = (
    "autoscaling.metrics: latency only adds pods, and nothing else says when they may go, so none does: write"
    " another metric beside it, such as concurrency"
)


class Problem(NamedTuple):
    """Why a spec is not scaled as it says: a reason of the condition, and what to do."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Chosen:
    """The engine that was taken and why; `metrics` are those it serves, None where the defaults do.

    With a `problem` some metric has no engine.
    """

    name: Name
    why: str
    metrics: tuple[ScalingMetric, ...] | None = ()
    problem: Problem | None = None


def needs_keda(metric: ScalingMetric) -> bool:
    """Tell whether only KEDA serves a metric."""
    return any(target is not None for target in (metric.prometheus, metric.schedule, metric.trigger))


def needs_adapter(metric: ScalingMetric) -> bool:
    """Tell whether only a HorizontalPodAutoscaler can ask about a metric."""
    return any(
        target is not None for target in (metric.concurrency, metric.requests_per_second, metric.latency)
    )


@once
def engine_of(view: View) -> Chosen | None:
    """Choose the engine of what serves; None without an autoscaling block."""
    return _choose(view, view.spec.autoscaling)


def engine_for(view: View, revision: str) -> Chosen | None:
    """Choose the engine of one revision; None without an autoscaling block."""
    block = block_of(view, revision)
    return engine_of(view) if block is view.spec.autoscaling else _choose(view, block)


def _choose(view: View, block: Autoscaling | None) -> Chosen | None:
    if block is None:
        return None
    if block.engine == "external":
        return Chosen("external", "autoscaling.engine says that others scale")
    if block.engine == "none":
        return Chosen("none", "autoscaling.engine says that nobody scales")
    by_keda = [metric for metric in block.metrics if needs_keda(metric)]
    if block.engine == "keda" or (block.engine == "auto" and by_keda):
        return _keda(view, block, asked="autoscaling.engine" if block.engine == "keda" else "a metric")
    return _hpa(block, "autoscaling.engine asks for it" if block.engine == "hpa" else "no metric needs KEDA")


def _hpa(block: Autoscaling, why: str) -> Chosen:
    if not block.metrics:
        return Chosen("hpa", why, None)
    served = tuple(metric for metric in block.metrics if not needs_keda(metric))
    problem = None if len(served) == len(block.metrics) else Problem("MetricUnserved", _unserved(block))
    if all(metric.latency for metric in block.metrics):
        problem = Problem("LatencyAlone", _ALONE)
    return Chosen("hpa", why, served, problem)


def _keda(view: View, block: Autoscaling, asked: str) -> Chosen:
    why = f"{asked} asks for KEDA"
    if lacks := _lacking(view):
        if block.engine == "keda":
            return Chosen("keda", why, (), Problem("KEDAMissing", lacks))
        # What it can read may still ask for more pods.
        return Chosen("hpa", "KEDA is not there", _hpa(block, "").metrics, Problem("KEDAMissing", lacks))
    if not block.metrics:
        return Chosen("keda", why, None)
    forbidden = forbidden_types(block, view.snapshot.cluster.triggers)
    served = tuple(
        metric
        for metric in block.metrics
        if not (needs_adapter(metric) or (metric.trigger and metric.trigger.type in forbidden))
    )
    if len(served) == len(block.metrics):
        return Chosen("keda", why, served)
    problem = Problem("MetricUnserved", _unserved(block))
    if forbidden:
        problem = Problem("TriggerForbidden", _forbidding(forbidden))
    # A formula that lacks one of its numbers is no formula.
    return Chosen("keda", why, () if block.formula else served, problem)


def forbidden_types(block: Autoscaling, allowed: frozenset[str]) -> tuple[str, ...]:
    """Name the types of triggers in a block that the chart does not allow."""
    asked = dict.fromkeys(metric.trigger.type for metric in block.metrics if metric.trigger)
    return () if EVERY_TRIGGER in allowed else tuple(type_ for type_ in asked if type_ not in allowed)


def _forbidding(types: tuple[str, ...]) -> str:
    return (
        f"autoscaling.metrics: a trigger of type {', '.join(types)} is none that the chart allows, so no pod"
        " goes: list it in the chart value keda.triggers, or take another metric"
    )


def _lacking(view: View) -> str:
    """Say what is missing for KEDA, and what to do; "" where nothing is."""
    keda = view.snapshot.cluster.keda
    instead = "or set autoscaling.engine to hpa and leave prometheus, schedule and trigger out"
    if keda == "disabled":
        return f"autoscaling needs KEDA, which the chart does not allow: set keda.enabled, {instead}"
    if keda == "absent":
        return f"autoscaling needs KEDA, and the cluster has no ScaledObjects: install KEDA, {instead}"
    if keda == "unreadable":
        return (
            f"autoscaling needs KEDA, and its ScaledObjects can't be read: see the operator's log, {instead}"
        )
    return ""


def _unserved(block: Autoscaling) -> str:
    return f"autoscaling.metrics: {_ONE_OF_THESE}; no engine serves all of them: leave one kind out"


def metrics_for(view: View, revision: str) -> tuple[ScalingMetric, ...]:
    """Return on what a revision is scaled; nothing where nothing is known of the revision alone.

    A clock, and a query or a trigger that is the same for every revision, are stable's, and so is a formula
    with any of them: what others need follows from their weight.
    """
    chosen, record = engine_for(view, revision), view.record(revision)
    if chosen is None or record is None:
        return ()
    if chosen.metrics is None:
        return () if asks_for_device(record) else (DEFAULT_METRIC,)
    if revision == view.stable_revision:
        return chosen.metrics
    own = tuple(metric for metric in chosen.metrics if _is_of_one_revision(metric))
    block = block_of(view, revision)
    return () if block and block.formula and own != chosen.metrics else own


def _is_of_one_revision(metric: ScalingMetric) -> bool:
    if metric.prometheus is not None:
        return _REVISION in metric.prometheus.query
    if metric.trigger is not None:
        return any(_REVISION in value for value in metric.trigger.metadata.values())
    return metric.schedule is None
