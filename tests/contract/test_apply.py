"""What the real API server makes of our children: no drift, and records that read back."""

from __future__ import annotations

import asyncio
import contextlib
import copy
from dataclasses import replace
from typing import Any

import pytest
import yaml

from contract.server import Server
from contract.server import model as written
from ekiben.api.v1alpha1 import parse_spec
from ekiben.core.diff import digest, in_sync, projection_digest
from ekiben.core.render import ScaleTarget, build_autoscaler, build_record, build_route, build_service
from ekiben.core.revision import record_of, revision_of
from ekiben.core.snapshot import Applied, Manifest, Model
from ekiben.kube.client import ApiError, Client
from ekiben.kube.kinds import (
    CRD,
    HPA,
    HTTPROUTE,
    SCALEDOBJECT,
    SERVICE,
    TRIGGERAUTHENTICATION,
    Kind,
    kind_of,
)
from localcluster.errors import LocalClusterError
from localcluster.tools import gateway_api_crds, keda_crds
from sample_specs import MODEL, RAW, SPECS, children

pytestmark = pytest.mark.apiserver


async def serve(client: Client, crd: Manifest, kind: Kind) -> None:
    """Install a CRD, and wait until its kind is served."""
    await client.apply(CRD, None, crd)
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(ApiError):
                await client.list(kind)
                return
            await asyncio.sleep(0.05)


@pytest.fixture
async def gateway_api(client: Client) -> None:
    """The HTTPRoute kind of the Gateway API's standard channel, served."""
    try:
        files = gateway_api_crds()
    except LocalClusterError as missing:
        pytest.skip(f"HTTPRoutes go untested: {missing}")
    (file,) = (path for path in files if path.name.endswith("_httproutes.yaml"))
    await serve(client, yaml.safe_load(file.read_text()), HTTPROUTE)


@pytest.fixture
async def keda(client: Client) -> None:
    """KEDA's kinds, served."""
    for file, kind in zip(keda_crds(), (SCALEDOBJECT, TRIGGERAUTHENTICATION), strict=True):
        await serve(client, yaml.safe_load(file.read_text()), kind)


@pytest.fixture
def model(namespace: str) -> Model:
    return replace(MODEL, namespace=namespace)


async def apply(client: Client, manifest: Manifest) -> Manifest:
    kind = kind_of(manifest["apiVersion"], manifest["kind"])
    return await client.apply(kind, manifest["metadata"]["namespace"], manifest)


async def live(client: Client, manifest: Manifest) -> Manifest:
    """Read an object from a list, as an informer first sees it."""
    kind = kind_of(manifest["apiVersion"], manifest["kind"])
    items, _ = await client.list(kind, manifest["metadata"]["namespace"])
    (found,) = (item for item in items if item["metadata"]["name"] == manifest["metadata"]["name"])
    return found


@pytest.mark.usefixtures("gateway_api", "keda")
@pytest.mark.parametrize("name", SPECS)
async def test_what_the_server_makes_of_a_child_is_no_drift(client: Client, model: Model, name: str) -> None:
    """A restarted operator has no ledger: it must see at a glance that there is nothing to write."""
    for child in children(SPECS[name], model):
        await apply(client, child)
        assert in_sync(child, await live(client, child), None), child["kind"]


@pytest.mark.usefixtures("gateway_api")
async def test_applying_a_child_again_changes_nothing(client: Client, model: Model) -> None:
    for child in children(SPECS["everything"], model):
        first = await apply(client, child)
        again = await apply(client, child)
        assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"], child["kind"]


@pytest.mark.parametrize("name", RAW)
def test_a_revision_is_the_same_for_what_the_server_stores(server: Server, name: str) -> None:
    stored = server.try_create(written(RAW[name]))["spec"]
    assert revision_of(parse_spec(stored)).revision == revision_of(SPECS[name]).revision


@pytest.mark.parametrize("name", SPECS)
async def test_a_record_survives_the_server(client: Client, model: Model, name: str) -> None:
    record = replace(revision_of(SPECS[name]), number=1)
    await apply(client, build_record(model, record, "candidate"))
    assert record_of(await live(client, build_record(model, record, ""))) == replace(
        record, outcome="candidate"
    )
    # The data is immutable, so what is read back must go in again byte for byte under other labels.
    later = replace(record, number=2)
    manifest = await apply(client, build_record(model, later, "stable"))
    read = record_of(manifest)
    assert read == replace(later, outcome="stable")
    assert read is not None
    again = await apply(client, build_record(model, read, "stable"))
    assert again["metadata"]["resourceVersion"] == manifest["metadata"]["resourceVersion"]


@pytest.mark.usefixtures("gateway_api")
@pytest.mark.parametrize(
    "edit",
    [
        pytest.param({"hostnames": ["other.example.com"]}, id="a hostname added"),
        pytest.param({"parentRefs": [{"name": "elsewhere"}]}, id="another parent"),
    ],
)
async def test_a_route_edited_by_hand_is_seen(client: Client, model: Model, edit: dict[str, Any]) -> None:
    traffic = SPECS["service-known"].traffic
    assert traffic is not None
    route = build_route(model, traffic, canary_weight=0, timeout_seconds=60, resource_version=None)
    await apply(client, route)
    await client.patch_merge(HTTPROUTE, model.namespace, "iris", {"spec": edit})
    assert not in_sync(route, await live(client, route), None)
    await apply(client, route)
    assert in_sync(route, await live(client, route), None)


@pytest.mark.usefixtures("gateway_api")
async def test_a_condition_added_to_a_routes_match_is_seen(client: Client, model: Model) -> None:
    traffic = SPECS["service-known"].traffic
    assert traffic is not None
    route = build_route(model, traffic, canary_weight=0, timeout_seconds=60, resource_version=None)
    applied = await apply(client, route)
    rules = copy.deepcopy(applied["spec"]["rules"])
    rules[0]["matches"][0]["headers"] = [{"name": "x-who", "value": "me"}]
    await client.patch_merge(HTTPROUTE, model.namespace, "iris", {"spec": {"rules": rules}})
    assert not in_sync(route, await live(client, route), None)


@pytest.mark.usefixtures("gateway_api")
async def test_what_is_taken_out_of_the_traffic_leaves_the_route(client: Client, model: Model) -> None:
    everything, plain = SPECS["everything"].traffic, SPECS["service-known"].traffic
    assert everything is not None
    assert plain is not None
    before, after = (
        build_route(model, traffic, canary_weight=0, timeout_seconds=60, resource_version=None)
        for traffic in (everything, plain)
    )
    await apply(client, before)
    assert not in_sync(after, await live(client, after), None)
    spec = (await apply(client, after))["spec"]
    assert not spec.get("hostnames")
    assert not spec["rules"][0].get("filters")
    assert "sectionName" not in spec["parentRefs"][0]


async def test_a_selector_narrowed_by_hand_is_seen_and_taken_back(client: Client, model: Model) -> None:
    service = build_service(model, "iris", "k7c4f9xw2p")
    await apply(client, service)
    await client.patch_merge(SERVICE, model.namespace, "iris", {"spec": {"selector": {"canary": "yes"}}})
    assert not in_sync(service, await live(client, service), None)
    await apply(client, service)
    assert (await live(client, service))["spec"]["selector"] == service["spec"]["selector"]


async def test_a_released_autoscaler_is_told_so(client: Client, model: Model) -> None:
    spec = SPECS["everything"]
    assert spec.autoscaling is not None
    metrics = spec.autoscaling.metrics
    target = ScaleTarget(
        model, revision_of(spec), spec.autoscaling, metrics, min_replicas=2, max_replicas=4, hold=True
    )
    held, released = build_autoscaler(target), build_autoscaler(replace(target, hold=False))
    assert (await apply(client, held))["spec"]["behavior"]["scaleDown"]["selectPolicy"] == "Disabled"
    assert not in_sync(released, await live(client, released), None)
    assert (await apply(client, released))["spec"]["behavior"]["scaleDown"]["selectPolicy"] == "Max"
    found = await client.get(HPA, model.namespace, released["metadata"]["name"])
    assert found is not None
    assert in_sync(released, found, None)


async def test_values_that_the_server_rewrites_are_remembered_in_the_ledger(
    client: Client, model: Model
) -> None:
    """`readOnly: false` is stored as nothing: only the server's answer can tell that this is no drift."""
    raw = copy.deepcopy(RAW["everything"])
    raw["podTemplate"]["volumeMounts"][0]["readOnly"] = False
    spec = type(SPECS["everything"]).model_validate(raw)
    child = next(item for item in children(spec, model) if item["kind"] == "Deployment")
    applied = await apply(client, child)
    found = await live(client, child)
    assert not in_sync(child, found, None)
    ledger = Applied(intent=digest(child), live=projection_digest(child, applied))
    assert in_sync(child, found, ledger)
    found["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.example.com/other:1"
    assert not in_sync(child, found, ledger)
