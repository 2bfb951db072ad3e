"""Room is looked for before a rollout touches anything: real quotas and Nodes, and the rights for it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ekiben.kube.kinds import DEPLOYMENT, NODE, POD, RESOURCEQUOTA
from integration.lab import used
from integration.operators import Manifest, condition_of
from integration.site import Site, Status, image

pytestmark = pytest.mark.apiserver

GPU = "example.com/gpu"
# The controller manager taints Nodes whose kubelet never reports.
ANYWHERE = {"tolerations": [{"operator": "Exists"}]}
ONE_GPU = {"requests": {"cpu": "100m"}, "limits": {"memory": "64Mi", GPU: 1}}


def short_of(*words: str) -> Any:
    """Tell whether a rollout waits for room, and says these words."""

    def check(status: Status) -> bool:
        condition = condition_of(status, "Reconciling")
        said = str(status.get("message"))
        return condition.get("reason") == "InsufficientCapacity" and all(word in said for word in words)

    return check


@contextlib.asynccontextmanager
async def existing(site: Site, kind: Any, namespace: str | None, body: Manifest) -> AsyncIterator[Manifest]:
    """Let an object exist until the end of the block."""
    made = await site.client.create(kind, namespace, body)
    try:
        yield made
    finally:
        name, uid = made["metadata"]["name"], made["metadata"]["uid"]
        if await site.client.get(kind, namespace, name):
            if kind is POD:
                await site.client.patch_merge(kind, namespace, name, {"metadata": {"finalizers": None}})
            await site.client.delete(kind, namespace, name, uid)


def node(gpus: int) -> Manifest:
    """Return a Node with GPUs and a label of its own."""
    offers = {"cpu": "64", "memory": "256Gi", "pods": "110", GPU: str(gpus)}
    about = {"name": "gpu-1", "labels": {"example.com/accelerator": "test"}}
    status = {"allocatable": offers, "capacity": offers, "conditions": [{"type": "Ready", "status": "True"}]}
    return {"apiVersion": "v1", "kind": "Node", "metadata": about, "status": status}


def neighbour(gpus: int) -> Manifest:
    """Return somebody else's pod on that Node, with GPUs."""
    box = {"name": "x", "image": "registry.example.com/x:1", "resources": {"limits": {GPU: str(gpus)}}}
    spec = {"nodeName": "gpu-1", "containers": [box], "terminationGracePeriodSeconds": 0, **ANYWHERE}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "neighbour"}, "spec": spec}


def quota(gpus: int) -> Manifest:
    """Return a quota of GPUs."""
    spec = {"hard": {f"requests.{GPU}": str(gpus)}}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "gpu-team"}, "spec": spec}


async def is_untouched(site: Site, revision: str) -> None:
    """Assert that a revision has no Deployment."""
    assert await site.client.get(DEPLOYMENT, site.namespace, f"iris-{revision}") is None


async def test_nodes_without_room_are_waited_for_and_every_right_for_it_is_used(site: Site) -> None:
    placed = {"nodeSelector": {"example.com/accelerator": "test"}, **ANYWHERE}
    begun = site.lab.audit.mark()
    with site.lab.granting("preflight=nodes") as more:
        async with existing(site, NODE, None, node(4)):
            await site.running(preflight="nodes")
            await site.serve("v1", resources=ONE_GPU, podTemplate=placed)
            async with existing(site, POD, "default", neighbour(3)):
                await site.release("v2")
                said = f"needs 2 x {GPU}, 1 free on 1 matching node"
                status = await site.until(short_of(said), "v2 waits for room on the node")
                assert status["rollout"]["stage"] == "Preflight"
                await is_untouched(site, status["rollout"]["revision"])
                assert condition_of(status, "Ready")["status"] == "True"
            status = await site.promoted("v2")
        await site.at_rest()
        asked = used(site.lab.audit.since(begun))
    assert more == {
        ("", "nodes", "list"),
        ("", "resourcequotas", "list"),
        ("scheduling.k8s.io", "priorityclasses", "list"),
        ("resource.k8s.io", "deviceclasses", "list"),
    }
    assert more <= asked


async def test_a_quota_is_waited_for_then_given_way_to_by_recreate(site: Site) -> None:
    with site.lab.granting("preflight=quotas") as more:
        assert more == {("", "resourcequotas", "list")}
        await site.running(preflight="quotas")
        await site.serve("v1", resources=ONE_GPU)
        async with existing(site, RESOURCEQUOTA, site.namespace, quota(2)):
            await site.release("v2")
            left = f"quota gpu-team has 0 of 2 requests.{GPU} left, 2 needed"
            status = await site.until(short_of(left), "v2 waits for the quota")
            await is_untouched(site, status["rollout"]["revision"])
            site.traffic.stop("iris")
            await site.change(rollout={"preflight": {"fallback": "Recreate"}})
            status = await site.promoted("v2")
            assert status["rollout"]["plan"]["strategy"] == "Recreate"
            assert status["rollout"]["stableReplicas"] == 2
            assert status["stable"]["image"] == image("v2")


async def test_without_the_right_to_look_a_rollout_goes_on(site: Site) -> None:
    await site.running(preflight="quotas")
    await site.serve("v1")
    await site.release("v2")
    await site.promoted("v2")
    await site.at_rest()
    # It asked, was refused, and said so: that is no 403 to be ashamed of.
    site.mark = site.lab.audit.mark()
