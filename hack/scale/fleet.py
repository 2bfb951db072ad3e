"""Many objects at once: made, changed and watched by a client of the bench."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from bench.figures import BenchError
from ekiben.api.v1alpha1 import API_VERSION, KIND
from ekiben.core import names
from ekiben.kube.client import ApiError, Client
from ekiben.kube.kinds import CONTROLLERREVISION, DEPLOYMENT, PDB, SERVICE, Kind

Manifest = dict[str, Any]
Predicate = Callable[[Manifest], bool]

CONCURRENCY = 32
CHILDREN = (CONTROLLERREVISION, DEPLOYMENT, SERVICE, PDB)
IMAGE = "registry.example.com/iris"
PAUSE_SECONDS = 1.0
FOREIGN = f'"{names.MANAGED_BY}": "bench"'


def model(name: str, version: int = 1) -> Manifest:
    """Return one model of the fleet: 2 pods, half of the traffic for a second, then all of it."""
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": name},
        "spec": {
            "bento": {"image": f"{IMAGE}:{version}", "service": "Iris"},
            "replicas": 2,
            "resources": {"requests": {"cpu": "100m", "memory": "300Mi"}, "limits": {"memory": "1Gi"}},
            "rollout": {
                "canary": {"steps": [{"weight": 50, "hold": f"{PAUSE_SECONDS:.0f}s"}]},
                "scaleDownDelay": "1s",
            },
            "analysis": {"interval": "1s"},
        },
    }


def is_served(version: int) -> Predicate:
    """Tell of a model whether this version serves all traffic and its rollout is over."""

    def test(item: Manifest) -> bool:
        status = item.get("status") or {}
        stable = status.get("stable") or {}
        said = {part["type"]: part for part in status.get("conditions") or ()}
        settled = said.get("Settled") or {}
        return (
            stable.get("image") == f"{IMAGE}:{version}"
            and stable.get("readyReplicas") == 2
            and settled.get("status") == "True"
            and settled.get("observedGeneration") == item["metadata"]["generation"]
        )

    return test


def is_at_rest(item: Manifest) -> bool:
    """Tell of a model whether no old revision has pods any more."""
    return not (item.get("status") or {}).get("retiring")


def is_rolled(item: Manifest) -> bool:
    """Tell of a Deployment whether both of its pods are new and ready, and no other is left."""
    status = item.get("status") or {}
    counts = [status.get(name) for name in ("replicas", "updatedReplicas", "readyReplicas")]
    return counts == [2, 2, 2] and status.get("observedGeneration") == item["metadata"]["generation"]


class Watched:
    """The objects of one kind in a namespace; `check` raises where waiting for them is in vain."""

    def __init__(
        self, client: Client, kind: Kind, namespace: str, check: Callable[[], None] = lambda: None
    ) -> None:
        self.objects: dict[str, Manifest] = {}
        self.added: dict[str, float] = {}
        self._client, self._kind, self._namespace = client, kind, namespace
        self._check = check
        self._news = asyncio.Event()
        self._changed: list[str] = []
        self._task = asyncio.create_task(self._follow())

    async def until(self, wanted_names: Iterable[str], wanted: Predicate, seconds: float) -> dict[str, float]:
        """Wait until every one is as wanted; return when each was, in monotonic seconds."""
        left, at = set(wanted_names), dict[str, float]()
        looked = list(left)
        try:
            async with asyncio.timeout(seconds):
                while True:
                    now = time.monotonic()
                    for name in looked:
                        if name in left and name in self.objects and wanted(self.objects[name]):
                            left.discard(name)
                            at[name] = now
                    if not left:
                        return at
                    self._news.clear()
                    self._changed = []
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._news.wait(), 1.0)
                    self._check()
                    looked = self._changed
        except TimeoutError:
            name = min(left)
            status = json.dumps((self.objects.get(name) or {}).get("status"))
            raise BenchError(f"{len(left)} {self._kind.plural} late, such as {name}: {status}") from None

    async def close(self) -> None:
        """Stop watching."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _follow(self) -> None:
        while True:
            with contextlib.suppress(ApiError):
                items, version = await self._client.list(self._kind, self._namespace)
                for item in items:
                    self._take("ADDED", item)
                async for event, item in self._client.watch(self._kind, self._namespace, version):
                    self._take(event, item)
            await asyncio.sleep(0.1)

    def _take(self, event: str, item: Manifest) -> None:
        name = item["metadata"].get("name")
        if event == "BOOKMARK" or not name:
            return
        if event == "DELETED":
            self.objects.pop(name, None)
        else:
            self.objects[name] = item
            self.added.setdefault(name, time.monotonic())
        self._changed.append(name)
        self._news.set()


async def at_once(work: Iterable[Awaitable[object]]) -> float:
    """Do it all, 32 at a time; return the seconds."""
    slots, began = asyncio.Semaphore(CONCURRENCY), time.monotonic()

    async def one(item: Awaitable[object]) -> None:
        async with slots:
            await item

    await asyncio.gather(*(one(item) for item in work))
    return time.monotonic() - began


async def exported(client: Client, namespace: str, name: str) -> list[Manifest]:
    """Return the children of one model, as somebody would write them by hand."""
    found = []
    for kind in CHILDREN:
        items, _ = await client.list(kind, namespace, label_selector=f"{names.MODEL}={name}")
        found += [_bare(item) for item in items]
    return found


def renamed(children: Iterable[Manifest], old: str, new: str) -> list[Manifest]:
    """Return copies of children for another name, which no operator takes for its own."""
    text = json.dumps(list(children)).replace(old, new)
    copies: list[Manifest] = json.loads(text.replace(f'"{names.MANAGED_BY}": "{names.MANAGER}"', FOREIGN))
    return copies


def _bare(item: Manifest) -> Manifest:
    about = {key: item["metadata"][key] for key in ("name", "labels") if key in item["metadata"]}
    body = {key: value for key, value in item.items() if key not in ("metadata", "status")}
    body["metadata"] = about
    if item["kind"] == SERVICE.kind:
        body["spec"] = {key: value for key, value in item["spec"].items() if not key.startswith("clusterIP")}
    return body
