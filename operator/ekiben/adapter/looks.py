"""What pods felt, added up: all of them in one look, and one look with those before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf

from ekiben.samples.load import Felt
from ekiben.samples.quantiles import SHARES, surely_over

# The last looks are added up of so long at most.
SUMMED_SECONDS = 300.0
# Requests that take more than so much of a window are known too late from their time.
_LONG = 0.2


@dataclass(frozen=True, slots=True)
class Look:
    """What all pods together felt: `pods` answered, `in_flight` requests were under way in them.

    `requests` ended that took `busy` seconds together; `slower` counts those that took longer than each
    bound, in seconds.
    """

    pods: int
    in_flight: float
    requests: int
    busy: float
    slower: Mapping[float, int]

    def over(self, quantile: str) -> float:
        """Return a bound that the quantile is over for certain, in seconds."""
        return surely_over(self.slower, self.requests, SHARES[quantile])

    @property
    def per_pod(self) -> float:
        """Requests in flight in each pod."""
        return self.in_flight / self.pods


class Recent:
    """The last looks at as many pods, and no more of them than are needed to judge a quantile."""

    def __init__(self, fewest: int) -> None:
        self._fewest = fewest
        self._looks: list[tuple[Look, float]] = []

    def add(self, look: Look, at: float) -> Look:
        """Take a look; return it with the requests of those before it that it needs."""
        known = [
            (old, when) for old, when in self._looks if old.pods == look.pods and at - when <= SUMMED_SECONDS
        ]
        known.append((look, at))
        while sum(old.requests for old, _ in known[1:]) >= self._fewest:
            del known[0]
        self._looks = known
        looks = [old for old, _ in known if old.requests]
        bounds = set[float]().union(*(old.slower for old in looks))
        return replace(
            look,
            requests=sum(old.requests for old in looks),
            busy=sum(old.busy for old in looks),
            # What one of them did not count by is known of none.
            slower={
                bound: sum(old.slower[bound] for old in looks)
                for bound in bounds
                if all(bound in old.slower for old in looks)
            },
        )


def look_at(answers: Sequence[Felt]) -> Look:
    """Add up what pods felt; those of which there is one reading only have no requests to tell of yet."""
    served = [felt.served for felt in answers if felt.served is not None]
    bounds = {bound for reading in served for bound in reading.within}
    # What one pod does not count by is known of none.
    common = {bound for bound in bounds if all(bound in reading.within for reading in served)}
    within = {bound: sum(reading.within[bound] for reading in served) for bound in common}
    requests = within.pop(inf, 0)
    slower = {bound: max(requests - count, 0) for bound, count in within.items()}
    return Look(
        pods=max(len(answers), 1),
        in_flight=sum(_load(felt) for felt in answers),
        requests=requests,
        busy=sum(reading.busy_ms for reading in served) / 1000,
        slower=slower,
    )


def _load(felt: Felt) -> float:
    """Return a pod's mean of requests in flight: the gauge is chance, and needed for long requests alone."""
    if felt.served is None or not felt.window:
        return felt.concurrency
    busy, ended = felt.served.busy_ms / 1000, felt.served.timed
    return busy / felt.window if ended and busy / ended <= _LONG * felt.window else felt.concurrency
