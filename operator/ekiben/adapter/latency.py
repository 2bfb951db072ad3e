"""The latency guard: when requests take too long, how many pods an autoscaler should come to. Pure.

Theory of operation. A HorizontalPodAutoscaler makes ceil(pods * value / target) of a value, and takes the
most that any of its metrics asks for. So a value of 0 says nothing, while an answer that is missing would
keep every pod: what the guard has no opinion on is 0. A value in proportion to the latency would run away,
because the latency does not fall before new pods are ready, and never falls where each request is slow by
itself. So the guard tries. Over the limit it asks for half as many pods again, or twice as many where the
latency is over twice the limit, and for no more than there are requests in flight: where none waits for
another, none gets faster by a further pod. It stays with that number until those pods are there, and then
looks at what they brought: by Little's law requests that wait get faster as fewer of them share a pod. If
they did, and it is still over the limit, it asks for more; if they did not, it gives up and says nothing for
two hours, or until they are within the limit, or each pod has clearly more to do for a while.

Within the limit the value is below it, and so it never adds a pod. It is the bound of a bucket that the
latency is over for certain; and for half an hour after a trial it keeps as many pods as have each no more
requests in flight than were within the limit since. Otherwise the metric that had too few pods would have
them back as soon as its window is over, and so on for ever.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from math import ceil, inf

from ekiben.api.fields import seconds
from ekiben.api.selector import parse_selector
from ekiben.core import names
from ekiben.samples.load import Felt
from ekiben.samples.quantiles import surely_over

# Of fewer requests the slowest twentieth is none at all.
FEWEST_REQUESTS = 20
SMALLEST_STEP, LARGEST_STEP = 1.5, 2.0
# The first requests to a new pod are slow, and say nothing about what it is good for.
SETTLING_SECONDS = 30.0
# Where not all of them come (maxReplicas, no room), those that did are judged after so long without another.
WAITING_SECONDS = 300.0
# How long a trial is believed that helped, and one that did not: requests of another kind may come.
KEPT_SECONDS, GIVEN_UP_SECONDS = 1800.0, 7200.0
# What nobody has asked about for so long is forgotten.
FORGOTTEN_AFTER = 600.0
# What fell by less is the same as before; what rose by more is another load.
_SAME, _MORE = 0.9, 1.25
# How much of what the pods were relieved of their requests must have got faster by.
_HELPED = 0.5
# Requests that take more than so much of a window are known too late from their time.
_LONG = 0.2
# An autoscaler rounds up: a value for exactly 12 pods may come to 13.
_MARGIN = 0.25
SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True, slots=True)
class Limit:
    """How long requests may take: a quantile such as `p95`, and seconds."""

    quantile: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Look:
    """What all pods together felt: `over` is a bound that the latency is over for certain, in seconds.

    `pods` answered, `in_flight` requests were under way in them, `requests` ended that took `busy` seconds
    together.
    """

    pods: int
    in_flight: float
    requests: int = 0
    busy: float = 0.0
    over: float = 0.0

    @property
    def per_pod(self) -> float:
        """Requests in flight in each pod."""
        return self.in_flight / self.pods


@dataclass(slots=True)
class _Phase:
    """Looks at as many pods, added up: of one alone a mean would be chance."""

    looks: int = 0
    per_pod_sum: float = 0.0
    requests: int = 0
    busy: float = 0.0

    def add(self, look: Look) -> None:
        self.looks += 1
        self.per_pod_sum += look.per_pod
        self.requests += look.requests
        self.busy += look.busy

    @property
    def per_pod(self) -> float:
        return self.per_pod_sum / self.looks if self.looks else 0.0

    @property
    def mean(self) -> float:
        return self.busy / self.requests if self.requests else 0.0


class _Trial:
    """More pods that were asked for: how it was before, and how it is with those that came."""

    def __init__(self, look: Look, wanted: int, at: float) -> None:
        self.wanted = wanted
        self.before, self.after = _Phase(), _Phase()
        self.before.add(look)
        self._first = self._pods = look.pods
        self._since = at

    def is_over(self, look: Look, at: float) -> bool:
        """Take a look; tell whether all pods that will come have been there long enough to be judged."""
        if look.pods != self._pods:
            # A window that began before they were there says nothing about them.
            self._pods, self._since, self.after = look.pods, at, _Phase()
        else:
            (self.before if look.pods == self._first else self.after).add(look)
        patience = SETTLING_SECONDS if look.pods >= self.wanted else WAITING_SECONDS
        return at - self._since >= patience

    def helped(self) -> bool:
        """Tell whether requests got faster as fewer shared a pod; yes where no fewer did."""
        before, after = self.before, self.after
        relieved = 1 - after.per_pod / before.per_pod if before.per_pod and after.looks else 0.0
        if relieved < 1 - _SAME or not before.mean:
            return True
        return 1 - after.mean / before.mean >= _HELPED * relieved


class Guard:
    """What one autoscaler is told about one limit, from look to look."""

    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        self._trial: _Trial | None = None
        # Requests in flight in each pod: at which more pods did not help, and at which they were found to do.
        self._given_up: float | None = None
        self._good: float | None = None
        self._learnt_at = 0.0
        # Since when each pod has had clearly more to do than when more pods did not help.
        self._more_since: float | None = None

    def value(self, answers: Sequence[Felt], at: float) -> float:
        """Return the seconds to answer for each pod, after a look at a monotonic time."""
        look = look_at(answers, self._limit)
        if look.requests < FEWEST_REQUESTS:
            return 0.0
        if look.over < self._limit.seconds:
            keeps = self._for(look, self._kept(look, at))
            return max(min(look.over, self._limit.seconds * look.per_pod), keeps)
        if self._good is not None and look.per_pod <= self._good:
            self._good = None
        return self._for(look, self._wanted(look, at))

    def _for(self, look: Look, pods: int) -> float:
        return self._limit.seconds * (pods - _MARGIN) / look.pods if pods else 0.0

    def _kept(self, look: Look, at: float) -> int:
        """Return how many pods it takes to stay within the limit, as far as a trial has shown it."""
        if self._trial is not None:
            self._good, self._learnt_at = look.per_pod, at
        self._trial = self._given_up = None
        if self._good is None or at - self._learnt_at > KEPT_SECONDS:
            self._good = None
            return 0
        self._good = max(self._good, look.per_pod)
        return min(ceil(look.in_flight / self._good), look.pods) if self._good else 0

    def _wanted(self, look: Look, at: float) -> int:
        """Return how many pods there should be, 0 where more would not help."""
        if self._given_up is not None and not self._tries_again(look, self._given_up, at):
            return 0
        trial = self._trial
        if trial is not None:
            if not trial.is_over(look, at):
                return trial.wanted
            if not trial.helped():
                self._trial, self._given_up = None, trial.before.per_pod
                self._learnt_at, self._more_since = at, None
                return 0
        self._given_up = None
        wanted = self._step(look)
        self._trial = _Trial(look, wanted, at) if wanted > look.pods else None
        return wanted if self._trial else 0

    def _tries_again(self, look: Look, given_up: float, at: float) -> bool:
        """Tell whether it is another case than what was given up: more load for a while, or long ago."""
        if look.per_pod <= _MORE * given_up:
            self._more_since = None
        elif self._more_since is None:
            self._more_since = at
        more = self._more_since is not None and at - self._more_since >= SETTLING_SECONDS
        return more or at - self._learnt_at > GIVEN_UP_SECONDS

    def _step(self, look: Look) -> int:
        step = min(max(look.over / self._limit.seconds, SMALLEST_STEP), LARGEST_STEP)
        return min(ceil(look.pods * step), ceil(look.in_flight))


class Guards:
    """The guards of all autoscalers that ask, by what they ask about."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._guards: dict[Hashable, tuple[Guard, float]] = {}

    def value(self, about: Hashable, limit: Limit, answers: Sequence[Felt]) -> float:
        """Return the seconds to answer for each of the pods that a question is about."""
        now = self._clock()
        for key in [key for key, (_, at) in self._guards.items() if at < now - FORGOTTEN_AFTER]:
            del self._guards[key]
        guard, _ = self._guards.get((about, limit), (Guard(limit), now))
        self._guards[about, limit] = guard, now
        return guard.value(answers, now)


def limit_of(selector: str) -> Limit:
    """Read the limit from a metric's selector, `limit=500ms,quantile=p95`; raises ValueError."""
    labels = {item.key: next(iter(item.values)) for item in parse_selector(selector) if len(item.values) == 1}
    quantile, longest = labels.get(names.QUANTILE_LABEL) or "", labels.get(names.LIMIT_LABEL) or ""
    if quantile not in SHARES or not longest:
        raise ValueError(
            f"{names.LATENCY} needs {names.QUANTILE_LABEL}, one of {', '.join(SHARES)}, and"
            f" {names.LIMIT_LABEL}, such as 500ms"
        )
    limit = Limit(quantile, seconds(longest))
    if not limit.seconds:
        raise ValueError(f"{names.LIMIT_LABEL} must be above zero, such as 500ms")
    return limit


def look_at(answers: Sequence[Felt], limit: Limit) -> Look:
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
        over=surely_over(slower, requests, SHARES[limit.quantile]),
    )


def _load(felt: Felt) -> float:
    """Return a pod's mean of requests in flight: the gauge is chance, and needed for long requests alone."""
    if felt.served is None or not felt.window:
        return felt.concurrency
    busy, ended = felt.served.busy_ms / 1000, felt.served.within.get(inf, 0)
    return busy / felt.window if ended and busy / ended <= _LONG * felt.window else felt.concurrency
