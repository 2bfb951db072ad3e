"""The HorizontalPodAutoscaler of one revision."""

from __future__ import annotations

import re
from typing import Any

from ekiben.api.scaling import LatencyLimit, ScalingMetric, ScalingRules
from ekiben.core import names
from ekiben.core.canonical import canonical_quantity, duration_text
from ekiben.core.devices import asks_for_device
from ekiben.core.render.scale_target import ScaleTarget
from ekiben.core.snapshot import Manifest

# A pod that has just started burns seconds of CPU on importing and on its first requests: that is no load.
# Raising minReplicas is not held back by it.
SCALE_UP_WINDOW = 30
# A pod with a GPU takes minutes to come back, and its device may be another's by then.
DEVICE_SCALE_DOWN_WINDOW = 900

_PERCENT = re.compile(r"^([0-9]{1,6})(?:\.[0-9]+)?%$")


def build_autoscaler(target: ScaleTarget) -> Manifest:
    """Build the autoscaler of a revision."""
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": target.metadata,
        "spec": {
            "scaleTargetRef": target.reference,
            "minReplicas": target.min_replicas,
            "maxReplicas": target.max_replicas,
            "metrics": [item for metric in target.metrics for item in _targets(metric)],
            "behavior": build_behavior(target),
        },
    }


def build_behavior(target: ScaleTarget) -> dict[str, Any]:
    """Build how fast the number of pods follows; the same for each engine."""
    behavior = target.block.behavior
    has_device = asks_for_device(target.record)
    window = {"stabilizationWindowSeconds": DEVICE_SCALE_DOWN_WINDOW} if has_device else {}
    # Always written: a field that is only left out again would keep what it held.
    return {
        "scaleUp": {"stabilizationWindowSeconds": SCALE_UP_WINDOW, **_rules(behavior.scale_up)},
        "scaleDown": {
            "selectPolicy": "Max",
            **window,
            **_rules(behavior.scale_down),
            **({"selectPolicy": "Disabled"} if target.hold else {}),
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
