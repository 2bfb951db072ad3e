"""Reading the room: node by node and no further than needed, and without what may not be read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ekiben.core.capacity import Capacity, Room
from ekiben.kube import room
from ekiben.kube.errors import ApiError
from ekiben.kube.kinds import DEVICECLASS, NODE, POD, PRIORITYCLASS, RESOURCEQUOTA, Kind

GPU = "nvidia.com/gpu"
Json = dict[str, Any]
POD_SPEC: Json = {"containers": [{"resources": {"limits": {GPU: 1}}}]}


def node(number: int, gpus: int = 1) -> Json:
    """Return a node."""
    offers = {"pods": "110", GPU: str(gpus)}
    return {"metadata": {"name": f"n{number}"}, "status": {"allocatable": offers, "images": ["large"] * 50}}


def busy(gpus: int, revision: str = "other") -> Json:
    """Return a pod of the model's that has GPUs."""
    labels = {"ekiben.dev/model": "iris", "ekiben.dev/revision": revision}
    spec = {"containers": [{"resources": {"limits": {GPU: gpus}}}]}
    return {"metadata": {"namespace": "shop", "labels": labels}, "spec": spec, "status": {"phase": "Running"}}


class Cluster:
    """Answers lists as an API server does, and writes down what was asked."""

    def __init__(
        self, nodes: list[Json], pods: dict[str, list[Json]] | None = None, **more: list[Json]
    ) -> None:
        self.nodes, self.pods, self.more = nodes, pods or {}, more
        self.forbidden: set[str] = set()
        self.asked: list[str] = []

    async def list_pages(self, kind: Kind) -> AsyncIterator[tuple[list[Json], str]]:
        self._ask(kind)
        for start in range(0, len(self.nodes), 3):
            yield self.nodes[start : start + 3], ""

    async def peek(
        self,
        kind: Kind,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
    ) -> list[Json]:
        self._ask(kind)
        if kind is POD and field_selector:
            return self.pods.get(field_selector.split(",")[0].removeprefix("spec.nodeName="), [])
        if kind is POD:
            assert namespace == "shop"
            return [pod for pods in self.pods.values() for pod in pods if "old" in str(pod["metadata"])]
        return self.more.get(kind.plural, [])

    def _ask(self, kind: Kind) -> None:
        self.asked.append(kind.plural)
        if kind.plural in self.forbidden:
            raise ApiError(403, "Forbidden", f"{kind.plural} is forbidden")


def find(cluster: Cluster, pods: int = 1, leaves: str = "", nodes: bool = True) -> Room:
    """Look for room."""
    question = Capacity(model="iris", pod=json.dumps(POD_SPEC), pods=pods, leaves=leaves, nodes=nodes)
    return asyncio.run(room.find_room(cluster, "shop", question))


def test_it_looks_no_further_than_needed() -> None:
    cluster = Cluster([node(number) for number in range(20)])
    found = find(cluster, pods=2)
    assert found.is_enough(2)
    assert cluster.asked.count(POD.plural) == room.AT_ONCE


def test_what_is_free_is_counted_on_every_node_when_there_is_too_little() -> None:
    cluster = Cluster([node(1, 2), node(2), node(3)], {"n1": [busy(1)], "n2": [busy(1)]})
    found = find(cluster, pods=3)
    assert found.nodes is not None
    assert (found.nodes.nodes, found.nodes.matching, found.nodes.fits) == (3, 3, 2)
    assert not found.is_enough(3)


def test_pods_that_leave_make_room_on_nodes_and_in_quotas() -> None:
    hard, used = {f"requests.{GPU}": "1"}, {f"requests.{GPU}": "1"}
    quota = {"metadata": {"name": "q"}, "spec": {}, "status": {"hard": hard, "used": used}}
    cluster = Cluster([node(1)], {"n1": [busy(1, "old")]}, resourcequotas=[quota])
    assert not find(cluster).is_enough(1)
    assert find(cluster, leaves="old").is_enough(1)


def test_beyond_so_many_nodes_nobody_is_certain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MOST_NODES", 6)
    full = {f"n{number}": [busy(1)] for number in range(10)}
    found = find(Cluster([node(number) for number in range(10)], full))
    assert found.nodes is None
    assert found.unseen == ("only 6 of 10 matching nodes were looked at, none with enough room",)
    assert found.is_enough(1)


def test_devices_of_dynamic_resource_allocation_are_not_looked_for_on_nodes() -> None:
    device = {"metadata": {"name": "gpu"}, "spec": {"extendedResourceName": GPU}}
    assert find(Cluster([node(1, gpus=0)], deviceclasses=[device])).is_enough(1)


def test_pods_that_may_be_evicted_are_room() -> None:
    important = {"metadata": {"name": "normal"}, "value": 10, "globalDefault": True}
    cluster = Cluster([node(1)], {"n1": [busy(1)]}, priorityclasses=[important])
    assert find(cluster).is_enough(1)


@pytest.mark.parametrize(
    "kind", [RESOURCEQUOTA, NODE, POD, PRIORITYCLASS, DEVICECLASS], ids=lambda kind: kind.plural
)
def test_what_may_not_be_read_hinders_nobody_and_is_said(kind: Kind) -> None:
    cluster = Cluster([node(1)], {"n1": [busy(1)]})
    cluster.forbidden = {kind.plural}
    found = find(cluster)
    assert [text for text in found.unseen if "is forbidden" in text]
    assert found.is_enough(1) or kind is RESOURCEQUOTA


def test_without_a_right_to_nodes_only_quotas_are_read() -> None:
    cluster = Cluster([node(1)])
    find(cluster, nodes=False)
    assert cluster.asked == [RESOURCEQUOTA.plural]


def test_other_errors_are_no_matter_of_rights() -> None:
    class Down(Cluster):
        def _ask(self, kind: Kind) -> None:
            raise ApiError(503, "Unavailable", "try later")

    with pytest.raises(ApiError):
        find(Down([]))
