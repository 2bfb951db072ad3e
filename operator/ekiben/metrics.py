"""What the operator tells Prometheus about itself, beside what the kube modules count.

Labels have a handful of values each: no model's name is ever a label.
"""

from __future__ import annotations

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, Info, generate_latest

from ekiben.api.status import Stage, Status
from ekiben.core.telling import bounded

BUILD = Info("ekiben_build", "The version that runs.")
PASSES = Counter(
    "ekiben_reconciles_total",
    "Passes over one ModelDeployment by how they ended: done, gone, waiting, conflict, rejected, retry, bug.",
    ["result"],
)
DURATION = Histogram(
    "ekiben_reconcile_seconds",
    "Time of one pass over one ModelDeployment, its writes included.",
    buckets=(0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0),
)
ROLLOUTS = Counter(
    "ekiben_rollouts_total",
    "Rollouts by how they ended and why; the reasons are in docs/reference.md.",
    ["outcome", "reason"],
)
ROLLOUT_SECONDS = Histogram(
    "ekiben_rollout_seconds",
    "Time from a rollout's beginning to its end, pauses included, by outcome.",
    ["outcome"],
    buckets=(30.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 14400.0, 86400.0),
)
MODELS = Gauge("ekiben_models", "ModelDeployments by phase.", ["phase"])
IN_FLIGHT = Gauge(
    "ekiben_rollouts_in_flight",
    "Rollouts in flight or queued, by stage; first revisions too.",
    ["stage"],
)
WATCH_AGE = Gauge("ekiben_watch_age_seconds", "Time since a watch was last heard.", ["kind"])
RESYNC_CHANGES = Counter(
    "ekiben_resync_changes_total", "ModelDeployments that a resync found changed before the watch told."
)
LEADING = Gauge("ekiben_leading", "1 while this process does the work, 0 while it waits for the Lease.")

RESULTS = ("done", "gone", "conflict", "rejected", "retry", "bug")
for _result in RESULTS:
    PASSES.labels(_result)


def count_outcome(old: Status, new: Status) -> None:
    """Count a rollout when its outcome is decided, and its time when it is over."""
    before, now = old.rollout, new.rollout
    if now is None or now.outcome is None:
        return
    known = before if before is not None and before.id == now.id else None
    if known is None or known.outcome is not now.outcome:
        ROLLOUTS.labels(now.outcome.value, bounded(now.reason)).inc()
    newly_over = now.stage is Stage.OVER and (known is None or known.stage is not Stage.OVER)
    if newly_over and now.started_at and now.stage_started_at:
        lasted = (now.stage_started_at - now.started_at).total_seconds()
        ROLLOUT_SECONDS.labels(now.outcome.value).observe(max(lasted, 0.0))


def page() -> bytes:
    """Render everything in Prometheus' text format."""
    return generate_latest(REGISTRY)
