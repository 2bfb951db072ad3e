"""`python -m scale.page RUN.json ...`: keep runs in docs/scale, and show them.

It writes docs/scale.md with its plot, and the fleet's table in docs/benchmarks.md.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.report import COLUMNS, cells, last_line
from rig.site import ROOT
from scale.figures import CREATE_CPU, CREATE_WRITES, ROLL_CPU, ROLL_WRITES
from scale.summary import KEPT, Run, kept, newest, with_table

PAGE, PLOT = ROOT / "docs" / "scale.md", ROOT / "docs" / "scale.svg"
BENCHMARKS = ROOT / "docs" / "benchmarks.md"
# Argo Rollouts 1.9.0 without its own rate limits, 2026-11-22: models, CPU ms and writes per object created,
# then per rollout. Its writes at 1,000 lack Events that it dropped.
ARGO = ((100, 27.8, 13.0, 87.5, 27.0), (1000, 33.2, 8.8, 95.5, 23.28))
PLOTTED = ((CREATE_CPU, 1), (CREATE_WRITES, 2), (ROLL_CPU, 3), (ROLL_WRITES, 4))
OURS, THEIRS = "#5aa469", "#e0a33e"


def write(paths: Sequence[Path]) -> None:
    """Keep these runs, and show every run that is kept."""
    KEPT.mkdir(exist_ok=True)
    for path in paths:
        shutil.copy(path, KEPT)
    runs = kept()
    draw(PLOT, runs)
    PAGE.write_text(render(runs))
    BENCHMARKS.write_text(with_table(BENCHMARKS.read_text(), runs))


def render(runs: Sequence[Run]) -> str:
    """Return the page about these runs, oldest first."""
    sections = "".join(_section(run) for run in sorted(runs, key=lambda run: (run["models"], run["at"])))
    argo = "".join(_row(f"{value:,g}" for value in row) for row in ARGO)
    return _PAGE.format(sections=sections, argo=argo, growth=_growth(runs))


def draw(path: Path, runs: Sequence[Run]) -> None:
    """Plot what each object costs against how many there are."""
    # The same runs give the same file, and its words stay text.
    with rc_context({"svg.hashsalt": "ekiben", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(9, 5), layout="constrained")
        places = figure.subplots(2, 2, sharex=True)
        for axes, (shown, column) in zip(places.flat, PLOTTED, strict=True):
            _draw(axes, runs, shown.title, column)
            axes.axhline(shown.limit, color="#999999", linestyle=":", label="limit")
            axes.set_ylabel(shown.unit)
        places.flat[0].legend(frameon=False)
        for axes in places[1]:
            axes.set_xlabel("models")
        figure.savefig(path, format="svg", metadata={"Date": None})


def _draw(axes: Axes, runs: Sequence[Run], title: str, column: int) -> None:
    ours = sorted(
        (run["models"], row["value"])
        for run in runs
        for row in run["rows"]
        if row["figure"] == title and row["value"] is not None
    )
    axes.plot([x for x, _ in ours], [y for _, y in ours], "o-", color=OURS, label="Ekiben")
    axes.plot(
        [r[0] for r in ARGO], [r[column] for r in ARGO], "s--", color=THEIRS, label="Argo Rollouts 1.9.0"
    )
    axes.set_title(title)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)


def _section(run: Run) -> str:
    about = run["machine"]
    machine = f"{about['cpus']} CPUs ({about['cpu']}), {about['memory_gib']} GiB"
    rows = [COLUMNS, ("---",) * len(COLUMNS), *(cells(row) for row in run["rows"])]
    table = "".join("| " + " | ".join(row) + " |\n" for row in rows)
    details = "".join(f"- {row['figure']}: {line}\n" for row in run["rows"] for line in row["details"])
    return (
        f"\n## {run['models']:,} models, {run['at']}\n\n"
        f"Commit {run['commit']}; {machine}; load average at the end {about['load']}.\n\n{table}\n"
        f"{last_line([row['ok'] for row in run['rows']])}.\n\n{details}"
    )


def _growth(runs: Sequence[Run]) -> str:
    """Return a row for each larger run: its CPU per object as a multiple of the smallest run's."""
    smallest, *larger = newest(sorted(runs, key=lambda run: str(run["at"])))
    return "".join(
        _row(
            (
                f"{run['models']:,} over {smallest['models']:,}",
                *(_times(run, smallest, shown.title) for shown in (CREATE_CPU, ROLL_CPU)),
            )
        )
        for run in larger
    )


def _times(run: Run, smallest: Run, title: str) -> str:
    values = [
        next((row["value"] for row in item["rows"] if row["figure"] == title), None)
        for item in (run, smallest)
    ]
    return f"{values[0] / values[1]:.2f} x" if values[0] and values[1] else "not measured"


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |\n"


_PAGE = """<!-- Written by `python -m scale.page` from docs/scale: measure again instead of editing. -->
# What a fleet costs

`make bench-scale` creates a fleet of models, rolls all of them, leaves them alone, rolls ten one by one and
restarts the operator. etcd, kube-apiserver, kube-controller-manager and kube-scheduler are real, with client
rate limits of 1,000 requests a second; nodes and pods are kwok's. Every pod answers /metrics: 10 kB, or 1 MB
for a tenth of them, so that reading them is in the figures. The operator is a process of its own under the
chart's rights and settings (but for leader election: a stalled machine must not end a measurement), with a
pod's account files and compiled modules, as in its image; its CPU and memory are the kernel's count, its
requests the API server's audit log, Events included, watches not.

Each model: 2 pods, no Gateway, one step of 50% for 1 s, judged by the default check. The floor is the
operator's own children, written by a client of the bench 32 at a time and rolled by kube-controller-manager.
Of CPU it is what as many requests as the operator's cost that client, a process of its own with the
operator's own code for requests, which watches and decides nothing: what is above it is ours to save.
Seconds compare within one run only: everything shares the CPUs. A load average far above the number of CPUs
says that others used them too: then every request waits, and even CPU seconds come out too high.

![cost against the number of models](scale.svg)

Argo Rollouts 1.9.0 on the same kind of machine and control plane, its own rate limits lifted (it judges
nothing and reads no metrics; its writes at 1,000 lack Events that it dropped):

| models | CPU ms per object created | writes per object created | CPU ms per rollout | writes per rollout |
| --- | --- | --- | --- | --- |
{argo}
CPU per object at one size as a multiple of that at another; it may be 1.15 x:

| models | create | rollout |
| --- | --- | --- |
{growth}{sections}"""

if __name__ == "__main__":
    write([Path(name) for name in sys.argv[1:]])
