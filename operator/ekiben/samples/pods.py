"""Count requests by reading each pod's /metrics: the source that needs nothing but BentoML.

Theory of operation. Each key has one task that looks at all pods that its Sampling names, then sleeps, for
longer than the interval where nobody has taken in the last look yet: while a fleet's rollouts keep the
workers busy, more looks would only be thrown away, and keep them busier.
A pod's first reading is its baseline; from then on the difference to its last reading is added to the
window. So a request is counted at most once, whatever is missed: a restart, an unreadable pod, a
counter that fell back, all cost requests and never add any. A new window keeps the pods' last readings,
because what came since belongs to it. A look that was under way when the window, the service or a bound
changed is thrown away whole: the next one, which starts at once, finds the same requests again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from time import perf_counter
from typing import NamedTuple

import aiohttp
from prometheus_client import Counter

from ekiben.core.names import PORT
from ekiben.core.plan import Sampling
from ekiben.core.snapshot import Observation, Scrape
from ekiben.samples.fetch import Fetcher, new_session
from ekiben.samples.metrics import MetricsError, Reading, Wanted, read_page
from ekiben.samples.window import Window

logger = logging.getLogger(__name__)

PAGES_READ = Counter("ekiben_pages_read_total", "Pages of pods' metrics asked for.")

Key = tuple[str, str]

LONGEST_READ = 3.0
SHORTEST_INTERVAL = 0.01
# A model rests this many times as long as its pages took to parse, or pods with large pages, hostile or not,
# would take the event loop from all other models.
REST = 9.0


def utc_now() -> datetime:
    """Return the time as an aware UTC datetime."""
    return datetime.now(UTC)


class PodSampler:
    """Keeps one reading task per key that is to be sampled; every method belongs to one event loop.

    `on_observation` is called in the loop after each look, when `observation` already shows it.
    """

    def __init__(
        self,
        on_observation: Callable[[Key], None],
        *,
        port: int = PORT,
        clock: Callable[[], datetime] = utc_now,
        session_factory: Callable[[], aiohttp.ClientSession] = new_session,
        max_concurrency: int = 64,
    ) -> None:
        self._on_observation = on_observation
        self._clock = clock
        self._fetcher = Fetcher(port, session_factory, max_concurrency)
        # One model with many dead pods must not take every slot from the others.
        self._share = max(1, max_concurrency // 4)
        self._samples: dict[Key, _Sampled] = {}
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()

    def ensure(self, key: Key, sampling: Sampling | None) -> None:
        """Read for a key as `sampling` says from now on; None stops it and forgets what it counted."""
        known = self._samples.get(key)
        if sampling is None:
            self._stop(key)
        elif known is None:
            self._samples[key] = sampled = _Sampled(sampling, self._fetcher, self._clock, self._share)
            self._tasks[key] = asyncio.create_task(self._run(key, sampled), name=f"sample {key[0]}/{key[1]}")
        else:
            known.update(sampling)

    def observation(self, key: Key) -> Observation | None:
        """Take in what the last look showed, None before the first; its window may be an earlier one."""
        known = self._samples.get(key)
        return known.take() if known else None

    async def close(self) -> None:
        """Stop all reading and let go of every connection."""
        for key in list(self._samples):
            self._stop(key)
        await asyncio.gather(*self._ending, return_exceptions=True)
        await self._fetcher.close()

    def _stop(self, key: Key) -> None:
        if self._samples.pop(key, None) is None:
            return
        task = self._tasks.pop(key)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        task.cancel()

    async def _run(self, key: Key, sampled: _Sampled) -> None:
        while True:
            # A bug must not end the reading for good: a rollout would wait for samples for ever.
            try:
                if await sampled.look():
                    self._on_observation(key)
            except Exception:
                logger.exception("a look at the pods of %s/%s failed", *key)
                sampled.take()
            await sampled.rest()


def _pods(sampling: Sampling) -> set[str]:
    return {uid for pods in sampling.targets.values() for uid, _ in pods}


def _wanted(sampling: Sampling) -> Wanted:
    """Return what is read of each page: whose requests, and what of them."""
    extras = sampling.extras
    bounds = frozenset(sampling.bounds.values()).union(extras.buckets)
    return Wanted(sampling.service, bounds, extras.busy, extras.batches, extras.exclude)


class _Answer(NamedTuple):
    """What one pod answered."""

    uid: str
    ip: str
    got: Reading | MetricsError


class _Sampled:
    """What is known of one key's pods and of its window."""

    def __init__(
        self, sampling: Sampling, fetcher: Fetcher, clock: Callable[[], datetime], share: int
    ) -> None:
        self._observation: Observation | None = None
        self._sampling = sampling
        self._fetcher = fetcher
        self._clock = clock
        self._slots = asyncio.Semaphore(share)
        self._window = Window(sampling)
        self._last: dict[str, tuple[datetime, Reading]] = {}
        self._still_since: dict[str, datetime] = {}
        self._wake = asyncio.Event()
        self._taken = asyncio.Event()
        self._next = 0.0
        self._spent = 0.0

    def update(self, sampling: Sampling) -> None:
        """Take over what is wanted now; a new window or interval wakes the next look."""
        before, self._sampling = self._sampling, sampling
        if sampling.window != before.window:
            self._window = Window(sampling)
            self._look_now()
        if sampling.interval != before.interval or _pods(sampling) - _pods(before):
            # A rollout may be waiting for the first reading of a pod that is just ready.
            self._look_now()
        if _wanted(sampling) != _wanted(before):
            # The counters of another service are no baseline, nor are those without a bucket.
            self._last.clear()
            self._look_now()

    def _look_now(self) -> None:
        self._wake.set()
        # Whoever changes what is read has done with the last look.
        self._taken.set()

    def take(self) -> Observation | None:
        """Return what the last look showed: the next one may come."""
        self._taken.set()
        return self._observation

    async def rest(self) -> None:
        """Sleep until the next look is due, and the last one was taken."""
        left = self._next - asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(max(left, 0)):
                await self._wake.wait()
        except TimeoutError:
            await self._taken.wait()

    async def look(self) -> bool:
        """Read all pods once and renew the observation; False when the look came to nothing."""
        self._wake.clear()
        sampling, window = self._sampling, self._window
        interval = max(sampling.interval, SHORTEST_INTERVAL)
        self._next = asyncio.get_running_loop().time() + interval
        timeout, self._spent = min(interval, LONGEST_READ), 0.0
        answers = await asyncio.gather(
            *(self._read_all(pods, sampling, timeout) for pods in sampling.targets.values())
        )
        self._next = max(self._next, asyncio.get_running_loop().time() + REST * self._spent)
        if window is not self._window or _wanted(sampling) != _wanted(self._sampling):
            return False
        self._forget_all_but(sampling)
        at, still = self._clock(), _pods(self._sampling)
        # A pod that is not to be measured any more may have been called by ourselves since.
        answers = [[answer for answer in given if answer.uid in still] for given in answers]
        scrapes = {
            revision: self._count(revision, given, at)
            for revision, given in zip(sampling.targets, answers, strict=True)
        }
        counters, resets = window.counters(sampling.bounds, sampling.extras), window.resets()
        self._observation = Observation(window.name, at, counters, resets, scrapes)
        self._taken.clear()
        return True

    async def _read_all(
        self, pods: tuple[tuple[str, str], ...], sampling: Sampling, timeout: float
    ) -> list[_Answer]:
        wanted = _wanted(sampling)

        async def read(uid: str, ip: str) -> _Answer:
            async with self._slots:
                PAGES_READ.inc()
                try:
                    page = await self._fetcher.read(ip, timeout)
                    return _Answer(uid, ip, self._parsed(page, wanted))
                except MetricsError as problem:
                    return _Answer(uid, ip, problem)

        return await asyncio.gather(*(read(uid, ip) for uid, ip in pods))

    def _parsed(self, page: bytes, wanted: Wanted) -> Reading:
        began = perf_counter()
        try:
            return read_page(page, wanted)
        finally:
            self._spent += perf_counter() - began

    def _forget_all_but(self, sampling: Sampling) -> None:
        uids = {uid for pods in sampling.targets.values() for uid, _ in pods}
        self._last = {uid: reading for uid, reading in self._last.items() if uid in uids}
        self._still_since = {
            revision: since for revision, since in self._still_since.items() if revision in sampling.targets
        }

    def _count(self, revision: str, answers: list[_Answer], at: datetime) -> Scrape:
        """Add what each pod of a revision served since it was last read."""
        problems = [answer for answer in answers if isinstance(answer.got, MetricsError)]
        moved = [
            self._add(revision, answer.uid, answer.got, at)
            for answer in answers
            if isinstance(answer.got, Reading)
        ]
        if any(moved) or (moved and revision not in self._still_since):
            self._still_since[revision] = at
            still_since = None
        else:
            # A pod that can't be read may be serving.
            still_since = self._still_since.get(revision) if moved and not problems else None
        return Scrape(len(moved), len(problems), *_explain(problems), still_since)

    def _add(self, revision: str, uid: str, reading: Reading, at: datetime) -> bool:
        """Count one pod's requests since its last reading; tell whether its counters moved."""
        tally, before = self._window.tally(revision), self._last.get(uid)
        self._last[uid] = at, reading
        tally.see(reading)
        if before is None:
            return False
        read_at, known = before
        delta = reading.since(known)
        if delta is None:
            self._window.reset(revision)
            return True
        tally.add(delta, (at - read_at).total_seconds())
        return any(delta.codes.values())


def _explain(problems: list[_Answer]) -> tuple[str, str]:
    """Return the reason and the message for the pods that could not be read."""
    if not problems:
        return "", ""
    first = problems[0]
    assert isinstance(first.got, MetricsError)
    others = f", and {len(problems) - 1} more can't be read" if len(problems) > 1 else ""
    return first.got.reason, f"the pod at {first.ip} {first.got.message}{others}"
