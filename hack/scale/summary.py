"""What docs/benchmarks.md shows of the fleet: the newest run of each size, side by side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from bench.report import cells
from rig.site import ROOT
from scale.figures import FIGURES

Run = dict[str, Any]

KEPT = ROOT / "docs" / "scale"
BEGIN, END = "<!-- fleet -->\n", "<!-- /fleet -->\n"
SAID = {True: "", False: " (missed)", None: ""}


def kept() -> list[Run]:
    """Return every run that is kept, oldest first."""
    return sorted((json.loads(path.read_text()) for path in KEPT.glob("*.json")), key=lambda run: run["at"])


def newest(runs: Sequence[Run]) -> list[Run]:
    """Return the newest of these runs, oldest first, for each number of models, the smallest first."""
    by_size = {run["models"]: run for run in runs}
    return [by_size[models] for models in sorted(by_size)]


def table(runs: Sequence[Run]) -> str:
    """Return the section between the marks; the limits are those of the smallest fleet."""
    shown = newest(runs)
    lines = [
        ("figure", "limit", *(f"{run['models']:,} models" for run in shown)),
        ("---",) * (len(shown) + 2),
        *(_line(figure.title, shown) for figure in FIGURES),
        ("measured (UTC)", "", *(run["at"] for run in shown)),
        ("commit", "", *(run["commit"] for run in shown)),
    ]
    return BEGIN + "".join("| " + " | ".join(line) + " |\n" for line in lines) + END


def with_table(page: str, runs: Sequence[Run]) -> str:
    """Return a page with these runs between its marks."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return before + table(runs) + after


def _line(title: str, runs: Sequence[Run]) -> tuple[str, ...]:
    rows = [next((row for row in run["rows"] if row["figure"] == title), None) for run in runs]
    limit = next((cells(row)[4] for row in rows if row), "")
    return title, limit, *(_cell(row) for row in rows)


def _cell(row: dict[str, Any] | None) -> str:
    if row is None or row["value"] is None:
        return "not run"
    _, value, _, ratio, _, _ = cells(row)
    return (f"{ratio} ({value})" if ratio else value) + SAID[row["ok"]]
