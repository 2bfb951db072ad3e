"""What befalls the operators' world as a whole, beside the faults of single requests; each deed by chance."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import ClientSession

from chaos.process import OperatorProcess
from chaos.proxy import Proxy
from ekiben.kube.client import ApiError
from ekiben.kube.kinds import CONTROLLERREVISION, MODELDEPLOYMENT, PDB, Kind
from integration.lab import Lab
from integration.operators import iris
from integration.site import Site, spec_of

GHOST = "ghost"
KEDA_AWAY_SECONDS = (0.5, 10.0)
# Deleting one of these costs nobody a request, and each comes back.
REMOVABLE = (PDB, CONTROLLERREVISION)


@dataclass(slots=True)
class Stage:
    """Where the deeds are done; `deleted` counts by namespace what they removed, by kind and name."""

    lab: Lab
    proxy: Proxy
    operators: Sequence[OperatorProcess]
    sites: Sequence[Site]
    chance: random.Random
    counts: Counter[str] = field(default_factory=Counter)
    deleted: dict[str, Counter[tuple[str, str]]] = field(default_factory=dict)

    def removed(self, site: Site, kind: Kind, name: str) -> None:
        """Take note of a deletion."""
        self.deleted.setdefault(site.namespace, Counter())[kind.kind, name] += 1


Deed = Callable[[Stage], Awaitable[None]]


async def kill_an_operator(stage: Stage) -> None:
    """SIGKILL, at whatever it does."""
    await stage.chance.choice(stage.operators).kill()


async def cut_every_watch(stage: Stage) -> None:
    """All watches end at once."""
    stage.proxy.cut()


async def refuse_everything(stage: Stage) -> None:
    """The API server answers 503, 500 or 429 to everything for a while."""
    await _refuse(stage, "", stage.chance.choice(["503", "500", "429"]), stage.chance.uniform(0.5, 2.0))


async def expire_the_tokens(stage: Stage) -> None:
    """Every request is answered 401 for a while, with watches cut, so that all have to log in again."""
    stage.proxy.cut()
    await _refuse(stage, "", "401", stage.chance.uniform(0.3, 1.5))


async def delete_in_the_gap(stage: Stage) -> None:
    """Things vanish while nobody can watch; then the watches' versions are too old to go on from."""
    refusing = stage.proxy.faults.refusing
    refusing[""] = "503"
    stage.proxy.cut()
    try:
        for site in stage.sites:
            with contextlib.suppress(ApiError):
                await _delete_something(stage, site)
        await asyncio.sleep(stage.chance.uniform(0.1, 0.5))
    finally:
        refusing[""] = "410"
        await asyncio.sleep(0.3)
        refusing.pop("", None)


async def stop_keda(stage: Stage) -> None:
    """KEDA is away for a while, at every site that has one; the next deeds go on meanwhile."""
    for site in stage.sites:
        if site.keda is not None:
            site.keda.leave(stage.chance.uniform(*KEDA_AWAY_SECONDS))


async def step_the_clock(stage: Stage) -> None:
    """An operator's wall clock jumps."""
    stage.chance.choice(stage.operators).clock.write_text(str(stage.chance.choice([-20, -5, 5, 20, 0])))


async def edit_beside_the_operator(stage: Stage) -> None:
    """People write to the models, so that status writes meet real conflicts."""
    for number in range(5):
        for site in stage.sites:
            edit = {"metadata": {"labels": {"edited": f"{stage.chance.random()}"}}}
            with contextlib.suppress(ApiError):
                await site.client.patch_merge(MODELDEPLOYMENT, site.namespace, "iris", edit)
        await asyncio.sleep(0.02 * number)


async def restart_the_api_server(stage: Stage) -> None:
    """The real API server is killed, is away for a moment, and starts again."""
    stage.lab.plane.pause_apiserver()
    try:
        await asyncio.sleep(stage.chance.uniform(0.2, 2.0))
    finally:
        stage.lab.plane.restart_apiserver()


async def compact_etcd(stage: Stage) -> None:
    """All of etcd's history goes, and the API server's memory of it: every old version is really too old."""
    stage.lab.plane.pause_apiserver()
    try:
        url = stage.lab.plane.etcd_url
        async with ClientSession() as session:
            asked = {"key": base64.b64encode(b"/").decode()}
            revision = (await _etcd(session, f"{url}/v3/kv/range", asked))["header"]["revision"]
            await _etcd(session, f"{url}/v3/kv/compaction", {"revision": revision, "physical": True})
    finally:
        stage.lab.plane.restart_apiserver()


OFTEN: tuple[Deed, ...] = (
    cut_every_watch,
    refuse_everything,
    expire_the_tokens,
    delete_in_the_gap,
    step_the_clock,
    edit_beside_the_operator,
    stop_keda,
)
SELDOM: tuple[Deed, ...] = (restart_the_api_server, compact_etcd)


async def _etcd(session: ClientSession, url: str, body: dict[str, Any]) -> dict[str, Any]:
    async with session.post(url, json=body) as answer:
        found: dict[str, Any] = await answer.json()
        assert answer.status == 200, found
        return found


async def _refuse(stage: Stage, resource: str, code: str, seconds: float) -> None:
    stage.proxy.faults.refusing[resource] = code
    try:
        await asyncio.sleep(seconds)
    finally:
        stage.proxy.faults.refusing.pop(resource, None)


async def _delete_something(stage: Stage, site: Site) -> None:
    for kind in REMOVABLE:
        items, _ = await site.client.list(kind, site.namespace, "ekiben.dev/model=iris")
        if items:
            about = stage.chance.choice(items)["metadata"]
            await site.client.delete(kind, site.namespace, about["name"], about["uid"])
            stage.removed(site, kind, about["name"])
    ghost = await site.client.get(MODELDEPLOYMENT, site.namespace, GHOST)
    if ghost is not None:
        await site.client.delete(MODELDEPLOYMENT, site.namespace, GHOST, ghost["metadata"]["uid"])
        await asyncio.sleep(0.1)
    if ghost is None or stage.chance.random() < 0.5:
        # Gone and there again under the same name: the watches never told of the first one's end.
        model = iris(GHOST) | {"spec": spec_of("good-0")}
        await site.client.create(MODELDEPLOYMENT, site.namespace, model)
