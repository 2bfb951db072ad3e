"""Two revisions side by side: what was written about the pod, line by line. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from ekiben.cli.text import PLAIN, Paint
from ekiben.cli.yamls import dump
from ekiben.core.snapshot import Manifest, Record
from ekiben.core.tracking import content_of

_MEANINGS = {"+": "good", "-": "bad", "@": "dim"}


def diff(old: Record, new: Record, paint: Paint = PLAIN) -> list[str]:
    """Write a unified diff of two revisions' content; one line where nothing differs."""
    if old.revision == new.revision:
        return [f"{old.revision} is the same revision: nothing differs"]
    before, after = (dump(dict(item.inputs), "yaml").splitlines() for item in (old, new))
    lines = difflib.unified_diff(before, after, _title(old), _title(new), lineterm="")
    return [
        paint(line, "bold" if number < 2 else _MEANINGS.get(line[:1], ""))
        for number, line in enumerate(lines)
    ]


def config_lines(
    old: Mapping[str, Manifest | None], new: Mapping[str, Manifest | None], paint: Paint = PLAIN
) -> list[str]:
    """Say which keys of the tracked ConfigMaps differ, by name: values may be large, or nobody's business."""
    lines = []
    for name in sorted(old.keys() & new.keys()):
        before, after = old[name], new[name]
        if before is None or after is None:
            lines.append(f"ConfigMap {name}: what it held is not kept, or not yours to read")
            continue
        one, other = _values(before), _values(after)
        said = [f"{key} is new" for key in sorted(other.keys() - one.keys())]
        said += [f"{key} is gone" for key in sorted(one.keys() - other.keys())]
        said += [f"{key} differs" for key in sorted(one.keys() & other.keys()) if one[key] != other[key]]
        if said:
            lines.append(f"ConfigMap {name}: {', '.join(said)}")
    return [paint(line, "warn") for line in lines]


def _values(config_map: Manifest) -> dict[str, tuple[str, str]]:
    return {
        key: (part, value) for part, values in content_of(config_map).items() for key, value in values.items()
    }


def _title(record: Record) -> str:
    return f"{record.revision} (rollout {record.number})" if record.number else record.revision
