"""One picture of the demo: who answered, who failed, and the weight that was asked for, over time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ekiben.kube.client import Manifest
from load.client import Answer

COLOURS = {"1.0.0": "#7f9ec6", "2.0.0": "#5aa469", "3.0.0": "#e0a33e"}
FAILED = "#c0392b"


@dataclass(frozen=True)
class Moment:
    """What the model said at a time (epoch seconds): its phase, and the canary's weight in percent."""

    at: float
    phase: str
    weight: int


def moment(at: float, model: Manifest) -> Moment:
    """Read a moment from a model."""
    status = model.get("status") or {}
    weight = (status.get("rollout") or {}).get("weight") or 0
    return Moment(at, status.get("phase", "Pending"), weight if status.get("canary") else 0)


def draw(path: Path, answers: Sequence[Answer], moments: Sequence[Moment]) -> None:
    """Write the picture as SVG: answers per second by version above, the canary's weight below."""
    start = min(answer.at for answer in answers)
    # The same demo gives the same file, and its words stay text.
    with rc_context({"svg.hashsalt": "ekiben", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(9, 4.2), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        _draw_answers(above, answers, start)
        _draw_weight(below, moments, start, max(answer.at for answer in answers))
        below.set_xlabel("seconds")
        figure.savefig(path, format="svg", metadata={"Date": None})


def _draw_answers(axes: Axes, answers: Sequence[Answer], start: float) -> None:
    seconds = range(int(max(answer.at for answer in answers) - start) + 1)
    counts = {
        "failed": Counter(int(answer.at - start) for answer in answers if answer.is_lost),
        **{
            version: Counter(
                int(answer.at - start)
                for answer in answers
                if answer.version == version and not answer.is_lost
            )
            for version in sorted({answer.version for answer in answers if answer.version})
        },
    }
    shown = {name: count for name, count in counts.items() if count}
    axes.stackplot(
        list(seconds),
        *[[count[second] for second in seconds] for count in shown.values()],
        labels=[name if name == "failed" else f"v{name}" for name in shown],
        colors=[FAILED if name == "failed" else COLOURS.get(name, "#999999") for name in shown],
        step="post",
    )
    axes.set_ylabel("answers per second")
    axes.legend(loc="upper center", ncols=4, frameon=False, bbox_to_anchor=(0.5, 1.16))
    axes.margins(x=0)


def _draw_weight(axes: Axes, moments: Sequence[Moment], start: float, end: float) -> None:
    times = [max(item.at - start, 0.0) for item in moments] + [end - start]
    weights = [item.weight for item in moments]
    axes.step(times, [*weights, weights[-1]], where="post", color="#333333")
    axes.set_ylim(0, 105)
    axes.set_ylabel("canary %")
    phase = ""
    for item in moments:
        if item.phase != phase and item.at >= start:
            axes.axvline(item.at - start, color="#bbbbbb", linewidth=0.8)
            axes.text(item.at - start, 108, item.phase, fontsize=7, rotation=30, ha="left", va="bottom")
        phase = item.phase
