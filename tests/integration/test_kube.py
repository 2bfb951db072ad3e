"""The client against the real etcd and kube-apiserver."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from ekiben.kube import client as client_module
from ekiben.kube import credentials
from ekiben.kube.client import ApiError, Client
from ekiben.kube.kinds import DEPLOYMENT, KINDS, LEASE, NAMESPACE, SERVICE, Kind
from integration.kube_objects import (
    GAUGE,
    Manifest,
    deployment,
    gauge,
    lease,
    serve_gauges,
    service,
)
from integration.operators import until
from localcluster.controlplane import ControlPlane
from localcluster.tools import command_path

# A kind of a group that no test installs.
NOBODYS = Kind("nobody.test", "v1", "Nothing", "nothings")


@pytest.fixture
async def gauges(client: Client) -> None:
    """The Gauge kind, served."""
    await serve_gauges(client)


async def test_paths_are_those_of_the_real_server(client: Client) -> None:
    foreign = {"ekiben.dev", "gateway.networking.k8s.io", "keda.sh"}
    served = [kind for kind in KINDS if kind.group not in foreign]
    for kind in served:
        items, version = await client.list(kind)
        assert int(version) > 0
        assert all(item["kind"] == kind.kind and item["apiVersion"] == kind.api_version for item in items)


async def test_get_finds_an_object_or_nothing(client: Client, namespace: str) -> None:
    found = await client.get(NAMESPACE, None, namespace)
    assert found is not None
    assert found["metadata"]["name"] == namespace
    assert await client.get(SERVICE, namespace, "none-of-that-name") is None


async def test_a_list_of_many_pages_is_whole(
    client: Client, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "PAGE", 50)
    names = [f"s{number:04}" for number in range(110)]
    await asyncio.gather(*(client.create(LEASE, namespace, lease(name)) for name in names))
    pages = [items async for items, _ in client.list_pages(LEASE, namespace)]
    assert [len(page) for page in pages] == [50, 50, 10]
    items, _ = await client.list(LEASE, namespace)
    assert [item["metadata"]["name"] for item in items] == names


async def test_selectors_filter_on_the_server(client: Client, namespace: str) -> None:
    for name in ("iris", "wine"):
        await client.apply(DEPLOYMENT, namespace, deployment(name))
    by_label, _ = await client.list(DEPLOYMENT, namespace, label_selector="ekiben.dev/model in (iris)")
    by_field, _ = await client.list(DEPLOYMENT, namespace, field_selector="metadata.name!=iris")
    assert [item["metadata"]["name"] for item in by_label] == ["iris"]
    assert [item["metadata"]["name"] for item in by_field] == ["wine"]


async def test_applying_the_same_again_changes_nothing(client: Client, namespace: str) -> None:
    first = await client.apply(DEPLOYMENT, namespace, deployment("iris"))
    again = await client.apply(DEPLOYMENT, namespace, deployment("iris"))
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert {entry["manager"] for entry in again["metadata"]["managedFields"]} == {"ekiben"}


async def test_apply_takes_a_field_over_and_drops_what_is_no_longer_said(
    client: Client, namespace: str
) -> None:
    await client.apply(DEPLOYMENT, namespace, deployment("iris", minReadySeconds=5))
    body = {"spec": {"revisionHistoryLimit": 3, "minReadySeconds": 7}}
    await client.patch_merge(DEPLOYMENT, namespace, "iris", body)
    applied = await client.apply(DEPLOYMENT, namespace, deployment("iris", revisionHistoryLimit=4))
    assert applied["spec"]["revisionHistoryLimit"] == 4
    assert applied["spec"]["minReadySeconds"] == 7


async def test_apply_with_a_stale_version_is_a_conflict_and_changes_nothing(
    client: Client, namespace: str
) -> None:
    old = await client.apply(SERVICE, namespace, service("iris"))
    now = await client.patch_merge(SERVICE, namespace, "iris", {"metadata": {"labels": {"a": "b"}}})
    stale = service("iris")
    stale["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
    stale["spec"]["selector"] = {"other": "pods"}
    with pytest.raises(ApiError) as caught:
        await client.apply(SERVICE, namespace, stale)
    assert caught.value.is_conflict
    assert not caught.value.is_retryable
    live = await client.get(SERVICE, namespace, "iris")
    assert live is not None
    assert live["spec"]["selector"] == now["spec"]["selector"]


@pytest.mark.parametrize(
    ("field", "value", "status"),
    [("readinesProbe", {}, 500), ("stdin", "maybe", 500), ("imagePullPolicy", "Sometimes", 422)],
)
async def test_a_bad_manifest_is_rejected_for_good(
    client: Client, namespace: str, field: str, value: object, status: int
) -> None:
    manifest = deployment("iris")
    manifest["spec"]["template"]["spec"]["containers"][0][field] = value
    with pytest.raises(ApiError) as caught:
        await client.apply(DEPLOYMENT, namespace, manifest)
    error = caught.value
    assert error.status == status, error
    assert error.is_rejected
    assert not error.is_retryable
    assert await client.get(DEPLOYMENT, namespace, "iris") is None


async def test_replicas_set_by_scale_stay_over_applies(client: Client, namespace: str) -> None:
    applied = await client.apply(DEPLOYMENT, namespace, deployment("iris"))
    assert applied["spec"]["replicas"] == 1
    scaled = await client.scale(namespace, "iris", 3, applied["metadata"]["resourceVersion"])
    assert scaled["kind"] == "Scale"
    again = await client.apply(DEPLOYMENT, namespace, deployment("iris", image="example.test/iris:2"))
    assert again["spec"]["replicas"] == 3
    with pytest.raises(ApiError) as caught:
        await client.scale(namespace, "iris", 5, applied["metadata"]["resourceVersion"])
    assert caught.value.is_conflict
    live = await client.get(DEPLOYMENT, namespace, "iris")
    assert live is not None
    assert live["spec"]["replicas"] == 3


async def test_a_status_is_replaced_whole(client: Client, namespace: str, gauges: None) -> None:
    made = await client.create(GAUGE, namespace, gauge("g"))
    first = await client.patch_status(
        GAUGE,
        namespace,
        "g",
        {"phase": "Full", "level": 7, "parts": {"a": "1", "b": "2"}},
        made["metadata"]["resourceVersion"],
    )
    second = await client.patch_status(
        GAUGE, namespace, "g", {"phase": "Low", "parts": {"b": "2"}}, first["metadata"]["resourceVersion"]
    )
    live = await client.get(GAUGE, namespace, "g")
    assert live is not None
    assert live["status"] == {"phase": "Low", "parts": {"b": "2"}}
    assert live["spec"] == {"size": 1}
    assert live["metadata"]["generation"] == made["metadata"]["generation"]
    same = await client.patch_status(
        GAUGE, namespace, "g", {"phase": "Low", "parts": {"b": "2"}}, second["metadata"]["resourceVersion"]
    )
    assert same["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]


async def test_a_status_written_on_a_stale_version_is_a_conflict(
    client: Client, namespace: str, gauges: None
) -> None:
    made = await client.create(GAUGE, namespace, gauge("g"))
    await client.patch_merge(GAUGE, namespace, "g", {"spec": {"size": 2}})
    with pytest.raises(ApiError) as caught:
        await client.patch_status(
            GAUGE, namespace, "g", {"phase": "Full"}, made["metadata"]["resourceVersion"]
        )
    assert caught.value.is_conflict
    live = await client.get(GAUGE, namespace, "g")
    assert live is not None
    assert "status" not in live


async def test_a_status_that_the_crd_does_not_know_is_rejected_and_not_pruned(
    client: Client, namespace: str, gauges: None
) -> None:
    made = await client.create(GAUGE, namespace, gauge("g"))
    with pytest.raises(ApiError) as caught:
        await client.patch_status(
            GAUGE, namespace, "g", {"fase": "Full"}, made["metadata"]["resourceVersion"]
        )
    assert caught.value.is_rejected
    assert "fase" in caught.value.message


async def test_a_status_of_a_deleted_object_is_not_found(
    client: Client, namespace: str, gauges: None
) -> None:
    with pytest.raises(ApiError) as caught:
        await client.patch_status(GAUGE, namespace, "never-was", {"phase": "Full"}, "1")
    assert caught.value.is_not_found


async def test_delete_takes_only_the_object_with_that_uid(client: Client, namespace: str) -> None:
    first = await client.create(SERVICE, namespace, service("iris"))
    with pytest.raises(ApiError) as caught:
        await client.delete(SERVICE, namespace, "iris", "00000000-0000-0000-0000-000000000000")
    assert caught.value.is_conflict
    assert await client.get(SERVICE, namespace, "iris") is not None
    assert await client.delete(SERVICE, namespace, "iris", first["metadata"]["uid"]) is None
    assert await client.get(SERVICE, namespace, "iris") is None
    assert await client.delete(SERVICE, namespace, "iris", first["metadata"]["uid"]) is None


async def test_delete_returns_what_finalizers_still_hold(client: Client, namespace: str) -> None:
    held = deployment("iris")
    held["metadata"]["finalizers"] = ["ekiben.test/hold"]
    made = await client.create(DEPLOYMENT, namespace, held)
    left = await client.delete(DEPLOYMENT, namespace, "iris", made["metadata"]["uid"])
    assert left is not None
    assert left["metadata"]["deletionTimestamp"]
    await client.patch_merge(DEPLOYMENT, namespace, "iris", {"metadata": {"finalizers": None}})
    assert await client.get(DEPLOYMENT, namespace, "iris") is None


async def test_create_where_the_name_is_taken_is_a_conflict(client: Client, namespace: str) -> None:
    await client.create(SERVICE, namespace, service("iris"))
    with pytest.raises(ApiError) as caught:
        await client.create(SERVICE, namespace, service("iris"))
    assert caught.value.is_conflict
    assert caught.value.reason == "AlreadyExists"


async def test_a_kind_or_namespace_that_is_not_there_is_not_found(client: Client) -> None:
    with pytest.raises(ApiError) as no_kind:
        await client.list(NOBODYS)
    assert no_kind.value.is_not_found
    with pytest.raises(ApiError) as no_namespace:
        await client.apply(SERVICE, "no-such-namespace", service("iris"))
    assert no_namespace.value.is_not_found


async def test_a_kind_is_served_or_not(client: Client, gauges: None) -> None:
    assert await client.serves(DEPLOYMENT)
    assert await client.serves(GAUGE)
    assert not await client.serves(NOBODYS)
    assert not await client.serves(Kind("apps", "v1", "Widget", "widgets"))
    assert not await client.serves(Kind("ekiben.test", "v9", "Gauge", "gauges"))


async def test_another_http_client_may_use_the_same_access(
    client: Client, control_plane: ControlPlane
) -> None:
    access = await client.access()
    assert access.server == control_plane.server
    assert access.cert_file is not None
    context = ssl.create_default_context(cafile=access.ca_file)
    context.load_cert_chain(access.cert_file, access.key_file)
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{access.server}/apis", ssl=context) as answer,
    ):
        assert (await answer.json())["kind"] == "APIGroupList"


async def test_a_watch_tells_changes_in_order_and_ends_at_its_time(client: Client, namespace: str) -> None:
    _, version = await client.list(SERVICE, namespace)
    made = await client.create(SERVICE, namespace, service("iris"))
    await client.patch_merge(SERVICE, namespace, "iris", {"metadata": {"labels": {"a": "b"}}})
    await client.delete(SERVICE, namespace, "iris", made["metadata"]["uid"])
    seen = [
        event async for event, _ in client.watch(SERVICE, namespace, version, None, 2) if event != "BOOKMARK"
    ]
    assert seen == ["ADDED", "MODIFIED", "DELETED"]


async def test_a_service_account_may_do_what_its_role_says_and_no_more(
    client: Client,
    namespace: str,
    control_plane: ControlPlane,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await grant(client, namespace, "op", [{"apiGroups": [""], "resources": ["services"], "verbs": ["get"]}])
    token = token_of("op", namespace, control_plane.kubeconfig)
    (tmp_path / "token").write_text(token)
    address = urlsplit(control_plane.server)
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", str(address.hostname))
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(address.port))
    (tmp_path / "ca.crt").write_bytes(control_plane.pki.crt("ca").read_bytes())
    monkeypatch.setattr(credentials, "POD_FOLDER", tmp_path)
    in_pod = await Client.connect()

    async def may_read() -> bool:
        with contextlib.suppress(ApiError):
            return await in_pod.get(SERVICE, namespace, "iris") is None
        return False

    try:
        await until(may_read, "the role is known to the server")
        with pytest.raises(ApiError) as caught:
            await in_pod.apply(SERVICE, namespace, service("iris"))
    finally:
        await in_pod.close()
    assert caught.value.status == 403
    assert caught.value.is_rejected
    assert f"system:serviceaccount:{namespace}:op" in caught.value.message


async def grant(client: Client, namespace: str, account: str, rules: list[Manifest]) -> None:
    """Make a service account with these rules."""
    rbac = "rbac.authorization.k8s.io"
    about = {"metadata": {"name": account}}
    subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace}
    role_ref = {"apiGroup": rbac, "kind": "Role", "name": account}
    await client.create(Kind("", "v1", "ServiceAccount", "serviceaccounts"), namespace, about)
    await client.create(Kind(rbac, "v1", "Role", "roles"), namespace, about | {"rules": rules})
    await client.create(
        Kind(rbac, "v1", "RoleBinding", "rolebindings"),
        namespace,
        about | {"subjects": [subject], "roleRef": role_ref},
    )


def token_of(account: str, namespace: str, kubeconfig: Path) -> str:
    """Ask for a service account's token as a person would."""
    kubectl = [str(command_path("kubectl")), "--kubeconfig", str(kubeconfig), "-n", namespace]
    command = [*kubectl, "create", "token", account]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.strip()
