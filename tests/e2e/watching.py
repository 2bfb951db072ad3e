"""How many pods there are while something else goes on, and how long things take."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from ekiben.core import names
from ekiben.kube.client import Client
from ekiben.kube.kinds import DEPLOYMENT


@dataclass
class Pods:
    """How many pods the model's Deployments ask for, and how many were ready, at each look."""

    asked: list[int] = field(default_factory=list)
    ready: list[int] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, asked: Callable[[int], bool]) -> None:
        """Wait until as many are asked for as wanted; raises TimeoutError."""
        async with asyncio.timeout(150):
            while not self.asked or not asked(self.asked[-1]):
                self.news.clear()
                await self.news.wait()


@contextlib.asynccontextmanager
async def watched(client: Client, namespace: str) -> AsyncIterator[Pods]:
    """Look at the model's Deployments while the block runs."""
    pods = Pods()

    async def look() -> None:
        while True:
            deployments = (await client.list(DEPLOYMENT, namespace, label_selector=names.MODEL))[0]
            pods.asked.append(sum(item["spec"]["replicas"] for item in deployments))
            pods.ready.append(sum(item["status"].get("readyReplicas", 0) for item in deployments))
            pods.news.set()
            await asyncio.sleep(0.1)

    task = asyncio.create_task(look())
    try:
        yield pods
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class Clock:
    """Says how long something took since it was set."""

    def __init__(self, what: str) -> None:
        self.what, self.since = what, time.monotonic()

    def tell(self, until: str) -> None:
        """Say what has come, and after how long."""
        print(f"{self.what} -> {until}: {time.monotonic() - self.since:.1f} s")
