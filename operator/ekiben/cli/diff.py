"""Two revisions side by side: what was written about the pod, line by line. Pure."""

from __future__ import annotations

import difflib

from ekiben.cli.text import PLAIN, Paint
from ekiben.cli.yamls import dump
from ekiben.core.snapshot import Record

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


def _title(record: Record) -> str:
    return f"{record.revision} (rollout {record.number})" if record.number else record.revision
