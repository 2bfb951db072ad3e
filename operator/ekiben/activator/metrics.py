"""What the activator counts of itself; no model's name is ever a label."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter(
    "ekiben_activator_requests_total",
    "Requests by what became of them: answered by a pod; failed on the way; full or late, answered 503;"
    " unknown, answered 404.",
    ["result"],
)
HELD = Gauge("ekiben_activator_held", "Requests that wait for a pod now.")
MODELS = Gauge("ekiben_activator_models", "Models for which requests wait now.")
HELD_SECONDS = Histogram(
    "ekiben_activator_held_seconds",
    "How long requests waited for a pod.",
    buckets=(0.01, 0.1, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 60.0, 120.0, 300.0),
)
for _result in ("answered", "failed", "full", "late", "unknown"):
    REQUESTS.labels(_result)
