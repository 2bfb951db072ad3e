"""Pods and what becomes of them: scheduling, pulling, starting, readiness, crashes, termination."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ekiben.core.names import CONTAINER
from ekiben.core.snapshot import Manifest
from unit.sim.clock import Clock, time_text

RETRY = 5.0
TERMINATION = 6.0
CRASH_AFTER = 2.0
RESTART = 1.0


@dataclass
class Behaviour:
    """How the pods of one image behave; shares are fractions of the requests, times are seconds.

    Without `buckets` a page tells no durations but their number; without `ends` a pod goes on ending. Where
    one pod gets more requests a second than its `capacity`, all of them are slow.
    """

    pull: float = 1.0
    start: float = 3.0
    pullable: bool = True
    schedulable: bool = True
    never_ready: bool = False
    crash_loop: bool = False
    init_crash_loop: bool = False
    errors: float = 0.0
    sheds: float = 0.0
    slow: float = 0.0
    slow_takes: float = 1.0
    capacity: float = math.inf
    takes: float = 0.05
    batch: float = 4.0
    service: str = "Iris"
    scrapable: bool = True
    buckets: bool = True
    ends: bool = True


@dataclass
class Served:
    """What one container has counted since it started; fractions of requests are carried along."""

    requests: float = 0.0
    errors: float = 0.0
    sheds: float = 0.0
    slow: float = 0.0


@dataclass
class SimPod:
    """One pod, with the times of its life in virtual seconds."""

    name: str
    uid: str
    deployment: str
    owner: str
    labels: Mapping[str, str]
    image: str
    created: float
    ip: str | None = None
    scheduled: bool = False
    known_to_scheduler: bool = False
    started: float | None = None
    ready: bool = False
    ready_changed: float = 0.0
    deleting: bool = False
    restarts: int = 0
    init_restarts: int = 0
    waiting_reason: str = ""
    waiting_message: str = ""
    served: Served = field(default_factory=Served)
    last_request: float | None = None
    config_maps: tuple[str, ...] = ()
    config: dict[str, Manifest] = field(default_factory=dict)

    @property
    def tag(self) -> str:
        """The image's tag: what scenarios call a version."""
        return self.image.rsplit(":", 1)[-1]

    @property
    def serves(self) -> bool:
        """Tell whether Services send it requests."""
        return self.ready and not self.deleting

    def raw(self) -> Manifest:
        """Return the pod as the API server shows it, its times in whole seconds."""
        state: dict[str, Any] = {"waiting": {"reason": self.waiting_reason, "message": self.waiting_message}}
        if self.started is not None:
            state = {"running": {"startedAt": time_text(self.started)}}
        container = {
            "name": CONTAINER,
            "state": state,
            "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}} if self.restarts else {},
            "restartCount": self.restarts,
            "imageID": "" if self.started is None else f"{self.image}@sha256:{self.tag}",
        }
        placed = {"type": "PodScheduled", "status": "True" if self.scheduled else "False"}
        if not self.scheduled:
            placed |= {"reason": self.waiting_reason, "message": self.waiting_message}
        ready = {
            "type": "Ready",
            "status": "True" if self.ready else "False",
            "lastTransitionTime": time_text(self.ready_changed),
        }
        return {
            "kind": "Pod",
            "metadata": {
                "name": self.name,
                "namespace": "shop",
                "uid": self.uid,
                "labels": dict(self.labels),
                **({"deletionTimestamp": time_text(self.created)} if self.deleting else {}),
            },
            "status": {
                "phase": "Running" if self.started is not None else "Pending",
                "podIP": self.ip,
                "conditions": [placed, ready] if self.known_to_scheduler else [],
                "initContainerStatuses": [self._init_container()] if self.init_restarts else [],
                "containerStatuses": [container] if self.scheduled else [],
            },
        }

    def _init_container(self) -> Manifest:
        return {
            "name": "fetch",
            "state": {
                "waiting": {"reason": "CrashLoopBackOff", "message": "back-off restarting failed container"}
            },
            "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}},
            "restartCount": self.init_restarts,
        }


class Nodes:
    """The scheduler, the kubelets and the containers in one."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.pods: dict[str, SimPod] = {}
        self.behaviours: dict[str, Behaviour] = {}
        self.watchers: list[Callable[[SimPod], None]] = []
        self.config_map: Callable[[str], Manifest | None] = lambda name: None
        self._count = 0

    def behaviour(self, tag: str) -> Behaviour:
        """Return how the pods of an image tag behave; change it in place."""
        return self.behaviours.setdefault(tag, Behaviour())

    def of(self, tag: str) -> list[SimPod]:
        """List the pods of an image tag that are not being deleted."""
        return [pod for pod in self.pods.values() if pod.tag == tag and not pod.deleting]

    def selected(self, selector: Mapping[str, str]) -> Iterator[SimPod]:
        """List the pods that a Service with this selector sends requests to."""
        wanted = selector.items()
        return (pod for pod in self.pods.values() if pod.serves and wanted <= pod.labels.items())

    def create(self, deployment: str, owner: str, template: Mapping[str, Any]) -> None:
        """Create one pod from a Deployment's template."""
        self._count += 1
        pod = SimPod(
            name=f"{deployment}-{self._count}",
            uid=f"pod-{self._count}",
            deployment=deployment,
            owner=owner,
            labels=template["metadata"]["labels"],
            image=template["spec"]["containers"][0]["image"],
            created=self.clock.now,
            ready_changed=self.clock.now,
            config_maps=tuple(sorted(set(config_maps_of(template["spec"])))),
        )
        self.pods[pod.uid] = pod
        self._tell(pod)
        self.clock.after(0.1, lambda: self._schedule(pod))

    def delete(self, pod: SimPod) -> None:
        """Delete one pod gracefully: Services forget it at once, it goes on serving what it has."""
        if not pod.deleting:
            pod.deleting = True
            self._tell(pod)
            self.clock.after(TERMINATION, lambda: self._remove(pod))

    def restart(self, pod: SimPod) -> None:
        """Let a container die once and come back."""
        self._terminated(pod)
        self.clock.after(RESTART, lambda: self._start(pod))

    def set_ready(self, pod: SimPod, ready: bool) -> None:
        """Let the readiness probe succeed or fail."""
        if pod.ready != ready:
            pod.ready = ready
            pod.ready_changed = self.clock.now
            self._tell(pod)

    def _schedule(self, pod: SimPod) -> None:
        if pod.deleting:
            return
        pod.known_to_scheduler = True
        if not self.behaviour(pod.tag).schedulable:
            self._wait(pod, "Unschedulable", "0/3 nodes are available: 3 Insufficient memory")
            self.clock.after(RETRY, lambda: self._schedule(pod))
            return
        pod.scheduled = True
        self._wait(pod, "ContainerCreating", "")
        self.clock.after(self.behaviour(pod.tag).pull, lambda: self._pull(pod))

    def _pull(self, pod: SimPod) -> None:
        if pod.deleting:
            return
        if self.behaviour(pod.tag).init_crash_loop:
            self._crash_in_init(pod)
            return
        if self.behaviour(pod.tag).pullable:
            self._start(pod)
            return
        self._wait(pod, "ImagePullBackOff", f"Back-off pulling image {pod.image!r}: not found")
        self.clock.after(RETRY, lambda: self._pull(pod))

    def _start(self, pod: SimPod) -> None:
        if pod.deleting:
            return
        found = {name: self.config_map(name) for name in pod.config_maps}
        if missing := [name for name, content in found.items() if content is None]:
            self._wait(pod, "CreateContainerConfigError", f'configmap "{missing[0]}" not found')
            self.clock.after(RETRY, lambda: self._start(pod))
            return
        pod.config = {name: content for name, content in found.items() if content is not None}
        pod.ip = pod.ip or f"10.0.0.{pod.uid.removeprefix('pod-')}"
        pod.started = self.clock.now
        pod.served = Served()
        self._wait(pod, "", "")
        behaviour = self.behaviour(pod.tag)
        if behaviour.crash_loop:
            self.clock.after(CRASH_AFTER, lambda: self._crash(pod))
        else:
            self.clock.after(behaviour.start, lambda: self._probe(pod))

    def _probe(self, pod: SimPod) -> None:
        if pod.deleting or pod.started is None:
            return
        if self.behaviour(pod.tag).never_ready:
            self.clock.after(RETRY, lambda: self._probe(pod))
        else:
            self.set_ready(pod, True)

    def _crash(self, pod: SimPod) -> None:
        if not pod.deleting:
            self._terminated(pod)
            self._wait(pod, "CrashLoopBackOff", "back-off restarting failed container")
            self.clock.after(min(10.0 * 2 ** (pod.restarts - 1), 300.0), lambda: self._start(pod))

    def _crash_in_init(self, pod: SimPod) -> None:
        if not pod.deleting:
            pod.init_restarts += 1
            self._wait(pod, "PodInitializing", "")
            self._tell(pod)
            self.clock.after(
                min(10.0 * 2 ** (pod.init_restarts - 1), 300.0), lambda: self._crash_in_init(pod)
            )

    def _terminated(self, pod: SimPod) -> None:
        pod.restarts += 1
        pod.started = None
        self.set_ready(pod, False)
        self._tell(pod)

    def _wait(self, pod: SimPod, reason: str, message: str) -> None:
        if (pod.waiting_reason, pod.waiting_message) != (reason, message) or not reason:
            pod.waiting_reason, pod.waiting_message = reason, message
            self._tell(pod)

    def _remove(self, pod: SimPod) -> None:
        if not self.behaviour(pod.tag).ends:
            self.clock.after(RETRY, lambda: self._remove(pod))
            return
        del self.pods[pod.uid]
        self._tell(pod)

    def _tell(self, pod: SimPod) -> None:
        for watcher in self.watchers:
            watcher(pod)


def config_maps_of(spec: Any) -> Iterator[str]:
    """Name the ConfigMaps that a pod refers to, wherever it does."""
    if isinstance(spec, list):
        for item in spec:
            yield from config_maps_of(item)
    if isinstance(spec, dict):
        for key, value in spec.items():
            if key in ("configMap", "configMapRef", "configMapKeyRef"):
                yield value["name"]
            else:
                yield from config_maps_of(value)
