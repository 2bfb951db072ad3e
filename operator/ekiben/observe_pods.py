"""Read one pod: what of it decisions need, whatever its containers have been through."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ekiben.core import names
from ekiben.core.snapshot import Manifest, Pod
from ekiben.core.times import parse_time

# A pod that waits for its turn says so by these; they explain nothing.
_IN_TURN = frozenset({"PodInitializing", "ContainerCreating"})


def observe_pod(raw: Manifest, model: str) -> Pod | None:
    """Read one pod; None for what is no pod of a revision of this model, or has ended for good.

    Evicted and failed pods stay in the API for long after a new pod took their place.
    """
    metadata, status = raw.get("metadata", {}), raw.get("status") or {}
    labels = metadata.get("labels") or {}
    revision = labels.get(names.REVISION)
    if labels.get(names.MODEL) != model or not revision or status.get("phase") in ("Failed", "Succeeded"):
        return None
    ready = _condition(status, "Ready")
    bento = _container(status, "containerStatuses", names.CONTAINER)
    scheduled, reason, message = _progress(raw, status)
    return Pod(
        name=metadata.get("name", ""),
        uid=metadata.get("uid", ""),
        revision=revision,
        ip=status.get("podIP") or None,
        ready=ready.get("status") == "True",
        deleting="deletionTimestamp" in metadata,
        scheduled=scheduled,
        started_at=parse_time((bento.get("state") or {}).get("running", {}).get("startedAt")),
        ready_changed_at=parse_time(ready.get("lastTransitionTime")),
        restarts=bento.get("restartCount", 0),
        init_restarts=_init_restarts(status),
        waiting_reason=reason,
        waiting_message=message,
        image_digest=_digest(bento.get("imageID")),
    )


def is_coming(raw: Manifest) -> bool:
    """Tell whether a pod has neither started nor anything to say: until it has, no decision depends on it."""
    labels = raw.get("metadata", {}).get("labels") or {}
    pod = observe_pod(raw, labels.get(names.MODEL, ""))
    return pod is not None and not (
        pod.deleting
        or pod.ready
        or pod.started_at
        or pod.restarts
        or pod.init_restarts
        or pod.waiting_reason
        or pod.waiting_message
    )


def trim_pod(raw: Manifest) -> Manifest:
    """Keep of a pod only what is read here: there are many, and most of each is its spec."""
    metadata, status = raw.get("metadata", {}), raw.get("status") or {}
    kept = ("name", "namespace", "uid", "resourceVersion", "deletionTimestamp")
    labels = metadata.get("labels") or {}
    return {
        "kind": "Pod",
        "metadata": {key: metadata[key] for key in kept if key in metadata}
        | {"labels": {key: labels[key] for key in (names.MODEL, names.REVISION) if key in labels}},
        "spec": {"nodeName": (raw.get("spec") or {}).get("nodeName")},
        "status": {
            "phase": status.get("phase"),
            "podIP": status.get("podIP"),
            "conditions": [
                {
                    key: item[key]
                    for key in ("type", "status", "reason", "message", "lastTransitionTime")
                    if key in item
                }
                for item in status.get("conditions") or ()
                if item.get("type") in ("Ready", "PodScheduled")
            ],
            "initContainerStatuses": [
                _trim_container(item) for item in status.get("initContainerStatuses") or ()
            ],
            "containerStatuses": [_trim_container(item) for item in status.get("containerStatuses") or ()],
        },
    }


def _trim_container(status: dict[str, Any]) -> dict[str, Any]:
    kept = ("name", "state", "lastState", "restartCount", "imageID")
    return {key: status[key] for key in kept if key in status}


def _progress(raw: Manifest, status: dict[str, Any]) -> tuple[bool, str, str]:
    """Return whether the pod has a node, and what it waits for: (scheduled, reason, message)."""
    placed = _condition(status, "PodScheduled")
    if placed.get("status") == "False":
        return False, placed.get("reason", "Unschedulable"), placed.get("message", "")
    scheduled = placed.get("status") == "True" or bool((raw.get("spec") or {}).get("nodeName"))
    for container in _containers(status):
        waiting = (container.get("state") or {}).get("waiting")
        if waiting and waiting.get("reason") not in _IN_TURN:
            return scheduled, waiting.get("reason", ""), _explain(container, waiting)
    if _condition(status, "Ready").get("status") != "True":
        # It runs again for a moment, and how it ended last time is still all that explains it.
        for container in _containers(status):
            if (container.get("lastState") or {}).get("terminated"):
                return scheduled, "", _explain(container, {})
    return scheduled, "", ""


def _init_restarts(status: dict[str, Any]) -> int:
    """Count how often the init container was restarted that has not done its work yet."""
    return max(
        (
            container.get("restartCount", 0)
            for container in status.get("initContainerStatuses") or ()
            if ((container.get("state") or {}).get("terminated") or {}).get("exitCode") != 0
        ),
        default=0,
    )


def _containers(status: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the containers in the order in which they start, the bento before its sidecars."""
    yield from status.get("initContainerStatuses") or ()
    yield from sorted(
        status.get("containerStatuses") or (), key=lambda container: container.get("name") != names.CONTAINER
    )


def _explain(container: dict[str, Any], waiting: dict[str, Any]) -> str:
    """Say which container waits and why; how it ended last time explains more than that it is restarted."""
    message = waiting.get("message", "")
    ended = (container.get("lastState") or {}).get("terminated")
    if ended:
        message = f"ended with exit code {ended.get('exitCode')} ({ended.get('reason', 'Error')})"
    name = container.get("name", "")
    return message if name == names.CONTAINER else f"container {name}: {message}"


def _condition(status: dict[str, Any], kind: str) -> dict[str, Any]:
    return next((item for item in status.get("conditions") or () if item.get("type") == kind), {})


def _container(status: dict[str, Any], where: str, name: str) -> dict[str, Any]:
    return next((item for item in status.get(where) or () if item.get("name") == name), {})


def _digest(image_id: object) -> str | None:
    """Cut `registry/name@sha256:...` down to its digest."""
    digest = str(image_id or "").rpartition("@")[2]
    return digest if digest.startswith("sha256:") else None
