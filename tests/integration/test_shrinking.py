"""A stable that gives its pods up, and gets its traffic back on a ramp, on the real API."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest

from ekiben.core import names
from ekiben.core.sharing import OUTRIGHT
from ekiben.kube.kinds import DEPLOYMENT
from integration.follow import Followed, Manifest
from integration.site import THROUGH_GATEWAY, Site, is_at, is_settled

pytestmark = pytest.mark.apiserver

REPLICAS, SURGE = 4, 1
STEPS = [{"weight": weight, "hold": "1s"} for weight in (25, 50, 75)]
BACK, PACE = 25, 2.0
RAMP = {"step": BACK, "every": f"{PACE:g}s"}


class Sizes:
    """What the Deployments of a namespace ask for together, in the order in which it was stored."""

    def __init__(self, site: Site) -> None:
        self.together: list[int] = []
        self.of: dict[str, list[int]] = {}
        self._deployments = Followed(site.client, DEPLOYMENT, site.namespace, self._changed)

    @contextlib.asynccontextmanager
    async def looking(self) -> AsyncIterator[None]:
        """Take note of every version until the end of the block."""
        task = asyncio.create_task(self._deployments.follow())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _changed(self, before: Manifest | None, item: Manifest | None) -> None:
        items = self._deployments.items.values()
        self.together.append(sum(found["spec"]["replicas"] for found in items))
        for found in items:
            sizes = self.of.setdefault(found["metadata"]["labels"][names.REVISION], [])
            if not sizes or sizes[-1] != found["spec"]["replicas"]:
                sizes.append(found["spec"]["replicas"])


class Loads:
    """At each moment, the weight that the gateway carries and the ready pods that it is carried by."""

    def __init__(self, site: Site) -> None:
        self.too_few: list[str] = []
        self._site = site

    @contextlib.asynccontextmanager
    async def looking(self) -> AsyncIterator[None]:
        """Look every few milliseconds until the end of the block."""
        task = asyncio.create_task(self._look())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _look(self) -> None:
        while True:
            weight = self._site.gateway.weight("iris") or 0
            for service, share in (("iris", 100 - weight), ("iris-canary", weight)):
                found = self._site.traffic.endpoints(service)
                # k pods carry floor(100 k / N) percent: less than one percent is lost by that.
                if share > 1 and (share - 1) * REPLICAS > 100 * len(found):
                    self.too_few.append(f"{share}% for {len(found)} pods of {service}")
            await asyncio.sleep(0.01)


def shrinking(*steps: dict[str, Any], **canary: Any) -> dict[str, Any]:
    """Return the fields of a model of 4 pods whose rollouts may have 5, and no more."""
    canary = {"steps": [*STEPS, *steps], "shrinkStable": True, **canary}
    rollout = {"canary": canary, "maxSurge": f"{100 * SURGE // REPLICAS}%"}
    return {"replicas": REPLICAS, "traffic": THROUGH_GATEWAY, "rollout": rollout}


async def test_both_revisions_together_never_have_more_pods_than_max_surge_allows(site: Site) -> None:
    await site.running()
    first = await site.serve("v1", **shrinking())
    sizes, loads = Sizes(site), Loads(site)
    async with sizes.looking(), loads.looking():
        await site.release("v2")
        status = await site.promoted("v2")
        await site.wait(lambda: not site.pods(first), "the old revision's pods go")
    second = status["stable"]["revision"]
    assert max(sizes.together) == REPLICAS + SURGE
    assert sizes.of[second][-1] == REPLICAS
    assert sizes.of[first] == sorted(sizes.of[first], reverse=True), "stable gives its pods up one by one"
    assert {before - after for before, after in pairwise(sizes.of[first])} == {1}
    assert site.gateway.weights["iris"][-2:] == [100, 0]
    assert loads.too_few == []
    assert site.traffic.lost == []


async def test_an_abort_gives_a_shrunk_stable_its_traffic_back_on_the_ramp_and_within_the_surge(
    site: Site,
) -> None:
    await site.running()
    first = await site.serve("v1", **shrinking({"pause": {}}, trafficRamp=RAMP))
    sizes, loads = Sizes(site), Loads(site)
    async with sizes.looking(), loads.looking():
        await site.release("v2")
        paused = await site.until(is_at("Paused"), "v2 has 75%")
        await site.wait(lambda: len(site.pods(first)) == 1, "stable has given 3 of its 4 pods up")
        up = len(site.gateway.weights["iris"])
        await site.command("abort", paused["rollout"]["id"])
        aborting = await site.until(is_at("Aborting"), "it is aborted")
        await site.until(is_settled("Aborted"), "it is over")
    began = datetime.fromisoformat(aborting["rollout"]["stageStartedAt"]).timestamp()
    clock = time.time() - asyncio.get_running_loop().time()
    weights, moved = site.gateway.weights["iris"], site.gateway.moved_at["iris"]
    assert weights[:up] == sorted(weights[:up])
    assert weights[up - 1] == 75
    assert weights[up:] == sorted(weights[up:], reverse=True)
    assert weights[-1] == 0
    for weight, at in zip(weights[up:], moved[up:], strict=True):
        taken = (at + clock - began) // PACE + 1
        assert weight >= 75 - taken * BACK, f"{weight}% after {at + clock - began:.1f} s"
    assert max(sizes.together) == REPLICAS + SURGE
    assert sizes.of[first][-1] == REPLICAS
    assert len(site.kubelet.ready({names.REVISION: first})) == REPLICAS
    assert loads.too_few == []
    assert site.traffic.lost == []


async def test_a_canary_whose_pods_die_keeps_no_traffic_for_the_sake_of_a_ramp(site: Site) -> None:
    await site.running()
    slowly = {"step": 5, "every": "60s"}
    first = await site.serve("v1", **shrinking({"pause": {}}, trafficRamp=slowly))
    await site.release("v2")
    paused = await site.until(is_at("Paused"), "v2 has 75%")
    canaries = site.pods(paused["rollout"]["revision"])
    await asyncio.gather(*(site.kubelet.crash(pod) for pod in canaries))
    status = await site.until(is_settled("RolledBack"), "v2 is rolled back")
    # Which sign of it is seen first is chance.
    (failed,) = status["failedRevisions"]
    assert failed["reason"] in OUTRIGHT
    assert site.gateway.weights["iris"][-2:] == [75, 0]
    await site.wait(lambda: len(site.pods(first)) == REPLICAS, "stable gets its pods back")
