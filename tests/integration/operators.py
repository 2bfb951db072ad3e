"""Operators that run inside a test, against the real API server."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientError, ClientSession

from ekiben.api.crd import definition
from ekiben.api.v1alpha1 import API_VERSION, KIND
from ekiben.kube.client import ApiError, Client
from ekiben.kube.kinds import (
    CONTROLLERREVISION,
    CRD,
    DEPLOYMENT,
    EVENT,
    HPA,
    LEASE,
    MODELDEPLOYMENT,
    PDB,
    POD,
    SERVICE,
    Kind,
)
from ekiben.lifecycle import run_operator
from ekiben.parsers import Address
from ekiben.settings import Settings
from localcluster.child import free_ports

Manifest = dict[str, Any]

SERVICE_ACCOUNT = Kind("", "v1", "ServiceAccount", "serviceaccounts")
CHILDREN = (CONTROLLERREVISION, DEPLOYMENT, SERVICE, HPA, PDB)
IMAGE = "registry.example.com/iris:1.4.2"


class Dying(Client):
    """A client whose process dies right after its nth write."""

    deadline = 0
    die: Callable[[], object] = staticmethod(lambda: None)

    async def apply(self, *given: Any, **named: Any) -> Manifest:
        return await self._survive(super().apply(*given, **named))

    async def patch_status(self, *given: Any, **named: Any) -> Manifest:
        return await self._survive(super().patch_status(*given, **named))

    async def scale(self, *given: Any, **named: Any) -> Manifest:
        return await self._survive(super().scale(*given, **named))

    async def _survive(self, write: Awaitable[Manifest]) -> Manifest:
        answer = await write
        self.deadline -= 1
        if self.deadline == 0:
            self.die()
            await asyncio.Event().wait()
        return answer


class Operator:
    """One operator, started and stopped by a test."""

    def __init__(self, kubeconfig: Path, namespace: str, **settings: Any) -> None:
        self._kubeconfig = kubeconfig
        metrics_port, self.probes_port = free_ports(2)
        self.settings = Settings(
            namespaces=(namespace,),
            metrics_address=Address("127.0.0.1", metrics_port),
            probes_address=Address("127.0.0.1", self.probes_port),
            **settings,
        )
        self.stop_event, self.ready = asyncio.Event(), asyncio.Event()
        self.client: Dying | None = None
        self.task: asyncio.Task[None] | None = None

    async def begin(self, dies_after: int = 0) -> None:
        """Start it, without waiting for anything."""
        self.client = await Dying.connect(self._kubeconfig, user_agent="ekiben")
        assert self.client is not None
        self.stop_event.clear()
        self.ready.clear()
        run = run_operator(self.settings, client=self.client, stop=self.stop_event, ready=self.ready)
        self.task = asyncio.create_task(run)
        self.client.deadline, self.client.die = dies_after, self.task.cancel

    async def start(self) -> None:
        """Start it and wait until it works."""
        await self.begin()
        assert self.task is not None
        waiting = asyncio.create_task(self.ready.wait())
        await asyncio.wait({self.task, waiting}, timeout=30, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if self.task.done():
            self.task.result()
        assert self.ready.is_set(), "the operator was not ready within 30 s"

    async def stop(self) -> None:
        """Stop it as SIGTERM does."""
        self.stop_event.set()
        await self.ended()

    async def kill(self) -> None:
        """End it in the middle of whatever it does."""
        assert self.task is not None
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.ended()

    async def ended(self) -> None:
        """Wait for its end; raises what it ended with."""
        assert self.task is not None
        assert self.client is not None
        try:
            async with asyncio.timeout(30):
                await asyncio.wait({self.task})
            self.task.result()
        finally:
            self.task.cancel()
            await asyncio.wait({self.task})
            await self.client.close()

    async def probe(self, path: str) -> tuple[int, Manifest]:
        """Ask /healthz or /readyz: (HTTP status, body); (0, {}) while nobody listens."""
        url = f"http://127.0.0.1:{self.probes_port}{path}"
        try:
            async with ClientSession() as session, session.get(url) as answer:
                return answer.status, json.loads(await answer.text())
        except ClientError:
            return 0, {}

    async def until_probed(self, path: str, problem: str = "") -> None:
        """Wait until a probe answers, and with `problem` until it says so."""

        async def says_so() -> bool:
            status, body = await self.probe(path)
            return status != 0 and problem in " ".join(body["problems"])

        await until(says_so, f"{path} answers {problem}")


def iris(name: str = "iris", image: str = IMAGE, **spec: Any) -> Manifest:
    """A ModelDeployment."""
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": name},
        "spec": {"bento": {"image": image}, **spec},
    }


async def serve_models(client: Client) -> None:
    """Install our CRD, and wait until the server has made room for its objects."""
    await client.apply(CRD, None, definition())
    await until(lambda: client.serves(MODELDEPLOYMENT), "the kind is announced")

    async def can_be_listed() -> bool:
        with contextlib.suppress(Exception):
            await client.list(MODELDEPLOYMENT)
            return True
        return False

    await until(can_be_listed, "ModelDeployments can be listed")


async def until(condition: Callable[[], Awaitable[bool]], what: str, seconds: float = 30.0) -> None:
    """Wait until something is so, and say what was not if it never is."""
    for _ in range(int(seconds * 20)):
        if await condition():
            return
        await asyncio.sleep(0.05)
    pytest.fail(f"never came true: {what}")


async def start_pod(client: Client, deployment: Manifest, name: str) -> None:
    """Make a ready pod of a Deployment, as its controllers and a kubelet would."""
    template, namespace = deployment["spec"]["template"], deployment["metadata"]["namespace"]
    with contextlib.suppress(ApiError):
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
        await client.create(SERVICE_ACCOUNT, namespace, account)
    about = {"name": name, "labels": template["metadata"]["labels"]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": template["spec"]}
    made = await client.create(POD, namespace, pod)
    now = made["metadata"]["creationTimestamp"]
    container = {"name": "bento", "image": "iris", "imageID": "", "restartCount": 0, "ready": True}
    await client.patch_merge(
        POD,
        namespace,
        name,
        {
            "status": {
                "phase": "Running",
                "podIP": "127.0.0.1",
                "conditions": [
                    {"type": "PodScheduled", "status": "True", "lastTransitionTime": now},
                    {"type": "Ready", "status": "True", "lastTransitionTime": now},
                ],
                "containerStatuses": [{**container, "state": {"running": {"startedAt": now}}}],
            }
        },
        "status",
    )


async def until_healthy(client: Client, namespace: str) -> None:
    """Wait until the model's phase is Healthy."""

    async def is_healthy() -> bool:
        return (await status_of(client, namespace)).get("phase") == "Healthy"

    await until(is_healthy, "the model is healthy")


async def take_lease(client: Client, lease: Manifest) -> None:
    """Take a lease away from whoever holds it, also if it is renewed at this moment."""
    about = lease["metadata"]
    spec = {"holderIdentity": "thief"}
    await client.patch_merge(LEASE, about["namespace"], about["name"], {"spec": spec})


async def settled(client: Client, namespace: str) -> dict[str, str]:
    """Wait until every spec was seen and nothing has changed for a second; return all resourceVersions."""
    before: dict[str, str] = {}
    quiet = 0
    for _ in range(300):
        now = await versions(client, namespace)
        seen = [is_observed(model) for model in (await client.list(MODELDEPLOYMENT, namespace))[0]]
        quiet = quiet + 1 if all(seen) and now == before else 0
        if quiet == 10:
            return now
        before = now
        await asyncio.sleep(0.1)
    pytest.fail("the cluster never comes to rest")


def is_observed(model: Manifest) -> bool:
    """Tell whether the status is about the spec as it is now."""
    seen = (model.get("status") or {}).get("observedGeneration")
    return bool(seen == model["metadata"]["generation"])


async def versions(client: Client, namespace: str) -> dict[str, str]:
    """Return the resourceVersion of the models, their children and their Events: who writes shows up here."""
    found = {}
    for kind in (MODELDEPLOYMENT, *CHILDREN, EVENT):
        for item in (await client.list(kind, namespace))[0]:
            found[f"{kind.kind}/{item['metadata']['name']}"] = item["metadata"]["resourceVersion"]
    return found


async def children(client: Client, namespace: str) -> set[str]:
    """Name every child as Kind/name, a revision written as *."""
    found = set()
    for kind in CHILDREN:
        for item in (await client.list(kind, namespace))[0]:
            revision = item["metadata"].get("labels", {}).get("ekiben.dev/revision")
            name = item["metadata"]["name"]
            found.add(f"{kind.kind}/{name.replace(revision, '*') if revision else name}")
    return found


async def only(client: Client, kind: Kind, namespace: str) -> Manifest:
    """Return the one object of a kind."""
    (item,) = (await client.list(kind, namespace))[0]
    return item


async def status_of(client: Client, namespace: str, name: str = "iris") -> Manifest:
    """Return a model's status, {} while it has none."""
    model = await client.get(MODELDEPLOYMENT, namespace, name)
    assert model is not None
    status: Manifest = model.get("status") or {}
    return status


def condition_of(status: Manifest, kind: str) -> Manifest:
    """Return one condition, {} where it is missing."""
    return next((item for item in status.get("conditions", ()) if item["type"] == kind), {})
