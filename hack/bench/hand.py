"""The floor: the operator's own children, exported once and then handled by hand."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable
from typing import Any

from bench.setting import HAND, MODEL, OURS, Bench, host
from bench.watching import Changes
from ekiben.kube.client import Manifest
from ekiben.kube.kinds import DEPLOYMENT, HTTPROUTE, PDB, SERVICE

# What kubectl would need; a ControllerRevision is a note that only the operator reads.
KINDS = (DEPLOYMENT, SERVICE, PDB, HTTPROUTE)


async def export(bench: Bench) -> list[Manifest]:
    """Return what the operator made for its model, as a person would write it for another namespace."""
    found: list[Manifest] = []
    for kind in KINDS:
        items, _ = await bench.client.list(kind, OURS, label_selector=f"ekiben.dev/model={MODEL}")
        found += [_as_written(item) for item in items]
    return found


def deployments(manifests: Iterable[Manifest]) -> dict[str, Manifest]:
    """Pick the Deployments, by the model's release that they run."""
    picked = (item for item in manifests if item["kind"] == "Deployment")
    return {container(item)["image"].rpartition(":")[2]: item for item in picked}


def container(deployment: Manifest) -> dict[str, Any]:
    """Return the model's container of a Deployment."""
    found: dict[str, Any] = deployment["spec"]["template"]["spec"]["containers"][0]
    return found


def without_prestop(manifests: Iterable[Manifest]) -> list[Manifest]:
    """Return the same without the pause in which endpoints are withdrawn before the server stops."""
    changed = copy.deepcopy(list(manifests))
    for deployment in deployments(changed).values():
        del container(deployment)["lifecycle"]
    return changed


async def set_weight(bench: Bench, weight: int) -> float:
    """Set the canary's weight on the route made by hand; returns when the API server had it."""
    route = await bench.client.get(HTTPROUTE, HAND, MODEL)
    assert route is not None
    rules = route["spec"]["rules"]
    stable, canary = rules[0]["backendRefs"]
    stable["weight"], canary["weight"] = 100 - weight, weight
    await bench.client.patch_merge(HTTPROUTE, HAND, MODEL, {"spec": {"rules": rules}})
    return time.time()


async def ready(changes: Changes, name: str, seconds: float = 120) -> None:
    """Wait until all pods of a Deployment are ready."""
    await changes.first(
        lambda change: (
            change.object["kind"] == "Deployment"
            and change.object["metadata"]["name"] == name
            and change.object.get("status", {}).get("readyReplicas", 0) >= change.object["spec"]["replicas"]
        ),
        seconds,
    )


def _as_written(live: Manifest) -> Manifest:
    spec = copy.deepcopy(live["spec"])
    for assigned in ("clusterIP", "clusterIPs"):
        spec.pop(assigned, None)
    if live["kind"] == "HTTPRoute":
        spec["hostnames"] = [host(HAND)]
    meta = {"name": live["metadata"]["name"], "labels": live["metadata"]["labels"]}
    return {"apiVersion": live["apiVersion"], "kind": live["kind"], "metadata": meta, "spec": spec}
