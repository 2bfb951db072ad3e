"""What a pod needs, as the scheduler counts it."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from ekiben.core.needs import amount_text, pod_needs

GPU = "nvidia.com/gpu"
Json = dict[str, Any]


def box(limits: Json | None = None, always: bool = False, **requests: Any) -> Json:
    """Return a container that asks for so much; `always`: as a sidecar."""
    resources: Json = {"requests": requests} | ({"limits": limits} if limits else {})
    return {"resources": resources} | ({"restartPolicy": "Always"} if always else {})


@pytest.mark.parametrize(
    ("spec", "cpu"),
    [
        ({"containers": [box(cpu="500m")]}, "0.5"),
        ({"containers": [box(cpu="500m"), box(cpu=1)]}, "1.5"),
        ({"containers": [box(cpu="1")], "initContainers": [box(cpu="3")]}, "3"),
        ({"containers": [box(cpu="1")], "initContainers": [box(cpu="0.5"), box(cpu="0.7")]}, "1"),
        # A sidecar runs beside the containers, and beside the init containers that come after it.
        ({"containers": [box(cpu="1")], "initContainers": [box(always=True, cpu="1")]}, "2"),
        (
            {"containers": [box(cpu="1")], "initContainers": [box(always=True, cpu="1"), box(cpu="2")]},
            "3",
        ),
        (
            {"containers": [box(cpu="1")], "initContainers": [box(cpu="2"), box(always=True, cpu="1")]},
            "2",
        ),
        ({"containers": [box(limits={"cpu": "2"})]}, "2"),
        ({"containers": [box(cpu="1")], "overhead": {"cpu": "250m"}}, "1.25"),
        ({"containers": [box(cpu="1")], "resources": {"requests": {"cpu": "4"}}}, "4"),
        ({"containers": [{"name": "bare"}]}, "0"),
        ({}, "0"),
        ({"containers": [box(cpu="a lot")]}, "0"),
    ],
)
def test_cpu_of_a_pod(spec: Json, cpu: str) -> None:
    assert pod_needs(spec).get("cpu", Fraction(0)) == Fraction(cpu)


def test_extended_resources_are_counted_like_any() -> None:
    spec = {"containers": [box(limits={GPU: 2}, memory="1Gi"), box(limits={GPU: "1"})]}
    assert pod_needs(spec) == {GPU: 3, "memory": 2**30}
    assert pod_needs(spec, "limits") == {GPU: 3}


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("cpu", Fraction(5, 2), "2.5"),
        ("memory", Fraction(3 * 2**30), "3Gi"),
        ("requests.memory", Fraction(512 * 2**20), "512Mi"),
        (GPU, Fraction(4), "4"),
        ("memory", Fraction(0), "0"),
    ],
)
def test_amounts_in_words(name: str, value: Fraction, text: str) -> None:
    assert amount_text(name, value) == text
