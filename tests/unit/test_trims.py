"""What is kept of an object still says all that is read of it; what is dropped wakes nobody."""

from __future__ import annotations

from typing import Any

import pytest

from ekiben.caches import Caches
from ekiben.core.view import Side
from ekiben.kube.kinds import DEPLOYMENT, HPA, MODELDEPLOYMENT, PDB, POD, Kind
from ekiben.trims import trim_config_map, trim_deployment, trim_model, trim_status
from unit.fake_client import FakeClient

QUOTA = {
    "type": "ReplicaFailure",
    "status": "True",
    "reason": "FailedCreate",
    "message": "exceeded quota: pods",
}


def deployment(version: int = 1, **status: Any) -> dict[str, Any]:
    owner = {"kind": "ModelDeployment", "name": "iris", "uid": "uid-iris", "controller": True}
    labels = {"app.kubernetes.io/managed-by": "ekiben"}
    about = {"name": "iris-x", "namespace": "shop", "uid": "u", "labels": labels, "ownerReferences": [owner]}
    return {
        "metadata": {**about, "resourceVersion": str(version)},
        "spec": {"replicas": 2},
        "status": status,
    }


def test_a_deployment_still_says_why_its_pods_cant_be_created() -> None:
    progressing = {"type": "Progressing", "status": "True", "message": "has progressed"}
    whole = deployment(replicas=2, conditions=[progressing, QUOTA])
    trimmed = trim_deployment(whole)
    sides = [Side("x", None, item, ()) for item in (whole, trimmed)]
    assert sides[0].replica_failure == sides[1].replica_failure == "exceeded quota: pods"
    assert sides[1].replicas == 2
    assert trimmed["status"] == {"conditions": [{key: QUOTA[key] for key in ("type", "status", "message")}]}


@pytest.mark.parametrize("status", [None, {}, {"conditions": None}])
def test_a_deployment_without_a_word_is_trimmed_too(status: Any) -> None:
    assert trim_deployment({**deployment(), "status": status})["status"] == {"conditions": []}


def test_a_model_loses_its_annotations_and_a_policy_its_status() -> None:
    assert trim_model({"metadata": {"name": "iris", "annotations": {"a": "b"}}}) == {
        "metadata": {"name": "iris", "writers": {}}
    }
    assert trim_status({"spec": {"minReplicas": 1}, "status": {"currentMetrics": []}}) == {
        "spec": {"minReplicas": 1}
    }


@pytest.mark.parametrize("kind", [DEPLOYMENT, PDB, HPA])
async def test_counts_that_change_wake_nobody(kind: Kind) -> None:
    woken: list[tuple[str, str]] = []
    caches = Caches(FakeClient(), (), woken.append, woken.append)
    caches.models.note_written({"metadata": {"name": "iris", "namespace": "shop", "uid": "uid-iris"}})
    store = caches.store(kind, "shop")
    store.note_written(deployment(1, replicas=1))
    woken.clear()
    store.note_written(deployment(2, replicas=2, readyReplicas=1))
    assert woken == []
    changed = store.get("shop", "iris-x")
    assert changed is not None
    assert changed["metadata"]["resourceVersion"] == "2", "the next write must not be late"
    store.note_written({**deployment(3), "spec": {"replicas": 3}})
    assert woken == [("shop", "iris")]
    assert caches.models.get("shop", "iris") is not None, MODELDEPLOYMENT.plural


async def test_what_its_controller_counts_of_a_deployment_wakes_nobody() -> None:
    woken: list[tuple[str, str]] = []
    caches = Caches(FakeClient(), (), woken.append, woken.append)
    caches.models.note_written({"metadata": {"name": "iris", "namespace": "shop", "uid": "uid-iris"}})
    store = caches.store(DEPLOYMENT, "shop")
    store.note_written(deployment(1))
    woken.clear()
    counted = deployment(2)
    counted["metadata"]["annotations"] = {"deployment.kubernetes.io/revision": "1"}
    counted["metadata"]["managedFields"] = [{"manager": "kube-controller-manager"}]
    store.note_written(counted)
    assert woken == []
    noted = deployment(3)
    noted["metadata"]["annotations"] = {"deployment.kubernetes.io/revision": "1", "team": "flowers"}
    store.note_written(noted)
    assert woken == [("shop", "iris")]
    kept = store.get("shop", "iris-x")
    assert kept is not None
    assert kept["metadata"]["annotations"] == {"team": "flowers"}
    assert "managedFields" not in kept["metadata"]


def pod(version: int, **status: Any) -> dict[str, Any]:
    """Return a pod of iris; `status` is what its kubelet has said."""
    labels = {"ekiben.dev/model": "iris", "ekiben.dev/revision": "kbcdfghjkm"}
    about = {"name": "iris-x-1", "namespace": "shop", "uid": "pod", "resourceVersion": str(version)}
    return {"metadata": {**about, "labels": labels}, "spec": {}, "status": status}


async def test_a_pod_wakes_its_model_once_it_has_something_to_say_and_when_it_goes() -> None:
    woken: list[tuple[str, str]] = []
    caches = Caches(FakeClient(), (), woken.append, woken.append)
    caches.models.note_written({"metadata": {"name": "iris", "namespace": "shop", "uid": "uid-iris"}})
    store = caches.store(POD, "shop")
    woken.clear()
    placed = {"type": "PodScheduled", "status": "True"}
    store.note_written(pod(1))
    store.note_written(pod(2, conditions=[placed]))
    assert woken == []
    store.note_written(pod(3, conditions=[placed, {"type": "Ready", "status": "True"}]))
    assert len(woken) == 1
    store.note_written(pod(4, conditions=[placed, {"type": "Ready", "status": "False"}]))
    assert len(woken) == 2, "what it said is taken back"
    store.note_deleted("shop", "iris-x-1", "pod")
    assert len(woken) == 3


def wrote(manager: str, *content: str, immutable: bool = True, **more: Any) -> dict[str, Any]:
    """Return what managedFields say of somebody who wrote these keys of a ConfigMap's data."""
    fields: dict[str, Any] = {"f:metadata": {"f:labels": {}}}
    if content:
        fields["f:data"] = {".": {}, **{f"f:{key}": {} for key in content}}
    if immutable:
        fields["f:immutable"] = {}
    return {"manager": manager, "operation": "Update", "fieldsV1": fields, **more}


OURS = wrote("ekiben", "colour")


@pytest.mark.parametrize(
    ("fields", "others"),
    [
        ([OURS], False),
        ([wrote("ekiben")], False),
        ([OURS, wrote("kubectl-label", immutable=False)], False),
        ([OURS, wrote("argocd", "colour")], False),
        ([wrote("kubectl-create", "colour")], True),
        ([wrote("kubectl-create")], True),
        ([OURS, wrote("kubectl-edit", "size", immutable=False)], True),
        ([wrote("ekiben", "colour", immutable=False), wrote("kubectl-edit")], True),
        (None, False),
        ([None, {}, {"fieldsV1": []}, {"fieldsV1": {"f:data": None}, "manager": "ekiben"}], False),
    ],
)
def test_a_copy_whose_content_others_wrote_is_marked_and_costs_no_read(fields: Any, others: bool) -> None:
    about = {"name": "iris-x-1", "namespace": "shop", "uid": "u", "resourceVersion": "7"}
    whole = {"metadata": {**about, "annotations": {"a": "b"}, "managedFields": fields}}
    marked = {"othersContent": True} if others else {}
    assert trim_config_map(whole)["metadata"] == about | marked
