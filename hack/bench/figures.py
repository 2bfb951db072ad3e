"""What is measured, in which unit, and what each figure must reach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class BenchError(RuntimeError):
    """A figure could not be measured; the message says why."""


@dataclass(frozen=True)
class Figure:
    """One line of the table. The limit is on the ratio to the floor where `by_ratio`, else on the value."""

    row: str
    title: str
    unit: str
    limit: float
    by_ratio: bool = False
    at_least: bool = False


@dataclass(frozen=True)
class Result:
    """What one figure came to; without a value, `problem` says why it was not measured.

    `data` is stored beside it, for plots.
    """

    figure: Figure
    value: float | None = None
    floor: float | None = None
    details: tuple[str, ...] = field(default=())
    problem: str = ""
    limit: float | None = None
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """Return how many times its floor the value is."""
        return self.value / self.floor if self.value is not None and self.floor else None

    @property
    def bound(self) -> float:
        """Return the limit: the figure's own, unless a part of it was measured too."""
        return self.figure.limit if self.limit is None else self.limit

    @property
    def ok(self) -> bool | None:
        """Tell whether the limit is kept; None for what was not measured."""
        judged = self.ratio if self.figure.by_ratio else self.value
        if judged is None:
            return None
        return judged >= self.bound if self.figure.at_least else judged <= self.bound

    def to_json(self) -> dict[str, Any]:
        """Return the row that is stored."""
        return {
            "row": self.figure.row,
            "figure": self.figure.title,
            "value": self.value,
            "unit": self.figure.unit,
            "floor": self.floor,
            "ratio": self.ratio,
            "limit": self.bound,
            "limit_is_on": "ratio" if self.figure.by_ratio else "value",
            "limit_is_a": "minimum" if self.figure.at_least else "maximum",
            "ok": self.ok,
            "problem": self.problem,
            "details": list(self.details),
            **({"data": self.data} if self.data else {}),
        }


INTERVAL = 2.0

SERVE = Figure("serve", "kubectl apply -> first 200 through the gateway", "s", 1.15, by_ratio=True)
CANARY = Figure("canary", "new revision applied -> first answer from the canary", "s", 1.25, by_ratio=True)
ROUTE = Figure("rollback", "canary turned bad -> weight 0 on the route, slowest", "s", INTERVAL + 1)
GATEWAY = Figure("rollback", "canary turned bad -> no more requests given to it, slowest", "s", INTERVAL + 1)
LOST = Figure("lost", "requests lost over rollouts, promotions, aborts, rollbacks", "requests", 0)
SENT = Figure("lost", "requests sent meanwhile", "requests", 100_000, at_least=True)
NEAR = Figure("lost", "share of them within 10 s of a change", "%", 90, at_least=True)
CONTROL = Figure("lost", "negative control: lost without a preStop", "requests", 1, at_least=True)
ABORT = Figure("abort", "rollout.abort -> weight 0 on the route, p95", "ms", 500)
ABORT_LOST = Figure("abort", "requests lost while rollouts are aborted at half of the traffic", "requests", 0)
STEADY = Figure("steady", "API writes and non-watch reads in 60 s of steady state", "requests", 0)
MEMORY = Figure("footprint", "operator memory, one object", "MiB", 130)
CHILDREN = Figure("footprint", "apply -> children created, p95", "ms", 150)
STRATEGIES = Figure("strategies", "requests lost over 20 disturbed rollouts of each strategy", "requests", 0)
STRATEGIES_SENT = Figure(
    "strategies", "requests sent meanwhile, all strategies", "requests", 200_000, at_least=True
)
STRATEGIES_RULES = Figure("strategies", "breaches of the design's rules in what was stored", "breaches", 0)
HELD_P50 = Figure("zero", "request to a sleeping model -> its 200, beyond a start by hand, p50", "s", 1)
HELD_P95 = Figure("zero", "request to a sleeping model -> its 200, beyond its own pod's start, p95", "s", 1)
AT_ONCE_LOST = Figure("zero", "requests lost of 500 at once to a sleeping model, three times", "requests", 0)
AT_ONCE = Figure("zero", "answered of them, each time", "requests", 500, at_least=True)
PASSED_ON = Figure("zero", "request passed on by the activator, beyond straight to the pod, p99", "ms", 10)
REST = Figure(
    "scaled", "operator CPU at rest, 1,000 autoscaled models against 10", "ms a minute", 1.2, by_ratio=True
)
REST_REQUESTS = Figure("scaled", "its API requests meanwhile", "requests", 0)
ADAPTER = Figure("scaled", "adapter CPU, 1,000 pods asked about every 15 s", "cores", 0.25)
ADAPTER_READS = Figure("scaled", "pods that it read in 15 s", "pods", 950, at_least=True)
STEP = Figure("step", "load x 8 -> p95 back under 0.5 s, against KEDA by hand", "s", 1.1, by_ratio=True)
STEP_LOST = Figure("step", "requests lost meanwhile", "requests", 0)
OVERSHOOT = Figure("step", "pod-seconds above what the load needs, against KEDA by hand", "pod-seconds", 0)
STEP_METRICS = Figure("metrics", "requests lost in the same load step, by each metric", "requests", 0)
FIGURES = (
    *(SERVE, CANARY, ROUTE, GATEWAY, ABORT, ABORT_LOST, LOST, SENT, NEAR, CONTROL),
    *(STRATEGIES, STRATEGIES_SENT, STRATEGIES_RULES, STEADY, MEMORY, CHILDREN),
    *(HELD_P50, HELD_P95, AT_ONCE_LOST, AT_ONCE, PASSED_ON),
    *(REST, REST_REQUESTS, ADAPTER, ADAPTER_READS),
    *(STEP, STEP_LOST, OVERSHOOT, STEP_METRICS),
)
