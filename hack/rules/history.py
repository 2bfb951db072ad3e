"""Every version of the objects of one namespace in the order in which the API server stored them.

Resource versions are etcd's revisions: one order over all kinds. Where a watch had to begin anew (the API
server was restarted), versions may be missing: an entry says so, and no rule judges over such a gap.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Any

from ekiben.kube.client import ApiError, Client
from ekiben.kube.kinds import (
    CONTROLLERREVISION,
    DEPLOYMENT,
    HTTPROUTE,
    MODELDEPLOYMENT,
    PDB,
    POD,
    SERVICE,
    Kind,
)

Manifest = dict[str, Any]

KINDS = (MODELDEPLOYMENT, DEPLOYMENT, SERVICE, HTTPROUTE, PDB, CONTROLLERREVISION, POD)


@dataclass(frozen=True, slots=True)
class Entry:
    """One version of one object; `after_gap` where versions right before it may be missing."""

    version: int
    kind: str
    name: str
    item: Manifest
    after_gap: bool = False


class History:
    """Keeps the versions of one namespace's objects."""

    def __init__(self, client: Client, namespace: str) -> None:
        self._client = client
        self._namespace = namespace
        self._entries: list[Entry] = []
        self._known: dict[tuple[str, str], int] = {}

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for kind in KINDS:
                group.create_task(self._follow(kind))

    def ordered(self) -> list[Entry]:
        """Return every version, oldest first."""
        return sorted(self._entries, key=lambda entry: entry.version)

    async def _follow(self, kind: Kind) -> None:
        while True:
            with contextlib.suppress(ApiError):
                items, version = await self._client.list(kind, self._namespace)
                for item in items:
                    self._note(kind, item, after_gap=True)
                watch = self._client.watch(kind, self._namespace, version)
                async with contextlib.aclosing(watch) as events:
                    async for event, item in events:
                        if event in ("ADDED", "MODIFIED"):
                            self._note(kind, item, after_gap=False)
            await asyncio.sleep(0.1)

    def _note(self, kind: Kind, item: Manifest, *, after_gap: bool) -> None:
        about = item["metadata"]
        version, key = int(about["resourceVersion"]), (kind.kind, about["name"])
        if version > self._known.get(key, -1):
            self._known[key] = version
            self._entries.append(Entry(version, kind.kind, about["name"], item, after_gap))
