"""Counts the operator's writes: per step, per cold create, and the figures that it may tell only so often."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from ekiben.api.status import Stage, Status
from unit.sim.apiserver import Write
from unit.sim.operator import MODEL, Pass

STEP_WRITES = 8
CREATE_WRITES = 14
TICK_SECONDS = 14.0
FIRST = "the first revision"


class Budget:
    """I10: a step costs at most 8 writes, a cold create 14, and mere figures one status write per 15 s."""

    def __init__(self) -> None:
        self.spent: dict[str, list[str]] = defaultdict(list)
        self._part = FIRST
        self._ticked: float | None = None

    def written(self, done: Pass, write: Write) -> Iterator[str]:
        """Account for one write."""
        before, after = done.snapshot.status, done.plan.status
        if write.ref == MODEL and write.verb == "status" and after is not None:
            if _without_figures(before) == _without_figures(after):
                yield from self._tick(done.snapshot.now.timestamp())
                return
            self._part = part_of(after)
        self.spent[self._part].append(f"{write.verb} {write.ref.kind}")

    def over(self) -> Iterator[str]:
        """Say what has cost too much."""
        for part, writes in self.spent.items():
            limit = CREATE_WRITES if part == FIRST else STEP_WRITES if part.startswith("step") else None
            if limit is not None and len(writes) > limit:
                yield f"I10: {part} cost {len(writes)} writes, not {limit}: {', '.join(writes)}"

    def _tick(self, at: float) -> Iterator[str]:
        if self._ticked is not None and 0 <= at - self._ticked < TICK_SECONDS:
            yield f"I10: figures written again after {at - self._ticked:.1f}s"
        self._ticked = at


def part_of(status: Status) -> str:
    """Name the part of a model's life that a write belongs to."""
    rollout = status.rollout
    if rollout is None:
        return FIRST
    if rollout.stage in (Stage.QUEUED, Stage.PREFLIGHT) and status.stable is not None:
        return f"start of {rollout.id}"
    if rollout.stage in (Stage.PREFLIGHT, Stage.PREPARING):
        first = status.stable is None or status.stable.revision == rollout.revision
        return FIRST if first else f"start of {rollout.id}"
    if rollout.stage in (Stage.SHIFTING, Stage.HOLDING, Stage.PAUSED):
        return f"step {rollout.step} of {rollout.id}"
    return f"end of {rollout.id}"


def _without_figures(status: Status) -> dict[str, Any]:
    wire = status.to_wire()
    rollout = {k: v for k, v in wire.get("rollout", {}).items() if k not in ("totals", "observedShare")}
    rollout["checks"] = [
        (item["metric"], item["verdict"], item.get("excused")) for item in rollout.get("checks", ())
    ]
    conditions = [{k: v for k, v in item.items() if k != "message"} for item in wire.get("conditions", ())]
    return {**wire, "message": "", "rollout": rollout, "conditions": conditions}
