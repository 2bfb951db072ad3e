"""Know the objects of one kind and namespace as they are now; shared by the stand-ins."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from ekiben.kube.client import ApiError, Client
from ekiben.kube.kinds import Kind

Manifest = dict[str, Any]


class Followed:
    """Every object of a kind by name, over outages and expired watches; `on_change(before, now)` is told."""

    def __init__(
        self,
        client: Client,
        kind: Kind,
        namespace: str,
        on_change: Callable[[Manifest | None, Manifest | None], None] = lambda before, now: None,
    ) -> None:
        self.items: dict[str, Manifest] = {}
        self._client = client
        self._kind = kind
        self._namespace = namespace
        self._on_change = on_change

    async def follow(self) -> None:
        """List, watch, and begin again whenever that ends; until cancelled."""
        while True:
            with contextlib.suppress(ApiError):
                await self._once()
            await asyncio.sleep(0.1)

    async def _once(self) -> None:
        items, version = await self._client.list(self._kind, self._namespace)
        found = {item["metadata"]["name"]: item for item in items}
        for name in self.items.keys() - found.keys():
            self._set(name, None)
        for name, item in found.items():
            self._set(name, item)
        async with contextlib.aclosing(self._client.watch(self._kind, self._namespace, version)) as events:
            async for event, item in events:
                if event != "BOOKMARK":
                    self._set(item["metadata"]["name"], None if event == "DELETED" else item)

    def _set(self, name: str, item: Manifest | None) -> None:
        before = self.items.pop(name, None)
        if item is not None:
            self.items[name] = item
        self._on_change(before, item)
