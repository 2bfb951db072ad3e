"""A controller at work on a client without a server, with a decide of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from ekiben.api.status import Status
from ekiben.controller import Controller
from ekiben.core import names
from ekiben.core.plan import Plan, Sampling
from ekiben.core.snapshot import Manifest, Ref, Snapshot
from ekiben.kube.kinds import MODELDEPLOYMENT
from ekiben.settings import Settings
from unit.fake_client import FakeClient

Decide = Callable[[Snapshot], Plan]
KEY = ("shop", "iris")
SERVICE_REF, DEPLOYMENT_REF = Ref("Service", "iris"), Ref("Deployment", "iris-kbcdfghjkm")
SAID = Status(message="said")
APPLY = ("apply", "services", "iris")


def with_labels_of_its_own(manifest: Manifest) -> Manifest:
    """Store what is applied otherwise than it was sent."""
    labels = {**manifest["metadata"]["labels"], names.MANAGED_BY: "the server's own way to write it"}
    return {**manifest, "metadata": {**manifest["metadata"], "labels": labels}}


class SilentSampler:
    """A sampler that reads nothing and remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[tuple[str, str], Sampling | None]] = []

    def ensure(self, key: tuple[str, str], sampling: Sampling | None) -> None:
        self.told.append((key, sampling))

    def observation(self, key: tuple[str, str]) -> None:
        return None

    async def close(self) -> None:
        return None


class Rig:
    """A controller at work on a fake client, with a decide of the test's own."""

    def __init__(self, client: FakeClient, sampler: SilentSampler) -> None:
        self.client = client
        self.sampler = sampler
        self.decide: Decide = lambda _: Plan()
        self.seen: list[Snapshot] = []
        self.controller = Controller(client, Settings(workers=2), decide=self._decide, sampler=sampler)

    def _decide(self, snapshot: Snapshot) -> Plan:
        self.seen.append(snapshot)
        return self.decide(snapshot)

    def write_model(self, name: str = "iris", tell: bool = True, **changes: Any) -> Manifest:
        """Write a model as a user would, and let the watch tell of it."""
        raw = self.client.objects.get((MODELDEPLOYMENT.plural, "shop", name), {})
        metadata = {"name": name, "namespace": "shop", **raw.get("metadata", {}), **changes}
        spec = {"bento": {"image": "iris:1"}}
        written = self.client.put(MODELDEPLOYMENT, {"spec": spec, **raw, "metadata": metadata})
        if tell:
            self.controller.observe_model("MODIFIED", written)
        return written

    async def settle(self) -> None:
        """Wait until nothing happens any more."""
        quiet = 0
        while quiet < 5:
            before = (len(self.seen), len(self.client.asked))
            await asyncio.sleep(0.01)
            quiet = quiet + 1 if before == (len(self.seen), len(self.client.asked)) else 0

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        for _ in range(1000):
            if condition():
                return
            await asyncio.sleep(0.01)
        pytest.fail(f"never came true: {what}")


def child(snapshot: Snapshot, kind: str = "Service", name: str = "iris", **spec: Any) -> Manifest:
    owner = {"kind": "ModelDeployment", "name": "iris", "uid": snapshot.model.uid, "controller": True}
    metadata = {
        "name": name,
        "namespace": "shop",
        "labels": names.model_labels("iris"),
        "ownerReferences": [owner],
    }
    version = "v1" if kind == "Service" else "apps/v1"
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}


def says_then_applies(snapshot: Snapshot) -> Plan:
    """Write the status, and in the same plan a Service while there is none."""
    applies = () if SERVICE_REF in snapshot.live else (child(snapshot),)
    return Plan(status=SAID if snapshot.status != SAID else None, applies=applies)
