"""Virtual time: a queue of things to happen, and the chance that decides their order."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 1, tzinfo=UTC)
Action = Callable[[], None]


class Clock:
    """A discrete-event clock in seconds since the start.

    With seed 0 every delay is kept to the letter. Any other seed makes each one between half and twice
    as long, so that controllers run in a random order.
    """

    def __init__(self, seed: int = 0) -> None:
        self.now = 0.0
        self.seed = seed
        self._random = random.Random(seed)
        self._queue: list[tuple[float, int, Action]] = []
        self._count = 0
        self._lines: dict[str, float] = {}
        self.before_each: Action = lambda: None

    @property
    def wall(self) -> datetime:
        """The time of day."""
        return self.at(self.now)

    def at(self, seconds: float) -> datetime:
        """Return a virtual time as a time of day."""
        return START + timedelta(seconds=seconds)

    def after(self, delay: float, action: Action) -> None:
        """Do something `delay` seconds from now, give or take the seed's jitter."""
        self.exactly(self._stretched(delay), action)

    def exactly(self, delay: float, action: Action) -> None:
        """Do something `delay` seconds from now, without jitter."""
        self._count += 1
        heapq.heappush(self._queue, (self.now + delay, self._count, action))

    def in_order(self, line: str, delay: float, action: Action) -> None:
        """Do something in about `delay` seconds, never before what was put into the same line earlier."""
        self._lines[line] = max(self._lines.get(line, 0.0), self.now + self._stretched(delay))
        self.exactly(self._lines[line] - self.now, action)

    def _stretched(self, delay: float) -> float:
        return delay * 2 ** self._random.uniform(-1, 1) if self.seed else delay

    def run_until(self, end: float, done: Callable[[], bool] = lambda: False) -> bool:
        """Let things happen until `end` seconds or until `done`; tell whether it was done."""
        while not done():
            if not self._queue or self._queue[0][0] > end:
                self.now = max(self.now, end)
                self.before_each()
                return done()
            self.now, _, action = heapq.heappop(self._queue)
            self.before_each()
            action()
        return True


def time_text(seconds: float) -> str:
    """Write a virtual time as Kubernetes does: in UTC, cut to whole seconds."""
    return (START + timedelta(seconds=int(seconds))).strftime("%Y-%m-%dT%H:%M:%SZ")
