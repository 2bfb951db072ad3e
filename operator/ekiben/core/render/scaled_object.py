"""The ScaledObject of one revision, and the TriggerAuthentications that its queries need."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ekiben.api.scaling import ScalingMetric
from ekiben.api.triggers import Formula, ScalingPrometheus, Schedule, Trigger
from ekiben.core import names
from ekiben.core.canonical import canonical_quantity
from ekiben.core.filling import filled
from ekiben.core.render.autoscaler import build_behavior, percent_of
from ekiben.core.render.metadata import build_metadata
from ekiben.core.render.scale_target import ScaleTarget
from ekiben.core.snapshot import Manifest, Model, Record

KEDA = "keda.sh/v1alpha1"
# So many answers in a row may be missing, and with the next one KEDA falls back: it asks about every 15 s.
FAILURES = 3


def build_scaled_object(target: ScaleTarget, *, fallback: int) -> Manifest:
    """Build the ScaledObject of a revision.

    Where a metric can't be read, `fallback` is the fewest pods, and there never are fewer than there were.
    """
    asks = any(metric.prometheus or metric.schedule or metric.trigger for metric in target.metrics)
    formula = target.block.formula
    return {
        "apiVersion": KEDA,
        "kind": "ScaledObject",
        "metadata": target.metadata,
        "spec": {
            "scaleTargetRef": target.reference,
            "minReplicaCount": target.min_replicas,
            "maxReplicaCount": target.max_replicas,
            # KEDA refuses a fallback where every trigger is of a resource.
            **({"fallback": _fallback(fallback)} if asks else {}),
            "advanced": {
                "horizontalPodAutoscalerConfig": {"behavior": build_behavior(target)},
                **({"scalingModifiers": _modifiers(formula)} if formula else {}),
            },
            "triggers": [
                trigger | ({"name": metric.name} if metric.name else {})
                for number, metric in enumerate(target.metrics)
                for trigger in _triggers(target.model, target.record, number, metric)
            ],
        },
    }


def build_trigger_authentication(
    model: Model, revision: str, number: int, metric: ScalingPrometheus
) -> Manifest:
    """Build what tells KEDA where the credentials of a query are: in a Secret that it reads itself."""
    name = names.trigger_authentication(model.name, revision, number)
    secrets = {"bearerToken": metric.bearer} if metric.bearer else {}
    if metric.basic:
        secrets |= {"username": metric.basic.username, "password": metric.basic.password}
    return {
        "apiVersion": KEDA,
        "kind": "TriggerAuthentication",
        "metadata": build_metadata(model, name, names.revision_labels(model.name, revision)),
        "spec": {
            "secretTargetRef": [
                {"parameter": parameter, "name": secret.name, "key": secret.key}
                for parameter, secret in secrets.items()
            ]
        },
    }


def _fallback(replicas: int) -> dict[str, Any]:
    return {"failureThreshold": FAILURES, "replicas": replicas, "behavior": "currentReplicasIfHigher"}


def _triggers(model: Model, record: Record, number: int, metric: ScalingMetric) -> Iterator[dict[str, Any]]:
    for name, value in (("cpu", metric.cpu), ("memory", metric.memory)):
        if value is not None:
            yield _resource(name, value)
    if metric.prometheus is not None:
        yield _query(model, record.revision, number, metric.prometheus)
    if metric.schedule is not None:
        yield _window(metric.schedule)
    if metric.trigger is not None:
        yield _passed_on(model, record.revision, metric.trigger)


def _resource(name: str, value: str) -> dict[str, Any]:
    percent = percent_of(value)
    # Of the bento container alone: what a sidecar uses says nothing about the model's load.
    return {
        "type": name,
        "metricType": "AverageValue" if percent is None else "Utilization",
        "metadata": {
            "value": str(canonical_quantity(value)) if percent is None else str(percent),
            "containerName": names.CONTAINER,
        },
    }


def _query(model: Model, revision: str, number: int, metric: ScalingPrometheus) -> dict[str, Any]:
    modes = "bearer" if metric.bearer else "basic" if metric.basic else ""
    reference = {"name": names.trigger_authentication(model.name, revision, number)}
    return {
        "type": "prometheus",
        "metricType": "AverageValue",
        "metadata": {
            "serverAddress": metric.address,
            "query": filled(metric.query, _words(model, revision)),
            "threshold": metric.threshold,
            # To KEDA no series would be a load of 0, and the pods would go.
            "ignoreNullValues": "false",
            **({"authModes": modes} if modes else {}),
        },
        **({"authenticationRef": reference} if modes else {}),
    }


def _passed_on(model: Model, revision: str, trigger: Trigger) -> dict[str, Any]:
    words, reference = _words(model, revision), trigger.authentication_ref
    return {
        "type": trigger.type,
        **({"metricType": trigger.metric_type} if trigger.metric_type else {}),
        "metadata": {key: filled(value, words) for key, value in trigger.metadata.items()},
        **({"authenticationRef": {"name": reference.name}} if reference else {}),
    }


def _words(model: Model, revision: str) -> dict[str, str]:
    return {"revision": revision, "model.name": model.name, "model.namespace": model.namespace}


def _modifiers(formula: Formula) -> dict[str, str]:
    return {
        "formula": formula.expression,
        "target": formula.target,
        "metricType": formula.metric_type or "AverageValue",
    }


def _window(schedule: Schedule) -> dict[str, Any]:
    return {
        "type": "cron",
        "metadata": {
            "timezone": schedule.time_zone or "UTC",
            "start": schedule.start,
            "end": schedule.end,
            "desiredReplicas": str(schedule.replicas),
        },
    }
