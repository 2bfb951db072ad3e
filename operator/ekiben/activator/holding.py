"""Requests that wait for a pod: how many of each model, within its bounds, and who wants to know."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterator

from ekiben.activator.models import Limits
from ekiben.kube.store import Key

# A pod that could not be connected to is not tried again for this long, in seconds.
AVOIDED_SECONDS = 0.5


class FullError(Exception):
    """As many requests as may be held are held already."""


class LateError(Exception):
    """No pod got ready in time: by the deadline, or before this process ends."""


class Places:
    """Finds a pod for each request, and holds the request until there is one.

    `ready` returns the IPs of a model's pods; whoever knows of a change in them calls `look`. `in_use` counts
    the requests that each pod has from here; `most` bounds what is held for all models together.
    """

    def __init__(self, ready: Callable[[Key], list[str]], most: int) -> None:
        self._ready = ready
        self._most = most
        self._held: Counter[Key] = Counter()
        self._waiting: dict[Key, set[asyncio.Future[None]]] = {}
        self._avoided: dict[str, float] = {}
        self._in_use: Counter[str] = Counter()
        self._watchers: set[asyncio.Event] = set()
        self._over = False

    def held(self) -> dict[Key, int]:
        """Return how many requests are held for each model that has any."""
        return dict(self._held)

    def look(self, key: Key) -> None:
        """Let what is held for a model look for a pod again."""
        for waiting in self._waiting.get(key, ()):
            if not waiting.done():
                waiting.set_result(None)

    def give_up(self) -> None:
        """Hold nothing any more: what waits is late now."""
        self._over = True
        for key in list(self._waiting):
            self.look(key)

    def avoid(self, ip: str) -> None:
        """Take note that a pod could not be connected to."""
        self._avoided[ip] = asyncio.get_running_loop().time() + AVOIDED_SECONDS

    @contextlib.contextmanager
    def watching(self) -> Iterator[asyncio.Event]:
        """Yield an event that is set when another set of models has requests held."""
        changed = asyncio.Event()
        self._watchers.add(changed)
        try:
            yield changed
        finally:
            self._watchers.discard(changed)

    @contextlib.contextmanager
    def using(self, ip: str) -> Iterator[None]:
        """Count one request to a pod."""
        self._in_use[ip] += 1
        try:
            yield
        finally:
            self._in_use[ip] -= 1
            if not self._in_use[ip]:
                del self._in_use[ip]

    async def find(self, key: Key, limits: Limits, deadline: float) -> str:
        """Return the IP of the pod that has least from here, once there is any before the deadline.

        Raises FullError where too many wait already, LateError at the deadline.
        """
        if ip := self._least_used(key):
            return ip
        if self._over:
            raise LateError
        if self._held[key] >= limits.most_held or self._held.total() >= self._most:
            self._settle(key)
            raise FullError
        self._held[key] += 1
        if self._held[key] == 1:
            self._tell()
        try:
            async with asyncio.timeout_at(deadline):
                return await self._wait(key)
        except TimeoutError:
            raise LateError from None
        finally:
            self._held[key] -= 1
            if not self._held[key]:
                self._tell()
            self._settle(key)

    async def _wait(self, key: Key) -> str:
        loop = asyncio.get_running_loop()
        while True:
            waiting: asyncio.Future[None] = loop.create_future()
            self._waiting.setdefault(key, set()).add(waiting)
            # Pods that are ready and can't be connected to may be a moment later.
            pause = AVOIDED_SECONDS if self._ready(key) else None
            try:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await waiting
            finally:
                self._waiting[key].discard(waiting)
                if not self._waiting[key]:
                    del self._waiting[key]
            if ip := self._least_used(key):
                return ip
            if self._over:
                raise LateError

    def _least_used(self, key: Key) -> str | None:
        now = asyncio.get_running_loop().time()
        self._avoided = {ip: until for ip, until in self._avoided.items() if until > now}
        able = [ip for ip in self._ready(key) if ip not in self._avoided]
        return min(able, key=lambda ip: (self._in_use[ip], ip), default=None)

    def _settle(self, key: Key) -> None:
        if not self._held[key]:
            del self._held[key]

    def _tell(self) -> None:
        for changed in self._watchers:
            changed.set()
