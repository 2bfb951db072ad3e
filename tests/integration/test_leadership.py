"""Two processes and one lease: one works, and when it dies or is cut off the work goes on, done once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from chaos.process import OperatorProcess
from ekiben.kube.kinds import LEASE
from integration.lab import RELEASE, SYSTEM_NAMESPACE, Request
from integration.operators import Manifest
from integration.site import THROUGH_GATEWAY, Site, is_at

pytestmark = pytest.mark.apiserver

AWAY_SECONDS = 30.0
LEASE_SECONDS = 10.0

Start = Callable[..., Awaitable[OperatorProcess]]


@pytest.fixture
async def start(site: Site, tmp_path: Path) -> AsyncIterator[Start]:
    """Start replicas of one operator, each with a token of its own; they are stopped at the end."""
    async with contextlib.AsyncExitStack() as stack:

        async def begin(name: str, *, restarts: bool) -> OperatorProcess:
            kubeconfig = tmp_path / f"{name}.kubeconfig"
            site.lab.write_account(kubeconfig)
            variables = {
                "KUBECONFIG": str(kubeconfig),
                "EKIBEN_NAMESPACES": site.namespace,
                "EKIBEN_LEADER_ELECTION": "true",
                "EKIBEN_LEASE_NAMESPACE": SYSTEM_NAMESPACE,
                "EKIBEN_LEASE_NAME": RELEASE,
            }
            process = OperatorProcess(name, tmp_path, variables, restarts=restarts)
            await process.start()
            stack.push_async_callback(process.stop)
            return process

        yield begin


async def lease(site: Site) -> Manifest:
    """Return the lease's spec."""
    found = await site.client.get(LEASE, SYSTEM_NAMESPACE, RELEASE)
    spec: Manifest = (found or {}).get("spec") or {}
    return spec


async def holds(site: Site, name: str) -> None:
    """Wait until a replica leads."""

    async def look() -> bool:
        return bool((await lease(site)).get("holderIdentity") == name)

    await site.eventually(look, lambda: f"{name} leads")


async def test_when_the_leader_dies_the_other_goes_on_and_nothing_is_written_twice(
    site: Site, start: Start
) -> None:
    mark = site.lab.audit.mark()
    first = await start("first", restarts=False)
    await holds(site, "first")
    await start("second", restarts=False)
    await site.serve("v1", traffic=THROUGH_GATEWAY)
    await site.release("v2")
    await site.until(is_at("Holding", 1), "step 1 is held")
    await first.kill()
    await holds(site, "second")
    status = await site.promoted("v2")
    await site.at_rest()

    requests = site.lab.audit.since(mark)
    writes = site.lab.audit.writes_since(mark, site.namespace)
    (before, after) = dict.fromkeys(item.token for item in writes)
    last = max(item.at for item in writes if item.token == before)
    begun = min(item.at for item in writes if item.token == after)
    assert last < begun, "both wrote at the same time"
    renewed = max(item.at for item in requests if item.token == before and is_renewal(item))
    taken = min(item.at for item in requests if item.token == after and is_renewal(item))
    assert (taken - renewed).total_seconds() > LEASE_SECONDS - 1, "the lease was taken before it had expired"
    print(f"the lease was taken {(taken - renewed).total_seconds():.1f} s after its last renewal")
    print(f"work went on {(begun - renewed).total_seconds():.1f} s after it")

    made = [(item.resource, item.name) for item in writes if item.code == 201 and item.resource != "events"]
    assert len(made) == len(set(made)), f"made twice: {made}"
    assert [item for item in writes if item.code == 409] == []
    assert [entry["outcome"] for entry in status["history"]] == ["Promoted", "Promoted"]
    assert site.gateway.weights["iris"] == [0, 20, 50, 100, 0]
    assert site.traffic.lost == []


def is_renewal(item: Request) -> bool:
    """Tell whether a request took or kept the lease."""
    return item.resource == "leases" and item.verb in ("create", "update") and item.code < 300


async def test_an_api_server_that_is_gone_for_30_s_costs_a_restart_and_nothing_else(
    site: Site, start: Start
) -> None:
    process = await start("alone", restarts=True)
    await site.serve("v1", traffic=THROUGH_GATEWAY)
    await site.release("v2")
    before = await site.until(is_at("Holding", 1), "step 1 is held")
    site.lab.plane.pause_apiserver()
    try:
        await asyncio.sleep(AWAY_SECONDS)
        assert site.gateway.weight("iris") == 20
    finally:
        site.restart_apiserver()
    status = await site.promoted("v2")
    assert set(process.exits) == {3}, f"it ended with {process.exits}, but a lost lease is 3"
    assert status["rollout"]["id"] == before["rollout"]["id"]
    assert status.get("failedRevisions", []) == []
    assert site.gateway.weights["iris"] == [0, 20, 50, 100, 0]
    assert site.traffic.lost == []
