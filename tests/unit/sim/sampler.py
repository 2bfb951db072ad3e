"""The sampler's loop on virtual time, around the operator's own window arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime

from ekiben.core.plan import Sampling
from ekiben.core.snapshot import Observation, Scrape
from ekiben.samples.metrics import Reading
from ekiben.samples.window import Window
from unit.sim.clock import Clock
from unit.sim.nodes import Behaviour, Nodes, Served

READ_TAKES = 0.05


class Sampler:
    """Reads the pods that a plan names every `interval`, and keeps nothing that a crash may not lose."""

    def __init__(self, clock: Clock, nodes: Nodes, wall: Callable[[], datetime]) -> None:
        self.clock, self.nodes, self.wall = clock, nodes, wall
        self.on_observation: Callable[[], None] = lambda: None
        self.observation: Observation | None = None
        self._asked: Sampling | None = None
        self._window: Window | None = None
        self._last: dict[str, tuple[datetime, Reading]] = {}
        self._still_since: dict[str, datetime] = {}
        self._loop = 0

    def ensure(self, sampling: Sampling | None) -> None:
        """Start, adjust or stop reading, as the last plan wants it; a new window is looked at at once."""
        before, self._asked = self._asked, sampling
        if sampling is None:
            self.observation = self._window = None
            self._last, self._still_since = {}, {}
            self._loop += 1
        elif before is None or self._window is None or before.window != sampling.window:
            self._window = Window(sampling)
            self._restart()
        elif before.interval != sampling.interval or _pods(sampling) - _pods(before):
            self._restart()

    def _restart(self) -> None:
        self._loop += 1
        loop = self._loop
        self.clock.after(READ_TAKES, lambda: self._look(loop))

    def _look(self, loop: int) -> None:
        asked, window = self._asked, self._window
        if asked is None or window is None or loop != self._loop:
            return
        at = self.wall()
        uids = {uid for pods in asked.targets.values() for uid, _ in pods}
        self._last = {uid: reading for uid, reading in self._last.items() if uid in uids}
        scrapes = {revision: self._read(window, asked, revision, at) for revision in asked.targets}
        self.observation = Observation(
            window.name, at, window.counters(asked.bounds, asked.extras), window.resets(), scrapes
        )
        self.on_observation()
        self.clock.after(asked.interval, lambda: self._look(loop))

    def _read(self, window: Window, asked: Sampling, revision: str, at: datetime) -> Scrape:
        read, problems, moved = 0, list[str](), False
        for uid, _ in asked.targets[revision]:
            pod = self.nodes.pods.get(uid)
            behaviour = self.nodes.behaviour(pod.tag) if pod else Behaviour()
            if pod is None or pod.started is None or not behaviour.scrapable:
                problems.append("MetricsUnreachable")
            elif asked.service not in (None, behaviour.service):
                problems.append("ServiceNameMismatch")
            else:
                read += 1
                bounds = {*asked.bounds.values(), *asked.extras.buckets}
                reading = reading_of(pod.served, behaviour, bounds)
                moved |= self._add(window, revision, uid, reading, at)
        if moved or (read and revision not in self._still_since):
            self._still_since[revision] = at
        still = self._still_since.get(revision) if read and not problems and not moved else None
        reason = problems[0] if problems else ""
        return Scrape(read, len(problems), reason, f"{len(problems)} pods: {reason}" if reason else "", still)

    def _add(self, window: Window, revision: str, uid: str, reading: Reading, at: datetime) -> bool:
        """Count one pod's requests since its last reading; the first one is only a baseline."""
        before = self._last.get(uid)
        self._last[uid] = at, reading
        tally = window.tally(revision)
        tally.see(reading)
        if before is None:
            return False
        read_at, known = before
        delta = reading.since(known)
        if delta is None:
            window.reset(revision)
            return True
        tally.add(delta, (at - read_at).total_seconds())
        return any(delta.codes.values())


def _pods(sampling: Sampling) -> set[str]:
    return {uid for pods in sampling.targets.values() for uid, _ in pods}


def reading_of(served: Served, behaviour: Behaviour, bounds: object) -> Reading:
    """Return what a pod's metrics page says: whole requests by status, and those within each bound."""
    total = int(served.requests + 1e-6)
    errors, sheds = int(served.errors + 1e-6), int(served.sheds + 1e-6)
    # Rounded by themselves, both must never fall back.
    quick = min(int(served.requests - served.slow + 1e-6), total)
    assert hasattr(bounds, "__iter__")
    known = bounds if behaviour.buckets else ()
    within = {bound: quick if behaviour.slow_takes > bound else total for bound in known}
    return Reading(
        {200: max(total - errors - sheds, 0), 429: sheds, 500: errors},
        {**within, math.inf: total},
        busy_ms=int(1000 * total * behaviour.takes),
        batches=int(total / behaviour.batch),
        batched=total,
    )
