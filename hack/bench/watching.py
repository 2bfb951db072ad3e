"""Write down when the API server told of each change, from a watch that began before."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from ekiben.kube.client import Client, Manifest
from ekiben.kube.kinds import Kind


@dataclass(frozen=True)
class Change:
    """One event of a watch; `at` is when it came in (epoch seconds)."""

    at: float
    event: str
    object: Manifest


@dataclass
class Changes:
    """Everything that was told so far, in the order in which it came."""

    seen: list[Change] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def first(self, wanted: Callable[[Change], bool], seconds: float, since: float = 0.0) -> Change:
        """Wait for the first change from `since` on that is as wanted; raises TimeoutError."""
        looked = 0
        async with asyncio.timeout(seconds):
            while True:
                self.news.clear()
                while looked < len(self.seen):
                    change = self.seen[looked]
                    looked += 1
                    if change.at >= since and wanted(change):
                        return change
                await self.news.wait()


@contextlib.asynccontextmanager
async def watching(client: Client, namespace: str, kinds: Sequence[Kind]) -> AsyncIterator[Changes]:
    """Watch these kinds in one namespace while the block runs; what was there before is not told."""
    changes = Changes()
    versions = [(kind, (await client.list(kind, namespace))[1]) for kind in kinds]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_watch(client, namespace, *item, changes)) for item in versions]
        try:
            yield changes
        finally:
            for task in tasks:
                task.cancel()


async def _watch(client: Client, namespace: str, kind: Kind, version: str, changes: Changes) -> None:
    while True:
        async with contextlib.aclosing(client.watch(kind, namespace, version)) as events:
            async for event, found in events:
                version = found["metadata"]["resourceVersion"]
                if event != "BOOKMARK":
                    changes.seen.append(Change(time.time(), event, found))
                    changes.news.set()


def canary_weight(route: Manifest) -> int:
    """Return the percent that a route gives to its second backend, the canary's Service."""
    return int(route["spec"]["rules"][0]["backendRefs"][1].get("weight", 1))


def is_weight(change: Change, wanted: Callable[[int], bool]) -> bool:
    """Tell whether a change is a route's whose canary weight is as wanted."""
    return change.object["kind"] == "HTTPRoute" and wanted(canary_weight(change.object))
