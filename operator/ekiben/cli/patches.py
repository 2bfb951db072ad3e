"""Changes of a spec as JSON merge patches (RFC 7386), and who else has written the same fields. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Manifest = dict[str, Any]


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


def writers(raw: Manifest, patch: Mapping[str, Any], ours: str) -> dict[str, list[str]]:
    """Return who else has written fields of `spec` that a patch changes: managers, each with its fields."""
    found: dict[str, list[str]] = {}
    for entry in (raw.get("metadata") or {}).get("managedFields") or ():
        fields = (entry.get("fieldsV1") or {}).get("f:spec")
        touched = list(_touched(patch, fields, "spec")) if isinstance(fields, Mapping) else []
        if entry.get("manager") != ours and touched:
            found.setdefault(str(entry.get("manager")), []).extend(touched)
    return dict(sorted(found.items()))


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
