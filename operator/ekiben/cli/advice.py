"""What a window of samples says about the target of `concurrency`: pure, and no word beyond what was seen.

Theory of operation. A sample is what one pod felt for some seconds: its requests in flight on average, and
how long those took that ended. Samples are sorted into levels of requests in flight, each a quarter above the
one before, and the requests of a level are judged together: within the limit for certain, over it for
certain, or neither (`core/evidence.py`, at 95 %). The target is a tenth below the highest level that is
within and has none that is over at or below it, because an autoscaler lets the load be a tenth above its
target. It is a target only where a higher level is over: without one nobody has seen how much a pod can
take, and with none below nobody has seen how little it must be.

The pods that would have been enough follow from the requests that came, in each look, and from how many a
second a pod served at the good level, less that tenth: what queues up while there are too few pods says more
about them than about the load. Clients that wait for an answer before they ask again come faster once
answers do, up to what was in flight; for them `queued` is the bound. A look in which one pod said nothing
knows a part of the requests only, and counts for none of these numbers.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ekiben.core.evidence import excludes

# Of fewer than 79 not one may be slow for p95 to be within its limit for certain.
FEWEST_REQUESTS = 100
TOLERANCE = 0.1
_STEP = math.log(1.25)
_QUIETEST = 0.1

Standing = Literal["within", "over", "unclear"]
Verdict = Literal["Found", "TooLittleLoad", "OverThroughout", "SlowAlone", "Unsteady", "TooFewRequests"]


@dataclass(frozen=True, slots=True)
class Limit:
    """How long requests may take: a share of them, such as 0.95, no longer than so many seconds."""

    share: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Sample:
    """What one pod felt in one look: `slower` are the requests over each bound, of all that were `timed`.

    `arrived` are those that came in it, whether they ended or not.
    """

    look: int
    pod: str
    seconds: float
    concurrency: float
    arrived: int
    timed: int
    slower: Mapping[float, int]


@dataclass(slots=True)
class Sum:
    """Samples added up: of one pod, or of one level of requests in flight."""

    seconds: float = 0.0
    pod_seconds: float = 0.0
    most: float = 0.0
    least: float = math.inf
    timed: int = 0
    slower: Counter[float] = field(default_factory=Counter)
    bounds: frozenset[float] | None = None

    def add(self, sample: Sample) -> None:
        """Add one."""
        self.seconds += sample.seconds
        self.pod_seconds += sample.seconds * sample.concurrency
        self.most, self.least = max(self.most, sample.concurrency), min(self.least, sample.concurrency)
        if sample.timed:
            self.timed += sample.timed
            self.slower.update(sample.slower)
            # A bound that one pod does not count by is known of none.
            known = frozenset(sample.slower)
            self.bounds = known if self.bounds is None else self.bounds & known

    @property
    def concurrency(self) -> float:
        """Requests in flight in one pod, on average."""
        return self.pod_seconds / self.seconds if self.seconds else 0.0

    @property
    def rate(self) -> float:
        """Requests a second in one pod."""
        return self.timed / self.seconds if self.seconds else 0.0

    @property
    def known(self) -> dict[float, int]:
        """The requests that took longer than each bound that every pod counts by."""
        return {bound: self.slower[bound] for bound in sorted(self.bounds or ())}

    def standing(self, limit: Limit) -> Standing:
        """Judge the requests; what lies between two bounds is judged by the one that is on the safe side."""
        known, allowed = self.known, round(1 - limit.share, 6)
        above = next((count for bound, count in known.items() if bound >= limit.seconds), None)
        below = next((count for bound, count in reversed(known.items()) if bound <= limit.seconds), None)
        if above is not None and excludes(allowed, above, self.timed):
            return "over"
        if below is not None and excludes(1 - allowed, self.timed - below, self.timed):
            return "within"
        return "unclear"


@dataclass(frozen=True, slots=True)
class Level:
    """Samples of about as many requests in flight in a pod, and how they stand."""

    sum: Sum
    standing: Standing


@dataclass(frozen=True, slots=True)
class Advice:
    """What follows: `target` is one only where the verdict is Found.

    So are the numbers of pods, which are None too where no look knows of every pod. `good` is the highest
    level within the limit, `bad` the lowest over it. `fewest` and `most` pods are for the requests that came,
    `queued` are those that the target makes of all that was in flight at the worst.
    """

    verdict: Verdict
    levels: tuple[Level, ...]
    pods: Mapping[str, Sum]
    good: Level | None = None
    bad: Level | None = None
    target: float | None = None
    fewest: int | None = None
    most: int | None = None
    queued: int | None = None


def advise(samples: Sequence[Sample], limit: Limit, whole: Collection[int] | None = None) -> Advice:
    """Judge a window; `whole` are the looks that know of every pod, None where all do."""
    pods: dict[str, Sum] = {}
    for sample in samples:
        pods.setdefault(sample.pod, Sum()).add(sample)
    levels = _levels(samples, limit)
    bad = next((level for level in levels if level.standing == "over"), None)
    below = levels[: levels.index(bad)] if bad else levels
    good = next((level for level in reversed(below) if level.standing == "within"), None)
    verdict = _verdict(levels, good, bad)
    if verdict != "Found" or good is None:
        return Advice(verdict, levels, pods, good, bad)
    target = _rounded(good.sum.concurrency * (1 - TOLERANCE))
    enough = good.sum.rate * (1 - TOLERANCE)
    known = [item for item in samples if whole is None or item.look in whole]
    if not known:
        return Advice(verdict, levels, pods, good, bad, target)
    needs = [_pods(rate, enough) for rate in _each_look(known, lambda item: item.arrived / item.seconds)]
    queued = max(_pods(load, target) for load in _each_look(known, lambda item: item.concurrency))
    return Advice(verdict, levels, pods, good, bad, target, min(needs), max(needs), queued)


def _verdict(levels: Sequence[Level], good: Level | None, bad: Level | None) -> Verdict:
    if good is not None:
        return "Found" if bad else "TooLittleLoad"
    if bad is None:
        return "TooFewRequests"
    if any(level.standing == "within" for level in levels):
        return "Unsteady"
    # Where no more than one request is in a pod none waits for another.
    return "SlowAlone" if bad.sum.concurrency <= 1 else "OverThroughout"


def _levels(samples: Iterable[Sample], limit: Limit) -> tuple[Level, ...]:
    """Sort samples into levels, from few requests in flight to many; those with few requests are joined."""
    sums: list[Sum] = []
    key = None
    for sample in sorted((item for item in samples if item.timed), key=lambda item: item.concurrency):
        own = math.floor(math.log(max(sample.concurrency, _QUIETEST)) / _STEP)
        if not sums or (own != key and sums[-1].timed >= FEWEST_REQUESTS):
            sums.append(Sum())
            key = own
        sums[-1].add(sample)
    return tuple(Level(item, item.standing(limit)) for item in sums if item.timed >= FEWEST_REQUESTS)


def _each_look(samples: Iterable[Sample], of: Callable[[Sample], float]) -> list[float]:
    """Add up something of all pods, look by look."""
    totals: dict[int, float] = {}
    for sample in samples:
        totals[sample.look] = totals.get(sample.look, 0.0) + of(sample)
    return [*totals.values()]


def _pods(load: float, each: float) -> int:
    return max(math.ceil(round(load / each, 6)), 1)


def _rounded(value: float) -> float:
    """Round down to two digits."""
    digits = 1 - math.floor(math.log10(value)) if value > 0 else 2
    scale = 10.0 ** max(min(digits, 3), 0)
    return max(math.floor(round(value * scale, 6)) / scale, 0.001)
