"""Tell whether a revision's pods ask for a device, such as a GPU: then the careful defaults are others."""

from __future__ import annotations

from ekiben.core.needs import amount_of
from ekiben.core.snapshot import Record


def asks_for_device(record: Record) -> bool:
    """Tell whether the bento container asks for an extended resource, such as `nvidia.com/gpu`."""
    resources = record.inputs.get("resources") or {}
    return any(
        "/" in name and bool(amount_of(amount))
        for section in ("requests", "limits")
        for name, amount in (resources.get(section) or {}).items()
    )
