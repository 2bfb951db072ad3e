"""From a new revision to the canary's first answer, against Deployment, readiness and weight by hand."""

from __future__ import annotations

import time

from bench import hand
from bench.figures import CANARY, Result
from bench.pairs import compare
from bench.setting import HAND, OURS, PATIENCE, Bench
from bench.watching import watching
from ekiben.kube.client import Manifest
from ekiben.kube.kinds import DEPLOYMENT
from rig.traffic import Traffic, traffic

RATE = 60.0
WEIGHT = 20
STABLE, NEXT = "1.0.0", "2.0.0"


async def measure(bench: Bench) -> list[Result]:
    """Take a new revision to its first weight, by the operator and by hand."""
    canary = await twin(bench)

    async def ours(number: int) -> float:
        took = await _by_operator(bench, f"canary-{number}")
        await bench.apply(OURS, bench.model(STABLE))
        await bench.only_stable()
        return took

    async def floor(_: int) -> float:
        took = await _by_hand(bench, canary)
        await hand.set_weight(bench, 0)
        await remove(bench, canary)
        return took

    result = await compare(bench, CANARY, ours, floor)
    await bench.empty(HAND)
    await bench.empty(OURS)
    return [result]


async def twin(bench: Bench) -> Manifest:
    """Serve the model by the operator and by hand; returns a canary's Deployment for the latter."""
    await bench.serve(STABLE)
    await bench.apply(OURS, bench.model(NEXT, "exported"))
    await bench.follow(lambda m: (m["status"].get("rollout") or {}).get("weight") == WEIGHT)
    written = await hand.export(bench)
    for item in written:
        if item["kind"] == "HTTPRoute":
            for backend, weight in zip(item["spec"]["rules"][0]["backendRefs"], (100, 0), strict=True):
                backend["weight"] = weight
    await bench.apply(OURS, bench.model(STABLE))
    await bench.only_stable()
    canary = hand.deployments(written)[NEXT]
    async with traffic(bench.target(HAND), RATE, bench.site.prefix) as seen:
        await bench.apply(HAND, *(item for item in written if item is not canary))
        await seen.until(lambda now: any(not answer.is_lost for answer in now.answers[-5:]), PATIENCE)
    return canary


async def remove(bench: Bench, canary: Manifest) -> None:
    """Remove the canary that was made by hand."""
    found = await bench.client.get(DEPLOYMENT, HAND, canary["metadata"]["name"])
    assert found is not None
    await bench.client.delete(DEPLOYMENT, HAND, canary["metadata"]["name"], found["metadata"]["uid"])
    revision = canary["metadata"]["labels"]["ekiben.dev/revision"]
    await bench.end_pods(HAND, f"ekiben.dev/revision={revision}")


async def _by_operator(bench: Bench, mark: str) -> float:
    async with traffic(bench.target(OURS), RATE, bench.site.prefix) as seen:
        await seen.until(lambda now: len(now.answers) >= RATE, 30)
        began = time.time()
        await bench.apply(OURS, bench.model(NEXT, mark))
        return await _first_of_next(seen) - began


async def _by_hand(bench: Bench, canary: Manifest) -> float:
    async with (
        traffic(bench.target(HAND), RATE, bench.site.prefix) as seen,
        watching(bench.client, HAND, [DEPLOYMENT]) as changes,
    ):
        await seen.until(lambda now: len(now.answers) >= RATE, 30)
        began = time.time()
        await bench.apply(HAND, canary)
        await hand.ready(changes, canary["metadata"]["name"])
        await hand.set_weight(bench, WEIGHT)
        return await _first_of_next(seen) - began


async def _first_of_next(seen: Traffic) -> float:
    await seen.until(lambda now: any(answer.version == NEXT for answer in now.answers[-20:]), PATIENCE)
    return min(answer.at + answer.seconds for answer in seen.answers if answer.version == NEXT)
