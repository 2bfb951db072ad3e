"""What is concluded from autoscaled models at rest, and how it comes back from a file."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from bench.report import store
from ekiben.api.v1alpha1 import Spec
from scale.process import cpu_ms, cpu_seconds
from scale.scaled import Rest, foreign, is_scaling, is_served, judged, read, scaled_model


def rest(operator_ms: float, requests: int = 0, read: int = 0) -> Rest:
    return Rest(30.0, operator_ms, 3000.0, requests, 0, read)


def test_the_many_are_judged_against_the_few_and_the_adapter_by_what_it_used() -> None:
    operator, asked, adapter, reads = judged(rest(50), rest(55, read=2000), 1000, ("a note",))
    assert (operator.value, operator.floor, operator.ok) == (110, 100, True)
    assert "a note" in operator.details
    assert (asked.value, asked.ok) == (0, True)
    assert (adapter.value, adapter.ok, adapter.details) == (
        0.1,
        True,
        ("1.50 ms for each page that it read",),
    )
    assert (reads.value, reads.ok) == (1000, True)


def test_an_adapter_that_reads_too_little_proves_nothing() -> None:
    *_, reads = judged(rest(50), rest(50, requests=1, read=1800), 1000, ())
    assert (reads.value, reads.ok) == (900, False)


def test_what_is_waited_for() -> None:
    def model(ready: int, settled: str) -> dict[str, Any]:
        conditions = [{"type": "Settled", "status": settled}]
        return {"status": {"stable": {"readyReplicas": ready}, "conditions": conditions}}

    assert is_served(model(1, "True"))
    assert not is_served(model(0, "True"))
    assert not is_served(model(1, "False"))
    assert not is_served({})
    assert is_scaling({"status": {"conditions": [{"type": "ScalingActive", "status": "True"}]}})
    assert not is_scaling({})


def test_the_models_are_autoscaled_by_their_concurrency() -> None:
    spec = Spec.model_validate(scaled_model("m")["spec"])
    assert spec.autoscaling is not None
    assert (spec.replicas, spec.autoscaling.engine) == (1, "hpa")
    assert foreign("o")["metadata"]["labels"] == {"app": "o", "team": "others"}


def test_a_run_comes_back_from_its_file_as_it_was(tmp_path: Path) -> None:
    results = judged(rest(50), rest(55, read=100), 50, ())
    found = read(store(results, True, tmp_path))
    assert [result.to_json() for result in found] == [result.to_json() for result in results]


def test_cpu_time_is_known_better_than_by_ticks() -> None:
    before, ticks = cpu_ms(os.getpid()), cpu_seconds(os.getpid())
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
    used = cpu_ms(os.getpid()) - before
    assert 40 < used < 1000
    assert abs(used / 1000 - (cpu_seconds(os.getpid()) - ticks)) < 0.1
