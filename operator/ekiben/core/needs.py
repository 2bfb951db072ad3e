"""What a pod needs, counted as the scheduler and the quota count it. Pure.

Source: Kubernetes' documentation of resources, init containers and sidecar containers; `PodRequests` in
k8s.io/component-helpers. Objects come from the API server as they are, so every field may be missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any, Literal

from ekiben.core.canonical import quantity_value

Amounts = dict[str, Fraction]
Section = Literal["requests", "limits"]
# What a pod may ask for as a whole, in place of what its containers ask for together.
_OF_WHOLE_PODS = ("cpu", "memory", "hugepages-")


def pod_needs(spec: Mapping[str, Any], section: Section = "requests") -> Amounts:
    """Return what one pod asks for.

    Containers and sidecars run together; init containers one after the other, each beside the sidecars that
    started before it. So it is the larger of both. A sidecar is an init container that always restarts.
    """
    together = _sum(_of_container(item, section) for item in spec.get("containers") or ())
    sidecars: Amounts = {}
    highest: Amounts = {}
    for item in spec.get("initContainers") or ():
        own = _of_container(item, section)
        if item.get("restartPolicy") == "Always":
            together, sidecars = _sum((together, own)), _sum((sidecars, own))
            own = sidecars
        else:
            own = _sum((sidecars, own))
        highest = _larger(highest, own)
    needs = _larger(together, highest)
    whole = _amounts((spec.get("resources") or {}).get(section) or {})
    needs |= {name: amount for name, amount in whole.items() if name.startswith(_OF_WHOLE_PODS)}
    return _sum((needs, _amounts(spec.get("overhead") or {})))


def amount_text(name: str, value: Fraction | float) -> str:
    """Write an amount of a resource as people do: 2.5 CPUs, 3Gi, 4."""
    if (
        name.removeprefix("requests.")
        .removeprefix("limits.")
        .startswith(("memory", "ephemeral-storage", "hugepages-"))
    ):
        for unit, size in (("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10)):
            if value >= size:
                return f"{round(float(value) / size, 2):g}{unit}"
    return f"{round(float(value), 3):g}"


def _of_container(container: Mapping[str, Any], section: Section) -> Amounts:
    resources = container.get("resources") or {}
    if section == "limits":
        return _amounts(resources.get("limits") or {})
    # Kubernetes takes a limit for the request where there is none.
    return _amounts({**(resources.get("limits") or {}), **(resources.get("requests") or {})})


def _amounts(quantities: Mapping[str, Any]) -> Amounts:
    """Read quantities; what is none is left out, and nobody waits for it."""
    read = {name: amount_of(text) for name, text in quantities.items()}
    return {name: amount for name, amount in read.items() if amount is not None}


def amount_of(text: object) -> Fraction | None:
    """Read one quantity; None where it is none."""
    return _read(text) if isinstance(text, str | int | float) else None


@lru_cache(maxsize=4096)
def _read(text: str | int | float) -> Fraction | None:
    return quantity_value(text)


def _sum(parts: Iterable[Mapping[str, Fraction]]) -> Amounts:
    total: Amounts = {}
    for part in parts:
        for name, amount in part.items():
            total[name] = total.get(name, Fraction(0)) + amount
    return total


def _larger(one: Mapping[str, Fraction], other: Mapping[str, Fraction]) -> Amounts:
    zero = Fraction(0)
    return {name: max(one.get(name, zero), other.get(name, zero)) for name in (*one, *other)}
