"""What the people of one namespace do meanwhile: release after release, good and bad, as a seed has it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from ekiben.kube.client import ApiError
from ekiben.kube.kinds import HPA, SCALEDOBJECT, Kind
from integration.operators import Manifest
from integration.site import STEPS, THROUGH_GATEWAY, Site, Status
from rules.judge import BAD

GOOD = "good"
RATE = 100.0
BAD_SHARE, ABORTED_SHARE, SUPERSEDED_SHARE = 0.25, 0.1, 0.25
LONGEST_ROLLOUT = 25.0

# What a load has made of minReplicas, and nobody may take away.
PODS = 3
_QUERY = {"address": "http://prometheus:9090", "query": 'load{r="{{revision}}"}', "threshold": "8"}
_BOUNDS: Manifest = {"minReplicas": 2, "maxReplicas": 5}
BLOCKS: dict[str, Manifest] = {
    "keda": {"engine": "keda", "metrics": [{"prometheus": _QUERY}], **_BOUNDS},
    "hpa": {"engine": "hpa", "metrics": [{"cpu": "70%"}], **_BOUNDS},
}

# The scalers that are left at the end, by the name of what serves: of each kind the names.
Scalers = Callable[[str], tuple[tuple[Kind, set[str]], ...]]


class Story:
    """The releases of one site, `released` of them.

    Where there is a KEDA the model is scaled, and goes from engine to engine with every other release:
    `handed_over` times.
    """

    def __init__(self, site: Site, seed: str) -> None:
        self.site = site
        self.released = self.handed_over = 0
        self._engine = "keda" if site.keda else ""
        self._chance = random.Random(seed)

    async def begin(self) -> None:
        """Serve a first version, and send it traffic."""
        block = {"autoscaling": BLOCKS[self._engine]} if self._engine else {}
        stable = await self.site.serve(
            self._next(GOOD), traffic=THROUGH_GATEWAY, rollout={"canary": {"steps": list(STEPS)}}, **block
        )
        self.site.traffic.start("iris", RATE)
        if self._engine:
            await self.site.client.scale(self.site.namespace, f"iris-{stable}", PODS)
            await self.site.until(
                lambda status: status["stable"]["readyReplicas"] == PODS, "a load is served"
            )

    async def go_on(self, seconds: float) -> None:
        """Release until the time is over."""
        end = asyncio.get_running_loop().time() + seconds
        while (left := end - asyncio.get_running_loop().time()) > 0:
            bad = self._chance.random() < BAD_SHARE
            tag = self._next(BAD if bad else GOOD)
            self.site.behaviour(tag).errors = 0.5 if bad else 0.0
            await self._insist(partial(self.site.release, tag))
            if self._engine and self.released % 2 == 0:
                await self._hand_over()
            await self._see_what_comes(min(left, LONGEST_ROLLOUT))

    async def end(self) -> str:
        """Release a last good version, and wait until it is promoted; say what is wrong if it never is."""
        tag = self._next(GOOD)
        await self._insist(partial(self.site.release, tag))
        try:
            await self.site.promoted(tag)
        except pytest.fail.Exception as problem:
            return str(problem)
        return ""

    def scalers(self, serving: str) -> tuple[tuple[Kind, set[str]], ...]:
        """Return the scalers that are to be left."""
        of_keda = self._engine == "keda"
        autoscaler = {f"keda-hpa-{serving}" if of_keda else serving} if self._engine else set()
        return (HPA, autoscaler), (SCALEDOBJECT, {serving} if of_keda else set())

    async def _hand_over(self) -> None:
        """Have the other engine scale, whatever the rollout that has just been asked for is at."""
        await asyncio.sleep(self._chance.uniform(0.0, 2.0))
        self._engine = "hpa" if self._engine == "keda" else "keda"
        await self._insist(partial(self.site.change, autoscaling=BLOCKS[self._engine]))
        self.handed_over += 1

    def _next(self, sort: str) -> str:
        self.released += 1
        return f"{sort}-{self.released}"

    async def _see_what_comes(self, seconds: float) -> None:
        kind = self._chance.random()
        if kind < SUPERSEDED_SHARE:
            await asyncio.sleep(min(seconds, self._chance.uniform(0.0, 4.0)))
            return
        if kind < SUPERSEDED_SHARE + ABORTED_SHARE:
            await asyncio.sleep(min(seconds, self._chance.uniform(0.5, 4.0)))
            await self._abort()
        await self._settled(seconds)

    async def _insist(self, change: Callable[[], Awaitable[None]]) -> None:
        """Ask for a change, however long the API server is away."""
        while True:
            try:
                await change()
                return
            except ApiError:
                await asyncio.sleep(0.2)

    async def _abort(self) -> None:
        try:
            rollout = (await self.site.status()).get("rollout") or {}
            if rollout and rollout.get("stage") != "Over":
                await self.site.command("abort", rollout["id"])
        except ApiError:
            return

    async def _settled(self, seconds: float) -> None:
        await _look_until(self.site, _is_over, seconds)


async def _look_until(site: Site, condition: Callable[[Status], bool], seconds: float) -> None:
    end = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < end:
        try:
            model_status = await site.status()
            if condition(model_status):
                return
        except ApiError:
            pass
        await asyncio.sleep(0.2)


def _is_over(status: Status) -> bool:
    settled = next((item for item in status.get("conditions", ()) if item["type"] == "Settled"), {})
    return settled.get("status") == "True"
