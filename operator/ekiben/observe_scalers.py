"""Read whose an autoscaler is and what it sizes. Pure; every field may be missing, or be anything."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ekiben.core import names
from ekiben.core.snapshot import Manifest, Model, Reading, Scaler
from ekiben.ownership import controller_of, is_ours

_REVISION_CHILD = re.compile(r"^(.+)-[a-z][a-z0-9]{9}$")
_KEDA_METRICS = ("prometheus", "schedule", "trigger")
_OURS, _KEDA = "HorizontalPodAutoscaler", "ScaledObject"


def target_of(autoscaler: Manifest) -> tuple[str, str] | None:
    """Return the kind and the name of what an autoscaler sizes, where that may be a model's."""
    target = (autoscaler.get("spec") or {}).get("scaleTargetRef") or {}
    kind, name = target.get("kind"), target.get("name")
    if kind in ("Deployment", "ModelDeployment") and isinstance(name, str):
        return str(kind), name
    return None


def model_of(autoscaler: Manifest) -> str | None:
    """Name the model that an autoscaler sizes, by its target alone; None where it can be none's."""
    target = target_of(autoscaler)
    if target is None or target[0] == "ModelDeployment":
        return target[1] if target else None
    found = _REVISION_CHILD.match(target[1])
    return found[1] if found else None


def sized_models(autoscaler: Manifest) -> set[tuple[str, str]]:
    """Name the model that an autoscaler which we did not make sizes, with its namespace."""
    owner, name = controller_of(autoscaler) or {}, model_of(autoscaler)
    if name is None or owner.get("kind") == "ModelDeployment":
        return set()
    return {(str(autoscaler.get("metadata", {}).get("namespace") or ""), name)}


def scalers_of(autoscalers: Iterable[Manifest], model: Model) -> tuple[Scaler, ...]:
    """Describe the autoscalers that have to do with a model and that we did not make, sorted by name."""
    found = {
        scaler
        for raw in autoscalers
        if model_of(raw) == model.name and not is_ours(raw, model) and (scaler := _scaler(raw))
    }
    return tuple(sorted(found, key=lambda item: (item.kind, item.name, item.target)))


def _scaler(raw: Manifest) -> Scaler | None:
    target = target_of(raw)
    if target is None:
        return None
    deployment = target[1] if target[0] == "Deployment" else ""
    about, owner = raw.get("metadata", {}), controller_of(raw) or {}
    if owner.get("kind") != _KEDA:
        return Scaler(_OURS, str(about.get("name", "")), deployment)
    maker = str(owner.get("name", ""))
    labels = about.get("labels") or {}
    # KEDA gives it the labels of its ScaledObject, and ours is named like the Deployment.
    if maker != deployment or labels.get(names.MANAGED_BY) != names.MANAGER:
        return Scaler(_KEDA, maker, deployment)
    return Scaler(_KEDA, maker, deployment, ours=True, bounds=_bounds(raw), reading=Reading.of(raw))


def _bounds(raw: Manifest) -> tuple[int, int] | None:
    spec = _map(raw.get("spec"))
    least, most = spec.get("minReplicas"), spec.get("maxReplicas")
    return (least, most) if isinstance(least, int) and isinstance(most, int) else None


def wants_keda(model: Manifest, autoscalers: Iterable[Manifest] = ()) -> bool:
    """Tell whether a raw model needs ScaledObjects to be watched, whatever else is wrong with it.

    `autoscalers` are those that size it. One that KEDA made of a ScaledObject of ours says that there is such
    a one, even where neither the spec nor the status knows of it any more.
    """
    if any(scaler.ours for raw in autoscalers if (scaler := _scaler(raw))):
        return True
    spec, status = _map(model.get("spec")), _map(model.get("status"))
    block = _map(spec.get("autoscaling"))
    if _map(status.get("scaling")).get("engine") == "keda" or block.get("engine") == "keda":
        return True
    metrics = block.get("metrics")
    return block.get("engine", "auto") == "auto" and any(
        any(field in item for field in _KEDA_METRICS)
        for item in (metrics if isinstance(metrics, list) else ())
        if isinstance(item, Mapping)
    )


def _map(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}
