"""The line of rollouts against the real API: six models, two at once, and an operator that dies meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from ekiben.kube.kinds import MODELDEPLOYMENT
from integration.operators import Manifest, condition_of, iris
from integration.site import Site, image, is_settled, spec_of

pytestmark = pytest.mark.apiserver

NAMES = [f"iris-{letter}" for letter in "abcdef"]
LIMIT = 2


class Fleet:
    """Six models of a site, each status of theirs watched."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.status: dict[str, Manifest] = {}
        self.most = 0
        self.messages: set[str] = set()

    async def follow(self) -> None:
        """Look at every stored version of every model."""
        kind, namespace = MODELDEPLOYMENT, self.site.namespace
        items, version = await self.site.client.list(kind, namespace)
        for item in items:
            self._see(item)
        async with contextlib.aclosing(self.site.client.watch(kind, namespace, version)) as events:
            async for event, item in events:
                if event != "BOOKMARK":
                    self._see(item)

    def _see(self, item: Manifest) -> None:
        status = item.get("status") or {}
        self.status[item["metadata"]["name"]] = status
        running = [name for name, said in self.status.items() if runs(said)]
        self.most = max(self.most, len(running))
        if status.get("phase") == "Queued":
            self.messages.add(status["message"])
            assert condition_of(status, "Reconciling")["reason"] == "Queued"

    async def change(self, name: str, **spec: object) -> None:
        """Merge changes into a model's spec."""
        await self.site.client.patch_merge(MODELDEPLOYMENT, self.site.namespace, name, {"spec": spec})

    async def until_all(self, reason: str, tag: str) -> None:
        """Wait until every model serves an image and its last change has ended so."""

        def done() -> bool:
            return all(
                is_settled(reason)(said) and said["stable"]["image"] == image(tag)
                for said in self.status.values()
            )

        await self.site.wait(
            done, f"all are {reason}: { {n: s.get('message') for n, s in self.status.items()} }"
        )


def runs(status: Manifest) -> bool:
    """Tell whether a rollout takes a slot."""
    rollout = status.get("rollout") or {}
    stable = (status.get("stable") or {}).get("revision")
    first = rollout.get("stage") == "Preparing" and rollout.get("revision") == stable
    return rollout.get("stage") not in (None, "Queued", "Over") and not first


@pytest.fixture
async def fleet(site: Site) -> AsyncIterator[Fleet]:
    made = Fleet(site)
    rollout = {"canary": {"steps": [{"weight": 50, "hold": "1s"}]}}
    for name in NAMES:
        model = iris(name) | {"spec": spec_of("v1", replicas=1, rollout=rollout)}
        await site.client.create(MODELDEPLOYMENT, site.namespace, model)
    site.tasks.append(asyncio.create_task(made.follow(), name="follow"))
    yield made
    for name in NAMES:
        site.traffic.stop(name)
        found = await site.client.get(MODELDEPLOYMENT, site.namespace, name)
        if found is not None:
            await site.client.delete(MODELDEPLOYMENT, site.namespace, name, found["metadata"]["uid"])


async def test_six_models_roll_out_two_at_a_time_over_the_operators_death(site: Site, fleet: Fleet) -> None:
    operator = await site.running(max_concurrent_rollouts_per_namespace=LIMIT)
    await fleet.until_all("Promoted", "v1")
    assert fleet.most == 0, "first revisions don't wait and take no slot"
    for name in NAMES:
        site.traffic.start(name, rate=60.0)
    await fleet.change("iris-f", rollout={"priority": 5})
    await asyncio.gather(*(fleet.change(name, bento={"image": image("v2")}) for name in NAMES))

    def queues() -> bool:
        return sum(said.get("phase") == "Queued" for said in fleet.status.values()) == len(NAMES) - LIMIT

    await site.wait(queues, "four are queued")
    await operator.kill()
    await operator.start()
    await fleet.until_all("Promoted", "v2")
    assert fleet.most == LIMIT
    assert any(" of 4, 2 of 2 rollouts run in namespace " in message for message in fleet.messages)
    assert site.traffic.lost == []


async def test_a_hand_goes_past_the_line(site: Site, fleet: Fleet) -> None:
    await site.running(max_concurrent_rollouts=1)
    await fleet.until_all("Promoted", "v1")
    for name in NAMES:
        await fleet.change(name, rollout={"canary": {"steps": [{"pause": {}}]}})
    for name in ("iris-a", "iris-b", "iris-c"):
        await fleet.change(name, bento={"image": image("v2")})
    await site.wait(
        lambda: sum(said.get("phase") == "Queued" for said in fleet.status.values()) == 2, "two are queued"
    )
    waiting = next(name for name, said in fleet.status.items() if said.get("phase") == "Queued")
    await fleet.change(waiting, rollout={"promote": fleet.status[waiting]["rollout"]["id"]})
    await site.wait(lambda: is_settled("Promoted")(fleet.status[waiting]), "it is promoted past the line")
    assert fleet.status[waiting]["stable"]["image"] == image("v2")
    assert fleet.most == 2
