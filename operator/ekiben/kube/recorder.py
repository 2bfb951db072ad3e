"""Tell people what happened, as Kubernetes Events; best effort, and never a burden on the API server.

The same thing said again about the same object within ten minutes is one Event with a count. An object that
has used up its allowance gets no more requests until it has earned one. Nothing here ever fails a caller.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

from prometheus_client import Counter

from ekiben.core.plan import Event
from ekiben.kube.client import ApiError, Client, Manifest
from ekiben.kube.kinds import EVENT
from ekiben.kube.times import microtime_now

logger = logging.getLogger(__name__)

RECORDED = Counter(
    "ekiben_events_total", "Events by outcome: created, counted, limited (not sent), failed.", ["outcome"]
)

WINDOW = 600.0
BURST = 10.0
REFILL_SECONDS = 30.0
LONGEST_NOTE = 1024
_LONGEST_PREFIX = 200
_REMEMBERED = 2048
# An API server that answers nothing must not make us remember everything that we wanted to say.
_WAITING = 1000

V = TypeVar("V")


@dataclass(slots=True)
class _Series:
    """One thing said about one object; `name` is its Event's, "" while there is none."""

    started: float
    count: int = 0
    name: str = ""
    creating: bool = False


@dataclass(slots=True)
class _Allowance:
    """How many requests an object may still cause, as of a moment."""

    left: float
    at: float


class Recorder:
    """Write Events as `component` (a qualified name: ekiben.dev/operator) running in the pod `instance`."""

    def __init__(
        self, client: Client, component: str, instance: str, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._component = component
        self._instance = instance
        self._monotonic = monotonic
        self._series: OrderedDict[tuple[str, ...], _Series] = OrderedDict()
        self._allowances: OrderedDict[str, _Allowance] = OrderedDict()
        self._waiting: set[asyncio.Task[None]] = set()

    def tell(self, regarding: dict[str, str], event: Event) -> None:
        """Say it as `event` does, while the caller goes on: traffic does not wait for words about it."""
        if len(self._waiting) >= _WAITING:
            RECORDED.labels("limited").inc()
            return
        saying = self.event(regarding, event.type, event.reason, event.action, event.note)
        task = asyncio.create_task(saying, name=f"event {event.reason}")
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def close(self, grace: float) -> None:
        """Give what is being said up to `grace` seconds, and drop the rest."""
        if self._waiting:
            await asyncio.wait(self._waiting, timeout=grace)
        for task in list(self._waiting):
            task.cancel()

    async def event(
        self,
        regarding: dict[str, str],
        type: Literal["Normal", "Warning"],
        reason: str,
        action: str,
        note: str,
    ) -> None:
        """Say what happened to the object `regarding` (apiVersion, kind, namespace, name, uid).

        `reason` and `action` are CamelCase words; `note` is a sentence, cut at 1024 bytes.
        """
        try:
            said = {"type": type, "reason": reason, "action": action, "note": shorten(note, LONGEST_NOTE)}
            outcome = await self._record(regarding, said)
        except Exception as problem:
            # A full disk under etcd, or a bug of ours right here: neither may stop a rollout.
            trace = not isinstance(problem, ApiError)
            logger.warning("the event %s was not recorded: %s", reason, problem, exc_info=trace)
            outcome = "failed"
        RECORDED.labels(outcome).inc()

    async def _record(self, regarding: dict[str, str], said: dict[str, str]) -> str:
        now, uid = self._monotonic(), regarding["uid"]
        series = self._series_of((uid, *said.values()), now)
        series.count += 1
        if series.creating:
            return "counted"
        if not self._allows(uid, now):
            return "limited"
        if series.name and await self._count(regarding, series):
            return "counted"
        series.creating = True
        try:
            await self._create(regarding, said, series)
        finally:
            series.creating = False
        return "created"

    def _series_of(self, key: tuple[str, ...], now: float) -> _Series:
        series = self._series.get(key)
        if series is None or now >= series.started + WINDOW:
            series = _Series(now)
        return _remember(self._series, key, series)

    def _allows(self, uid: str, now: float) -> bool:
        allowance = _remember(self._allowances, uid, self._allowances.get(uid) or _Allowance(BURST, now))
        earned = (now - allowance.at) / REFILL_SECONDS
        allowance.left, allowance.at = min(BURST, allowance.left + earned), now
        if allowance.left < 1.0:
            return False
        allowance.left -= 1.0
        return True

    async def _create(self, regarding: dict[str, str], said: dict[str, str], series: _Series) -> None:
        name = f"{regarding['name'][:_LONGEST_PREFIX].rstrip('.-')}.{uuid.uuid4().hex[:16]}"
        namespace = regarding.get("namespace") or "default"
        body: Manifest = {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.kind,
            "metadata": {"name": name, "namespace": namespace},
            "eventTime": microtime_now(),
            "reportingController": self._component,
            "reportingInstance": self._instance,
            "regarding": regarding,
            **said,
        }
        if series.count > 1:
            body["series"] = _counted(series)
        await self._client.create(EVENT, namespace, body)
        series.name = name

    async def _count(self, regarding: dict[str, str], series: _Series) -> bool:
        """Raise an Event's count; False where the Event has expired."""
        try:
            await self._client.patch_merge(
                EVENT, regarding.get("namespace") or "default", series.name, {"series": _counted(series)}
            )
        except ApiError as error:
            if not error.is_not_found:
                raise
            series.name = ""
            return False
        return True


def shorten(text: str, limit: int) -> str:
    """Cut a text at this many bytes of UTF-8, with an ellipsis in place of what is missing."""
    if len(text.encode(errors="replace")) <= limit:
        return text.encode(errors="replace").decode()
    return text.encode(errors="replace")[: limit - 3].decode(errors="ignore") + "…"


def _counted(series: _Series) -> Manifest:
    return {"count": series.count, "lastObservedTime": microtime_now()}


def _remember(memory: OrderedDict[str, V] | OrderedDict[tuple[str, ...], V], key: object, value: V) -> V:
    """Keep a value as the latest one, and let go of the one not used for longest where there are too many."""
    held: OrderedDict[object, V] = memory  # type: ignore[assignment]
    held[key] = value
    held.move_to_end(key)
    if len(held) > _REMEMBERED:
        held.popitem(last=False)
    return value
