"""What the operator tells Prometheus about itself, beside what the kube modules count.

Labels have a handful of values each: no model's name is ever a label.
"""

from __future__ import annotations

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, Info, generate_latest

BUILD = Info("ekiben_build", "The version that runs.")
PASSES = Counter(
    "ekiben_reconciles_total",
    "Passes over one ModelDeployment by how they ended: done, gone, conflict, rejected, retry or bug.",
    ["result"],
)
DURATION = Histogram(
    "ekiben_reconcile_seconds",
    "Time of one pass over one ModelDeployment, its writes included.",
    buckets=(0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0),
)
ROLLOUTS = Counter("ekiben_rollouts_total", "Rollouts that ended, by outcome.", ["outcome"])
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


def page() -> bytes:
    """Render everything in Prometheus' text format."""
    return generate_latest(REGISTRY)
