"""Who wrote last what people decide by, and what a copy holds: read from managedFields before it is dropped.

The watch brings managedFields with every event, so knowing the hand behind a decision costs no request. What
is kept of a page of JSON is a handful of short strings.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from ekiben.core.names import MANAGER

# A field manager's name has at most this many characters.
LONGEST = 128
# What a ConfigMap says, and that it says it for good.
_CONTENT = ("f:data", "f:binaryData", "f:immutable")
# Where a ConfigMap that is no copy of ours is marked in its metadata, as it is kept.
OTHERS_CONTENT = "othersContent"
COMMANDS = ("promote", "resume", "abort", "retry", "paused")
# What a new revision comes from; that somebody gave a command or a size makes nobody the author of a spec.
_STEERED = frozenset({"f:rollout", "f:analysis", "f:replicas", "f:autoscaling", "f:traffic", "."})


def writers_of(managed_fields: Any) -> Mapping[str, str]:
    """Return who wrote last `spec` (what makes a revision), `rollout` (steps and checks) and each command.

    Where several managers own a field whoever wrote last stands; a field that nobody owns is left out.
    """
    found: dict[str, tuple[str, str]] = {}
    for entry in managed_fields if isinstance(managed_fields, list) else ():
        if not isinstance(entry, dict) or entry.get("subresource"):
            continue
        owned = entry.get("fieldsV1")
        spec = owned.get("f:spec") if isinstance(owned, dict) else None
        if not isinstance(spec, dict):
            continue
        now = (str(entry.get("time") or ""), sys.intern(str(entry.get("manager") or "")[:LONGEST]))
        for field in _fields(spec):
            if field not in found or now[0] >= found[field][0]:
                found[field] = now
    return {field: manager for field, (_, manager) in found.items()}


def applied_at(managed_fields: Any) -> str | None:
    """Return when an object became what we applied last, as it is written; None where that is not said."""
    for entry in managed_fields if isinstance(managed_fields, list) else ():
        ours = isinstance(entry, dict) and (entry.get("manager"), entry.get("operation")) == (
            MANAGER,
            "Apply",
        )
        if ours and not entry.get("subresource"):
            return str(entry.get("time") or "") or None
    return None


def is_others_content(managed_fields: Any) -> bool:
    """Tell whether anybody else wrote a part of a ConfigMap's content, or let it be changed.

    Who owns what we wrote beside us changed nothing of it. Where nothing is said, nobody is accused.
    """
    ours, all_of_it = set[tuple[str, str]](), set[tuple[str, str]]()
    for entry in managed_fields if isinstance(managed_fields, list) else ():
        owned = entry.get("fieldsV1") if isinstance(entry, dict) else None
        if not isinstance(owned, dict):
            continue
        content = {(part, key) for part in _CONTENT if part in owned for key in ("", *(owned[part] or ()))}
        all_of_it |= content
        if entry.get("manager") == MANAGER:
            ours |= content
    return all_of_it != ours


def _fields(spec: Mapping[str, Any]) -> list[str]:
    fields = [] if spec.keys() <= _STEERED else ["spec"]
    rollout = spec.get("f:rollout")
    given = [name for name in COMMANDS if isinstance(rollout, dict) and f"f:{name}" in rollout]
    if "f:analysis" in spec or (isinstance(rollout, dict) and len(rollout) > len(given)):
        fields.append("rollout")
    return fields + given
