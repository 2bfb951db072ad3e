"""A pod, reduced to what decisions need."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from ekiben.core.snapshot import Manifest, Pod
from ekiben.observe_pods import is_coming, observe_pod, trim_pod

REVISION = "kbcdfghjkm"
STARTED = "2026-11-22T11:50:00Z"
READY = "2026-11-22T11:50:20Z"


def raw_pod(status: Any = None, node: str | None = "node-1", **metadata: Any) -> Manifest:
    return {
        "kind": "Pod",
        "metadata": {
            "name": "iris-1",
            "namespace": "shop",
            "uid": "uid-1",
            "resourceVersion": "7",
            "labels": {"ekiben.dev/model": "iris", "ekiben.dev/revision": REVISION, "team": "flowers"},
            "annotations": {"a": "b"},
            **metadata,
        },
        "spec": {"nodeName": node, "containers": [{"name": "bento", "image": "iris:1"}]},
        "status": status or {},
    }


def condition(kind: str, status: str, **more: str) -> dict[str, str]:
    return {"type": kind, "status": status, **more}


def bento(**more: Any) -> dict[str, Any]:
    return {"name": "bento", "image": "iris:1", "ready": True, "restartCount": 0, **more}


RUNNING = {
    "phase": "Running",
    "podIP": "10.0.0.7",
    "qosClass": "Burstable",
    "conditions": [
        condition("PodScheduled", "True"),
        condition("Ready", "True", lastTransitionTime=READY),
        condition("ContainersReady", "True"),
    ],
    "containerStatuses": [
        {"name": "proxy", "restartCount": 9, "state": {"running": {"startedAt": "2026-11-22T11:00:00Z"}}},
        bento(
            state={"running": {"startedAt": STARTED}},
            restartCount=1,
            imageID="registry.example.com/iris@sha256:" + "ab" * 32,
        ),
    ],
}


def seen(raw: Manifest) -> Pod:
    """Observe a pod as the cache holds it, which must be as it is."""
    trimmed, whole = observe_pod(trim_pod(raw), "iris"), observe_pod(raw, "iris")
    assert whole is not None
    assert trimmed == whole
    return whole


def test_a_running_pod_is_what_its_bento_container_is() -> None:
    assert seen(raw_pod(RUNNING)) == Pod(
        name="iris-1",
        uid="uid-1",
        revision=REVISION,
        ip="10.0.0.7",
        ready=True,
        started_at=datetime(2026, 11, 22, 11, 50, tzinfo=UTC),
        ready_changed_at=datetime(2026, 11, 22, 11, 50, 20, tzinfo=UTC),
        restarts=1,
        image_digest="sha256:" + "ab" * 32,
    )


def test_trimming_drops_what_nobody_reads() -> None:
    trimmed = trim_pod(raw_pod(RUNNING))
    assert "containers" not in trimmed["spec"]
    assert "annotations" not in trimmed["metadata"]
    assert {item["type"] for item in trimmed["status"]["conditions"]} == {"Ready", "PodScheduled"}
    assert trimmed["metadata"]["resourceVersion"] == "7"


def test_a_pod_without_any_status_has_not_started() -> None:
    pod = seen(raw_pod(node=None))
    assert not pod.ready
    assert not pod.scheduled
    assert pod.started_at is None
    assert pod.image_digest is None


def test_a_pod_with_a_node_is_scheduled_whatever_its_conditions_lack() -> None:
    assert seen(raw_pod(node="node-1")).scheduled


SCHEDULED = {"phase": "Pending", "conditions": [condition("PodScheduled", "True")]}
CREATING = bento(state={"waiting": {"reason": "ContainerCreating"}})
REFUSED = condition("PodScheduled", "False", reason="Unschedulable", message="0/3 nodes: no cpu")


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(raw_pod(node=None), id="it was just made"),
        pytest.param(raw_pod(SCHEDULED), id="it got its node"),
        pytest.param(
            raw_pod(SCHEDULED | {"podIP": "10.0.0.7", "containerStatuses": [CREATING]}),
            id="its container is made",
        ),
    ],
)
def test_a_pod_that_comes_has_nothing_to_say(raw: Manifest) -> None:
    assert is_coming(trim_pod(raw))


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(raw_pod(RUNNING), id="it runs"),
        pytest.param(
            raw_pod({"containerStatuses": [bento(state={"running": {"startedAt": STARTED}})]}),
            id="it has started",
        ),
        pytest.param(raw_pod(SCHEDULED, deletionTimestamp=STARTED), id="it goes"),
        pytest.param(raw_pod({"phase": "Failed"}), id="it has ended"),
        pytest.param(raw_pod({"conditions": [REFUSED]}, node=None), id="it finds no node"),
        pytest.param(
            raw_pod({"containerStatuses": [bento(state={"waiting": {"reason": "ErrImagePull"}})]}),
            id="its image can't be had",
        ),
        pytest.param(raw_pod({"containerStatuses": [CREATING | {"restartCount": 1}]}), id="it failed before"),
        pytest.param(
            raw_pod({"initContainerStatuses": [{"name": "fetch", "restartCount": 1}]}),
            id="its init container failed before",
        ),
    ],
)
def test_a_pod_that_has_something_to_say_does_not_merely_come(raw: Manifest) -> None:
    assert not is_coming(trim_pod(raw))


def test_a_pod_that_finds_no_node_says_why() -> None:
    unscheduled = condition("PodScheduled", "False", reason="Unschedulable", message="0/3 nodes: no cpu")
    pod = seen(raw_pod({"phase": "Pending", "conditions": [unscheduled]}, node=None))
    assert (pod.scheduled, pod.waiting_reason, pod.waiting_message) == (
        False,
        "Unschedulable",
        "0/3 nodes: no cpu",
    )


def test_a_deleted_pod_is_on_its_way_out() -> None:
    assert seen(raw_pod(RUNNING, deletionTimestamp="2026-11-22T12:00:00Z")).deleting


@pytest.mark.parametrize(
    ("status", "reason", "message"),
    [
        pytest.param(
            {
                "containerStatuses": [
                    bento(state={"waiting": {"reason": "ErrImagePull", "message": "not found"}})
                ]
            },
            "ErrImagePull",
            "not found",
            id="image",
        ),
        pytest.param(
            {
                "containerStatuses": [
                    bento(
                        state={"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
                        lastState={"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
                    )
                ]
            },
            "CrashLoopBackOff",
            "ended with exit code 137 (OOMKilled)",
            id="crash loop says how it ended",
        ),
        pytest.param(
            {
                "initContainerStatuses": [
                    {"name": "fetch", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "x"}}}
                ],
                "containerStatuses": [bento(state={"waiting": {"reason": "PodInitializing"}})],
            },
            "ImagePullBackOff",
            "container fetch: x",
            id="an init container holds it up",
        ),
        pytest.param(
            {
                "containerStatuses": [
                    {"name": "a-proxy", "state": {"waiting": {"reason": "ErrImagePull", "message": "p"}}},
                    bento(
                        state={"waiting": {"reason": "CreateContainerConfigError", "message": "no secret"}}
                    ),
                ]
            },
            "CreateContainerConfigError",
            "no secret",
            id="the bento's own trouble first",
        ),
        pytest.param(
            {"containerStatuses": [bento(state={"waiting": {"reason": "ContainerCreating"}})]},
            "",
            "",
            id="starting is no trouble",
        ),
    ],
)
def test_what_a_pod_waits_for(status: Any, reason: str, message: str) -> None:
    pod = seen(raw_pod({"phase": "Pending", **status}))
    assert (pod.scheduled, pod.waiting_reason, pod.waiting_message) == (True, reason, message)


@pytest.mark.parametrize(
    ("state", "restarts"),
    [
        pytest.param({"waiting": {"reason": "CrashLoopBackOff"}}, 4, id="it waits"),
        pytest.param({"running": {"startedAt": STARTED}}, 4, id="it runs again"),
        pytest.param({"terminated": {"exitCode": 1}}, 4, id="it has just failed"),
        pytest.param({"terminated": {"exitCode": 0}}, 0, id="it has done its work"),
    ],
)
def test_an_init_container_that_restarts_counts_until_it_is_through(state: Any, restarts: int) -> None:
    fetch = {"name": "fetch", "restartCount": 4, "state": state}
    status = {"initContainerStatuses": [{"name": "first", "state": {}}, fetch]}
    assert seen(raw_pod(status)).init_restarts == restarts


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
def test_a_pod_that_has_ended_for_good_does_not_count(phase: str) -> None:
    assert observe_pod(raw_pod({**RUNNING, "phase": phase}), "iris") is None


def test_a_pod_of_another_model_or_of_no_revision_does_not_count() -> None:
    assert observe_pod(raw_pod(RUNNING), "mnist") is None
    assert observe_pod(raw_pod(RUNNING, labels={"ekiben.dev/model": "iris"}), "iris") is None


@pytest.mark.parametrize("image_id", ["docker.io/library/iris:1", "", None])
def test_an_image_id_without_digest_is_no_digest(image_id: str | None) -> None:
    pod = seen(raw_pod({"containerStatuses": [bento(imageID=image_id)]}))
    assert pod.image_digest is None


def test_garbled_times_are_no_times() -> None:
    status = {"containerStatuses": [bento(state={"running": {"startedAt": "yesterday"}})]}
    assert seen(raw_pod(status)).started_at is None
