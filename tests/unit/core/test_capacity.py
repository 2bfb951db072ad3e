"""Room for more pods: quotas, nodes, and the words about what lacks. 'No room' is only said for certain."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from ekiben.core.capacity import NodeRoom, Room, deciding, evicts_below, free_on, node_need
from ekiben.core.quotas import QuotaRoom, quota_rooms
from ekiben.core.room import shortage

GPU = "nvidia.com/gpu"
Json = dict[str, Any]
POD: Json = {"containers": [{"resources": {"requests": {"cpu": "2"}, "limits": {GPU: 1, "memory": "4Gi"}}}]}


def node(**allocatable: Any) -> Json:
    """Return a node that offers so much, 110 pods unless said otherwise."""
    offers = {name.replace("gpu", GPU): value for name, value in allocatable.items()}
    return {"metadata": {"name": "n"}, "status": {"allocatable": {"pods": "110", **offers}}}


def running(gpus: int = 1, **changes: Any) -> Json:
    """Return a pod on a node; `changes` go over its metadata, spec and status."""
    spec = {"containers": [{"resources": {"limits": {GPU: gpus}}}]}
    pod = {"metadata": {"namespace": "shop", "labels": {}}, "spec": spec, "status": {"phase": "Running"}}
    return {key: {**pod[key], **changes.get(key, {})} for key in pod}


def counted(need: Json, nodes: list[tuple[Json, list[Json]]]) -> NodeRoom:
    """Count the room on nodes with their pods."""
    room = NodeRoom(nodes=len(nodes))
    for place, pods in nodes:
        room = room.plus(need, free_on(place, pods))
    return room


def quota(used: Json, hard: Json, **spec: Any) -> Json:
    """Return a ResourceQuota as the cluster has counted it."""
    return {
        "metadata": {"name": "gpu-team"},
        "spec": {"hard": hard, **spec},
        "status": {"hard": hard, "used": used},
    }


def test_what_is_taken_of_a_node() -> None:
    assert node_need(POD) == {"cpu": 2, GPU: 1, "memory": 4 * 2**30, "pods": 1}


def test_devices_that_no_node_counts_are_left_out() -> None:
    asks = {"containers": [{"resources": {"limits": {GPU: 1, "deviceclass.resource.kubernetes.io/a": 1}}}]}
    assert node_need(asks, [GPU]) == {"pods": 1}


@pytest.mark.parametrize(
    ("pod", "gpus_left"),
    [
        (running(), 3),
        (running(status={"phase": "Succeeded"}), 4),
        (running(status={"phase": "Failed"}), 4),
        (running(metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}), 4),
        (running(spec={"priority": -10}), 3),
    ],
    ids=["runs", "has ended", "has failed", "is ending", "of low priority, where nobody evicts"],
)
def test_which_pods_take_room(pod: Json, gpus_left: int) -> None:
    assert free_on(node(gpu="4"), [pod])[GPU] == gpus_left


def test_pods_that_leave_and_pods_that_may_be_evicted_take_none() -> None:
    labels = {"ekiben.dev/model": "iris", "ekiben.dev/revision": "old"}
    ours = running(metadata={"labels": labels})
    pods = [ours, running(spec={"priority": -10}), running(spec={"priority": 5})]
    assert free_on(node(gpu="4"), pods, ("shop", "iris", "old"))[GPU] == 2
    assert free_on(node(gpu="4"), pods, ("other", "iris", "old"), evicts_below=0)[GPU] == 2
    assert free_on(node(gpu="4"), pods, ("shop", "iris", "old"), evicts_below=0)[GPU] == 3


@pytest.mark.parametrize(
    ("pod", "classes", "below"),
    [
        ({}, [], 0),
        ({}, [{"metadata": {"name": "normal"}, "value": 100, "globalDefault": True}], 100),
        ({"priorityClassName": "high"}, [{"metadata": {"name": "high"}, "value": 1000}], 1000),
        (
            {"priorityClassName": "polite"},
            [{"metadata": {"name": "polite"}, "value": 1000, "preemptionPolicy": "Never"}],
            None,
        ),
        ({"priorityClassName": "unknown"}, [], None),
    ],
)
def test_whom_a_pod_may_evict(pod: Json, classes: list[Json], below: int | None) -> None:
    assert evicts_below(pod, classes) == below


@pytest.mark.parametrize(
    ("nodes", "fits"),
    [
        ([], 0),
        ([(node(gpu="4"), [])], 4),
        ([(node(gpu="4"), [running(3)]), (node(gpu="4"), [running(4)])], 1),
        # One on each of three is room for three of one, and for none of two.
        ([(node(gpu="1"), [])] * 3, 3),
        ([(node(), [])], 0),
        ([(node(gpu="4", pods="1"), [running(0)])], 0),
        ([(node(gpu="2"), [running(3)])], 0),
    ],
    ids=["no node", "empty", "nearly full", "scattered", "no device", "no place", "more than there is"],
)
def test_how_many_pods_of_one_gpu_fit(nodes: list[tuple[Json, list[Json]]], fits: int) -> None:
    need = {GPU: Fraction(1), "pods": Fraction(1)}
    assert counted(need, nodes).fits == fits


def test_what_lacks_is_said_with_numbers() -> None:
    need = {GPU: Fraction(1), "pods": Fraction(1)}
    nodes = counted(need, [(node(gpu="1"), []), (node(gpu="1"), [running()]), (node(gpu="1"), [running()])])
    left = QuotaRoom("gpu-team", "requests.nvidia.com/gpu", Fraction(1), Fraction(0), Fraction(4))
    assert shortage(Room(need, (left,), nodes), 2, "k7") == (
        "no room for 2 pods of k7: needs 2 x nvidia.com/gpu, 1 free on 3 matching nodes;"
        " quota gpu-team has 0 of 4 requests.nvidia.com/gpu left, 2 needed"
    )
    assert shortage(Room(need, (), nodes), 1, "k7") == ""


def test_scattered_room_is_told_from_room() -> None:
    need = {GPU: Fraction(2), "pods": Fraction(1)}
    nodes = counted(need, [(node(gpu="1"), [])] * 3)
    assert shortage(Room(need, (), nodes), 1, "k7") == (
        "no room for 1 pod of k7: needs 2 x nvidia.com/gpu on one node for each pod,"
        " free for 0 of 1 on 3 matching nodes"
    )


def test_room_that_no_node_has_together() -> None:
    need = {"cpu": Fraction(4), "memory": Fraction(2**30), "pods": Fraction(1)}
    nodes = counted(need, [(node(cpu="4", memory="1Mi"), []), (node(cpu="1", memory="8Gi"), [])])
    assert shortage(Room(need, (), nodes), 1, "k7") == (
        "no room for 1 pod of k7: needs 4 CPUs, 1Gi of memory on one node for each pod,"
        " free together for 0 of 1 on 2 matching nodes"
    )


def test_no_node_at_all() -> None:
    said = shortage(Room({}, (), NodeRoom(nodes=5)), 1, "k7")
    assert (
        said
        == "no room for 1 pod of k7: none of 5 nodes has the labels and tolerated taints that it asks for"
    )


def test_what_was_not_looked_at_is_room() -> None:
    assert Room({}, unseen=("nodes were not looked at",)).is_enough(10_000)


@pytest.mark.parametrize(
    ("hard", "used", "fits"),
    [
        ({"requests.nvidia.com/gpu": "4"}, {"requests.nvidia.com/gpu": "3"}, 1),
        ({"pods": "10"}, {"pods": "8"}, 2),
        ({"count/pods": "10"}, {"count/pods": "10"}, 0),
        ({"cpu": "7"}, {"cpu": "0"}, 3),
        ({"requests.cpu": "7"}, {"requests.cpu": "5500m"}, 0),
        ({"limits.memory": "8Gi"}, {"limits.memory": "0"}, 2),
        ({"requests.memory": "8Gi"}, {"requests.memory": "9Gi"}, 0),
    ],
)
def test_what_a_quota_leaves(hard: Json, used: Json, fits: int) -> None:
    (room,) = quota_rooms([quota(used, hard)], POD)
    assert room.fits == fits


@pytest.mark.parametrize(
    ("hard", "used", "spec"),
    [
        ({"services": "1"}, {"services": "1"}, {}),
        ({"limits.cpu": "1"}, {"limits.cpu": "1"}, {}),
        ({"pods": "1"}, {}, {}),
        ({"pods": "1"}, {"pods": "1"}, {"scopes": ["BestEffort"]}),
        ({"pods": "1"}, {"pods": "1"}, {"scopes": ["Terminating"]}),
        ({"pods": "1"}, {"pods": "1"}, {"scopes": ["CrossNamespacePodAffinity"]}),
        (
            {"pods": "1"},
            {"pods": "1"},
            {
                "scopeSelector": {
                    "matchExpressions": [{"scopeName": "PriorityClass", "operator": "DoesNotExist"}]
                }
            },
        ),
    ],
    ids=[
        "other things",
        "what it has no limit of",
        "not counted yet",
        "best effort",
        "ending",
        "affinity",
        "class",
    ],
)
def test_a_quota_that_says_nothing_about_such_pods(hard: Json, used: Json, spec: Json) -> None:
    assert quota_rooms([quota(used, hard, **spec)], POD) == ()


def test_a_quota_of_a_priority_class_counts_its_pods_only() -> None:
    scope = {"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}
    full = quota({"pods": "1"}, {"pods": "1"}, scopeSelector={"matchExpressions": [scope]})
    assert [room.fits for room in quota_rooms([full], POD | {"priorityClassName": "high"})] == [0]
    assert quota_rooms([full], POD | {"priorityClassName": "low"}) == ()


def test_a_quota_gets_back_what_pods_that_leave_take() -> None:
    full = quota({"requests.nvidia.com/gpu": "4"}, {"requests.nvidia.com/gpu": "4"})
    (room,) = quota_rooms([full], POD, leaving=[POD, POD])
    assert (room.fits, room.left) == (2, 2)


def test_what_of_a_pod_decides_is_all_that_is_asked_about() -> None:
    spec = {
        "containers": [{"name": "bento", "image": "x", "env": [], "resources": {"requests": {"cpu": "1"}}}],
        "initContainers": [{"name": "s", "restartPolicy": "Always"}],
        "nodeSelector": {"gpu": "yes"},
        "affinity": {"podAntiAffinity": {"x": 1}},
        "volumes": [{"name": "tmp"}],
    }
    assert deciding(spec) == {
        "containers": [{"resources": {"requests": {"cpu": "1"}}}],
        "initContainers": [{"restartPolicy": "Always"}],
        "nodeSelector": {"gpu": "yes"},
    }
