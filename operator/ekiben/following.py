"""The ConfigMaps that models track: of each the metadata is watched, and the content read when it changed.

Theory of operation. Each tracked name has one watch of its own, by a selector for its name, so nothing is
sent and nothing is kept of any other ConfigMap. The server sends metadata alone; when the version in it is
another, the object is read once and a digest of its content kept, never the content. The API server finds
the one watcher of a name by an index, as it does for every ConfigMap that a kubelet mounts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping

from ekiben.core.snapshot import Content, Manifest
from ekiben.core.tracking import content_digest
from ekiben.kube.client import ApiError, Client
from ekiben.kube.informer import Informer
from ekiben.kube.kinds import CONFIGMAP
from ekiben.kube.store import Key, parse_version
from ekiben.trims import trim_config_map

logger = logging.getLogger(__name__)

# A ConfigMap that is written all the time is read this often at most, in seconds.
SHORTEST = 1.0
# A read that failed is made again after this, in seconds.
AGAIN_SECONDS = 5.0


class Following:
    """Follows what models track; `wake` is called with the key of a model for which something has changed."""

    def __init__(self, client: Client, wake: Callable[[Key], None]) -> None:
        self._client = client
        self._wake = wake
        self._wanted: dict[Key, frozenset[str]] = {}
        self._followed: dict[Key, Followed] = {}
        self._ending: set[asyncio.Task[None]] = set()

    def ensure(self, key: Key, names: Iterable[str]) -> None:
        """Follow these ConfigMaps of a model's namespace for it from now on, and no others."""
        before, wanted = self._wanted.pop(key, frozenset()), frozenset(names)
        if wanted:
            self._wanted[key] = wanted
        for name in wanted - before:
            place = (key[0], name)
            if place not in self._followed:
                self._followed[place] = Followed(self._client, place, self._wake)
            self._followed[place].users.add(key)
        for name in before - wanted:
            followed = self._followed[key[0], name]
            followed.users.discard(key)
            if not followed.users:
                del self._followed[key[0], name]
                self._end(followed)

    def contents(self, key: Key) -> dict[str, Content]:
        """Return what is known of the ConfigMaps that a model tracks."""
        known = {name: self._followed[key[0], name].content for name in self._wanted.get(key, ())}
        return {name: content for name, content in known.items() if content is not None}

    def is_read(self, key: Key) -> bool:
        """Tell whether everything that a model tracks was read, or could not be."""
        return len(self.contents(key)) == len(self._wanted.get(key, ()))

    def ages(self, now: float) -> list[float]:
        """Return the seconds since each watch that was whole once was heard last."""
        informers = [followed.informer for followed in self._followed.values()]
        return [informer.age(now) for informer in informers if informer.synced.is_set()]

    async def stop(self) -> None:
        """End every watch."""
        for key in list(self._wanted):
            self.ensure(key, ())
        await asyncio.gather(*self._ending, return_exceptions=True)

    def _end(self, followed: Followed) -> None:
        task = asyncio.create_task(followed.stop())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


class Followed:
    """One ConfigMap; `content` is None until it was read once, or could not be."""

    def __init__(self, client: Client, place: Key, wake: Callable[[Key], None]) -> None:
        self.users: set[Key] = set()
        self.content: Content | None = None
        self._client = client
        self._place = place
        self._wake = wake
        self._changed = asyncio.Event()
        self._read: tuple[str, int] = ("", 0)
        self.informer = Informer(
            client,
            CONFIGMAP,
            place[0],
            trim=trim_config_map,
            on_change=self._note,
            name=place[1],
            metadata_only=True,
        )
        self._task = asyncio.create_task(self._follow(), name=f"ConfigMap {place[0]}/{place[1]}")

    async def stop(self) -> None:
        """End the watch."""
        self._task.cancel()
        await asyncio.wait({self._task})
        await self.informer.stop()

    def _note(self, old: Manifest | None, new: Manifest | None) -> None:
        self._changed.set()

    async def _follow(self) -> None:
        self.informer.start()
        while not self.informer.synced.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.informer.synced.wait(), SHORTEST)
            if self.informer.problem:
                self._tell(Content(problem=self.informer.problem))
        while True:
            self._changed.clear()
            pause = await self._look()
            if pause:
                await asyncio.sleep(pause)
            else:
                await self._changed.wait()

    async def _look(self) -> float:
        """Read what the watch says is another; return the seconds after which to look again, 0 for never."""
        seen = self.informer.store.get(*self._place)
        if seen is None:
            self._tell(Content())
            return 0.0
        version = parse_version(seen["metadata"].get("resourceVersion")) or 0
        if seen["metadata"].get("uid") == self._read[0] and version <= self._read[1]:
            return 0.0
        try:
            found = await self._client.get(CONFIGMAP, *self._place)
        except ApiError as error:
            # What was read before goes on to count while the API server is away.
            if self.content is None or not error.is_retryable:
                self._tell(Content(problem=str(error)))
            return max(error.retry_after or 0.0, AGAIN_SECONDS)
        except Exception:
            logger.exception("a bug while reading ConfigMap %s/%s", *self._place)
            self._tell(Content(problem="a bug, see the operator's log"))
            return AGAIN_SECONDS
        if found is None:
            # The watch is late; it will tell whether another one has come.
            self._tell(Content())
            return SHORTEST
        about = found["metadata"]
        self._read = (str(about.get("uid")), parse_version(about.get("resourceVersion")) or 0)
        self._tell(Content(content_digest(found)))
        return SHORTEST

    def _tell(self, content: Content) -> None:
        if content != self.content:
            self.content = content
            for key in self.users:
                self._wake(key)


def tracked_names(model: Manifest) -> frozenset[str]:
    """Name the ConfigMaps that a raw model tracks, whatever else is wrong with it."""
    bento = (model.get("spec") or {}).get("bento")
    tracked = bento.get("trackedConfig") if isinstance(bento, Mapping) else None
    items = [item for item in tracked or () if isinstance(item, Mapping)]
    return frozenset(item["configMap"] for item in items if isinstance(item.get("configMap"), str))
