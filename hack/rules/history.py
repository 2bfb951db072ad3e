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
    HPA,
    HTTPROUTE,
    MODELDEPLOYMENT,
    PDB,
    POD,
    SCALEDOBJECT,
    SERVICE,
    Kind,
)

Manifest = dict[str, Any]

KINDS = (MODELDEPLOYMENT, DEPLOYMENT, SERVICE, HTTPROUTE, PDB, CONTROLLERREVISION, POD)
# Where scalers come and go: of them alone the end is kept too.
SCALER_KINDS = (HPA, SCALEDOBJECT)


@dataclass(frozen=True, slots=True)
class Entry:
    """One version of one object; `after_gap` where versions right before it may be missing.

    `gone` is the end of a scaler; after a gap it came at any time after `since`.
    """

    version: int
    kind: str
    name: str
    item: Manifest
    after_gap: bool = False
    gone: bool = False
    since: int = 0


class History:
    """Keeps the versions of one namespace's objects, with `scalers` those of its scalers too."""

    def __init__(self, client: Client, namespace: str, *, scalers: bool = False) -> None:
        self._client = client
        self._namespace = namespace
        self._entries: list[Entry] = []
        self._known: dict[tuple[str, str], int] = {}
        self._living: dict[tuple[str, str], Manifest] = {}
        self._kinds = (*KINDS, *(SCALER_KINDS if scalers else ()))

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for kind in self._kinds:
                group.create_task(self._follow(kind))

    def ordered(self) -> list[Entry]:
        """Return every version, oldest first."""
        return sorted(self._entries, key=lambda entry: entry.version)

    async def _follow(self, kind: Kind) -> None:
        heard = 0
        while True:
            with contextlib.suppress(ApiError):
                items, version = await self._client.list(kind, self._namespace)
                for item in items:
                    self._note(kind, item, after_gap=True)
                self._miss(kind, {item["metadata"]["name"] for item in items}, int(version), heard)
                heard = int(version)
                watch = self._client.watch(kind, self._namespace, version)
                async with contextlib.aclosing(watch) as events:
                    async for event, item in events:
                        heard = int(item["metadata"]["resourceVersion"])
                        if event in ("ADDED", "MODIFIED"):
                            self._note(kind, item, after_gap=False)
                        elif event == "DELETED" and kind in SCALER_KINDS:
                            self._end(kind, item, heard)
            await asyncio.sleep(0.1)

    def _miss(self, kind: Kind, found: set[str], version: int, since: int) -> None:
        """Take note of the scalers that ended while nobody watched."""
        for (name_of_kind, name), item in list(self._living.items()):
            if name_of_kind == kind.kind and name not in found:
                self._end(kind, item, version, since)

    def _end(self, kind: Kind, item: Manifest, version: int, since: int | None = None) -> None:
        name = item["metadata"]["name"]
        self._living.pop((kind.kind, name), None)
        gap = since is not None
        self._entries.append(Entry(version, kind.kind, name, item, gap, gone=True, since=since or 0))

    def _note(self, kind: Kind, item: Manifest, *, after_gap: bool) -> None:
        about = item["metadata"]
        version, key = int(about["resourceVersion"]), (kind.kind, about["name"])
        if version > self._known.get(key, -1):
            self._known[key] = version
            if kind in SCALER_KINDS:
                self._living[key] = item
            self._entries.append(Entry(version, kind.kind, about["name"], item, after_gap))
