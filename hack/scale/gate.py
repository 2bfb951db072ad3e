"""Hold what the operator costs against hack/scale/gate.json: requests exactly, CPU within 1.5 x.

CPU is compared as a multiple of a fixed piece of work that is done in the same run, so that a slower machine,
or one that others use too, is no regression. Seconds of the wall are not compared at all.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rig.site import ROOT

Costs = Mapping[str, Mapping[str, Any]]

FILE: Path = ROOT / "hack" / "scale" / "gate.json"
MODELS = 20
PHASES = ("create", "roll", "idle", "restart")
CPU_FACTOR = 1.5
# How often a status is told depends on whether pods get ready together: this many more per object are none of
# the operator's doing.
STATUS, STATUS_SLACK = "update modeldeployments/status", 2.0
_ROUNDS = 400


def yardstick() -> float:
    """Return the CPU ms that a fixed piece of work takes here and now: JSON, as most of the operator's is."""
    manifest = {
        "items": [{"metadata": {"name": f"pod-{number}", "labels": {"a": "b"}}} for number in range(200)]
    }
    began = time.process_time()
    for _ in range(_ROUNDS):
        manifest = json.loads(json.dumps(manifest))
    return (time.process_time() - began) * 1000


def figures(costs: Costs, yardstick_ms: float) -> dict[str, Any]:
    """Return what is kept of a run: requests per object, and CPU per object as a share of the yardstick."""
    return {
        phase: {"cpu": costs[phase]["cpu_ms"] / yardstick_ms, "requests": costs[phase]["requests"]}
        for phase in PHASES
    }


def regressions(kept: Costs, found: Costs) -> Iterator[str]:
    """Say what costs more, or asks for something else, than what is kept."""
    for phase in PHASES:
        cpu, limit = found[phase]["cpu"], kept[phase]["cpu"] * CPU_FACTOR
        # Who does nothing has no CPU to compare.
        if phase != "idle" and cpu > limit:
            times = cpu / kept[phase]["cpu"]
            yield f"{phase}: CPU per object is {times:.2f} x what is kept, more than {CPU_FACTOR} x"
        yield from _asked(phase, kept[phase]["requests"], found[phase]["requests"])


def _asked(phase: str, kept: Mapping[str, float], found: Mapping[str, float]) -> Iterator[str]:
    for request in sorted({*kept, *found}):
        before, now = kept.get(request, 0.0), found.get(request, 0.0)
        slack = STATUS_SLACK if request == STATUS and before else 0.0
        if now > before + slack or (not slack and now != before):
            yield f"{phase}: {now:g} x {request} per object, {before:g} are kept"


def read() -> Costs:
    """Return the figures that are kept."""
    kept: Costs = json.loads(FILE.read_text())
    return kept


def keep(found: Costs) -> None:
    """Make these the figures that later runs are held against."""
    FILE.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n")
