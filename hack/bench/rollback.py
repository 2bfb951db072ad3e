"""From the answer that proves the canary bad to weight 0 on the route, and to its last request."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterable

from bench import hand
from bench.canary import NEXT, RATE, WEIGHT, remove, twin
from bench.figures import GATEWAY, ROUTE, BenchError, Result
from bench.setting import HAND, OURS, PATIENCE, Bench
from bench.watching import is_weight, watching
from ekiben.core.evidence import excludes
from ekiben.kube.client import Manifest
from ekiben.kube.kinds import DEPLOYMENT, HTTPROUTE
from load.client import Answer
from rig.models import is_settled
from rig.traffic import traffic

BAD = "3.0.0"
LIMIT = 0.01
TRIALS = 5
SETTLING = 2.0
FASTER = 2 * RATE


async def measure(bench: Bench) -> list[Result]:
    """Roll a bad release out a few times, and see how long it is left in traffic."""
    canary = await twin(bench)
    own = [await _gateway_delay(bench, canary) for _ in range(bench.times(3))]
    await bench.empty(HAND)
    delay = max(own)
    trials = [await _trial(bench, number) for number in range(bench.times(TRIALS))]
    await bench.empty(OURS)
    routes, gateways = [route for route, _ in trials], [gateway for _, gateway in trials]
    told = f"the gateway's own delay, by hand: {_list(own)} s"
    return [
        Result(
            ROUTE, max(routes), details=(f"all: {_list(routes)} s, median {statistics.median(routes):.2f} s",)
        ),
        Result(
            GATEWAY, max(gateways), details=(f"all: {_list(gateways)} s", told), limit=GATEWAY.limit + delay
        ),
    ]


async def _trial(bench: Bench, number: int) -> tuple[float, float]:
    """Return the seconds from the proof to weight 0 on the route, and to the last request the canary got."""
    async with (
        traffic(bench.target(OURS), FASTER, bench.site.prefix) as seen,
        watching(bench.client, OURS, [HTTPROUTE]) as changes,
    ):
        await seen.until(lambda now: len(now.answers) >= FASTER, 30)
        await bench.apply(OURS, bench.model(BAD, f"rollback-{number}"))
        given = await changes.first(lambda change: is_weight(change, lambda weight: weight > 0), PATIENCE)
        zero = await changes.first(lambda change: is_weight(change, lambda weight: weight == 0), 60, given.at)
        await asyncio.sleep(SETTLING)
    proof = proven_at(answer for answer in seen.answers if answer.version == BAD)
    last = max(answer.at for answer in seen.answers if answer.version == BAD)
    bench.say(
        f"rollback {number + 1}: route after {zero.at - proof:.2f} s, gateway after {last - proof:.2f} s"
    )
    await bench.follow(lambda m: is_settled(m, "RolledBack"))
    await bench.only_stable()
    return zero.at - proof, last - proof


def proven_at(answers: Iterable[Answer]) -> float:
    """Return when the caller had enough of the canary's answers to exclude that it keeps its limit."""
    errors = 0
    for count, answer in enumerate(sorted(answers, key=lambda item: item.at + item.seconds), start=1):
        errors += answer.is_lost
        if excludes(LIMIT, errors, count):
            return answer.at + answer.seconds
    raise BenchError("the canary left before its answers had proven it bad: no rollback on evidence")


async def _gateway_delay(bench: Bench, canary: Manifest) -> float:
    """Return how long the gateway goes on sending to a backend whose weight was set to 0 by hand."""
    async with (
        traffic(bench.target(HAND), FASTER, bench.site.prefix) as seen,
        watching(bench.client, HAND, [DEPLOYMENT]) as changes,
    ):
        await bench.apply(HAND, canary)
        await hand.ready(changes, canary["metadata"]["name"])
        since = await hand.set_weight(bench, WEIGHT)
        await seen.until(lambda now: now.versions(since)[NEXT] >= WEIGHT, 30)
        zero = await hand.set_weight(bench, 0)
        await asyncio.sleep(SETTLING)
    await remove(bench, canary)
    last = max(answer.at for answer in seen.answers if answer.version == NEXT)
    if last < time.time() - 60:
        raise BenchError("no request reached the canary made by hand")
    return max(last - zero, 0.0)


def _list(seconds: Iterable[float]) -> str:
    return ", ".join(f"{item:.2f}" for item in seconds)
