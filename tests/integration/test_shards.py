"""Two operators with label selectors: each serves its own models, and a model can be handed over."""

from __future__ import annotations

import pytest

from ekiben.kube.client import Client
from ekiben.kube.kinds import DEPLOYMENT, EVENT, MODELDEPLOYMENT
from integration.operators import Manifest, iris
from integration.site import Site, is_settled, spec_of

pytestmark = pytest.mark.apiserver

SHARDS = ("a", "b")


async def begin(site: Site) -> None:
    """Start an operator for each shard."""
    for shard in SHARDS:
        await site.running(selector=f"shard={shard}", identity=shard)


async def create(site: Site, name: str, **labels: str) -> None:
    """Create a model with labels."""
    model = iris(name) | {"spec": spec_of("v1")}
    model["metadata"]["labels"] = labels
    await site.client.create(MODELDEPLOYMENT, site.namespace, model)


async def model(site: Site, name: str) -> Manifest:
    """Return a model."""
    return await site.get(MODELDEPLOYMENT, name)


async def tellers(site: Site, name: str) -> set[str]:
    """Name the operators that told Events of a model."""
    return {item["reportingInstance"] for item in await told_of(site, name)}


async def told_of(site: Site, name: str) -> list[Manifest]:
    """Return the Events about a model."""
    events = (await site.client.list(EVENT, site.namespace))[0]
    about = (MODELDEPLOYMENT.kind, name)
    return [
        item for item in events if (item["regarding"].get("kind"), item["regarding"].get("name")) == about
    ]


async def promoted(site: Site, name: str, tag: str = "v1") -> None:
    """Wait until a model serves an image."""

    async def look() -> bool:
        status = (await model(site, name)).get("status") or {}
        return is_settled("Promoted")(status) and status["stable"]["image"].endswith(f":{tag}")

    await site.eventually(look, lambda: f"{name} serves {tag}")


async def told(site: Site, name: str, by: set[str]) -> None:
    """Wait until exactly these operators have told of a model: Events come beside the work."""

    async def look() -> bool:
        return await tellers(site, name) == by

    await site.eventually(look, lambda: f"{name} is told of by {by}")


async def test_each_shard_serves_its_own_models_and_nobody_serves_the_rest(site: Site) -> None:
    await begin(site)
    await create(site, "mine", shard="a")
    await create(site, "yours", shard="b")
    await create(site, "nobodys")
    for name in ("mine", "yours"):
        await promoted(site, name)
    await told(site, "mine", {"a"})
    await told(site, "yours", {"b"})
    await site.at_rest()
    assert "status" not in await model(site, "nobodys")
    assert {name.split("-")[0] for name in await site.names(DEPLOYMENT)} == {"mine", "yours"}


async def test_a_model_is_handed_over_by_its_label_and_keeps_its_pods(site: Site) -> None:
    await begin(site)
    await create(site, "moving", shard="a")
    await promoted(site, "moving")
    await told(site, "moving", {"a"})
    pods = set(site.kubelet.pods)
    await label(site.client, site, "b")
    await site.at_rest()
    assert set(site.kubelet.pods) == pods
    bento = {"bento": {**spec_of("v2")["bento"]}}
    await site.client.patch_merge(MODELDEPLOYMENT, site.namespace, "moving", {"spec": bento})
    site.traffic.start("moving")
    await promoted(site, "moving", "v2")
    await told(site, "moving", {"a", "b"})
    begun = [item for item in await told_of(site, "moving") if item["reason"] == "RolloutStarted"]
    assert {item["reportingInstance"] for item in begun} <= {"b"}
    assert site.traffic.lost == []


async def label(client: Client, site: Site, shard: str) -> None:
    """Give the model to another shard."""
    body = {"metadata": {"labels": {"shard": shard}}}
    await client.patch_merge(MODELDEPLOYMENT, site.namespace, "moving", body)
