"""The activator's pods: where requests to models without pods can go, and for which models some are held.

Theory of operation. The EndpointSlices of the activator's Service say which pods of it there are; those that
are ready stand in the slices of models that sleep. Each of them, the ones that end included, is listened to
over one connection, on which it says whenever another set of models has requests held. So waking a model
costs no request to the API server but the write that wakes it, and an activator needs no right to write. What
was heard is forgotten with the connection: a new one begins with all that is held.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Callable
from typing import Any

import aiohttp

from ekiben.core import names
from ekiben.core.snapshot import Manifest
from ekiben.kube.client import Client
from ekiben.kube.informer import Informer
from ekiben.kube.kinds import ENDPOINTSLICE
from ekiben.kube.store import Key

logger = logging.getLogger(__name__)

# An activator says something every 5 s; one that says nothing for this long is gone, in seconds.
SILENT_SECONDS = 15.0
# Between two tries to connect, in seconds.
AGAIN_SECONDS = 1.0
# The longest line that is believed: ten thousand models.
LONGEST_LINE = 4 * 1024 * 1024


class Activators:
    """Watches the activator's Service, given as namespace/name, and listens to its pods.

    `on_places` is called when another set of pods is ready, `wake` with each model of which it is news that
    requests are held, or are not.
    """

    def __init__(
        self,
        client: Client,
        service: str,
        on_places: Callable[[], None],
        wake: Callable[[Key], None],
        *,
        port: int = names.ACTIVATOR_CONTROL_PORT,
    ) -> None:
        namespace, _, name = service.partition("/")
        self._informer = Informer(
            client,
            ENDPOINTSLICE,
            namespace,
            f"kubernetes.io/service-name={name}",
            on_change=lambda old, new: self._changed(),
        )
        self._on_places, self._wake, self._port = on_places, wake, port
        self._ready: tuple[str, ...] = ()
        self._listening: dict[str, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._heard: dict[str, frozenset[Key]] = {}
        self._session: aiohttp.ClientSession | None = None

    @property
    def informer(self) -> Informer:
        """The watch on the activator's EndpointSlices."""
        return self._informer

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where requests can be sent now."""
        return self._ready

    def demands(self, key: Key) -> bool:
        """Tell whether requests to a model are held anywhere."""
        return any(key in held for held in self._heard.values())

    def start(self) -> None:
        """Begin to watch."""
        self._informer.start()

    async def stop(self) -> None:
        """End the watch, and listen to nobody any more."""
        await self._informer.stop()
        for address in list(self._listening):
            self._drop(address)
        await asyncio.gather(*self._ending, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def _changed(self) -> None:
        ready, there = addresses_of(self._informer.store.all())
        for address in self._listening.keys() - there:
            self._drop(address)
        for address in there - self._listening.keys():
            self._listening[address] = asyncio.create_task(self._listen(address), name=f"activator {address}")
        if ready != self._ready:
            self._ready = ready
            self._on_places()

    def _drop(self, address: str) -> None:
        task = self._listening.pop(address)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        task.cancel()
        self._hear(address, frozenset())

    def _hear(self, address: str, held: frozenset[Key]) -> None:
        before = self._heard.pop(address, frozenset())
        if held:
            self._heard[address] = held
        for key in before ^ held:
            self._wake(key)

    async def _listen(self, address: str) -> None:
        while True:
            try:
                await self._follow(address, demand_url(address, self._port))
            except (aiohttp.ClientError, OSError, ValueError, TimeoutError) as problem:
                logger.info("the activator at %s can't be heard: %s", address, type(problem).__name__)
            except Exception:
                logger.exception("a bug while listening to the activator at %s", address)
            self._hear(address, frozenset())
            await asyncio.sleep(AGAIN_SECONDS * random.uniform(0.5, 1.0))

    async def _follow(self, address: str, url: str) -> None:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=3.0, sock_read=SILENT_SECONDS),
                read_bufsize=LONGEST_LINE,
            )
        async with self._session.get(url, allow_redirects=False) as answer:
            if answer.status != 200:
                raise ValueError(f"answers {answer.status}")
            async for line in answer.content:
                self._hear(address, held_of(line))


def demand_url(address: str, port: int) -> str:
    """Return where one activator says for which models it holds requests."""
    return f"http://{f'[{address}]' if ':' in address else address}:{port}/demand"


def addresses_of(slices: list[Manifest]) -> tuple[tuple[str, ...], set[str]]:
    """Return the addresses that are ready, all of one family, and all that there are."""
    ready: dict[str, set[str]] = {}
    there: set[str] = set()
    for raw in slices:
        family = str(raw.get("addressType"))
        for endpoint in raw.get("endpoints") or ():
            found = {str(address) for address in endpoint.get("addresses") or ()}
            there |= found
            # Unknown counts as ready, says the API.
            if (endpoint.get("conditions") or {}).get("ready") is not False:
                ready.setdefault(family, set()).update(found)
    chosen = ready.get("IPv4") or ready.get("IPv6") or set()
    return tuple(sorted(chosen)), there


def held_of(line: bytes) -> frozenset[Key]:
    """Read for which models requests are held; raises ValueError for what is no such line."""
    said: Any = json.loads(line)
    if not isinstance(said, list):
        raise ValueError("not a list")
    keys = (str(item).partition("/") for item in said)
    return frozenset((namespace, name) for namespace, _, name in keys)
