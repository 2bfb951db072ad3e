"""One pod as a person asks about it: ready or not, and why not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ekiben.core import names
from ekiben.core.times import parse_time

Manifest = dict[str, Any]
# A pod that waits for its turn says so by these; they explain nothing.
_IN_TURN = frozenset({"PodInitializing", "ContainerCreating"})


@dataclass(frozen=True, slots=True)
class PodFacts:
    """What is known of one pod; `reason` is one word, `says` the sentence that goes with it."""

    name: str
    revision: str
    ready: bool
    restarts: int
    created: datetime | None
    reason: str = ""
    says: str = ""
    node: str = ""
    ip: str = ""

    @property
    def trouble(self) -> str:
        """Why it is not ready, in a line."""
        return f"{self.reason}: {self.says}" if self.says else self.reason


def pod_facts(raw: Manifest) -> PodFacts:
    """Read one pod, whatever its containers have been through."""
    metadata, status = raw.get("metadata") or {}, raw.get("status") or {}
    containers = _containers(status)
    ready = _condition(status, "Ready").get("status") == "True"
    reason, says = _trouble(raw, status, containers, ready)
    return PodFacts(
        name=str(metadata.get("name", "")),
        revision=str((metadata.get("labels") or {}).get(names.REVISION, "")),
        ready=ready and "deletionTimestamp" not in metadata,
        restarts=sum(int(item.get("restartCount") or 0) for item in containers),
        created=parse_time(metadata.get("creationTimestamp")),
        reason=reason,
        says=" ".join(says.split()),
        node=str((raw.get("spec") or {}).get("nodeName") or ""),
        ip=str(status.get("podIP") or ""),
    )


def _containers(status: Manifest) -> list[Manifest]:
    """Return the states of all containers: those that start first, then the bento, then its sidecars."""
    started = sorted(
        status.get("containerStatuses") or (), key=lambda item: item.get("name") != names.CONTAINER
    )
    return [*(status.get("initContainerStatuses") or ()), *started]


def _trouble(raw: Manifest, status: Manifest, containers: list[Manifest], ready: bool) -> tuple[str, str]:
    if "deletionTimestamp" in (raw.get("metadata") or {}):
        return "Terminating", ""
    if status.get("phase") in ("Failed", "Succeeded"):
        return str(status.get("reason") or status["phase"]), str(status.get("message") or "")
    placed = _condition(status, "PodScheduled")
    if placed.get("status") == "False":
        return str(placed.get("reason") or "Unschedulable"), str(placed.get("message") or "")
    for container in containers:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting and waiting.get("reason") not in _IN_TURN:
            return str(waiting.get("reason") or "Waiting"), _explained(container, waiting)
    if ready:
        return "", ""
    for container in containers:
        if (container.get("lastState") or {}).get("terminated"):
            return "Restarted", _explained(container, {})
    bento = next((item for item in containers if item.get("name") == names.CONTAINER), {})
    if (bento.get("state") or {}).get("running"):
        return "NotReady", "started, and its readiness probe has not passed"
    return "Starting", ""


def _explained(container: Manifest, waiting: Manifest) -> str:
    """Say what a container waits for; how it ended last time explains more than that it is restarted."""
    ended = (container.get("lastState") or {}).get("terminated")
    said = str(waiting.get("message") or "")
    if ended:
        said = f"ended with exit code {ended.get('exitCode')} ({ended.get('reason') or 'Error'})"
    name = container.get("name", "")
    return said if name == names.CONTAINER else f"container {name}: {said}"


def _condition(status: Manifest, kind: str) -> Manifest:
    return next((item for item in status.get("conditions") or () if item.get("type") == kind), {})
