"""A queue of keys to look at: each key once, never at two workers, failures later and later.

The semantics are those that controllers rely on since client-go. A key added while it waits is one visit; a
key added while it is worked on is visited again afterwards, at the end of the line, so a key that is always
added again never keeps another one waiting.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from prometheus_client import Counter, Gauge, Histogram

DEPTH = Gauge("ekiben_queue_depth", "Keys that wait for a worker.")
LATENCY = Histogram(
    "ekiben_queue_latency_seconds",
    "Time from adding a key until a worker takes it.",
    buckets=(0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0),
)
RETRIES = Counter("ekiben_queue_retries_total", "Keys put back after a failure.")

FIRST_RETRY = 0.2
LAST_RETRY = 60.0
# One change of a Deployment makes a dozen events within a moment: one visit sees them all.
SOON_SECONDS = 0.05

K = TypeVar("K", bound=Hashable)


class QueueClosedError(Exception):
    """The queue is shut down: there is no more work."""


class WorkQueue(Generic[K]):
    """Keys to look at, first come first served; for the tasks of one event loop.

    A worker calls `get`, works, calls `retry` or `forget`, and in every case `done`.
    """

    def __init__(self, jitter: Callable[[], float] = random.random) -> None:
        self._jitter = jitter
        self._line: deque[K] = deque()
        self._added_at: dict[K, float] = {}
        self._working: set[K] = set()
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._soon: dict[K, asyncio.TimerHandle] = {}
        self._failures: dict[K, int] = {}
        self._getters: deque[asyncio.Future[None]] = deque()
        self._closed = False

    def __len__(self) -> int:
        return len(self._line)

    def add(self, key: K) -> None:
        """Have a key looked at as soon as a worker is free."""
        if self._closed or key in self._added_at:
            return
        self._added_at[key] = asyncio.get_running_loop().time()
        if key not in self._working:
            self._append(key)

    def add_soon(self, key: K) -> None:
        """Have a key looked at within a moment, by a visit that begins meanwhile or one of its own."""
        if self._closed or key in self._added_at or key in self._soon:
            return
        self._soon[key] = asyncio.get_running_loop().call_later(SOON_SECONDS, self._now, key)

    def add_after(self, key: K, seconds: float) -> None:
        """Have a key looked at after this time; of several times the earliest holds."""
        if self._closed:
            return
        if seconds <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= loop.time() + seconds:
                return
            timer.cancel()
        self._timers[key] = loop.call_later(seconds, self._due, key)

    def retry(self, key: K, retry_after: float | None = None) -> float:
        """Have a failed key looked at again: after 0.2 s, doubling up to 60 s, less up to a fifth by chance.

        It is never before `retry_after`, the seconds that a server asked for. Returns the seconds to wait.
        """
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        backoff = min(LAST_RETRY, FIRST_RETRY * 2.0 ** min(failures, 30)) * (1.0 - 0.2 * self._jitter())
        seconds = max(backoff, retry_after or 0.0)
        RETRIES.inc()
        self.add_after(key, seconds)
        return seconds

    def forget(self, key: K) -> None:
        """Take note that a key succeeded: its next failure is a first one."""
        self._failures.pop(key, None)

    async def get(self) -> K:
        """Wait for a key and take it; QueueClosedError after `shutdown`."""
        while not self._line and not self._closed:
            getter = asyncio.get_running_loop().create_future()
            self._getters.append(getter)
            try:
                await getter
            except asyncio.CancelledError:
                # Woken and cancelled at once: without another one in its place, a key would lie.
                if getter.done() and not getter.cancelled():
                    self._wake()
                raise
        if self._closed:
            raise QueueClosedError
        key = self._line.popleft()
        DEPTH.set(len(self._line))
        LATENCY.observe(asyncio.get_running_loop().time() - self._added_at.pop(key))
        self._working.add(key)
        if (timer := self._soon.pop(key, None)) is not None:
            timer.cancel()
        return key

    def done(self, key: K) -> None:
        """Give a key back; if it was added meanwhile, it goes to the end of the line."""
        self._working.discard(key)
        if key in self._added_at and not self._closed:
            self._append(key)

    def shutdown(self) -> None:
        """Drop what waits, cancel the timers, and let every `get` raise; what is worked on may finish."""
        self._closed = True
        for timer in (*self._timers.values(), *self._soon.values()):
            timer.cancel()
        self._timers.clear()
        self._soon.clear()
        self._line.clear()
        self._added_at.clear()
        DEPTH.set(0)
        while self._getters:
            self._wake()

    def _due(self, key: K) -> None:
        del self._timers[key]
        self.add(key)

    def _now(self, key: K) -> None:
        del self._soon[key]
        self.add(key)

    def _append(self, key: K) -> None:
        self._line.append(key)
        DEPTH.set(len(self._line))
        self._wake()

    def _wake(self) -> None:
        while self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(None)
                return
