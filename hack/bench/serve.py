"""From `kubectl apply` to the first 200 through the gateway, against the same children applied by hand."""

from __future__ import annotations

import time

from bench import hand
from bench.figures import SERVE, Result
from bench.pairs import compare
from bench.setting import HAND, OURS, PATIENCE, Bench
from ekiben.kube.client import Manifest
from rig.traffic import traffic

RATE = 50.0


async def measure(bench: Bench) -> list[Result]:
    """Serve a model that was not there, by the operator and by hand."""
    await bench.serve()
    written = await hand.export(bench)
    await bench.empty(OURS)

    async def ours(_: int) -> float:
        return await _first_answer(bench, OURS, bench.model("1.0.0"))

    async def floor(_: int) -> float:
        return await _first_answer(bench, HAND, *written)

    return [await compare(bench, SERVE, ours, floor)]


async def _first_answer(bench: Bench, namespace: str, *manifests: Manifest) -> float:
    async with traffic(bench.target(namespace), RATE, bench.site.prefix) as seen:
        await seen.until(lambda now: len(now.answers) >= RATE, 30)
        began = time.time()
        await bench.apply(namespace, *manifests)
        await seen.until(lambda now: any(not answer.is_lost for answer in now.answers), PATIENCE)
    first = min(answer.at + answer.seconds for answer in seen.answers if not answer.is_lost)
    await bench.empty(namespace)
    return first - began
