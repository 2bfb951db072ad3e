"""What was lost: of which kind, when, beside what. Every row that counts losses tells them by this."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any

from bench import report
from bench.watching import Change
from ekiben.observe_pods import observe_pod
from load.client import Answer

STALL_SECONDS = 1.0


def kind(answer: Answer) -> str:
    """Say what came instead of a good answer."""
    return answer.error or f"status {answer.status}"


def kinds(lost: Iterable[Answer]) -> dict[str, int]:
    """Count what was lost by its kind."""
    return dict(Counter(map(kind, lost)))


def told(answer: Answer) -> str:
    """Tell one loss in a line."""
    return f"{kind(answer)}, {'new' if answer.fresh else 'kept'} connection, {answer.seconds:.2f} s"


def stalls(lost: Iterable[Answer]) -> list[str]:
    """Tell the losses by the stretches of time in which they lie: one stall is not many accidents."""
    stretches: list[list[Answer]] = []
    for answer in sorted(lost, key=lambda item: item.at):
        if stretches and answer.at - stretches[-1][-1].at < STALL_SECONDS:
            stretches[-1].append(answer)
        else:
            stretches.append([answer])
    return [_stall(stretch) for stretch in stretches]


def percentile(values: Iterable[float], percent: int) -> float:
    """Return the measured value that so many percent of all don't exceed (the nearest rank)."""
    ordered = sorted(values)
    return ordered[max(ceil(len(ordered) * percent / 100), 1) - 1]


def not_ready(changes: Sequence[Change], moments: Sequence[float], model: str) -> Iterator[list[str]]:
    """Yield for each moment, in order, which of a model's pods could not serve, and why not."""
    pods: dict[str, str] = {}
    left = iter([change for change in changes if change.object["kind"] == "Pod"])
    change = next(left, None)
    for moment in moments:
        while change is not None and change.at <= moment:
            name = change.object["metadata"]["name"]
            pods[name] = "" if change.event == "DELETED" else _trouble(change, model)
            change = next(left, None)
        yield sorted(f"{name} {why}" for name, why in pods.items() if why)


def keep(row: str, items: Iterable[Mapping[str, Any]]) -> Path:
    """Write down what a row saw, one object a line, over what the last run left; return the file."""
    report.FOLDER.mkdir(parents=True, exist_ok=True)
    path = report.FOLDER / f"{row}.jsonl"
    with path.open("w") as file:
        file.writelines(json.dumps(item, separators=(",", ":")) + "\n" for item in items)
    return path


def _stall(lost: Sequence[Answer]) -> str:
    began = time.strftime("%H:%M:%S", time.gmtime(lost[0].at))
    return f"{len(lost)} lost from {began} on, in {lost[-1].at - lost[0].at:.1f} s: {kinds(lost)}"


def _trouble(change: Change, model: str) -> str:
    pod = observe_pod(change.object, model)
    if pod is None:
        return ""
    if pod.deleting:
        return "is ending"
    return "" if pod.ready else f"is not ready {pod.waiting_reason}".rstrip()
