"""A stand-in for KEDA's operator, because no KEDA runs beside the bare API of these tests.

Honest about what KEDA 2.21 does to the API: of each ScaledObject it makes keda-hpa-NAME with that one's
labels, bounds and behavior, owned by it, and keeps it so; it gives the ScaledObject its finalizer, label and
conditions; of one that is deleted it takes the finalizer away, and leaves the autoscaler to the garbage
collector. Who sizes the pods is Kubernetes' own autoscaler. While it is away nothing of this happens; then it
does all of it.

Not honest about: no query is ever asked, so nobody wants more pods than the bounds do.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

from ekiben.kube.client import ApiError, Client
from ekiben.kube.kinds import HPA, SCALEDOBJECT
from integration.follow import Followed, Manifest

FINALIZER = "finalizer.keda.sh"
LABEL = "scaledobject.keda.sh/name"
RETRY_SECONDS = 0.2


class Keda:
    """Serves the ScaledObjects of one namespace."""

    def __init__(self, client: Client, namespace: str) -> None:
        self._client = client
        self._namespace = namespace
        self._scaled = Followed(client, SCALEDOBJECT, namespace, self._changed)
        self._made = Followed(client, HPA, namespace, self._made_changed)
        self._due: set[str] = set()
        self._wake = asyncio.Event()
        self._back_at = 0.0

    def leave(self, seconds: float) -> None:
        """Be away for so long from now."""
        self._back_at = time.monotonic() + seconds
        self._wake.set()

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for work in (self._scaled.follow(), self._made.follow(), self._work()):
                group.create_task(work)

    async def let_go(self) -> bool:
        """Tell whether no ScaledObject is left that needs it to go."""
        items, _ = await self._client.list(SCALEDOBJECT, self._namespace)
        return not items

    def _changed(self, before: Manifest | None, item: Manifest | None) -> None:
        self._look_at((item or before or {})["metadata"]["name"])

    def _made_changed(self, before: Manifest | None, item: Manifest | None) -> None:
        owner = _owner(item or before or {})
        if owner and (item is None or before is None or item["spec"] != before["spec"]):
            self._look_at(str(owner["name"]))

    def _look_at(self, name: str) -> None:
        self._due.add(name)
        self._wake.set()

    async def _work(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if (away := self._back_at - time.monotonic()) > 0:
                asyncio.get_running_loop().call_later(away, self._wake.set)
                continue
            due, self._due = self._due, set()
            for name in sorted(due):
                try:
                    await self._reconcile(name)
                except ApiError:
                    asyncio.get_running_loop().call_later(RETRY_SECONDS, self._look_at, name)

    async def _reconcile(self, name: str) -> None:
        scaled = self._scaled.items.get(name)
        if scaled is None:
            return
        about = scaled["metadata"]
        holds = FINALIZER in (about.get("finalizers") or ())
        if "deletionTimestamp" in about:
            if holds:
                await self._edit(name, {"metadata": {"finalizers": None}})
            return
        if not holds or LABEL not in about["labels"]:
            await self._edit(name, {"metadata": {"finalizers": [FINALIZER], "labels": {LABEL: name}}})
            return
        await self._make(scaled)
        if (scaled.get("status") or {}).get("conditions") != _CONDITIONS:
            said = {"hpaName": f"keda-hpa-{name}", "conditions": _CONDITIONS}
            await self._edit(name, {"status": said}, "status")

    async def _edit(self, name: str, change: Manifest, subresource: str = "") -> None:
        with contextlib.suppress(ApiError):
            await self._client.patch_merge(SCALEDOBJECT, self._namespace, name, change, subresource)
            return
        self._look_at(name)
        await asyncio.sleep(RETRY_SECONDS)

    async def _make(self, scaled: Manifest) -> None:
        """Keep the autoscaler of a ScaledObject as that one says."""
        wanted = autoscaler_of(scaled)
        live = self._made.items.get(wanted["metadata"]["name"])
        if live is None:
            await self._client.create(HPA, self._namespace, wanted)
        elif (_owner(live) or {}).get("uid") != scaled["metadata"]["uid"]:
            return  # Of one that is gone: the garbage collector takes it, which is told.
        elif not _says(live["spec"], wanted["spec"]):
            await self._client.replace(HPA, self._namespace, {**live, "spec": wanted["spec"]})


_CONDITIONS = [
    {"type": kind, "status": status, "reason": "StandIn", "message": "said by a stand-in"}
    for kind, status in (("Ready", "True"), ("Active", "Unknown"), ("Fallback", "False"))
]


def autoscaler_of(scaled: Manifest) -> Manifest:
    """Build what KEDA makes of a ScaledObject."""
    spec, about = scaled["spec"], scaled["metadata"]
    name = f"keda-hpa-{about['name']}"
    labels = {
        "app.kubernetes.io/name": name,
        "app.kubernetes.io/version": "2.21.0",
        "app.kubernetes.io/part-of": about["name"],
        "app.kubernetes.io/managed-by": "keda-operator",
    }
    owner = {
        "apiVersion": SCALEDOBJECT.api_version,
        "kind": SCALEDOBJECT.kind,
        "name": about["name"],
        "uid": about["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    triggers = enumerate(spec["triggers"])
    return {
        "apiVersion": HPA.api_version,
        "kind": HPA.kind,
        "metadata": {"name": name, "labels": {**labels, **about["labels"]}, "ownerReferences": [owner]},
        "spec": {
            "scaleTargetRef": spec["scaleTargetRef"],
            "minReplicas": spec["minReplicaCount"],
            "maxReplicas": spec["maxReplicaCount"],
            "behavior": spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"],
            "metrics": [_external(number, trigger, about["name"]) for number, trigger in triggers],
        },
    }


def _external(number: int, trigger: Manifest, name: str) -> Manifest:
    """Build the metric by which KEDA has itself asked."""
    metric: dict[str, Any] = {
        "name": f"s{number}-{trigger['type']}",
        "selector": {"matchLabels": {LABEL: name}},
    }
    threshold = str(trigger["metadata"].get("threshold", "1"))
    return {
        "type": "External",
        "external": {"metric": metric, "target": {"type": "AverageValue", "averageValue": threshold}},
    }


def _says(live: object, wanted: object) -> bool:
    """Tell whether what is wanted is there, whatever else the API server has filled in."""
    if isinstance(wanted, dict):
        return isinstance(live, dict) and all(_says(live.get(key), value) for key, value in wanted.items())
    return live == wanted


def _owner(autoscaler: Manifest) -> Manifest | None:
    owners = autoscaler.get("metadata", {}).get("ownerReferences") or ()
    found: Manifest | None = next((item for item in owners if item["kind"] == SCALEDOBJECT.kind), None)
    return found
