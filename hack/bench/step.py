"""A load step of 8 x: how soon latency is back, against KEDA by hand; and the same by each metric."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from bench import hand, keda
from bench.curve import Size, Step, enough_pods
from bench.figures import OVERSHOOT, STEP, STEP_LOST, STEP_METRICS, BenchError, Result
from bench.losses import kinds
from bench.setting import HAND, OURS, PATIENCE, Bench
from bench.watching import Change, watching
from ekiben.kube.client import Manifest
from ekiben.kube.kinds import DEPLOYMENT
from rig.models import is_serving
from rig.site import install_adapter, install_operator, kubectl
from rig.traffic import traffic

PAIRS = 3
# The release that takes 100 ms for each call, one at a time: a pod answers 10 requests a second.
VERSION, SECONDS_EACH = "5.0.0", 0.1
RATE, TIMES = 2.0, 8
BEFORE, DURING = 10.0, 45.0
LIMIT = 0.5
CONCURRENCY = 0.4
MOST = 8
BEHAVIOR = {
    "scaleUp": {"stabilizationWindowSeconds": 0},
    "scaleDown": {"stabilizationWindowSeconds": 15},
}
# The same load step for each; what a pod can take is known of none of them but the last.
METRICS: dict[str, dict[str, str]] = {
    f"concurrency {CONCURRENCY:g}": {"concurrency": f"{CONCURRENCY:g}"},
    "cpu 80%": {"cpu": "80%"},
    "requestsPerSecond 4": {"requestsPerSecond": "4"},
}
Trial = Callable[[], Awaitable[Step]]


async def measure(bench: Bench) -> list[Result]:
    """Take the same Deployment through the same step, scaled by Ekiben and by a ScaledObject, in turns."""
    async with _adapter(bench), keda.installed(bench) as prometheus:
        await _serve(bench, {"concurrency": f"{CONCURRENCY:g}"})
        written = await hand.export(bench)
        (deployment,) = hand.deployments(written).values()
        name = deployment["metadata"]["name"]
        scaler = keda.scaled_object(name, HAND, prometheus, CONCURRENCY, MOST, BEHAVIOR)
        await bench.apply(HAND, *written)
        await bench.apply(HAND, scaler)

        async def ours() -> Step:
            return await _step(bench, OURS, name)

        async def floor() -> Step:
            return await _step(bench, HAND, name)

        steps: dict[Trial, list[Step]] = {ours: [], floor: []}
        for number in range(bench.times(PAIRS)):
            for trial in (ours, floor) if number % 2 == 0 else (floor, ours):
                steps[trial].append(await trial())
        await kubectl(bench.site, "delete", "scaledobjects", "--all", "--namespace", HAND, "--wait")
        await bench.empty(HAND)
        await bench.empty(OURS)
    return judged(steps[ours], steps[floor])


async def measure_metrics(bench: Bench) -> list[Result]:
    """Take one model through the same step by one metric after the other."""
    found: dict[str, Step] = {}
    async with _adapter(bench):
        for title, metric in list(METRICS.items())[: bench.times(len(METRICS))]:
            await _serve(bench, metric)
            deployments, _ = await bench.client.list(DEPLOYMENT, OURS)
            found[title] = await _step(bench, OURS, deployments[0]["metadata"]["name"])
            bench.say(f"{title}: {told(found[title])}")
            # What one left in the queue of its pods would be the load of the next.
            await bench.empty(OURS)
    lost = sum(len(_lost(step)) for step in found.values())
    return [
        Result(
            STEP_METRICS,
            lost,
            details=tuple(f"{title}: {told(step)}" for title, step in found.items()),
            data={"curves": {title: step.curve(BEFORE) for title, step in found.items()}},
        )
    ]


def judged(ours: Sequence[Step], floor: Sequence[Step]) -> list[Result]:
    """Compare steps with those by hand, pair by pair; the curves are the first pair's."""
    back = [[step.recovered(LIMIT) for step in side] for side in (ours, floor)]
    ratio = statistics.median(mine / max(theirs, 1.0) for mine, theirs in zip(*back, strict=True))
    over = [[step.overshoot(_enough()) for step in side] for side in (ours, floor)]
    value = statistics.median(back[0])
    details = tuple(
        f"pair {number + 1}: Ekiben {told(mine)}; KEDA by hand {told(theirs)}"
        for number, (mine, theirs) in enumerate(zip(ours, floor, strict=True))
    )
    curves = {"Ekiben (hpa)": ours[0].curve(BEFORE), "KEDA, by hand": floor[0].curve(BEFORE)}
    lost = [answer for step in ours for answer in _lost(step)]
    theirs = sum(len(_lost(step)) for step in floor)
    return [
        Result(STEP, value, value / ratio if ratio else None, details, data={"curves": curves}),
        Result(
            STEP_LOST,
            len(lost),
            details=(f"of {sum(len(step.answers) for step in ours):,}; with KEDA {theirs}", str(kinds(lost))),
        ),
        Result(
            OVERSHOOT,
            round(statistics.median(over[0]), 1),
            details=(
                f"{_enough()} pods are enough",
                *(
                    f"pair {number + 1}: Ekiben {mine:.0f}, KEDA by hand {theirs:.0f}"
                    for number, (mine, theirs) in enumerate(zip(*over, strict=True))
                ),
            ),
            limit=round(statistics.median(over[1]), 1),
        ),
    ]


def told(step: Step) -> str:
    """Tell one step in a line."""
    try:
        back = f"p95 back after {step.recovered(LIMIT):.0f} s"
    except BenchError as problem:
        back = str(problem)
    first = next((size.at - step.at for size in step.sizes if size.pods > 1), None)
    grown = f"more pods after {first:.0f} s" if first is not None else "never more pods"
    most = max(size.pods for size in step.sizes)
    over = step.overshoot(_enough())
    return (
        f"{back}, {grown}, at most {most}, {over:.0f} pod-seconds above {_enough()}, {len(_lost(step))} lost"
    )


def sizes(start: Manifest, changes: Sequence[Change], name: str, at: float) -> list[Size]:
    """Return how many pods a Deployment had, from what it was at a moment and what came after."""
    found = [_size(at, start)]
    for change in changes:
        if change.object["metadata"]["name"] == name and change.at >= at:
            size = _size(change.at, change.object)
            if (size.pods, size.ready) != (found[-1].pods, found[-1].ready):
                found.append(size)
    return found


def _size(at: float, deployment: Manifest) -> Size:
    status = deployment.get("status") or {}
    return Size(at, int(status.get("replicas", 0)), int(status.get("readyReplicas", 0)))


def _enough() -> int:
    return enough_pods(RATE * TIMES, SECONDS_EACH, CONCURRENCY)


def _lost(step: Step) -> list[Any]:
    return [answer for answer in step.answers if answer.is_lost]


async def _serve(bench: Bench, metric: dict[str, str]) -> None:
    autoscaling = {
        "minReplicas": 1,
        "maxReplicas": MOST,
        "engine": "hpa",
        "metrics": [metric],
        "behavior": BEHAVIOR,
    }
    model = bench.model(VERSION, autoscaling=autoscaling)
    await bench.apply(OURS, model)
    await bench.follow(is_serving)


async def _step(bench: Bench, namespace: str, name: str) -> Step:
    """Send the load, then 8 x of it; the Deployment begins with one pod."""
    target = bench.target(namespace)
    target = type(target)(target.url, target.host, target.body, PATIENCE / 4)
    await _at_one(bench, namespace, name)
    async with watching(bench.client, namespace, [DEPLOYMENT]) as changes:
        start = await bench.client.get(DEPLOYMENT, namespace, name)
        assert start is not None
        began = time.time()
        async with traffic(target, RATE, bench.site.prefix) as low:
            await asyncio.sleep(BEFORE)
            async with traffic(target, RATE * (TIMES - 1), bench.site.prefix) as more:
                await more.until(lambda seen: bool(seen.answers), 30)
                await asyncio.sleep(DURING)
                ended = time.time()
    at = min(answer.at for answer in more.answers)
    step = Step(at, ended, [*low.answers, *more.answers], sizes(start, changes.seen, name, began))
    bench.say(f"{namespace}: {told(step)}")
    return step


async def _at_one(bench: Bench, namespace: str, name: str) -> None:
    """Wait until one pod is left, and ready."""
    async with asyncio.timeout(PATIENCE):
        while True:
            found = await bench.client.get(DEPLOYMENT, namespace, name)
            status = (found or {}).get("status") or {}
            if (status.get("replicas"), status.get("readyReplicas")) == (1, 1):
                return
            await asyncio.sleep(1)


@asynccontextmanager
async def _adapter(bench: Bench) -> Any:
    await install_adapter(bench.site)
    try:
        yield
    finally:
        await install_operator(bench.site)
