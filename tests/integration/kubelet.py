"""A stand-in for scheduler, kubelet and BentoML, because the bare API of these tests has no node.

Honest about: a pod is scheduled, started and ready in that order and says so in its status as a kubelet does;
each has an address of its own (127.x.y.z) where a real HTTP server answers /metrics on port 3000 with the
families, labels and configured buckets of BentoML, probes counted as BentoML counts them; a container that
restarts begins to count from 0; an image that can't be pulled waits.

Not honest about: nothing is run; the pods get no node, so a deleted pod is gone at once instead of draining;
its server answers until the stand-in hears of that.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import math
import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from ekiben.core import names
from ekiben.core.render.job import CONTAINER as CHECK
from ekiben.kube.client import ApiError, Client
from ekiben.kube.kinds import POD
from integration.follow import Followed, Manifest

SERVICE = "Iris"
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 180, math.inf)
FAST_SECONDS, SLOW_SECONDS = 0.02, 0.7


@dataclass(slots=True)
class Behaviour:
    """How the pods of one image behave: shares of requests from 0 to 1, times in seconds."""

    startup: float = 0.1
    measured: bool = True
    errors: float = 0.0
    slow: float = 0.0
    pullable: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.pullable.set()


@dataclass(slots=True)
class PodServer:
    """One pod as its node knows it: what runs there, and what it has served."""

    name: str
    uid: str
    labels: Mapping[str, str]
    image: str
    created: str
    buckets: tuple[float, ...] = BUCKETS
    ip: str = ""
    ready: bool = False
    restarts: int = 0
    started: str = ""
    ready_changed: str = ""
    codes: Counter[int] = field(default_factory=lambda: Counter({200: 0, 500: 0}))
    within: Counter[float] = field(default_factory=Counter)
    probes: int = 0
    served: int = 0
    called: int = 0
    asked: float | None = None
    owed: Counter[str] = field(default_factory=Counter)

    @property
    def revision(self) -> str:
        """The revision that it belongs to."""
        return self.labels.get(names.REVISION, "")

    def serve(self, behaviour: Behaviour) -> None:
        """Answer one request; bad ones are spread evenly over all."""
        failed, slow = self._is_due("errors", behaviour.errors), self._is_due("slow", behaviour.slow)
        self.codes[500 if failed else 200] += 1
        self.served += 1
        self.asked = time.time()
        took = SLOW_SECONDS if slow else FAST_SECONDS
        for bucket in self.buckets:
            self.within[bucket] += took <= bucket

    def _is_due(self, what: str, share: float) -> bool:
        before = self.served * share
        return math.floor(before + share + 1e-9) > math.floor(before + 1e-9)

    def page(self) -> str:
        """Write /metrics as BentoML does."""
        self.probes += 1
        about = (
            f'runner_name="{SERVICE}",service_name="iris",service_version="{self.image.rpartition(":")[2]}"'
        )
        total, duration = "bentoml_service_request_total", "bentoml_service_request_duration_seconds"
        lines = [f"# TYPE {total} counter"]
        lines.append(f'{total}{{endpoint="/readyz",http_response_code="200",{about}}} {self.probes}.0')
        for code, count in self.codes.items():
            labels = f'endpoint="/predict",http_response_code="{code}",{about}'
            lines.append(f"{total}{{{labels}}} {count}.0")
        lines.append(f"# TYPE {duration} histogram")
        for bucket in self.buckets:
            labels = f'endpoint="/predict",http_response_code="200",{about}'
            upper = "+Inf" if math.isinf(bucket) else f"{float(bucket)}"
            lines.append(f'{duration}_bucket{{{labels},le="{upper}"}} {self.within[bucket]}.0')
        if self.asked is not None:
            labels = f'pid="7",runner_name="{SERVICE}",service_name="{SERVICE}"'
            lines.append(f"bentoml_service_last_request_timestamp_seconds{{{labels}}} {self.asked}")
        return "\n".join(lines) + "\n"

    def restart(self) -> None:
        """Begin to count from nothing, as a new process does."""
        self.codes, self.within = Counter({200: 0, 500: 0}), Counter()
        self.asked = None
        self.restarts += 1


def now() -> str:
    """Return the time as Kubernetes writes it, in whole seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Kubelet:
    """Runs the pods of one namespace."""

    def __init__(self, client: Client, namespace: str) -> None:
        self.pods: dict[str, PodServer] = {}
        self.exit_status = 0
        self._client = client
        self._namespace = namespace
        self._behaviours: dict[str, Behaviour] = {}
        self._followed = Followed(client, POD, namespace, self._changed)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._sites: dict[str, web.TCPSite] = {}
        self._by_ip: dict[str, PodServer] = {}
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_post("/predict", self._predict)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)

    def behaviour(self, image: str) -> Behaviour:
        """Return how the pods of an image behave; a test may change it at any moment."""
        return self._behaviours.setdefault(image, Behaviour())

    def of_revision(self, revision: str) -> list[PodServer]:
        """Return a revision's pods by name."""
        return sorted((pod for pod in self.pods.values() if pod.revision == revision), key=lambda p: p.name)

    def ready(self, selector: Mapping[str, str]) -> list[PodServer]:
        """Return the ready pods that a selector finds."""
        return [pod for pod in self.pods.values() if pod.ready and selector.items() <= pod.labels.items()]

    async def run(self) -> None:
        """Work until cancelled, then end every pod's server."""
        await self._runner.setup()
        try:
            await self._followed.follow()
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
            await self._runner.cleanup()

    async def crash(self, pod: PodServer) -> None:
        """Let the container of a pod end and start again."""
        pod.ready, pod.ready_changed = False, now()
        pod.restart()
        await self._report(pod)
        # Times in a status are whole seconds: the new start has to be told from the old one.
        await asyncio.sleep(1.0)
        pod.started = now()
        await self._report(pod)
        pod.ready, pod.ready_changed = True, now()
        await self._report(pod)

    async def evict(self, pod: PodServer) -> None:
        """Delete a pod, as a drained node does."""
        await self._client.delete(POD, self._namespace, pod.name, pod.uid)

    def _changed(self, before: Manifest | None, item: Manifest | None) -> None:
        about = (item or before or {})["metadata"]
        name, uid = about["name"], about["uid"]
        if item is None:
            self.pods.pop(name, None)
            if (task := self._tasks.pop(uid, None)) is not None:
                task.cancel()
        elif uid not in self._tasks:
            if names.JOB in (about.get("labels") or {}):
                self._tasks[uid] = asyncio.create_task(self._run_once(name), name=f"pod {name}")
                return
            (container,) = (c for c in item["spec"]["containers"] if c["name"] == names.CONTAINER)
            pod = PodServer(
                name,
                uid,
                about.get("labels") or {},
                container["image"],
                about["creationTimestamp"],
                _buckets(container),
            )
            self.pods[name] = pod
            self._tasks[uid] = asyncio.create_task(self._live(pod), name=f"pod {name}")

    async def _run_once(self, name: str) -> None:
        """Run a check's pod to its end."""
        ended = {"exitCode": self.exit_status, "startedAt": now(), "finishedAt": now(), "reason": "Ended"}
        container = {
            "name": CHECK,
            "image": "x",
            "imageID": "",
            "ready": False,
            "restartCount": 0,
            "state": {"terminated": ended},
        }
        phase = "Failed" if self.exit_status else "Succeeded"
        status = {"status": {"phase": phase, "startTime": now(), "containerStatuses": [container]}}
        await self._client.patch_merge(POD, self._namespace, name, status, "status")

    async def _live(self, pod: PodServer) -> None:
        """Start a pod; its server ends with this task."""
        behaviour = self.behaviour(pod.image)
        if not behaviour.pullable.is_set():
            await self._report(pod, waiting={"reason": "ImagePullBackOff", "message": "manifest unknown"})
            await behaviour.pullable.wait()
        await asyncio.sleep(behaviour.startup)
        try:
            await self._listen(pod)
            pod.started = pod.ready_changed = now()
            await self._report(pod)
            await asyncio.sleep(behaviour.startup)
            await self._report(pod, ready=True)
            await asyncio.Event().wait()
        finally:
            pod.ready = False
            self._by_ip.pop(pod.ip, None)
            if (site := self._sites.pop(pod.uid, None)) is not None:
                await site.stop()

    async def _listen(self, pod: PodServer) -> None:
        """Answer at an address of the loopback net that nobody else has."""
        while True:
            # Below 127.1.0.0 people and their programs have addresses of their own.
            pod.ip = f"127.{random.randint(1, 254)}.{random.randint(0, 255)}.{random.randint(1, 254)}"
            site = web.TCPSite(self._runner, pod.ip, names.PORT)
            with contextlib.suppress(OSError):
                await site.start()
                self._sites[pod.uid], self._by_ip[pod.ip] = site, pod
                return

    async def _metrics(self, request: web.Request) -> web.Response:
        assert request.transport is not None
        pod = self._by_ip.get(request.transport.get_extra_info("sockname")[0])
        if pod is None or not self.behaviour(pod.image).measured:
            return web.Response(status=404)
        return web.Response(text=pod.page())

    async def _predict(self, request: web.Request) -> web.Response:
        """Answer a call that was made straight to a pod; in the counters it looks like a failure."""
        assert request.transport is not None
        pod = self._by_ip.get(request.transport.get_extra_info("sockname")[0])
        if pod is None:
            return web.Response(status=404)
        pod.called += 1
        pod.asked = time.time()
        pod.codes[500] += 1
        return web.Response(text="[0]")

    async def _report(self, pod: PodServer, *, ready: bool = False, waiting: Manifest | None = None) -> None:
        """Write a pod's status, however long the API server is away."""
        if ready and not pod.ready:
            pod.ready_changed = now()
        status = _status(pod, ready=ready or pod.ready, waiting=waiting)
        while True:
            try:
                await self._client.patch_merge(POD, self._namespace, pod.name, {"status": status}, "status")
            except ApiError as error:
                if error.is_not_found:
                    return
                await asyncio.sleep(0.2)
            else:
                pod.ready = pod.ready or ready
                return


def _buckets(container: Manifest) -> tuple[float, ...]:
    """Return the bounds that BentoML would export under this container's environment."""
    said = {item["name"]: item.get("value", "") for item in container.get("env") or ()}
    config = json.loads(said.get("BENTOML_CONFIG_OVERRIDES") or "{}")
    own = config.get("services", {}).get(SERVICE, {})
    bounds = own.get("metrics", {}).get("duration", {}).get("buckets")
    return (*bounds, math.inf) if bounds else BUCKETS


def _status(pod: PodServer, *, ready: bool, waiting: Manifest | None) -> Manifest:
    state: Manifest = {"waiting": waiting} if waiting else {"running": {"startedAt": pod.started}}
    said = "True" if ready else "False"
    digest = hashlib.sha256(pod.image.encode()).hexdigest()
    container: dict[str, Any] = {
        "name": names.CONTAINER,
        "image": pod.image,
        "imageID": "" if waiting else f"{pod.image.rpartition(':')[0]}@sha256:{digest}",
        "ready": ready,
        "started": not waiting,
        "restartCount": pod.restarts,
        "state": state,
    }
    changed = pod.ready_changed or pod.created
    conditions = [
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": pod.created},
        {"type": "ContainersReady", "status": said, "lastTransitionTime": changed},
        {"type": "Ready", "status": said, "lastTransitionTime": changed},
    ]
    status = {
        "phase": "Pending" if waiting else "Running",
        "startTime": pod.created,
        "conditions": conditions,
        "containerStatuses": [container],
    }
    return status | ({"podIP": pod.ip, "podIPs": [{"ip": pod.ip}]} if pod.ip else {})
