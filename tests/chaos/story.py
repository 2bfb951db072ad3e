"""What the people of one namespace do meanwhile: release after release, good and bad, as a seed has it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from ekiben.kube.client import ApiError
from integration.site import STEPS, THROUGH_GATEWAY, Site, Status
from rules.judge import BAD

GOOD = "good"
RATE = 100.0
BAD_SHARE, ABORTED_SHARE, SUPERSEDED_SHARE = 0.25, 0.1, 0.25
LONGEST_ROLLOUT = 25.0


class Story:
    """The releases of one site; `released` counts them."""

    def __init__(self, site: Site, seed: str) -> None:
        self.site = site
        self.released = 0
        self._chance = random.Random(seed)

    async def begin(self) -> None:
        """Serve a first version, and send it traffic."""
        await self.site.serve(
            self._next(GOOD), traffic=THROUGH_GATEWAY, rollout={"canary": {"steps": list(STEPS)}}
        )
        self.site.traffic.start("iris", RATE)

    async def go_on(self, seconds: float) -> None:
        """Release until the time is over."""
        end = asyncio.get_running_loop().time() + seconds
        while (left := end - asyncio.get_running_loop().time()) > 0:
            bad = self._chance.random() < BAD_SHARE
            tag = self._next(BAD if bad else GOOD)
            self.site.behaviour(tag).errors = 0.5 if bad else 0.0
            await self._insist(tag)
            await self._see_what_comes(min(left, LONGEST_ROLLOUT))

    async def end(self) -> str:
        """Release a last good version, and wait until it is promoted; say what is wrong if it never is."""
        tag = self._next(GOOD)
        await self._insist(tag)
        try:
            await self.site.promoted(tag)
        except pytest.fail.Exception as problem:
            return str(problem)
        return ""

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

    async def _insist(self, tag: str) -> None:
        """Ask for an image, however long the API server is away."""
        while True:
            try:
                await self.site.release(tag)
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
