"""The operator in-process against a real etcd and kube-apiserver: it starts, works, dies, starts again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from ekiben import act, preflight, upkeep
from ekiben.api.crd import definition
from ekiben.core.names import revision_child
from ekiben.kube.client import Client
from ekiben.kube.kinds import CRD, DEPLOYMENT, EVENT, LEASE, MODELDEPLOYMENT, PDB, SERVICE
from ekiben.kube.lease import LeaseLostError
from ekiben.lifecycle import DeafError
from ekiben.memory import Echoes
from integration.operators import (
    Manifest,
    Operator,
    children,
    condition_of,
    iris,
    only,
    serve_models,
    settled,
    start_pod,
    status_of,
    take_lease,
    until,
    until_healthy,
    versions,
)
from localcluster.controlplane import ControlPlane

ALL_CHILDREN = {
    "ControllerRevision/iris-*",
    "Deployment/iris-*",
    "PodDisruptionBudget/iris-*",
    "Service/iris",
    "Service/iris-canary",
}

Start = Callable[..., Awaitable[Operator]]


@pytest.fixture
async def models(client: Client) -> None:
    """The ModelDeployment kind, served and current."""
    await serve_models(client)


@pytest.fixture
async def make(kubeconfig: Path, namespace: str, models: None) -> AsyncIterator[Callable[..., Operator]]:
    """Make operators that serve the test's namespace; those left running are killed."""
    made: list[Operator] = []

    def build(**settings: Any) -> Operator:
        made.append(Operator(kubeconfig, namespace, **settings))
        return made[-1]

    yield build
    for operator in made:
        if operator.task is not None and not operator.task.done():
            await operator.kill()


@pytest.fixture
async def operator(make: Callable[..., Operator]) -> Operator:
    """One operator at work."""
    made = make()
    await made.start()
    return made


async def test_a_model_gets_its_children_and_says_what_it_waits_for(
    operator: Operator, client: Client, namespace: str
) -> None:
    await client.create(MODELDEPLOYMENT, namespace, iris())
    await settled(client, namespace)
    assert await children(client, namespace) == ALL_CHILDREN
    deployment = await only(client, DEPLOYMENT, namespace)
    assert deployment["spec"]["replicas"] == 2
    owner = deployment["metadata"]["ownerReferences"][0]
    model = await only(client, MODELDEPLOYMENT, namespace)
    assert (owner["uid"], owner["controller"]) == (model["metadata"]["uid"], True)
    assert model["status"]["phase"] == "Pending"
    assert "0 of 2 pods" in model["status"]["message"]


async def test_a_users_object_gets_neither_finalizers_nor_annotations(
    operator: Operator, client: Client, namespace: str
) -> None:
    await client.create(MODELDEPLOYMENT, namespace, iris())
    await settled(client, namespace)
    model = await only(client, MODELDEPLOYMENT, namespace)
    assert "finalizers" not in model["metadata"]
    assert "annotations" not in model["metadata"]
    writers = {entry["manager"] for entry in model["metadata"]["managedFields"] if entry.get("subresource")}
    assert writers == {"ekiben"}


async def test_once_its_pods_are_ready_a_model_is_healthy_and_nothing_is_written_any_more(
    operator: Operator, client: Client, namespace: str
) -> None:
    await client.create(MODELDEPLOYMENT, namespace, iris())
    await settled(client, namespace)
    for number in range(2):
        await start_pod(client, await only(client, DEPLOYMENT, namespace), f"iris-{number}")
    await until_healthy(client, namespace)
    before = await settled(client, namespace)
    status = await status_of(client, namespace)
    assert (status["phase"], status["ready"]) == ("Healthy", "2/2")
    assert condition_of(status, "Settled")["status"] == "True"
    await asyncio.sleep(2)
    assert await versions(client, namespace) == before


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_a_restart_writes_nothing(operator: Operator, client: Client, namespace: str, end: str) -> None:
    await client.create(MODELDEPLOYMENT, namespace, iris())
    before = await settled(client, namespace)
    await getattr(operator, end)()
    await operator.start()
    assert await settled(client, namespace) == before


async def test_what_happened_while_nobody_worked_is_made_up_for(
    operator: Operator, client: Client, namespace: str
) -> None:
    await client.create(MODELDEPLOYMENT, namespace, iris())
    await settled(client, namespace)
    await operator.kill()
    service = await client.get(SERVICE, namespace, "iris")
    assert service is not None
    await client.delete(SERVICE, namespace, "iris", service["metadata"]["uid"])
    model = await only(client, MODELDEPLOYMENT, namespace)
    await client.delete(MODELDEPLOYMENT, namespace, "iris", model["metadata"]["uid"])
    await client.create(MODELDEPLOYMENT, namespace, iris("mnist"))
    await operator.start()
    await settled(client, namespace)
    # Nobody collects garbage here: the old children stay, the missing one is not made for a dead model.
    assert await children(client, namespace) >= {"Service/mnist", "Deployment/mnist-*", "Service/iris-canary"}
    assert await client.get(SERVICE, namespace, "iris") is None


async def test_dying_after_any_write_ends_in_the_same_children(
    make: Callable[..., Operator], client: Client, namespace: str
) -> None:
    operator = make()
    await client.create(MODELDEPLOYMENT, namespace, iris())

    async def is_whole() -> bool:
        if await children(client, namespace) != ALL_CHILDREN:
            return False
        return bool((await only(client, DEPLOYMENT, namespace))["spec"]["replicas"] == 2)

    deaths = 0
    while not await is_whole():
        await operator.begin(dies_after=1)
        assert operator.task is not None
        done, _ = await asyncio.wait({operator.task}, timeout=30)
        assert done, f"it has something to write and does not, after {deaths} deaths"
        deaths += 1
        await operator.kill()
    # At least once each: after the status, the record, a child and the scaling.
    assert deaths >= 4
    await operator.start()
    await settled(client, namespace)
    assert await is_whole()
    status = await status_of(client, namespace)
    assert status["rollout"]["id"].endswith(".1")


async def test_children_that_are_deleted_or_edited_by_hand_come_back(
    operator: Operator, client: Client, namespace: str
) -> None:
    await client.create(MODELDEPLOYMENT, namespace, iris())
    await settled(client, namespace)
    budget, service = await only(client, PDB, namespace), await client.get(SERVICE, namespace, "iris")
    assert service is not None
    await client.delete(PDB, namespace, budget["metadata"]["name"], budget["metadata"]["uid"])
    await client.patch_merge(SERVICE, namespace, "iris", {"spec": {"selector": {"ekiben.dev/revision": "x"}}})
    await client.patch_merge(
        SERVICE, namespace, "iris-canary", {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}}
    )

    async def is_mended() -> bool:
        if await children(client, namespace) != ALL_CHILDREN:
            return False
        stable, canary = [await client.get(SERVICE, namespace, name) for name in ("iris", "iris-canary")]
        assert stable is not None
        assert canary is not None
        same = stable["spec"]["selector"] == service["spec"]["selector"]
        return bool(same and canary["metadata"]["labels"].get("app.kubernetes.io/managed-by") == "ekiben")

    await until(is_mended, "the children are as they were")
    assert (await only(client, PDB, namespace))["metadata"]["uid"] != budget["metadata"]["uid"]


async def test_somebody_elses_service_is_left_alone_until_its_name_is_free(
    make: Callable[..., Operator], client: Client, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(act, "TAKEN_SECONDS", 0.5)
    ports = [{"port": 80}]
    theirs = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "iris"}, "spec": {"ports": ports}}
    before = await client.create(SERVICE, namespace, theirs)
    await client.create(MODELDEPLOYMENT, namespace, iris())
    await make().start()

    async def is_stalled() -> bool:
        return condition_of(await status_of(client, namespace), "Stalled").get("reason") == "ChildConflict"

    await until(is_stalled, "Stalled with ChildConflict")
    assert "Service iris" in condition_of(await status_of(client, namespace), "Stalled")["message"]
    # Long enough for several look-ups: none of them touches it, or says anything new.
    said = await settled(client, namespace)
    await asyncio.sleep(1.5)
    assert await versions(client, namespace) == said
    assert await client.get(SERVICE, namespace, "iris") == before
    await client.delete(SERVICE, namespace, "iris", before["metadata"]["uid"])

    async def is_ours() -> bool:
        service = await client.get(SERVICE, namespace, "iris")
        return service is not None and "ownerReferences" in service["metadata"]

    await until(is_ours, "the Service is ours")

    async def goes_on() -> bool:
        return condition_of(await status_of(client, namespace), "Stalled").get("status") == "False"

    await until(goes_on, "nothing is stalled any more")


async def test_orphans_of_an_earlier_model_of_that_name_are_adopted(
    operator: Operator, client: Client, namespace: str
) -> None:
    await client.create(MODELDEPLOYMENT, namespace, iris())
    await settled(client, namespace)
    old = {kind: (await only(client, kind, namespace))["metadata"]["uid"] for kind in (DEPLOYMENT, PDB)}
    await operator.stop()
    model = await only(client, MODELDEPLOYMENT, namespace)
    await client.delete(MODELDEPLOYMENT, namespace, "iris", model["metadata"]["uid"])
    for kind in (DEPLOYMENT, PDB):
        name = (await only(client, kind, namespace))["metadata"]["name"]
        await client.patch_merge(kind, namespace, name, {"metadata": {"ownerReferences": None}})
    anew = await client.create(MODELDEPLOYMENT, namespace, iris())
    await operator.start()
    await settled(client, namespace)
    for kind, uid in old.items():
        adopted = (await only(client, kind, namespace))["metadata"]
        assert adopted["uid"] == uid
        assert adopted["ownerReferences"][0]["uid"] == anew["metadata"]["uid"]


async def test_a_refused_child_is_said_in_the_servers_words_and_made_once_it_is_mended(
    operator: Operator, client: Client, namespace: str
) -> None:
    nowhere = {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.nowhere"}}}
    await client.create(MODELDEPLOYMENT, namespace, iris(env=[nowhere]))

    async def is_said() -> bool:
        return "metadata.nowhere" in (await status_of(client, namespace)).get("message", "")

    await until(is_said, "the refusal is said")
    assert "Deployment/iris-*" not in await children(client, namespace)
    await client.patch_merge(
        MODELDEPLOYMENT, namespace, "iris", {"spec": {"env": [{"name": "POD", "value": "here"}]}}
    )
    await settled(client, namespace)
    assert "Deployment/iris-*" in await children(client, namespace)
    assert "nowhere" not in (await status_of(client, namespace))["message"]


async def test_an_api_server_that_goes_away_and_comes_back_is_ridden_out(
    operator: Operator, client: Client, namespace: str, control_plane: ControlPlane
) -> None:
    await client.create(MODELDEPLOYMENT, namespace, iris())
    before = await settled(client, namespace)
    control_plane.pause_apiserver()
    try:
        await asyncio.sleep(2)
        assert (await operator.probe("/healthz"))[0] == 200
        assert operator.task is not None
        assert not operator.task.done()
    finally:
        control_plane.restart_apiserver()
    await client.create(MODELDEPLOYMENT, namespace, iris("mnist"))

    async def has_children() -> bool:
        return {"Deployment/mnist-*", "Service/mnist"} <= await children(client, namespace)

    await until(has_children, "the children of a model made after the outage", 60)
    after = await settled(client, namespace)
    assert {name: after[name] for name in before} == before


async def test_two_operators_by_mistake_do_no_harm(
    make: Callable[..., Operator], client: Client, namespace: str
) -> None:
    for _ in range(2):
        await make().start()
    await client.create(MODELDEPLOYMENT, namespace, iris())
    before = await settled(client, namespace)
    assert await children(client, namespace) == ALL_CHILDREN
    await asyncio.sleep(2)
    assert await versions(client, namespace) == before


async def test_with_an_older_crd_nothing_is_done_until_it_is_current(
    make: Callable[..., Operator], client: Client, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "RETRY_SECONDS", 0.3)
    older = definition()
    status = older["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    del status["properties"]["retiring"]
    operator = make()
    try:
        await client.apply(CRD, None, older)
        await client.create(MODELDEPLOYMENT, namespace, iris())
        await operator.begin()

        await operator.until_probed("/readyz", "status.retiring")
        assert (await operator.probe("/readyz"))[0] == 503
        assert (await operator.probe("/healthz"))[0] == 200
        assert await children(client, namespace) == set()
    finally:
        await serve_models(client)
    await asyncio.wait_for(operator.ready.wait(), 60)
    await settled(client, namespace)
    assert await children(client, namespace) == ALL_CHILDREN


async def test_an_operator_whose_watch_on_models_is_dead_ends_to_begin_anew(
    make: Callable[..., Operator], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Echoes, "age", lambda _: 181.0)
    monkeypatch.setattr(upkeep, "LOOK_SECONDS", 0.1)
    operator = make()
    await operator.begin()
    with pytest.raises(DeafError, match="begins anew"):
        await operator.ended()


class TestProbes:
    """What /readyz and /healthz say."""

    async def test_a_working_operator_is_ready(self, operator: Operator) -> None:
        for path in ("/healthz", "/readyz"):
            assert await operator.probe(path) == (200, {"ok": True, "problems": [], "lastErrors": []})


class TestLease:
    """One leader at a time."""

    def settings(self, namespace: str, identity: str) -> dict[str, Any]:
        return {"leader_election": True, "lease_namespace": namespace, "identity": identity}

    async def test_a_standby_waits_and_takes_over_when_the_leader_stops(
        self, make: Callable[..., Operator], client: Client, namespace: str
    ) -> None:
        first, second = (make(**self.settings(namespace, name)) for name in ("first", "second"))
        await first.start()
        await second.begin()
        await second.until_probed("/readyz")
        await asyncio.sleep(0.5)
        assert not second.ready.is_set()
        assert (await second.probe("/readyz"))[0] == 200
        await first.stop()
        await asyncio.wait_for(second.ready.wait(), 60)
        lease = await only(client, LEASE, namespace)
        assert lease["spec"]["holderIdentity"] == "second"

    async def test_a_standby_can_be_stopped(self, make: Callable[..., Operator], namespace: str) -> None:
        first, second = (make(**self.settings(namespace, name)) for name in ("first", "second"))
        await first.start()
        await second.begin()
        await second.until_probed("/readyz")
        await second.stop()
        assert first.task is not None
        assert not first.task.done()

    async def test_an_operator_that_loses_its_lease_ends_and_says_so(
        self, make: Callable[..., Operator], client: Client, namespace: str
    ) -> None:
        operator = make(**self.settings(namespace, "first"))
        await operator.start()
        lease: Manifest = await only(client, LEASE, namespace)
        await take_lease(client, lease)
        with pytest.raises(LeaseLostError):
            await operator.ended()


async def test_events_say_what_happened_once(operator: Operator, client: Client, namespace: str) -> None:
    await client.create(MODELDEPLOYMENT, namespace, iris())

    async def is_told() -> bool:
        return bool((await client.list(EVENT, namespace))[0])

    await until(is_told, "an event")
    await settled(client, namespace)
    (event,) = (await client.list(EVENT, namespace))[0]
    model = await only(client, MODELDEPLOYMENT, namespace)
    assert event["regarding"]["uid"] == model["metadata"]["uid"]
    assert event["reportingController"] == "ekiben.dev/operator"
    revision = model["status"]["stable"]["revision"]
    assert await client.get(DEPLOYMENT, namespace, revision_child("iris", revision)) is not None
