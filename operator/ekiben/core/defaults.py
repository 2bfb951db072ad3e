"""What a pod gets where the user wrote nothing, per version of the pod template."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ekiben.core.canonical import quantity_value

Quantities = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Defaults:
    """One template version's defaults: `timeout` in seconds, resources of the bento container."""

    timeout: float = 60.0
    requests: Quantities = field(default_factory=lambda: {"cpu": "500m", "memory": "512Mi"})
    limits: Quantities = field(default_factory=lambda: {"memory": "1Gi"})


# An entry never changes: revisions were named and pods were made with it. A new version gets a new entry.
DEFAULTS: dict[int, Defaults] = {1: Defaults()}


def effective_resources(resources: Mapping[str, Quantities], defaults: Defaults) -> dict[str, dict[str, Any]]:
    """Fill in the default requests and limits that the user's `resources` leave open.

    A default gives way to what the user wrote, so that requests never exceed limits: a request of 4Gi lifts
    the default limit to 4Gi, a limit of 256Mi lowers the default request to 256Mi.
    """
    requests = dict(resources.get("requests") or {})
    limits = dict(resources.get("limits") or {})
    for name, value in defaults.requests.items():
        if name not in requests:
            requests[name] = _bounded(value, limits.get(name), largest=False)
    for name, value in defaults.limits.items():
        if name not in limits:
            limits[name] = _bounded(value, requests.get(name), largest=True)
    return {"requests": requests, "limits": limits}


def reduced_resources(resources: Mapping[str, Quantities], defaults: Defaults) -> dict[str, dict[str, Any]]:
    """Leave out of `resources` whatever the defaults give anyway."""
    kept = {section: dict(resources.get(section) or {}) for section in ("limits", "requests")}
    wanted = effective_resources(kept, defaults)
    for section, quantities in kept.items():
        for name in sorted(quantities):
            without = {**kept, section: {key: item for key, item in kept[section].items() if key != name}}
            if effective_resources(without, defaults) == wanted:
                kept = without
    return {section: quantities for section, quantities in kept.items() if quantities}


def _bounded(default: Any, other: Any, *, largest: bool) -> Any:
    """Return the larger or the smaller of a default and what the user wrote on the other side."""
    ours, theirs = quantity_value(default), quantity_value(other)
    if ours is None or theirs is None:
        return default
    return (max if largest else min)((ours, default), (theirs, other), key=lambda pair: pair[0])[1]
