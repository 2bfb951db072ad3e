"""A pod as the sampler sees it: the families that are read, written by the library that BentoML uses."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 180.0)

# A page of BentoML 1.4.39 as curl got it: /predict answered 14 x 200, 2 x 500, 3 x 429 and 1 x 504, five of
# these after more than 300 ms; one path that does not exist; the index page, docs.json, /livez and /readyz.
REAL_PAGE = (Path(__file__).parent / "bentoml-1.4.39.metrics.txt").read_bytes()


class Bento:
    """The metrics of one BentoML process: it starts from zero, and answers a probe before anybody looks."""

    def __init__(self, service: str = "Iris", buckets: tuple[float, ...] = BUCKETS) -> None:
        self.service, self.buckets = service, buckets
        self.restart()

    def restart(self) -> None:
        """Lose every counter, as a process that dies does."""
        self._registry = CollectorRegistry()
        labels = ["endpoint", "http_response_code", "runner_name", "service_name", "service_version"]
        self._total = Counter("bentoml_service_request", "Requests", labels, registry=self._registry)
        self._duration = Histogram(
            "bentoml_service_request_duration_seconds",
            "Durations",
            labels,
            buckets=self.buckets,
            registry=self._registry,
        )
        self._batch = Histogram(
            "bentoml_service_adaptive_batch_size",
            "Batches",
            ["method_name", "runner_name", "service_name", "service_version", "worker_index"],
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=self._registry,
        )
        self.serve(endpoint="/readyz")

    def serve(
        self, count: int = 1, *, code: int = 200, endpoint: str = "/predict", took: float = 0.01
    ) -> None:
        """Answer requests; `took` is in seconds."""
        labels = (endpoint, str(code), self.service, "iris", "yk4kzmq3pc7w2aex")
        self._total.labels(*labels).inc(count)
        for _ in range(count):
            self._duration.labels(*labels).observe(took)

    def batch(self, *sizes: int) -> None:
        """Put so many inputs at a time through the model."""
        for size in sizes:
            self._batch.labels("predict", self.service, "iris", "yk4kzmq3pc7w2aex", "1").observe(size)

    def page(self) -> bytes:
        """Return what GET /metrics answers."""
        return generate_latest(self._registry)
