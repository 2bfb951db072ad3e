"""Changes of a spec as JSON merge patches (RFC 7386), and who else has written the same fields. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

Manifest = dict[str, Any]

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
LAST_MANIFEST = "the manifest that was last applied"
# Helm puts back what a chart says at each upgrade, though it writes by plain updates.
_HELM = frozenset({"helm", "helm-controller"})


def merge_patch(old: Mapping[str, Any], new: Mapping[str, Any]) -> Manifest:
    """Return the patch that makes `new` of `old`; what `new` lacks is null, lists are replaced whole."""
    patch: Manifest = dict.fromkeys(old.keys() - new.keys())
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            if inner := merge_patch(before, value):
                patch[key] = inner
        elif key not in old or before != value:
            patch[key] = value
    return dict(sorted(patch.items()))


def merged(old: Mapping[str, Any], patch: Mapping[str, Any]) -> Manifest:
    """Return what an object becomes by a patch."""
    result = dict(old)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            before = result.get(key)
            result[key] = merged(before if isinstance(before, Mapping) else {}, value)
        else:
            result[key] = value
    return result


def leaves(patch: Mapping[str, Any], path: str = "spec") -> Iterator[tuple[str, Any]]:
    """Yield every field that a patch of `spec` sets, or takes away (None), by its path."""
    for key, value in patch.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, _below(path, key))
        else:
            yield _below(path, key), value


def _below(path: str, key: str) -> str:
    return f"{path}.{key}" if "." not in key else f"{path}[{key}]"


def writers(raw: Manifest, patch: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return who will write again a field of `spec` that a patch changes: each with these fields.

    These are server-side appliers, Helm, and what the last `kubectl apply` noted down, Argo CD's included.
    Who made or edited the object by hand owns its defaults as well, and says nothing by that.
    """
    metadata, found = raw.get("metadata") or {}, dict[str, list[str]]()
    for entry in metadata.get("managedFields") or ():
        manager, fields = str(entry.get("manager")), (entry.get("fieldsV1") or {}).get("f:spec")
        repeats = entry.get("operation") == "Apply" or manager in _HELM
        touched = list(_touched(patch, fields, "spec")) if isinstance(fields, Mapping) else []
        if repeats and touched:
            found.setdefault(manager, []).extend(touched)
    if touched := list(_said(patch, last_applied(raw), "spec")):
        found[LAST_MANIFEST] = touched
    return dict(sorted(found.items()))


def last_applied(raw: Manifest) -> Manifest:
    """Return the spec that `kubectl apply` noted down on the object, {} where it noted none."""
    annotations = (raw.get("metadata") or {}).get("annotations") or {}
    try:
        spec = json.loads(annotations.get(LAST_APPLIED) or "{}").get("spec")
    except (ValueError, AttributeError):
        spec = None
    return spec if isinstance(spec, dict) else {}


def _said(patch: Mapping[str, Any], spec: Mapping[str, Any], path: str) -> Iterator[str]:
    for key, value in patch.items():
        if isinstance(value, Mapping) and value and isinstance(spec.get(key), Mapping):
            yield from _said(value, spec[key], _below(path, key))
        elif key in spec:
            yield _below(path, key)


def _touched(patch: Mapping[str, Any], fields: Mapping[str, Any], path: str) -> Iterator[str]:
    for key, value in patch.items():
        below = fields.get(f"f:{key}")
        # A manager of some field of an object is no manager of the others.
        if isinstance(value, Mapping) and value and below:
            yield from _touched(value, below, _below(path, key))
        elif below is not None:
            yield _below(path, key)


def three_way(last: Mapping[str, Any], live: Mapping[str, Any], new: Mapping[str, Any]) -> Manifest:
    """Return the patch that `kubectl apply` sends: `new`, without what it `last` had and has no more."""
    patch: Manifest = {key: None for key in last.keys() - new.keys() if key in live}
    for key, value in new.items():
        before, now = last.get(key), live.get(key)
        if isinstance(value, Mapping) and isinstance(now, Mapping):
            inner = three_way(before if isinstance(before, Mapping) else {}, now, value)
            if inner:
                patch[key] = inner
        elif now != value:
            patch[key] = value
    return patch
