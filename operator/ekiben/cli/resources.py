"""What pods ask for, added up: CPUs, memory and devices by name."""

from __future__ import annotations

from typing import Any

from ekiben.core.canonical import quantity_value
from ekiben.core.render import build_deployment
from ekiben.core.snapshot import Model, Record

Resources = dict[str, float]
_ANY_MODEL = Model(namespace="", name="x", uid="", generation=0, resource_version="")


def requests_of(record: Record) -> Resources:
    """Return what one pod asks for: its containers together, or an init container if that is more."""
    pod = build_deployment(_ANY_MODEL, record)["spec"]["template"]["spec"]
    asked: Resources = {}
    for container in pod["containers"]:
        asked = added(asked, _asked(container))
    for container in pod.get("initContainers") or ():
        asked = {
            key: max(asked.get(key, 0.0), _asked(container).get(key, 0.0))
            for key in {**asked, **_asked(container)}
        }
    return asked


def _asked(container: dict[str, Any]) -> Resources:
    resources = container.get("resources") or {}
    # Kubernetes takes a limit for the request where there is none.
    both = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return {name: float(value) for name, text in both.items() if (value := quantity_value(text)) is not None}


def times(resources: Resources, count: int) -> Resources:
    """Return what so many pods ask for."""
    return {name: value * count for name, value in resources.items()}


def added(one: Resources, other: Resources) -> Resources:
    """Return what both ask for."""
    return {name: one.get(name, 0.0) + other.get(name, 0.0) for name in sorted({**one, **other})}


def amount(name: str, value: float) -> str:
    """Write an amount of a resource as people do: 2.5 CPUs, 3Gi, 4."""
    if name in ("memory", "ephemeral-storage") or name.startswith("hugepages-"):
        for unit, size in (("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10)):
            if value >= size:
                return f"{round(value / size, 2):g}{unit}"
    return f"{round(value, 3):g}"
