"""What a load step did, second by second: load, pods and latency; and what follows from it. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.figures import BenchError
from bench.losses import percentile
from load.client import Answer

# A p95 is that of the requests that were sent in so many seconds.
WINDOW = 5.0


@dataclass(frozen=True)
class Size:
    """How many pods a Deployment has from a moment on (epoch seconds), and how many of them are ready."""

    at: float
    pods: int
    ready: int


@dataclass(frozen=True)
class Step:
    """One load step as it was seen: it began at `at` and was over at `ended` (epoch seconds)."""

    at: float
    ended: float
    answers: Sequence[Answer]
    sizes: Sequence[Size]

    def recovered(self, limit: float) -> float:
        """Return the seconds from the step until p95 was back under a limit, in seconds, for good.

        Raises BenchError where it was over it to the end.
        """
        bad = 0.0
        for start in range(math.floor(self.ended - self.at - WINDOW) + 1):
            if (found := self.p95(self.at + start)) is not None and found > limit:
                bad = start + WINDOW
        if bad > self.ended - self.at - WINDOW:
            raise BenchError(f"p95 was not back under {limit:g} s in {self.ended - self.at:.0f} s")
        return bad

    def p95(self, start: float) -> float | None:
        """Return the p95 of the requests sent in the window from a moment on; a lost one took for ever."""
        took = [
            math.inf if answer.is_lost else answer.seconds
            for answer in self.answers
            if start <= answer.at < start + WINDOW
        ]
        return percentile(took, 95) if took else None

    def overshoot(self, enough: int) -> float:
        """Return the pod-seconds above what would have been enough, from the step to its end."""
        total, pods, since = 0.0, 0, self.at
        for size in (*self.sizes, Size(self.ended, 0, 0)):
            until = min(max(size.at, self.at), self.ended)
            total += max(pods - enough, 0) * (until - since)
            pods, since = size.pods, until
        return total

    def curve(self, before: float) -> dict[str, Any]:
        """Return what is drawn, a value for each second from `before` seconds before the step on."""
        seconds = range(-math.floor(before), math.ceil(self.ended - self.at))
        p95 = [self.p95(self.at + second - WINDOW) for second in seconds]
        sizes = [self._size(self.at + second) for second in seconds]
        return {
            "seconds": list(seconds),
            "load": [self._sent(self.at + second) for second in seconds],
            "pods": [size.pods for size in sizes],
            "ready": [size.ready for size in sizes],
            # JSON knows no infinity: a window with over 5 % lost has none.
            "p95": [None if value is None or math.isinf(value) else round(value, 3) for value in p95],
        }

    def _size(self, moment: float) -> Size:
        known = [size for size in self.sizes if size.at <= moment]
        return known[-1] if known else self.sizes[0]

    def _sent(self, moment: float) -> int:
        return sum(moment <= answer.at < moment + 1 for answer in self.answers)


def enough_pods(rate: float, seconds_each: float, target: float) -> int:
    """Return how many pods keep a concurrency under load without a queue, by Little's law."""
    return math.ceil(round(rate * seconds_each / target, 9))
