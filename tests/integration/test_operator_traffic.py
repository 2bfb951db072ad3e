"""The operator at the Gateway API, on a real kube-apiserver; no gateway runs, so tests speak for it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ekiben.kube.client import ApiError, Client
from ekiben.kube.kinds import CRD, DEPLOYMENT, GATEWAY, GATEWAYCLASS, HTTPROUTE, MODELDEPLOYMENT
from integration.operators import (
    Manifest,
    Operator,
    condition_of,
    iris,
    only,
    serve_models,
    settled,
    start_pod,
    status_of,
    until,
    until_healthy,
)
from localcluster.errors import LocalClusterError
from rig.gateway_api import gateway_api_definitions

CONTROLLER = "example.com/nobody"
CLASS = "nobody"


@pytest.fixture(scope="session")
def gateway_crds() -> list[Manifest]:
    """The kinds of the Gateway API that Ekiben reads."""
    try:
        return gateway_api_definitions()
    except LocalClusterError as missing:
        pytest.skip(f"the Gateway API goes untested: {missing}")


@pytest.fixture
async def gateway_api(client: Client, gateway_crds: list[Manifest]) -> None:
    """The Gateway API, served."""
    for item in gateway_crds:
        await client.apply(CRD, None, item)

    async def is_served() -> bool:
        with contextlib.suppress(ApiError):
            for kind in (HTTPROUTE, GATEWAY, GATEWAYCLASS):
                await client.list(kind)
            return True
        return False

    await until(is_served, "the Gateway API is served")


@pytest.fixture
async def operator(
    kubeconfig: Path, namespace: str, client: Client, gateway_api: None
) -> AsyncIterator[Operator]:
    """One operator at work."""
    await serve_models(client)
    made = Operator(kubeconfig, namespace)
    await made.start()
    yield made
    await made.stop()


def routed(name: str = "iris") -> Manifest:
    """A model behind a Gateway, at a hostname of its own."""
    traffic = {"parentRefs": [{"name": "models"}], "hostnames": ["iris.example.com"]}
    return iris(name, traffic=traffic)


async def put_gateway(client: Client, namespace: str) -> None:
    """Make a Gateway of a class that nobody implements, and say that it works."""
    api = GATEWAY.api_version
    parameters: Manifest = {"controllerName": CONTROLLER}
    await client.apply(
        GATEWAYCLASS,
        None,
        {"apiVersion": api, "kind": "GatewayClass", "metadata": {"name": CLASS}, "spec": parameters},
    )
    listener = {"name": "http", "port": 80, "protocol": "HTTP"}
    spec = {"gatewayClassName": CLASS, "listeners": [listener]}
    body = {"apiVersion": api, "kind": "Gateway", "metadata": {"name": "models"}, "spec": spec}
    await client.create(GATEWAY, namespace, body)
    conditions = [condition("Accepted"), condition("Programmed")]
    await client.patch_merge(GATEWAY, namespace, "models", {"status": {"conditions": conditions}}, "status")


def condition(kind: str, **more: Any) -> Manifest:
    when = "2026-11-22T12:00:00Z"
    return {"type": kind, "status": "True", "reason": kind, "message": "", "lastTransitionTime": when, **more}


async def accept(client: Client, namespace: str) -> None:
    """Answer for our route as the Gateway's implementation would."""
    route: Manifest | None = None

    async def is_made() -> bool:
        nonlocal route
        route = await client.get(HTTPROUTE, namespace, "iris")
        return route is not None

    # The status is written before the children.
    await until(is_made, "our route is made")
    assert route is not None
    generation = route["metadata"]["generation"]
    conditions = [condition(kind, observedGeneration=generation) for kind in ("Accepted", "ResolvedRefs")]
    parent = {"parentRef": {"name": "models"}, "controllerName": CONTROLLER, "conditions": conditions}
    await client.patch_merge(HTTPROUTE, namespace, "iris", {"status": {"parents": [parent]}}, "status")


async def traffic_reason(client: Client, namespace: str) -> str:
    found: str = condition_of(await status_of(client, namespace), "TrafficApplied").get("reason", "")
    return found


async def until_traffic_is(client: Client, namespace: str, reason: str) -> None:
    async def is_so() -> bool:
        return await traffic_reason(client, namespace) == reason

    await until(is_so, f"TrafficApplied with {reason}, last {await traffic_reason(client, namespace)}")


async def test_a_missing_gateway_is_said_and_its_arrival_noticed(
    operator: Operator, client: Client, namespace: str
) -> None:
    await client.create(MODELDEPLOYMENT, namespace, routed())
    await until_traffic_is(client, namespace, "GatewayNotFound")
    await put_gateway(client, namespace)
    await until_traffic_is(client, namespace, "RouteNotAccepted")
    await accept(client, namespace)
    await until_traffic_is(client, namespace, "Accepted")


async def test_a_routed_model_is_served_and_a_restart_writes_nothing(
    operator: Operator, client: Client, namespace: str
) -> None:
    await put_gateway(client, namespace)
    await client.create(MODELDEPLOYMENT, namespace, routed())
    await settled(client, namespace)
    await accept(client, namespace)
    for number in range(2):
        await start_pod(client, await only(client, DEPLOYMENT, namespace), f"iris-{number}")
    await until_healthy(client, namespace)
    before = await settled(client, namespace)
    route = await only(client, HTTPROUTE, namespace)
    weights = {backend["name"]: backend["weight"] for backend in route["spec"]["rules"][0]["backendRefs"]}
    assert weights == {"iris": 100, "iris-canary": 0}
    await operator.kill()
    await operator.start()
    assert await settled(client, namespace) == before
    assert await only(client, HTTPROUTE, namespace) == route


async def test_a_hostname_that_another_route_has_is_left_to_it_until_it_goes(
    operator: Operator, client: Client, namespace: str
) -> None:
    await put_gateway(client, namespace)
    spec = {"parentRefs": [{"name": "models"}], "hostnames": ["iris.example.com"]}
    body = {"apiVersion": HTTPROUTE.api_version, "kind": "HTTPRoute", "metadata": {"name": "theirs"}}
    theirs = await client.create(HTTPROUTE, namespace, {**body, "spec": spec})
    # Who is older is told by seconds.
    await asyncio.sleep(1.1)
    await client.create(MODELDEPLOYMENT, namespace, routed())
    await until_traffic_is(client, namespace, "HostnameTaken")
    assert await client.get(HTTPROUTE, namespace, "iris") is None
    await client.delete(HTTPROUTE, namespace, "theirs", theirs["metadata"]["uid"])
    await until_traffic_is(client, namespace, "RouteNotAccepted")

    async def is_made() -> bool:
        return await client.get(HTTPROUTE, namespace, "iris") is not None

    # The status is written before the children.
    await until(is_made, "our route is made")


async def test_a_route_that_another_hand_changed_is_put_right(
    operator: Operator, client: Client, namespace: str
) -> None:
    await put_gateway(client, namespace)
    await client.create(MODELDEPLOYMENT, namespace, routed())
    await settled(client, namespace)
    before = (await only(client, HTTPROUTE, namespace))["spec"]
    await client.patch_merge(HTTPROUTE, namespace, "iris", {"spec": {"hostnames": ["evil.example.com"]}})

    async def is_right() -> bool:
        return bool((await only(client, HTTPROUTE, namespace))["spec"] == before)

    await until(is_right, "the route is as it was")
