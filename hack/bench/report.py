"""Print the table and store it as JSON."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.figures import Result
from rig.site import ROOT

FOLDER = ROOT / ".local" / "bench"
COLUMNS = ("figure", "value", "floor", "ratio", "limit", "holds")
HOLDS = {True: "yes", False: "no", None: "not run"}
STYLES = {True: "", False: "red", None: "yellow"}

Row = dict[str, Any]


def show(results: Sequence[Result]) -> None:
    """Print the table, and what was seen behind each figure."""
    table = Table(*COLUMNS)
    for result in results:
        table.add_row(*cells(result.to_json()), style=STYLES[result.ok])
    console = Console(width=max(Console().width, 140), highlight=False)
    console.print(table)
    for result in results:
        for line in (*result.details, *([result.problem] if result.problem else [])):
            console.print(f"  {result.figure.title}: {line}", markup=False, soft_wrap=True)


def last_line(outcomes: Sequence[bool | None]) -> str:
    """Say how many rows hold, were missed, were not run."""
    held, missed, left = (sum(outcome is state for outcome in outcomes) for state in (True, False, None))
    words = f"{held} of {len(outcomes)} rows hold"
    words += f", {missed} missed" if missed else ""
    return words + (f", {left} not run" if left else "")


def store(results: Sequence[Result], quick: bool, folder: Path = FOLDER, **about: Any) -> Path:
    """Write the run, with what else there is to say about it, to a folder; return its file."""
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    rows = [result.to_json() for result in results]
    run = {"at": at, "commit": _commit(), "quick": quick, "machine": machine(), **about, "rows": rows}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{at.replace(':', '')}.json"
    path.write_text(json.dumps(run, indent=2) + "\n")
    return path


def machine() -> dict[str, Any]:
    """Describe the machine, with how busy it is."""
    facts = (line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line)
    named = {key.strip(): value.strip() for key, value in facts}
    return {
        "cpu": named.get("model name", platform.machine()),
        "cpus": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": " ".join(f"{part:.1f}" for part in os.getloadavg()),
    }


def cells(row: Row) -> tuple[str, ...]:
    """Return one row of the table as text."""
    unit, sign = row["unit"], ">=" if row["limit_is_a"] == "minimum" else "<="
    return (
        row["figure"],
        "not run" if row["value"] is None else f"{number(row['value'])} {unit}",
        "" if row["floor"] is None else f"{number(row['floor'])} {unit}",
        "" if row["ratio"] is None else f"{row['ratio']:.2f} x",
        f"{sign} {number(row['limit'])} {'x' if row['limit_is_on'] == 'ratio' else unit}",
        HOLDS[row["ok"]],
    )


def number(value: float) -> str:
    """Write a number as people do."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.2f}"


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"
