"""Informers against the real etcd and kube-apiserver."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from ekiben.kube.client import Client
from ekiben.kube.informer import RELISTS, Informer, Timing
from ekiben.kube.kinds import CRD, DEPLOYMENT, LEASE, SERVICE
from integration.kube_objects import (
    GAUGE,
    Manifest,
    deployment,
    eventually,
    gauge,
    gauge_crd,
    lease,
    serve_gauges,
    service,
)
from localcluster.controlplane import ControlPlane

QUICK = Timing(backoff_first=0.05, backoff_last=0.5, absent=(0.1, 0.2))


@pytest.fixture
async def gauges(client: Client) -> None:
    """The Gauge kind, served."""
    await serve_gauges(client)


class Changes:
    """What an informer has told, as (name before, name after)."""

    def __init__(self) -> None:
        self.told: list[tuple[Manifest | None, Manifest | None]] = []

    def __call__(self, old: Manifest | None, new: Manifest | None) -> None:
        self.told.append((old, new))

    def of(self, name: str) -> list[str]:
        """The changes of one object, in words."""
        words = {(False, True): "added", (True, True): "changed", (True, False): "deleted"}
        return [
            words[old is not None, new is not None]
            for old, new in self.told
            if (new or old or {})["metadata"]["name"] == name
        ]


@contextlib.asynccontextmanager
async def running(*informers: Informer) -> AsyncIterator[None]:
    """Informers that have listed, and are stopped in the end."""
    try:
        for informer in informers:
            informer.start()
        async with asyncio.timeout(20):
            for informer in informers:
                await informer.synced.wait()
        yield
    finally:
        for informer in informers:
            await informer.stop()


async def test_an_informer_follows_the_server(client: Client, namespace: str) -> None:
    changes = Changes()
    informer = Informer(client, SERVICE, namespace, on_change=changes)
    made = await client.create(SERVICE, namespace, service("before"))
    async with running(informer):
        assert informer.store.get(namespace, "before") is not None
        await client.create(SERVICE, namespace, service("during"))
        await eventually(lambda: informer.store.get(namespace, "during") is not None, "an ADDED event")
        await client.patch_merge(SERVICE, namespace, "during", {"metadata": {"labels": {"a": "b"}}})
        await eventually(lambda: changes.of("during") == ["added", "changed"], "a MODIFIED event")
        await client.delete(SERVICE, namespace, "before", made["metadata"]["uid"])
        await eventually(lambda: informer.store.get(namespace, "before") is None, "a DELETED event")
    live = await client.get(SERVICE, namespace, "during")
    assert live is not None
    del live["metadata"]["managedFields"]
    assert informer.store.all() == [live]
    assert changes.of("before") == ["added", "deleted"]


async def test_own_writes_are_read_at_once_and_told_once(client: Client, namespace: str) -> None:
    changes = Changes()
    informer = Informer(client, DEPLOYMENT, namespace, on_change=changes)
    async with running(informer):
        informer.store.note_written(await client.apply(DEPLOYMENT, namespace, deployment("iris")))
        assert [item["metadata"]["name"] for item in informer.store.by_model(namespace, "iris")] == ["iris"]
        informer.store.note_written(await client.apply(DEPLOYMENT, namespace, deployment("iris")))
        uid = informer.store.all()[0]["metadata"]["uid"]
        assert await client.delete(DEPLOYMENT, namespace, "iris", uid) is None
        informer.store.note_deleted(namespace, "iris", uid)
        assert informer.store.all() == []
        await client.apply(DEPLOYMENT, namespace, deployment("last"))
        await eventually(lambda: changes.of("last") == ["added"], "the event after those of our writes")
    assert changes.of("iris") == ["added", "deleted"]


async def test_objects_leave_and_come_back_with_their_label(client: Client, namespace: str) -> None:
    informer = Informer(client, SERVICE, namespace, "watched=yes")
    await client.create(SERVICE, namespace, service("iris"))
    async with running(informer):
        for value, there in (("yes", True), ("no", False), ("yes", True)):
            await client.patch_merge(SERVICE, namespace, "iris", {"metadata": {"labels": {"watched": value}}})
            await eventually(
                lambda there=there: (informer.store.get(namespace, "iris") is not None) == there,  # type: ignore[misc]
                f"watched={value}",
            )


async def test_a_kind_may_come_and_go(client: Client, namespace: str, gauges: None) -> None:
    changes = Changes()
    informer = Informer(client, GAUGE, on_change=changes, timing=QUICK)
    crd = await client.get(CRD, None, "gauges.ekiben.test")
    assert crd is not None
    # All namespaces are watched: the name tells ours from other tests'.
    await client.create(GAUGE, namespace, gauge(namespace))
    async with running(informer):
        assert informer.present
        await client.delete(CRD, None, "gauges.ekiben.test", crd["metadata"]["uid"])
        await eventually(lambda: not informer.present, "the kind is seen to be gone")
        assert informer.store.all() == []
        assert changes.of(namespace) == ["added", "deleted"]
        await client.apply(CRD, None, gauge_crd())
        await eventually(lambda: informer.present, "the kind is seen to be back")


async def test_an_informer_outlives_the_api_server(
    client: Client, namespace: str, control_plane: ControlPlane
) -> None:
    gone = RELISTS.labels("services", "gone")
    before = gone._value.get()
    changes = Changes()
    informer = Informer(client, SERVICE, namespace, on_change=changes, timing=QUICK)
    first = await client.create(SERVICE, namespace, service("first"))
    second = await client.create(SERVICE, namespace, service("second"))
    async with running(informer):
        # Versions that this watch does not see: after the restart its own is too old to go on from.
        await client.create(LEASE, namespace, lease("any"))
        control_plane.pause_apiserver()
        try:
            await eventually(lambda: informer.problem != "", "the outage is noticed")
            assert len(informer.store) == 2
        finally:
            control_plane.restart_apiserver()
        await client.delete(SERVICE, namespace, "first", first["metadata"]["uid"])
        await eventually(lambda: changes.of("first") == ["added", "deleted"], "a deletion after the outage")
        assert informer.problem == ""
    assert [item["metadata"]["uid"] for item in informer.store.all()] == [second["metadata"]["uid"]]
    assert changes.of("second") == ["added"]
    assert gone._value.get() == before + 1
