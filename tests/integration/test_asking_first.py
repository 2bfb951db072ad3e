"""A rollout that warms its pods up and asks a gate: real calls to the pods and to the example server."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest

from integration.operators import condition_of
from integration.site import THROUGH_GATEWAY, Site, Status
from localcluster.child import free_ports

pytestmark = pytest.mark.apiserver

SERVER = Path(__file__).parents[2] / "examples/gate/server.py"
CALLS = 12


@pytest.fixture
async def gate() -> AsyncIterator[str]:
    """The example server, as a process of its own; its address."""
    (port,) = free_ports(1)
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(SERVER), "--host", "127.0.0.1", "--port", str(port)
    )
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    await process.wait()


def waits_for(reason: str, words: str = "") -> Callable[[Status], bool]:
    """Tell whether a rollout waits for something."""

    def found(status: Status) -> bool:
        said = condition_of(status, "Reconciling")
        return bool(said["reason"] == reason and words in said["message"])

    return found


async def test_pods_are_warmed_and_a_gate_is_asked_before_any_weight(site: Site, gate: str) -> None:
    await site.running(call_hosts=("127.0.0.1",))
    gates = [{"name": "ticket", "url": gate, "when": "BeforeRollout", "interval": "1s"}]
    warmup = {"requests": CALLS, "path": "/predict", "body": "[1]", "maxLatency": "5s"}
    rollout = {"gates": gates, "warmup": warmup}
    first = await site.serve("v1", traffic=THROUGH_GATEWAY, rollout=rollout)
    assert [pod.called for pod in site.pods(first)] == [0, 0]

    await site.release("v2")
    # A gate that is asked every second is not quoted: its words could differ each time.
    status = await site.until(waits_for("GateShut", "gate ticket is shut (409)"), "the gate is shut")
    second = status["rollout"]["revision"]
    assert {pod.called for pod in site.pods(second)} == {CALLS}
    assert site.gateway.weight("iris") == 0

    async with (
        aiohttp.ClientSession() as session,
        session.put(f"{gate}/{site.namespace}/iris") as answer,
    ):
        assert answer.status == 200
    # Every warm-up call is a 500 in the counters: a single look that judged them would roll back.
    status = await site.promoted("v2")
    assert {pod.called for pod in site.pods(second)} == {CALLS}
    (check,) = status["rollout"]["checks"]
    assert (check["verdict"], check["value"]) == ("Pass", "0%")
    assert site.traffic.lost == []


async def test_a_gate_whose_host_is_not_listed_waits_and_names_the_chart_value(site: Site, gate: str) -> None:
    await site.running()
    gates = [{"name": "ticket", "url": gate, "when": "BeforeStep", "maxWait": "1s", "onTimeout": "fail"}]
    first = await site.serve("v1", traffic=THROUGH_GATEWAY, rollout={"gates": gates})
    await site.release("v2")

    def failed(status: Status) -> bool:
        return bool(status.get("failedRevisions"))

    status = await site.until(failed, "the gate's time is over")
    (gone,) = status["failedRevisions"]
    assert gone["reason"] == "GateTimeout"
    assert "list it in the chart value calls.hosts" in gone["message"]
    assert status["stable"]["revision"] == first
    assert site.gateway.weight("iris") == 0
