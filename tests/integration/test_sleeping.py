"""Scale to zero on the real API: a real operator and a real activator; only kube-proxy is missing."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ekiben.core import names, sleeping
from ekiben.kube.kinds import ENDPOINTSLICE, HPA, HTTPROUTE
from integration.lab import CHART, Lab
from integration.operators import condition_of, until
from integration.site import THROUGH_GATEWAY, Site, Status
from localcluster.child import free_ports

pytestmark = pytest.mark.apiserver

ZERO = {"minReplicas": 0, "maxReplicas": 3, "idleAfter": "10s"}
# What an EndpointSlice may hold: the activator itself is heard, and called, on loopback.
ADDRESS = "10.9.0.1"
SLICE = names.activator_slice("iris")


@dataclass
class Activator:
    """A running activator: where it takes requests."""

    url: str

    async def ask(self, site: Site, count: int) -> list[int]:
        """Send so many requests at once as the model's route does; return their statuses."""
        headers = {names.MODEL_HEADER: f"{site.namespace}/iris"}
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def one() -> int:
                async with session.post(f"{self.url}/predict", headers=headers, json=[[1]]) as answer:
                    await answer.read()
                    return answer.status

            return list(await asyncio.gather(*(one() for _ in range(count))))


@pytest.fixture(scope="module")
def activator_kubeconfig(lab: Lab) -> Path:
    """The account that the chart gives the activator, and no other right."""
    return lab.account_of("activator")


@pytest.fixture
async def activator(
    site: Site, activator_kubeconfig: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Activator]:
    """An activator whose one pod stands in an EndpointSlice of Service `activator`."""
    port, control = free_ports(2)
    monkeypatch.setattr("ekiben.activators.demand_url", lambda *_: f"http://127.0.0.1:{control}/demand")
    monkeypatch.setattr(sleeping, "SETTLE", timedelta(seconds=1))
    await site.client.create(ENDPOINTSLICE, site.namespace, activator_slice(ADDRESS))
    async with _process(activator_kubeconfig, site.namespace, port, control):
        yield Activator(f"http://127.0.0.1:{port}")


def activator_slice(*addresses: str) -> dict[str, Any]:
    """Return the EndpointSlice of the activator's Service, as Kubernetes writes it."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "activator-x7k2p", "labels": {"kubernetes.io/service-name": "activator"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses],
        "ports": [{"name": "http", "port": names.ACTIVATOR_PORT, "protocol": "TCP"}],
    }


@asynccontextmanager
async def _process(kubeconfig: Path, namespace: str, port: int, control: int) -> AsyncIterator[None]:
    options = ["--host=127.0.0.1", f"--port={port}", f"--control-port={control}", f"--namespaces={namespace}"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ekiben.activator", *options, "--linger=0", "--log-format=text"),
        env={**os.environ, "KUBECONFIG": str(kubeconfig), "PYTHONPATH": "operator"},
        cwd=CHART.parents[1],
    )

    async def is_ready() -> bool:
        assert process.returncode is None, "the activator ended: its words are above"
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{control}/readyz") as answer,
            ):
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    try:
        await until(is_ready, "the activator is ready")
        yield
    finally:
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 20) == 0


def is_asleep(status: Status) -> bool:
    """Tell whether the model sleeps, and holds to it."""
    return status.get("phase") == "Asleep" and condition_of(status, "Ready").get("reason") == "Asleep"


async def fall_asleep(site: Site) -> None:
    """Wait until the model is asleep and its pods are gone."""
    await site.until(is_asleep, "the model falls asleep")
    await site.wait(lambda: not site.kubelet.pods, "its pods go")


async def test_requests_to_a_model_without_pods_wake_it_and_all_are_answered(
    site: Site, activator: Activator
) -> None:
    operator = await site.running(activator=f"{site.namespace}/activator")
    await site.create("v1", autoscaling=ZERO, traffic=THROUGH_GATEWAY)
    await fall_asleep(site)
    assert await site.names(HPA) == set()
    slice_ = await site.get(ENDPOINTSLICE, SLICE)
    assert slice_["metadata"]["labels"]["kubernetes.io/service-name"] == "iris"
    assert [item["addresses"] for item in slice_["endpoints"]] == [[ADDRESS]]
    assert [(item["name"], item["port"]) for item in slice_["ports"]] == [("http", names.ACTIVATOR_PORT)]
    (rule,) = (await site.get(HTTPROUTE, "iris"))["spec"]["rules"]
    named = {"name": names.MODEL_HEADER, "value": f"{site.namespace}/iris"}
    assert [item.get("requestHeaderModifier") for item in rule["filters"]] == [{"set": [named]}]
    # While it sleeps nothing is asked of the API.
    await site.at_rest()
    mark = site.lab.audit.mark()
    await asyncio.sleep(3)
    assert site.lab.audit.writes_since(mark, site.namespace) == []
    assert site.lab.audit.reads_since(mark, site.namespace) == []

    assert await activator.ask(site, 100) == [200] * 100
    status = await site.until(lambda found: found.get("phase") == "Healthy", "the model serves")
    # The activator stays in the path until everybody has heard of the pod.
    assert (status["replicas"], status["sleep"]["state"]) == (1, "Waking")
    await site.until(lambda found: "sleep" not in found, "the model is awake")

    async def has_left() -> bool:
        return await site.client.get(ENDPOINTSLICE, site.namespace, SLICE) is None

    await site.eventually(has_left, lambda: "the activator leaves the path")

    # Nor does an operator that is away for a while lose a request: it is held until the operator is back.
    await fall_asleep(site)
    await operator.kill()
    asked = asyncio.create_task(activator.ask(site, 20))
    await asyncio.sleep(1)
    await site.running(activator=f"{site.namespace}/activator")
    assert await asked == [200] * 20


async def test_a_slice_follows_the_activators_pods_and_goes_when_it_is_uninstalled(
    site: Site, activator: Activator
) -> None:
    operator = await site.running(activator=f"{site.namespace}/activator")
    await site.create("v1", autoscaling=ZERO)
    await fall_asleep(site)
    moved = activator_slice("10.9.0.7", "10.9.0.8")
    await site.client.patch_merge(
        ENDPOINTSLICE, site.namespace, moved["metadata"]["name"], {"endpoints": moved["endpoints"]}
    )

    async def follows() -> bool:
        found = await site.client.get(ENDPOINTSLICE, site.namespace, SLICE)
        return [item["addresses"][0] for item in (found or {}).get("endpoints", ())] == [
            "10.9.0.7",
            "10.9.0.8",
        ]

    await site.eventually(follows, lambda: "the slice names the activator's pods")
    await operator.stop()
    await site.running()
    status = await site.until(
        lambda found: condition_of(found, "Reconciling").get("reason") == "ActivatorMissing", "it says so"
    )
    assert "activator.enabled" in condition_of(status, "Reconciling")["message"]

    async def has_left() -> bool:
        return await site.client.get(ENDPOINTSLICE, site.namespace, SLICE) is None

    await site.eventually(has_left, lambda: "nothing leads to the activator")
    assert len(site.kubelet.pods) == 1
