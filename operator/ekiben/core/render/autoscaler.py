"""The HorizontalPodAutoscaler of one revision."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ekiben.api.scaling import Autoscaling, LatencyLimit, ScalingMetric, ScalingRules
from ekiben.core import names
from ekiben.core.canonical import canonical_quantity, duration_text
from ekiben.core.devices import asks_for_device
from ekiben.core.render.metadata import build_metadata
from ekiben.core.snapshot import Manifest, Model, Record

# A pod that has just started burns seconds of CPU on importing and on its first requests: that is no load.
# Raising minReplicas is not held back by it.
SCALE_UP_WINDOW = 30
# A pod with a GPU takes minutes to come back, and its device may be another's by then.
DEVICE_SCALE_DOWN_WINDOW = 900

_PERCENT = re.compile(r"^([0-9]{1,6})(?:\.[0-9]+)?%$")


def build_autoscaler(
    model: Model,
    record: Record,
    autoscaling: Autoscaling,
    *,
    min_replicas: int,
    max_replicas: int,
    hold: bool,
    metrics: Sequence[ScalingMetric],
) -> Manifest:
    """Build the autoscaler of a revision; with `hold` it may add pods and not take any away."""
    name = names.revision_child(model.name, record.revision)
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": build_metadata(model, name, names.revision_labels(model.name, record.revision)),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": min_replicas,
            "maxReplicas": max_replicas,
            "metrics": [target for metric in metrics for target in _targets(metric)],
            "behavior": build_behavior(record, autoscaling, hold=hold),
        },
    }


def build_behavior(record: Record, autoscaling: Autoscaling, *, hold: bool) -> dict[str, Any]:
    """Build how fast the number of pods follows; the same for each engine."""
    behavior = autoscaling.behavior
    window = {"stabilizationWindowSeconds": DEVICE_SCALE_DOWN_WINDOW} if asks_for_device(record) else {}
    # Always written: a field that is only left out again would keep what it held.
    return {
        "scaleUp": {"stabilizationWindowSeconds": SCALE_UP_WINDOW, **_rules(behavior.scale_up)},
        "scaleDown": {
            "selectPolicy": "Max",
            **window,
            **_rules(behavior.scale_down),
            **({"selectPolicy": "Disabled"} if hold else {}),
        },
    }


def _rules(rules: ScalingRules | None) -> dict[str, Any]:
    return rules.model_dump(mode="json", by_alias=True, exclude_none=True) if rules else {}


def _targets(metric: ScalingMetric) -> list[dict[str, Any]]:
    # Of the bento container alone: what a sidecar uses says nothing about the model's load.
    of_container = [
        {
            "type": "ContainerResource",
            "containerResource": {"name": name, "container": names.CONTAINER, "target": _target(value)},
        }
        for name, value in (("cpu", metric.cpu), ("memory", metric.memory))
        if value is not None
    ]
    of_pod = [
        {
            "type": "Pods",
            "pods": {
                "metric": {"name": name},
                "target": {"type": "AverageValue", "averageValue": canonical_quantity(value)},
            },
        }
        for name, value in (
            (names.CONCURRENCY, metric.concurrency),
            (names.REQUESTS_PER_SECOND, metric.requests_per_second),
        )
        if value is not None
    ]
    return [*of_container, *of_pod, *([_guard(metric.latency)] if metric.latency else [])]


def _guard(limit: LatencyLimit) -> dict[str, Any]:
    """Build the target of a latency: whoever answers needs to know the limit, so it is in the question."""
    labels = {names.QUANTILE_LABEL: limit.quantile, names.LIMIT_LABEL: duration_text(limit.seconds)}
    return {
        "type": "Pods",
        "pods": {
            "metric": {"name": names.LATENCY, "selector": {"matchLabels": labels}},
            "target": {"type": "AverageValue", "averageValue": canonical_quantity(f"{limit.seconds:.3f}")},
        },
    }


def _target(value: str) -> dict[str, Any]:
    """Build the target for a share of the request such as `70%`, or for a mean per pod such as `500m`."""
    if (percent := percent_of(value)) is not None:
        return {"type": "Utilization", "averageUtilization": percent}
    return {"type": "AverageValue", "averageValue": canonical_quantity(value)}


def percent_of(value: str) -> int | None:
    """Return the whole percent of a share such as `70%`; None for an amount."""
    percent = _PERCENT.match(value)
    return max(1, int(percent[1])) if percent else None
