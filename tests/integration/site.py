"""One namespace with its stand-ins and the operators that serve it: what the tests of rollouts talk to."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from copy import deepcopy
from typing import Any

import pytest

from ekiben.kube.client import ApiError, Client
from ekiben.kube.kinds import DEPLOYMENT, GATEWAY, MODELDEPLOYMENT, NAMESPACE, Kind
from integration.gateway import NAME as GATEWAY_NAME
from integration.gateway import Gateway, Traffic
from integration.keda import Keda
from integration.kubelet import SERVICE, Behaviour, Kubelet, PodServer
from integration.lab import Lab
from integration.operators import Manifest, Operator, condition_of, iris

REPOSITORY = "registry.example.com/iris"
STEPS = ({"weight": 20, "hold": "1s"}, {"weight": 50, "hold": "1s"})
THROUGH_GATEWAY: Manifest = {"parentRefs": [{"name": GATEWAY_NAME}], "hostnames": ["iris.example.com"]}

Status = Manifest
# How long a thing that will be so may take on a busy machine.
PATIENCE = 120.0


def image(tag: str) -> str:
    """Name the image of a tag."""
    return f"{REPOSITORY}:{tag}"


def spec_of(tag: str, **more: Any) -> Manifest:
    """Return a spec whose rollouts take seconds; `more` goes over it, `rollout` and `analysis` key by key."""
    spec: Manifest = {
        "bento": {"image": image(tag), "service": SERVICE},
        "rollout": {"canary": {"steps": list(STEPS)}, "scaleDownDelay": "0s", "abortScaleDownDelay": "0s"},
        "analysis": {"interval": "1s", "minSamples": 20},
    }
    for key, value in more.items():
        spec[key] = {**spec[key], **value} if key in ("rollout", "analysis") else value
    return deepcopy(spec)


class Site:
    """The world of one test; the model is called iris."""

    def __init__(self, lab: Lab, client: Client, namespace: str, *, keda: bool = False) -> None:
        self.lab = lab
        self.client = client
        self.namespace = namespace
        self.kubelet = Kubelet(client, namespace)
        self.gateway = Gateway(client, namespace)
        self.traffic = Traffic(client, namespace, self.kubelet, self.gateway)
        self.keda = Keda(client, namespace) if keda else None
        self.mark = lab.audit.mark()
        self.tasks: list[asyncio.Task[None]] = []
        self._operators: list[Operator] = []

    def operator(self, **settings: Any) -> Operator:
        """Make an operator with the chart's rights that serves this namespace."""
        made = Operator(self.lab.operator_kubeconfig, self.namespace, **settings)
        self._operators.append(made)
        return made

    async def running(self, **settings: Any) -> Operator:
        """Start an operator."""
        made = self.operator(**settings)
        await made.start()
        return made

    async def create(self, tag: str, **more: Any) -> None:
        """Create the model."""
        model = iris() | {"spec": spec_of(tag, **more)}
        await self.client.create(MODELDEPLOYMENT, self.namespace, model)

    async def change(self, **spec: Any) -> None:
        """Merge changes into the model's spec."""
        await self.client.patch_merge(MODELDEPLOYMENT, self.namespace, "iris", {"spec": spec})

    async def release(self, tag: str) -> None:
        """Ask for another image."""
        await self.change(bento={"image": image(tag)})

    async def command(self, name: str, value: str) -> None:
        """Give one of the commands in `spec.rollout`."""
        await self.change(rollout={name: value})

    async def serve(self, tag: str, **more: Any) -> str:
        """Create the model, wait until its first revision serves, send it traffic; return the revision."""
        await self.create(tag, **more)
        status = await self.until(is_settled("Promoted"), f"{tag} serves")
        self.traffic.start("iris")
        return str(status["stable"]["revision"])

    async def status(self) -> Status:
        """Return the model's status, {} while it has none."""
        model = await self.client.get(MODELDEPLOYMENT, self.namespace, "iris")
        status: Status = (model or {}).get("status") or {}
        return status

    async def until(self, condition: Callable[[Status], bool], what: str) -> Status:
        """Wait until the status is so and return it; say what it was if it never is."""
        status: Status = {}

        async def look() -> bool:
            nonlocal status
            status = await self.status()
            return condition(status)

        await self.eventually(look, lambda: f"{what}; the status was {tell(status)}")
        return status

    async def eventually(self, condition: Callable[[], Awaitable[bool]], what: Callable[[], str]) -> None:
        """Wait until the world is so; `what` says what is not."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and not any(task.done() for task in self.tasks):
            with contextlib.suppress(ApiError):
                if await condition():
                    return
            await asyncio.sleep(0.05)
        pytest.fail(f"never came true: {what()}")

    async def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until the world is so."""
        await self.until(lambda status: condition(), what)

    async def at_rest(self, seconds: float = 1.0) -> None:
        """Wait until no operator has asked the API for anything but watches for so long."""
        audit = self.lab.audit
        mark, since = audit.mark(), time.monotonic()

        async def is_over() -> bool:
            nonlocal mark, since
            if any(item.verb != "watch" for item in audit.since(mark)):
                mark, since = audit.mark(), time.monotonic()
            return time.monotonic() >= since + seconds

        await self.eventually(is_over, lambda: f"the operator is at rest for {seconds:g} s")

    async def promoted(self, tag: str) -> Status:
        """Wait until an image serves and its rollout is over."""

        def serves(status: Status) -> bool:
            return is_settled("Promoted")(status) and status["stable"]["image"] == image(tag)

        return await self.until(serves, f"{tag} is promoted")

    async def names(self, kind: Kind) -> set[str]:
        """Return the names of the objects of a kind."""
        return {item["metadata"]["name"] for item in (await self.client.list(kind, self.namespace))[0]}

    async def remove(self, kind: Kind, name: str) -> None:
        """Delete an object by hand."""
        found = await self.get(kind, name)
        await self.client.delete(kind, self.namespace, name, found["metadata"]["uid"])

    async def get(self, kind: Kind, name: str) -> Manifest:
        """Return an object, once it exists: a status is written before the children that it speaks of."""
        found: Manifest | None = None

        async def look() -> bool:
            nonlocal found
            found = await self.client.get(kind, self.namespace, name)
            return found is not None

        await self.eventually(look, lambda: f"{kind.kind} {name} exists")
        assert found is not None
        return found

    async def deployment(self, revision: str) -> Manifest:
        """Return a revision's Deployment."""
        return await self.get(DEPLOYMENT, f"iris-{revision}")

    def pods(self, revision: str) -> list[PodServer]:
        """Return a revision's pods."""
        return self.kubelet.of_revision(revision)

    def behaviour(self, tag: str) -> Behaviour:
        """Return how the pods of an image behave; it may be changed at any moment."""
        return self.kubelet.behaviour(image(tag))

    def restart_apiserver(self) -> None:
        """Start the API server again; in the main thread."""
        self.lab.plane.restart_apiserver()
        # Until it had read the roles it forbade everything, which says nothing about the roles.
        self.mark = self.lab.audit.mark()

    async def close(self) -> None:
        """End everything; nothing that an operator asked for was forbidden, and no stand-in broke."""
        for operator in self._operators:
            if operator.task is not None and not operator.task.done():
                await operator.kill()
        # The Gateway too: operators that outlive the site would remember it.
        for kind, name in ((MODELDEPLOYMENT, "iris"), (GATEWAY, GATEWAY_NAME)):
            found = await self.client.get(kind, self.namespace, name)
            if found is not None:
                await self.client.delete(kind, self.namespace, name, found["metadata"]["uid"])
        if self.keda is not None:
            self.keda.leave(0)
            await self.eventually(self.keda.let_go, lambda: "every ScaledObject goes with its model")
        for task in self.tasks:
            task.cancel()
        for task in self.tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        forbidden = [str(item) for item in self.lab.audit.since(self.mark) if item.code == 403]
        assert not forbidden, "the chart's roles don't allow what the operator does"


def tell(status: Status) -> str:
    """Say what a status says in a line."""
    rollout = status.get("rollout") or {}
    said = (rollout.get("stage"), rollout.get("outcome"), rollout.get("id"), status.get("conditions"))
    return f"{status.get('phase')}: {status.get('message')} {said}"


def is_settled(reason: str) -> Callable[[Status], bool]:
    """Tell whether the last change that the operator has seen came to this end."""

    def check(status: Status) -> bool:
        settled = condition_of(status, "Settled")
        return settled.get("status") == "True" and settled.get("reason") == reason

    return check


def is_at(stage: str, step: int | None = None) -> Callable[[Status], bool]:
    """Tell whether a rollout is at a stage, and at a step."""

    def check(status: Status) -> bool:
        rollout = status.get("rollout") or {}
        return rollout.get("stage") == stage and step in (None, rollout.get("step"))

    return check


@contextlib.asynccontextmanager
async def open_site(lab: Lab, *, keda: bool = False) -> AsyncIterator[Site]:
    """Make a namespace whose stand-ins work until the end of the block; `keda`: there is one, too."""
    client = await Client.connect(lab.plane.kubeconfig, user_agent="stand-ins")
    name = f"site-{uuid.uuid4().hex[:8]}"
    try:
        about = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        await client.create(NAMESPACE, None, about)
        site = Site(lab, client, name, keda=keda)
        await site.gateway.install()
        parts = (site.kubelet, site.gateway, site.traffic, site.keda)
        site.tasks += [asyncio.create_task(part.run(), name=type(part).__name__) for part in parts if part]
        try:
            yield site
        finally:
            await site.close()
    finally:
        await client.close()
