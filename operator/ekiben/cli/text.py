"""How the command line writes: cells in columns, ages, and colours where somebody looks."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple, TextIO

_CODES = {"good": "32", "bad": "31", "warn": "33", "dim": "2", "bold": "1"}
GAP = "  "
_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


class Cell(NamedTuple):
    """One piece of text and what it means: good, bad, warn, dim, bold, or nothing."""

    text: str
    meaning: str = ""


class Paint:
    """Colours by meaning; a plain one leaves every text as it is."""

    def __init__(self, coloured: bool = False) -> None:
        self.coloured = coloured

    def __call__(self, text: str, meaning: str = "") -> str:
        """Return the text in the colour of its meaning."""
        code = _CODES.get(meaning)
        return f"\x1b[{code}m{text}\x1b[0m" if self.coloured and code and text else text


PLAIN = Paint()


def paint_for(stream: TextIO) -> Paint:
    """Return colours for a terminal, none for anything else or with NO_COLOR (any value but an empty one)."""
    wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return Paint(wanted and stream.isatty())


def table(rows: Iterable[Sequence[Cell | str]], paint: Paint = PLAIN, indent: str = "") -> list[str]:
    """Write rows in columns; the last cell of a row is as wide as it likes."""
    cells = [[Cell(cell) if isinstance(cell, str) else cell for cell in row] for row in rows]
    count = max((len(row) for row in cells), default=0)
    widths = [
        max((len(row[column].text) for row in cells if column < len(row) - 1), default=0)
        for column in range(count)
    ]
    lines = []
    for row in cells:
        parts = [
            paint(f"{cell.text:<{width}}", cell.meaning) for cell, width in zip(row, widths, strict=False)
        ]
        lines.append((indent + GAP.join(parts)).rstrip())
    return lines


def ago(then: datetime | None, now: datetime) -> str:
    """Say how long ago something was, in its largest unit; `-` where nobody knows."""
    return span((now - then).total_seconds()) if then else "-"


def span(seconds: float) -> str:
    """Say a length of time in its largest unit, and the next one while that one is small."""
    left = max(int(seconds), 0)
    for position, (unit, name) in enumerate(_UNITS):
        if left >= unit:
            count, rest = divmod(left, unit)
            smaller = _UNITS[position + 1] if position + 1 < len(_UNITS) else None
            more = (
                f"{rest // smaller[0]}{smaller[1]}" if smaller and count < 10 and rest >= smaller[0] else ""
            )
            return f"{count}{name}{more}"
    return "0s"
