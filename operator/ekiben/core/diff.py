"""Tell whether a live object still is what we want, without a write to find out.

Server-side apply lets others add to an object, and the server writes values its own way. So only what we
render is compared; where that differs, the ledger knows whether it is what the server made of our intent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from ekiben.core.canonical import canonical_json, quantity_value
from ekiben.core.snapshot import Applied, Manifest

# Lists that the server merges by key: others may add items of their own. The first key that every item of
# ours has counts. All other lists have one owner, and nothing may be added below them.
_KEYS: Mapping[str, tuple[str, ...]] = {
    "containers": ("name",),
    "env": ("name",),
    "imagePullSecrets": ("name",),
    "initContainers": ("name",),
    "ownerReferences": ("uid",),
    "ports": ("containerPort", "port"),
    "volumeMounts": ("mountPath",),
    "volumes": ("name",),
}
# Maps that the server replaces whole: a key beside ours selects other pods.
_WHOLE = frozenset({"selector", "matchLabels", "nodeSelector"})
# What the server fills in below such a list of one owner.
_FILLED_IN: Mapping[str, Any] = {"apiVersion": "v1", "expirationSeconds": 3600, "protocol": "TCP"}
_PLAIN = frozenset({str, int, bool})
_MISSING = object()
_COUNTS = frozenset({"resourceVersion", "generation"})
_QUANTITY_MAPS = frozenset({"requests", "limits"})
_QUANTITIES = frozenset({"averageValue", "sizeLimit"})


def in_sync(desired: Manifest, live: Manifest | None, applied: Applied | None) -> bool:
    """Tell whether applying `desired` would change nothing that is ours.

    True where every leaf of it stands in `live`, or where `applied` says that this very intent was applied
    and gave these very values.
    """
    if live is None:
        return False
    if _stands(_owned(desired), live):
        return True
    return (
        applied is not None
        and applied.intent == digest(desired)
        and applied.live == projection_digest(desired, live)
    )


def standing(live: Manifest) -> tuple[Any, ...]:
    """Return what of an object an intent is compared with: all but its status and what counts its changes."""
    metadata = {key: value for key, value in live["metadata"].items() if key not in _COUNTS}
    return metadata, {key: value for key, value in live.items() if key not in ("metadata", "status")}


def applied(desired: Manifest, answer: Manifest) -> Applied | None:
    """Return what to remember of an apply and its answer; None where the answer is what was asked for."""
    if _stands(_owned(desired), answer):
        return None
    return Applied(intent=digest(desired), live=projection_digest(desired, answer))


def digest(manifest: Manifest) -> str:
    """Hash an intent; the resourceVersion that it was decided on is no part of it."""
    metadata = {key: value for key, value in manifest["metadata"].items() if key != "resourceVersion"}
    return _hash({**manifest, "metadata": metadata})


def projection_digest(desired: Manifest, live: Manifest) -> str:
    """Hash what `live` holds at the leaves that `desired` owns."""
    return _hash(_projection(_owned(desired), live))


def _hash(value: Any) -> str:
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:16]


def _owned(desired: Manifest) -> Manifest:
    """Leave out the kind, which items of the API server's lists don't carry, and the version decided on."""
    metadata = {key: value for key, value in desired["metadata"].items() if key != "resourceVersion"}
    rest = {key: value for key, value in desired.items() if key not in ("apiVersion", "kind")}
    return {**rest, "metadata": metadata}


def _stands(
    desired: Any, live: Any, field: str = "", *, quantity: bool = False, closed: bool = False
) -> bool:
    """Tell whether `live` holds every leaf of `desired`, and, where closed, nothing else."""
    if isinstance(desired, str) and desired == live:
        return True
    if isinstance(desired, dict):
        closed = closed or field in _WHOLE
        if not isinstance(live, dict) or (closed and _additions(desired, live)):
            return False
        for key, value in desired.items():
            theirs = live.get(key, _MISSING)
            # Most leaves are equal: nearly all of the time goes into finding that out.
            if type(value) is type(theirs) and type(value) in _PLAIN and value == theirs:
                continue
            if theirs is _MISSING or not _stands(
                value, theirs, key, quantity=_is_quantity(field, key), closed=closed
            ):
                return False
        return True
    if isinstance(desired, list | tuple):
        return isinstance(live, list) and _list_stands(list(desired), live, field, closed=closed)
    if quantity and (number := quantity_value(desired)) is not None:
        return number == quantity_value(live)
    # To Python, True == 1 and False == 0.
    return isinstance(desired, bool) == isinstance(live, bool) and bool(desired == live)


def _list_stands(desired: list[Any], live: list[Any], field: str, *, closed: bool) -> bool:
    key = None if closed else _key(field, desired)
    if key is None:
        return len(desired) == len(live) and all(
            _stands(ours, theirs, closed=True) for ours, theirs in zip(desired, live, strict=True)
        )
    found = _by_key(live, key)
    return all(item[key] in found and _stands(item, found[item[key]]) for item in desired)


def _projection(desired: Any, live: Any, field: str = "") -> Any:
    """Return the part of `live` that `desired` owns; what is missing is missing in it too."""
    if isinstance(desired, dict) and isinstance(live, dict) and field not in _WHOLE:
        return {key: _projection(value, live[key], key) for key, value in desired.items() if key in live}
    if isinstance(desired, list | tuple) and isinstance(live, list) and (key := _key(field, list(desired))):
        found = _by_key(live, key)
        return [_projection(item, found[item[key]]) for item in desired if item[key] in found]
    return live


def _key(field: str, items: list[Any]) -> str | None:
    """Return the key by which the server merges a list, None for a list that has one owner."""
    for key in _KEYS.get(field, ()):
        values = [item.get(key) for item in items if isinstance(item, dict)]
        named = [value for value in values if isinstance(value, str | int)]
        if len(named) == len(items) == len(set(named)):
            return key
    return None


def _by_key(items: list[Any], key: str) -> dict[Any, Any]:
    return {
        item[key]: item for item in items if isinstance(item, dict) and isinstance(item.get(key), str | int)
    }


def _additions(desired: Mapping[str, Any], live: Mapping[str, Any]) -> bool:
    return any(key not in desired and (key not in _FILLED_IN or live[key] != _FILLED_IN[key]) for key in live)


def _is_quantity(parent: str, key: str) -> bool:
    return parent in _QUANTITY_MAPS or key in _QUANTITIES
