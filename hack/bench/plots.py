"""`python -m bench.plots RUN.json ...`: keep these runs' load steps, drawn for docs/autoscaling.md."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.figures import STEP, STEP_METRICS
from bench.step import LIMIT
from rig.site import ROOT

FOLDER = ROOT / "docs" / "scaling"
KEPT = FOLDER / "steps.json"
PLOTS = {STEP.row: FOLDER / "step.svg", STEP_METRICS.row: FOLDER / "metrics.svg"}
TITLES = {STEP.title: STEP.row, STEP_METRICS.title: STEP_METRICS.row}
COLOURS = ("#5aa469", "#e0a33e", "#7a6fbe", "#c0504d", "#4a90a4")

Curves = Mapping[str, Mapping[str, Any]]


def write(paths: Sequence[Path]) -> None:
    """Keep the newest curves of each row, and draw what is kept."""
    FOLDER.mkdir(exist_ok=True)
    kept: dict[str, Any] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    for path in paths:
        run = json.loads(path.read_text())
        for row in run["rows"]:
            if row["figure"] in TITLES and row.get("data"):
                about = {name: run[name] for name in ("at", "commit", "machine")}
                kept[TITLES[row["figure"]]] = {**about, **row["data"]}
    KEPT.write_text(json.dumps(kept, indent=None, separators=(",", ":"), sort_keys=True) + "\n")
    for row, plot in PLOTS.items():
        if row in kept:
            draw(plot, kept[row]["curves"])


def draw(path: Path, curves: Curves) -> None:
    """Draw load, pods and p95 over time, one line for each curve."""
    # The same curves give the same file, and its words stay text.
    with rc_context({"svg.hashsalt": "ekiben", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(9, 6.5), layout="constrained")
        load, pods, late = figure.subplots(3, 1, sharex=True, height_ratios=(1, 2, 2))
        first = next(iter(curves.values()))
        load.step(first["seconds"], first["load"], where="post", color="#666666")
        load.set_ylabel("requests a second")
        for (name, curve), colour in zip(curves.items(), COLOURS, strict=False):
            pods.step(curve["seconds"], curve["pods"], where="post", color=colour, label=name)
            pods.step(curve["seconds"], curve["ready"], where="post", color=colour, linestyle=":")
            late.plot(curve["seconds"], _drawn(curve["p95"]), color=colour, label=name)
        pods.set_ylabel("pods (dotted: ready)")
        pods.legend(frameon=False, loc="upper left")
        _limit(late)
        late.set_xlabel("seconds after the load became 8 times as much")
        figure.savefig(path, format="svg", metadata={"Date": None})


def _limit(late: Axes) -> None:
    late.axhline(LIMIT, color="#999999", linestyle=":", label="limit")
    late.set_yscale("log")
    late.set_ylabel("p95 in s, of the last 5 s")


def _drawn(values: Sequence[float | None]) -> list[float]:
    return [float("nan") if value is None else value for value in values]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("runs", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
def main(runs: tuple[Path, ...]) -> None:
    """Keep the load steps of these RUNS (.local/bench/*.json), and draw them for docs/autoscaling.md."""
    write(runs)


if __name__ == "__main__":
    main()
