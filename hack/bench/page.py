"""Write docs/benchmarks.md, and the README's table, from the full runs that are stored: each row's newest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from bench.figures import FIGURES, Figure, Result
from bench.report import COLUMNS, FOLDER, Row, cells, last_line, number
from rig.site import ROOT
from scale import summary

PAGE = ROOT / "docs" / "benchmarks.md"
README = ROOT / "README.md"
BEGIN, END = "<!-- bench -->\n", "<!-- /bench -->\n"

Run = dict[str, Any]


def write() -> None:
    """Write both; raises FileNotFoundError without a full run."""
    runs = [json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))]
    full = [run for run in runs if not run["quick"]]
    if not full:
        raise FileNotFoundError(f"no full run in {FOLDER}: run `make bench` first")
    PAGE.write_text(render(full))
    README.write_text(with_summary(README.read_text(), full))


def render(runs: Sequence[Run]) -> str:
    """Return the page that these runs, oldest first, come to."""
    chosen = [_newest(runs, figure) for figure in FIGURES]
    header = (*COLUMNS, "measured (UTC)", "commit", "load average then")
    lines = [header, ("---",) * len(header)]
    for run, row in chosen:
        when = (
            (run["at"], run["commit"], run["machine"]["load"]) if row["value"] is not None else ("", "", "")
        )
        lines.append((*cells(row), *when))
    return _PAGE.format(
        machine=_machine(runs),
        table=_table(lines),
        verdict=last_line([row["ok"] for _, row in chosen]),
        fleet=summary.table(summary.kept()),
        seen="".join(_section(row, _missed_before(runs, run, row)) for run, row in chosen),
    )


def with_summary(readme: str, runs: Sequence[Run]) -> str:
    """Return the README with these runs' figures between its marks."""
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    lines = [
        ("figure", "measured", "limit"),
        ("---", "---", "---"),
        *(_summary(_newest(runs, figure)[1]) for figure in FIGURES),
    ]
    words = f"Measured by `make bench` on {_machine(runs)}: [all of it](docs/benchmarks.md).\n"
    return before + BEGIN + _table(lines) + "\n" + words + END + after


def _summary(row: Row) -> tuple[str, str, str]:
    figure, value, floor, ratio, limit, _ = cells(row)
    return figure, f"{ratio} ({value}, by hand {floor})" if ratio else value, limit


def _machine(runs: Sequence[Run]) -> str:
    about = runs[-1]["machine"]
    return f"{about['cpus']} CPUs ({about['cpu']}), {about['memory_gib']} GiB, Linux {about['kernel']}"


def _table(lines: Sequence[tuple[str, ...]]) -> str:
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _newest(runs: Sequence[Run], figure: Figure) -> tuple[Run, Row]:
    """Return the newest run that measured a figure, with its row."""
    for run in reversed(runs):
        for row in run["rows"]:
            if row["figure"] == figure.title and row["value"] is not None:
                return run, row
    return runs[-1], Result(figure, problem="no run has measured it").to_json()


def _missed_before(runs: Sequence[Run], newest: Run, row: Row) -> list[str]:
    """Tell the misses of older runs: a row that holds now may still be one to doubt."""
    return [
        f"missed on {run['at']}: {number(old['value'])} {old['unit']} (commit {run['commit']}, load average "
        f"{run['machine']['load']})"
        for run in runs
        for old in run["rows"]
        if run is not newest and old["figure"] == row["figure"] and old["ok"] is False
    ]


def _section(row: Row, missed: Sequence[str]) -> str:
    lines = [*row["details"], *([f"not run: {row['problem']}"] if row["problem"] else []), *missed]
    return f"\n**{row['figure']}**\n\n" + "".join(f"- {line}\n" for line in lines) if lines else ""


_PAGE = """<!-- Written by `python -m bench --page` from stored runs: measure again instead of editing. -->
# Benchmarks

`make bench` measures this on the local cluster and fails when a row misses its limit; `--only ROW` of
`python -m bench` measures one. Each row is the newest full measurement of it on {machine}. The load average
includes the bench's own load: the further it is above the number of CPUs, the more else was going on.

{table}
{verdict}.

How to read it: the *floor* is the operator's own children, exported once and applied by hand: same image,
probes, Services and route. Its pairs are interleaved in both orders; the ratio is the median pair's. Both
sides start their clock when `kubectl apply` is started. A request is *lost* when its answer is not 2xx, when
its connection fails, or when it takes over 10 s; there are no retries. The clock of a rollback starts with
the answer that excludes the limit at the client, which is before the operator can know it.

## A fleet of models

`make bench-scale` measures what a fleet costs, each figure beside its floor in the same run; how, and what
was seen, is in [scale.md](scale.md).

{fleet}
## What was seen
{seen}"""
