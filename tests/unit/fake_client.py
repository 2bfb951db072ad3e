"""A client without a server behind it: keeps objects in memory, fails when told to, remembers what was asked.

It stands in for what a real API server can't be made to do on cue, and claims nothing about what one does.
"""

from __future__ import annotations

import asyncio
import copy
from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import Any, cast

from ekiben.kube.client import ApiError, Client
from ekiben.kube.kinds import DEPLOYMENT, Kind

Manifest = dict[str, Any]


class FakeClient(Client):
    """`asked` are (verb, plural, name); `faults` are raised instead of the next such request.

    `hold` keeps every apply waiting; requests of a verb in `hang` are never answered; `rewrite` is what the
    server makes of what is applied.
    """

    def __init__(self) -> None:
        super().__init__(cast("Any", None))
        self.rewrite: Callable[[Manifest], Manifest] = lambda manifest: manifest
        self.objects: dict[tuple[str, str, str], Manifest] = {}
        self.asked: list[tuple[str, str, str]] = []
        self.faults: dict[tuple[str, str], deque[Exception]] = {}
        self.hold: asyncio.Event | None = None
        self.hang: set[str] = set()
        self._version = 100

    def fail(self, verb: str, kind: Kind, *errors: Exception) -> None:
        """Raise these, one per request."""
        self.faults.setdefault((verb, kind.plural), deque()).extend(errors)

    def writes(self) -> list[tuple[str, str, str]]:
        """Return what was asked other than reads."""
        return [item for item in self.asked if item[0] not in ("get", "list")]

    def put(self, kind: Kind, raw: Manifest) -> Manifest:
        """Store an object as if somebody had written it; return it as the server would show it."""
        self._version += 1
        about = raw["metadata"]
        held = self.objects.get((kind.plural, about["namespace"], about["name"]))
        uid = held["metadata"]["uid"] if held else f"uid-{self._version}"
        metadata = {"uid": uid, "generation": 1, **about, "resourceVersion": str(self._version)}
        stored = {"apiVersion": kind.api_version, "kind": kind.kind, **raw, "metadata": metadata}
        self.objects[kind.plural, about["namespace"], about["name"]] = stored
        return copy.deepcopy(stored)

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Manifest | None:
        await self._ask("get", kind, name)
        return copy.deepcopy(self.objects.get((kind.plural, namespace or "", name)))

    async def list_pages(
        self, kind: Kind, *_: Any, **__: Any
    ) -> AsyncGenerator[tuple[list[Manifest], str], None]:
        found = [copy.deepcopy(item) for key, item in self.objects.items() if key[0] == kind.plural]
        yield found, str(self._version)

    async def watch(self, *_: Any, **__: Any) -> AsyncGenerator[tuple[str, Manifest], None]:
        await asyncio.Event().wait()
        yield "BOOKMARK", {}

    async def apply(self, kind: Kind, namespace: str | None, manifest: Manifest) -> Manifest:
        await self._ask("apply", kind, manifest["metadata"]["name"])
        return self.put(kind, self.rewrite(copy.deepcopy(manifest)))

    async def patch_status(
        self, kind: Kind, namespace: str, name: str, status: Manifest, resource_version: str
    ) -> Manifest:
        await self._ask("status", kind, name)
        held = self.objects[kind.plural, namespace, name]
        if held["metadata"]["resourceVersion"] != resource_version:
            raise ApiError(409, "Conflict", "the object has been modified")
        return self.put(kind, {**held, "status": status})

    async def scale(
        self, namespace: str, name: str, replicas: int, resource_version: str | None = None
    ) -> Manifest:
        await self._ask("scale", DEPLOYMENT, name)
        held = self.objects[DEPLOYMENT.plural, namespace, name]
        written = self.put(DEPLOYMENT, {**held, "spec": {**held.get("spec", {}), "replicas": replicas}})
        return {"kind": "Scale", "metadata": written["metadata"], "spec": {"replicas": replicas}}

    async def delete(self, kind: Kind, namespace: str | None, name: str, uid: str) -> Manifest | None:
        await self._ask("delete", kind, name)
        self.objects.pop((kind.plural, namespace or "", name), None)
        return None

    async def create(self, kind: Kind, namespace: str | None, body: Manifest) -> Manifest:
        await self._ask("create", kind, body["metadata"]["name"])
        return body

    async def _ask(self, verb: str, kind: Kind, name: str) -> None:
        self.asked.append((verb, kind.plural, name))
        if self.hold is not None and verb == "apply":
            await self.hold.wait()
        if verb in self.hang:
            await asyncio.Event().wait()
        faults = self.faults.get((verb, kind.plural))
        if faults:
            raise faults.popleft()
