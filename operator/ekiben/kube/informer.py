"""Keep a store equal to what the API server has of one kind: LIST once, then WATCH, for ever.

kubernetes.aio has no informer, and its Watch decodes through typed models; kopf misses objects that vanish
while a watch is down. This one keeps plain dicts, and after a gap lists again and tells what vanished.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
import time
from dataclasses import dataclass
from typing import Any

from prometheus_client import Counter

from ekiben.kube.client import ApiError, Client, Manifest
from ekiben.kube.kinds import Kind
from ekiben.kube.lines import garbled
from ekiben.kube.store import Entry, OnChange, Store, Trim, parse_version

__all__ = ["Informer", "Store", "Timing"]

logger = logging.getLogger(__name__)

EVENTS = Counter("ekiben_informer_events_total", "Watch events received.", ["kind", "type"])
RELISTS = Counter(
    "ekiben_informer_relists_total", "Lists made, with the reason for each.", ["kind", "reason"]
)

_EVENT_TYPES = ("ADDED", "MODIFIED", "DELETED", "BOOKMARK")
# A watch that keeps failing may be failing because of the version that it goes on from.
_RESUMES = 5
_SHORTEST_WATCH = 1.0
# A timer is set anew this many times within the inactivity limit, not for each of thousands of events.
_RENEWALS = 50


@dataclass(frozen=True, slots=True)
class Timing:
    """How long an informer waits, in seconds; what is random is between the two bounds.

    `inactivity` must be longer than the minute between two of the server's bookmarks.
    """

    watch: tuple[int, int] = (240, 300)
    inactivity: float = 70.0
    absent: tuple[float, float] = (48.0, 72.0)
    backoff_first: float = 1.0
    backoff_last: float = 30.0

    def backoff(self, failures: int) -> float:
        """Return how long to wait after this many failures in a row."""
        return min(self.backoff_last, self.backoff_first * 2.0 ** min(failures, 30)) * random.uniform(
            0.5, 1.0
        )


class Informer:
    """Watch one kind, in one namespace or all, filtered by labels on the server.

    `store` is what is known; `synced` is set once it is whole; `present` is False while the server does not
    have the kind, which counts as whole and empty; `problem` says why the last request failed, "" if it did
    not. `trim` and `on_change` are the store's. With `name` one object alone is watched, and with
    `metadata_only` no more than the metadata of each is sent and kept.
    """

    def __init__(
        self,
        client: Client,
        kind: Kind,
        namespace: str | None = None,
        label_selector: str | None = None,
        *,
        trim: Trim | None = None,
        on_change: OnChange | None = None,
        timing: Timing | None = None,
        name: str | None = None,
        metadata_only: bool = False,
    ) -> None:
        self.kind = kind
        self.store = Store(trim, on_change)
        self.synced = asyncio.Event()
        self.present = True
        self.problem = ""
        self._client = client
        self._namespace = namespace
        self._label_selector = label_selector
        self._narrowed: dict[str, Any] = {"field_selector": f"metadata.name={name}"} if name else {}
        self._narrowed |= {"metadata_only": True} if metadata_only else {}
        self._timing = timing or Timing()
        self._task: asyncio.Task[None] | None = None
        self._version: str | None = None
        self._highest = -1
        self._heard = -math.inf
        self._silent_since = math.nan
        self._failures = 0
        self._sends_bookmarks = False
        self._relist_reason = "first"
        self._events = {name: EVENTS.labels(kind.plural, name) for name in _EVENT_TYPES}

    def start(self) -> None:
        """Begin; needs a running event loop. `await informer.synced.wait()` for the first list."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"informer {self.kind.plural}")

    async def stop(self) -> None:
        """End the watch and wait until it has ended; the store stays as it is."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    def age(self, now_monotonic: float) -> float:
        """Return the seconds since the server last said anything: an event, a bookmark, a list, an absence.

        A healthy idle watch hears a bookmark once a minute, the first after two (120 s were measured on
        Kubernetes 1.36): only more is a sign of trouble. Infinite before the first list.
        """
        return now_monotonic - self._heard

    async def _run(self) -> None:
        while True:
            pause = 0.0
            try:
                if self._version is None:
                    await self._list()
                pause = await self._watch()
            except ApiError as error:
                pause = self._after(error)
            except TimeoutError:
                pause = self._silent()
            except Exception:
                logger.exception("the informer of %s failed", self.kind.plural)
                self._relist("bug")
                pause = self._failed("a bug, see the log")
            await asyncio.sleep(pause)

    def _after(self, error: ApiError) -> float:
        """Note what a failed request means; return the seconds to wait."""
        if error.is_not_found and self._version is None:
            return self._absent()
        if error.is_gone:
            self._relist("gone")
        elif error.reason == "Garbled":
            self._relist("garbled")
        elif not error.is_retryable:
            self._relist("rejected")
        return max(self._failed(str(error)), error.retry_after or 0.0)

    def _failed(self, problem: str) -> float:
        if problem != self.problem:
            logger.warning("watching %s: %s", self.kind.plural, problem)
        self.problem = problem
        pause = self._timing.backoff(self._failures)
        self._failures += 1
        if self._failures % _RESUMES == 0:
            self._relist("resumes failed")
        return pause

    def _silent(self) -> float:
        """Note that a watch fell silent; return the seconds to wait."""
        # Most likely the connection is dead, and another one will do. If that is silent too, our version may
        # be in the future of a restored backup, where a watch hears nothing at all: only a list can tell.
        if self._heard == self._silent_since:
            self._relist("silence")
        self._silent_since = self._heard
        return self._failed("the watch fell silent")

    def _relist(self, reason: str) -> None:
        self._version = None
        self._relist_reason = reason

    def _absent(self) -> float:
        """Note that the server does not have the kind; return when to look again."""
        if self.present:
            logger.info("the server has no %s: looking again about once a minute", self.kind.plural)
        self.present = False
        self.store.replace([], None)
        self._hear()
        self.synced.set()
        return random.uniform(*self._timing.absent)

    def _hear(self) -> None:
        self._heard = time.monotonic()
        self._failures = 0
        self.problem = ""

    async def _list(self) -> None:
        RELISTS.labels(self.kind.plural, self._relist_reason).inc()
        entries: list[Entry] = []
        version = ""
        pages = self._client.list_pages(self.kind, self._namespace, self._label_selector, **self._narrowed)
        async with contextlib.aclosing(pages):
            async for items, version in pages:  # noqa: B007
                entries += [entry for item in items if (entry := self.store.prepare(item))]
        number = parse_version(version)
        if number is None:
            raise garbled(f"a list of {self.kind.plural} without resourceVersion")
        if number < self._highest:
            logger.warning("%s: resource versions went back: starting anew", self.kind.plural)
            self.store.forget_versions()
            self._highest = -1
        self.store.replace(entries, number)
        self._advance(version)
        self.present = True
        self._hear()
        self.synced.set()

    async def _watch(self) -> float:
        """Follow one watch until the server ends it; return the seconds to wait before the next one.

        Raises TimeoutError when it falls silent.
        """
        seconds = random.randint(*self._timing.watch)
        events = self._client.watch(
            self.kind,
            self._namespace,
            self._version or "",
            self._label_selector,
            seconds,
            **self._narrowed,
        )
        started = renewed = time.monotonic()
        # Until a bookmark has been seen, silence may only mean that nothing happens. And the first one in a
        # watch is left out where it would only repeat the version that the watch began from.
        patience = 2 * self._timing.inactivity
        async with (
            asyncio.timeout(patience if self._sends_bookmarks else None) as limit,
            contextlib.aclosing(events),
        ):
            async for event, item in events:
                self._take(event, item)
                self._hear()
                if event == "BOOKMARK":
                    patience = self._timing.inactivity
                elif self._heard < renewed + patience / _RENEWALS:
                    continue
                if self._sends_bookmarks:
                    renewed = self._heard
                    limit.reschedule(asyncio.get_running_loop().time() + patience)
        if self._heard < started and time.monotonic() < started + _SHORTEST_WATCH:
            return self._failed("the server ends watches at once")
        self._hear()
        return 0.0

    def _take(self, event: str, item: Manifest) -> None:
        """Carry one event over into the store."""
        counter = self._events.get(event)
        if counter is None:
            raise garbled(f"a watch event of type {event[:40]!r}")
        counter.inc()
        if event == "BOOKMARK":
            self._sends_bookmarks = True
            about = item.get("metadata")
            self._advance(about.get("resourceVersion") if isinstance(about, dict) else None)
            return
        entry = self.store.prepare(item)
        if entry is None or entry.version is None:
            raise garbled("a watch event about an object without name or resourceVersion")
        self._advance(str(entry.version))
        if event == "DELETED":
            self.store.drop(entry)
        else:
            self.store.put(entry)

    def _advance(self, version: object) -> None:
        """Remember where to go on from; a version that goes back is another history, and asks for a list."""
        number = parse_version(version)
        if number is None or number < self._highest:
            raise garbled(f"resource version {str(version)[:40]!r} after {self._highest}")
        self._version = str(version)
        self._highest = number
