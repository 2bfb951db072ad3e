"""The latency guard: when requests take too long, how many pods an autoscaler should come to. Pure.

Theory of operation. A HorizontalPodAutoscaler makes ceil(pods * value / target) of a value, and takes the
most that any of its metrics asks for. So a value of 0 says nothing, while an answer that is missing would
keep every pod, and so would any other small value keep a few: what the guard has no opinion on is 0. A value
in proportion to the latency would run away, because the latency does not fall before new pods are ready, and
never falls where each request is slow by itself. So the guard tries. Over the limit it asks for half as many
pods again, or twice as many where the latency is over twice the limit, and for no more than there are
requests in flight: where none waits for another, none gets faster by a further pod. It stays with that
number until those pods are there, and then looks at what they brought: by Little's law requests that wait
get faster as fewer of them share a pod. If they did, and it is still over the limit, it asks for more; if
they did not, it gives up and says nothing for two hours, or until it was within the limit for long without
a break, or each pod has clearly more to do for a while.

Within the limit it never adds a pod, but one look there proves nothing: near the limit chance brings it
about. A trial goes on, keeps those of its pods that have come, and is judged by its requests. For half an
hour after one that helped, the guard keeps as many pods as have each no more requests in flight than were
within the limit since. Otherwise the metric that had too few pods would have them back as soon as its window
is over, and so on for ever. Apart from that no pod stays because of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from math import ceil

from ekiben.adapter.limits import Limit
from ekiben.adapter.looks import Look, Recent, look_at
from ekiben.samples.load import Felt

# Of fewer requests a single slow one would be a verdict, or nearly. Where fewer end between two questions,
# the last looks are added up.
FEWEST_REQUESTS = {"p50": 20, "p95": 40, "p99": 200}
SMALLEST_STEP, LARGEST_STEP = 1.5, 2.0
# The first requests to a new pod are slow, and say nothing about what it is good for.
SETTLING_SECONDS = 30.0
# Where not all of them come (maxReplicas, no room), those that did are judged after so long without another.
WAITING_SECONDS = 300.0
# How long a trial is believed that helped, and one that did not: requests of another kind may come.
KEPT_SECONDS, GIVEN_UP_SECONDS = 1800.0, 7200.0
# Within the limit in every look for so long is no chance.
LASTING_SECONDS = 300.0
# What nobody has asked about for so long is forgotten.
FORGOTTEN_AFTER = 600.0
# What fell by less is the same as before; what rose by more is another load.
_SAME, _MORE = 0.9, 1.25
# How much of what the pods were relieved of their requests must have got faster by.
_HELPED = 0.5
# An autoscaler rounds up: a value for exactly 12 pods may come to 13.
_MARGIN = 0.25


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

    def __init__(self, look: Look, wanted: int, fewest: int, at: float) -> None:
        self.wanted = wanted
        self.before, self.after = _Phase(), _Phase()
        self.before.add(look)
        self._fewest = fewest
        self._first = self._pods = look.pods
        self._since = at

    def is_over(self, look: Look, at: float) -> bool:
        """Take a look; tell whether all pods that will come have been there long enough to be judged."""
        if look.pods != self._pods:
            # A window that began before they were there says nothing about them.
            self._pods, self._since, self.after = look.pods, at, _Phase()
        else:
            (self.before if look.pods == self._first else self.after).add(look)
        all_there = look.pods >= self.wanted and self.after.requests >= self._fewest
        return at - self._since >= (SETTLING_SECONDS if all_there else WAITING_SECONDS)

    def came(self, look: Look) -> int:
        """Return how many pods a look found of those asked for, 0 where no further one came."""
        return min(self.wanted, look.pods) if look.pods > self._first else 0

    def helped(self) -> bool | None:
        """Tell whether requests got faster as fewer shared a pod; None where that can't be told.

        That is where no further pod came, or no fewer requests share one, or too few ended to judge by.
        """
        before, after = self.before, self.after
        if self._pods <= self._first or after.requests < self._fewest or not before.mean:
            return None
        relieved = 1 - after.per_pod / before.per_pod if before.per_pod else 0.0
        if relieved < 1 - _SAME:
            return None
        return 1 - after.mean / before.mean >= _HELPED * relieved


class Guard:
    """What one autoscaler is told about one limit, from look to look."""

    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        self._fewest = FEWEST_REQUESTS[limit.quantile]
        self._recent = Recent(self._fewest)
        self._trial: _Trial | None = None
        # Requests in flight in each pod: at which more pods did not help, and at which they were found to do.
        self._given_up: float | None = None
        self._good: float | None = None
        self._learnt_at = 0.0
        # Since when each pod has had clearly more to do than when more pods did not help, and since when it
        # has been within the limit.
        self._more_since: float | None = None
        self._within_since: float | None = None

    def value(self, answers: Sequence[Felt], at: float) -> float:
        """Return the seconds to answer for each pod, after a look at a monotonic time."""
        look = look_at(answers)
        recent = self._recent.add(look, at)
        over = self._judge(recent, at)
        if self._trial is not None and self._trial.is_over(look, at):
            self._learn(self._trial, look, at)
        if self._given_up is not None and self._is_another_case(look, self._given_up, at):
            self._given_up = None
        if self._given_up is not None:
            return 0.0
        return self._for(look, self._wanted(recent, at) if over else self._kept(look, at))

    def _for(self, look: Look, pods: int) -> float:
        return self._limit.seconds * (pods - _MARGIN) / look.pods if pods else 0.0

    def _judge(self, recent: Look, at: float) -> bool:
        """Tell whether it is over the limit for certain; of too few requests nothing is said."""
        enough = recent.requests >= self._fewest
        over = enough and recent.over(self._limit.quantile) >= self._limit.seconds
        if over or not enough:
            self._within_since = None
        elif self._within_since is None:
            self._within_since = at
        return over

    def _learn(self, trial: _Trial, look: Look, at: float) -> None:
        """End a trial; where nothing can be told of it there may be another."""
        self._trial = None
        helped = trial.helped()
        if helped is None:
            return
        self._learnt_at = at
        if helped:
            self._good = look.per_pod
        else:
            self._given_up, self._good = trial.before.per_pod, None
            self._more_since = self._within_since = None

    def _kept(self, look: Look, at: float) -> int:
        """Return how many pods are to stay: those of a trial, or those that one has shown it takes."""
        if self._good is not None and at - self._learnt_at > KEPT_SECONDS:
            self._good = None
        if self._trial is not None and (came := self._trial.came(look)):
            return came
        if not self._good:
            return 0
        if self._within_since is not None:
            self._good = max(self._good, look.per_pod)
        return min(ceil(look.in_flight / self._good), look.pods)

    def _wanted(self, recent: Look, at: float) -> int:
        """Return how many pods there should be over the limit, 0 where more would not help."""
        if self._good is not None and recent.per_pod <= self._good:
            # It was too much all the same.
            self._good = recent.per_pod
        if self._trial is None:
            wanted = self._step(recent)
            if wanted > recent.pods:
                self._trial = _Trial(recent, wanted, self._fewest, at)
        return self._trial.wanted if self._trial else 0

    def _is_another_case(self, look: Look, given_up: float, at: float) -> bool:
        """Tell whether what was given up is over: more load for a while, or long ago, or lastingly within."""
        if look.per_pod <= _MORE * given_up:
            self._more_since = None
        elif self._more_since is None:
            self._more_since = at
        more = self._more_since is not None and at - self._more_since >= SETTLING_SECONDS
        within = self._within_since is not None and at - self._within_since >= LASTING_SECONDS
        return more or within or at - self._learnt_at > GIVEN_UP_SECONDS

    def _step(self, look: Look) -> int:
        over = look.over(self._limit.quantile)
        step = min(max(over / self._limit.seconds, SMALLEST_STEP), LARGEST_STEP)
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
