"""`advise`: watch what the pods of the serving revision feel for a while, then say what follows from it."""

from __future__ import annotations

import asyncio
import math
import sys
import time
from argparse import Namespace
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ekiben.api.fields import fraction, seconds
from ekiben.api.v1alpha1 import Spec
from ekiben.cli import yamls
from ekiben.cli.advice import Limit, Sample
from ekiben.cli.advice import advise as judge
from ekiben.cli.advice_said import Watched, advice_lines, as_data, spec_of
from ekiben.cli.cluster import Cluster
from ekiben.cli.exits import CommandError, Exit
from ekiben.cli.facts import Facts
from ekiben.cli.pods import pod_facts
from ekiben.cli.reading import say
from ekiben.cli.text import paint_for
from ekiben.core import names
from ekiben.kube.client import ApiError
from ekiben.kube.kinds import POD
from ekiben.samples.metrics import PAGE_LIMIT, MetricsError, Reading, Wanted, read_page
from ekiben.samples.quantiles import SHARES

SHORTEST_WINDOW = 10.0
LOOK_SECONDS = 5.0
# The API server passes every page on: it is asked for so many a second at most.
PAGES_A_SECOND = 10.0
_TELL_SECONDS = 15.0
_WANTED = Wanted(None, None, busy=True, in_flight=True)
# Requests that take a good part of a look are known only once they are over.
_LONG = LOOK_SECONDS / 5


async def advise(cluster: Cluster, options: Namespace) -> Exit:
    """Watch, judge, print; FAILED where there is nothing to paste."""
    if options.window < SHORTEST_WINDOW:
        raise CommandError(f"--window must be {SHORTEST_WINDOW:g}s or more: two looks at least", Exit.MISUSED)
    facts = await cluster.model(options.name)
    if facts.stable is None:
        raise CommandError(f"{facts.name} serves nothing yet: see kubectl ekiben why {facts.name}")
    limit, whence = limit_of(facts.spec, options.latency)
    watch = Watch(cluster, facts.name, facts.stable)
    ready, others = await watch.pods()
    if not ready:
        raise CommandError(_nobody(facts, others))
    samples = await watch.run(options.window)
    advice = judge(samples, limit, watch.whole())
    rollout = f"rollout {facts.rollout.id} is in flight: this is about stable" if facts.rollout else ""
    watched = Watched(
        name=facts.name,
        revision=facts.stable,
        limit=limit,
        whence=whence,
        seconds=options.window,
        autoscaling=facts.spec.autoscaling if facts.spec else None,
        notes=(*([rollout] if rollout else []), *watch.notes()),
        service=bool(facts.spec and facts.spec.bento.service),
    )
    if options.output:
        say([yamls.dump(as_data(watched, advice), options.output)])
    else:
        say(advice_lines(watched, advice, paint_for(sys.stdout)))
    return Exit.OK if spec_of(watched, advice) is not None else Exit.FAILED


def _nobody(facts: Facts, others: int) -> str:
    """Say why there is no pod to watch, and what to do."""
    if others:
        return (
            f"no pod of {facts.name} is ready ({others} of revision {facts.stable} not): see"
            f" kubectl ekiben why {facts.name}, and ask again once it serves"
        )
    if facts.status.sleep and facts.status.sleep.state != "Idling":
        return (
            f"{facts.name} sleeps and has no pods: wake it with a request, make load, and ask again meanwhile"
        )
    return (
        f"{facts.name} has no pods of revision {facts.stable}, which serves: give it some (replicas,"
        f" or minReplicas of autoscaling), or see kubectl ekiben why {facts.name}"
    )


def limit_of(spec: Spec | None, asked: str | None) -> tuple[Limit, str]:
    """Return how long requests may take, and who says so: the command, what scales, or what judges."""
    if asked:
        longest = seconds(asked)
        if not longest:
            raise CommandError("--latency must be above zero: write for example 500ms", Exit.MISUSED)
        return Limit(0.95, longest), "--latency"
    for metric in spec.autoscaling.metrics if spec and spec.autoscaling else ():
        if metric.latency and metric.latency.seconds:
            return Limit(SHARES[metric.latency.quantile], metric.latency.seconds), "autoscaling.metrics"
    for check in spec.analysis.checks if spec else ():
        if check.metric == "slow-requests" and check.over and check.max and fraction(check.max):
            return Limit(round(1 - fraction(check.max), 6), seconds(check.over)), "analysis.checks"
    raise CommandError(
        "the spec says nothing of latency (autoscaling.metrics, or a check slow-requests with over and max):"
        " write --latency 500ms, say",
        Exit.MISUSED,
    )


@dataclass(frozen=True, slots=True)
class _Seen:
    reading: Reading
    at: float


class Watch:
    """Reads the pods of one revision through the API server, look after look."""

    def __init__(
        self,
        cluster: Cluster,
        name: str,
        revision: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._cluster, self._name, self._revision = cluster, name, revision
        self._clock, self._sleep = clock, sleep
        self._before: dict[str, _Seen] = {}
        self._problems: dict[str, str] = {}
        self._there: set[str] = set()
        self._whole: set[int] = set()

    def notes(self) -> list[str]:
        """Say which pods could not be read at some time, and why."""
        return [f"pod {pod} could not be read all the time: {why}" for pod, why in self._problems.items()]

    def whole(self) -> set[int]:
        """Return the looks that know of all requests; none of them where a pod could not be read once.

        An unread pod may be the busiest, and its worst look the peak.
        """
        return set() if self._problems else self._whole

    async def run(self, window: float) -> list[Sample]:
        """Look for so many seconds; tell on standard error how far it is."""
        samples: list[Sample] = []
        start, told, look = self._clock(), -math.inf, 0
        while True:
            pods, _ = await self.pods()
            latest = await self._look_at_all(pods, look)
            samples += latest
            passed = self._clock() - start
            if passed - told >= _TELL_SECONDS or look == 0:
                told = passed
                self._tell(pods, latest, passed, window)
            if passed >= window:
                return samples
            look += 1
            pause = max(LOOK_SECONDS, len(pods) / PAGES_A_SECOND)
            await self._sleep(min(pause, max(window - passed, 0.5 * LOOK_SECONDS)))

    async def _look_at_all(self, pods: list[str], look: int) -> list[Sample]:
        found = await asyncio.gather(*(self._look(pod, look) for pod in pods))
        latest = [item for each in found for item in each]
        # A pod that came, went or began anew had requests that nobody counted.
        if self._there == set(pods) and len(latest) == len(pods):
            self._whole.add(look)
        self._there = set(pods)
        return latest

    def _tell(self, pods: list[str], latest: list[Sample], passed: float, window: float) -> None:
        feels = ""
        if latest:
            load = sum(item.concurrency for item in latest)
            rate = sum(item.timed / item.seconds for item in latest)
            feels = f", {load:.1f} requests in flight, {rate:.1f} a second"
        text = f"{self._name}: {passed:.0f} of {window:.0f} s: {len(pods)} pods{feels}"
        print(text, file=sys.stderr, flush=True)

    async def pods(self) -> tuple[list[str], int]:
        """Return the ready pods, and how many others there are."""
        label = ",".join(
            f"{key}={value}" for key, value in names.pod_selector(self._name, self._revision).items()
        )
        found, _ = await self._cluster.client.list(POD, self._cluster.namespace, label)
        ready = [pod.name for pod in map(pod_facts, found) if pod.ready]
        return ready, len(found) - len(ready)

    async def _look(self, pod: str, look: int) -> list[Sample]:
        """Return what a pod felt since the last look: one sample, or none."""
        try:
            page = await self._cluster.client.page(
                self._cluster.namespace, pod, names.PORT, "/metrics", PAGE_LIMIT
            )
            reading = read_page(page, _WANTED)
        except ApiError as problem:
            if problem.status == 403 and problem.by_server and problem.reason == "Forbidden":
                raise CommandError(
                    f"you may not read pods' metrics ({problem.message}): it takes the verb get of pods/proxy"
                ) from problem
            # What is no Status object comes from the pod, or from what stands before it.
            said = f"it answered 403: {problem.message}" if problem.status == 403 else problem.message
            self._problems[pod] = said
            self._before.pop(pod, None)
            return []
        except MetricsError as problem:
            self._problems[pod] = f"it {problem.message}"
            self._before.pop(pod, None)
            return []
        now, before = self._clock(), self._before.get(pod)
        self._before[pod] = _Seen(reading, now)
        served = reading.since(before.reading) if before else None
        if before is None or served is None or now <= before.at:
            # The first look, or a process that began anew.
            return []
        return [sample_of(look, pod, now - before.at, before.reading, served)]


def sample_of(look: int, pod: str, passed: float, before: Reading, served: Reading) -> Sample:
    """Build what a pod felt between two readings: `served` is their difference."""
    timed = served.timed
    busy = served.busy_ms / 1000
    load = busy / passed
    if not timed or busy / timed > _LONG:
        load = max(load, (before.in_flight + served.in_flight) / 2)
    ended = sum(served.codes.values())
    return Sample(
        look=look,
        pod=pod,
        seconds=passed,
        concurrency=load,
        arrived=max(ended + served.in_flight - before.in_flight, 0),
        timed=timed,
        slower={bound: max(timed - count, 0) for bound, count in served.within.items() if bound != math.inf},
    )
