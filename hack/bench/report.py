"""Print the table, store it as JSON, and write the page of docs from it."""

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
PAGE = ROOT / "docs" / "benchmarks.md"
COLUMNS = ("figure", "value", "floor", "ratio", "limit", "")


def show(results: Sequence[Result]) -> None:
    """Print the table, and what was seen behind each figure."""
    table = Table(*COLUMNS)
    for result in results:
        table.add_row(*_cells(result), style={True: "", False: "red", None: "yellow"}[result.ok])
    console = Console(width=max(Console().width, 140), highlight=False)
    console.print(table)
    for result in results:
        for line in (*result.details, *([result.problem] if result.problem else [])):
            console.print(f"  {result.figure.title}: {line}", markup=False, soft_wrap=True)


def last_line(results: Sequence[Result]) -> str:
    """Say how many rows hold."""
    held, missed = (sum(result.ok is state for result in results) for state in (True, False))
    left = len(results) - held - missed
    words = f"{held} of {len(results)} rows hold"
    words += f", {missed} missed" if missed else ""
    return words + (f", {left} not run" if left else "")


def store(results: Sequence[Result], quick: bool) -> Path:
    """Write the run to .local/bench, and return its file."""
    run = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": _commit(),
        "quick": quick,
        "machine": machine(),
        "rows": [result.to_json() for result in results],
    }
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{run['at'].replace(':', '')}.json"  # type: ignore[attr-defined]
    path.write_text(json.dumps(run, indent=2) + "\n")
    return path


def write_page(results: Sequence[Result]) -> None:
    """Write docs/benchmarks.md from a run."""
    head = "| " + " | ".join((*COLUMNS[:-1], "holds")) + " |\n" + "| --- " * len(COLUMNS) + "|\n"
    rows = "".join("| " + " | ".join(_cells(result)) + " |\n" for result in results)
    seen = "".join(_section(result) for result in results)
    about, today = machine(), time.strftime("%Y-%m-%d", time.gmtime())
    where = (
        f"{about['cpus']} CPUs ({about['cpu']}), {about['memory_gib']} GiB, Linux {about['kernel']}, "
        f"load average {about['load']} at the end, commit {_commit()}, {today}"
    )
    PAGE.write_text(_PAGE.format(where=where, table=head + rows, verdict=last_line(results), seen=seen))


def machine() -> dict[str, Any]:
    """Describe the machine, with how busy it is."""
    facts = dict(line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line)
    names = {key.strip(): value.strip() for key, value in facts.items()}
    return {
        "cpu": names.get("model name", platform.machine()),
        "cpus": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": " ".join(f"{part:.1f}" for part in os.getloadavg()),
    }


def _cells(result: Result) -> tuple[str, ...]:
    unit, sign = result.figure.unit, ">=" if result.figure.at_least else "<="
    limit = f"{sign} {_number(result.bound)} {'x' if result.figure.by_ratio else unit}"
    return (
        result.figure.title.replace("|", "/"),
        "not run" if result.value is None else f"{_number(result.value)} {unit}",
        "" if result.floor is None else f"{_number(result.floor)} {unit}",
        "" if result.ratio is None else f"{result.ratio:.2f} x",
        limit,
        {True: "yes", False: "no", None: "not run"}[result.ok],
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.2f}"


def _section(result: Result) -> str:
    lines = (*result.details, *([f"not run: {result.problem}"] if result.problem else []))
    return f"\n**{result.figure.title}**\n\n" + "".join(f"- {line}\n" for line in lines) if lines else ""


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


_PAGE = """<!-- Written by `python -m bench --page` from a run: measure again instead of editing. -->
# Benchmarks

`make bench` measures this on the local cluster and fails when a row misses its limit. {where}.

{table}
{verdict}.

How to read it: the *floor* is the operator's own children, exported once and applied by hand: same image,
probes, Services and route. Its pairs are interleaved in both orders; the ratio is the median pair's. Both
sides start their clock when `kubectl apply` is started. A request is *lost* when its answer is not 2xx, when
its connection fails, or when it takes over 10 s; there are no retries. The clock of a rollback starts with
the answer that excludes the limit at the client, which is before the operator can know it.

## What was seen
{seen}"""
