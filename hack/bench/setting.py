"""Where the bench works: one cluster, one model that the operator keeps and one made by hand."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from ekiben.kube.client import Client, Manifest
from ekiben.kube.kinds import MODELDEPLOYMENT, POD
from load.client import Target
from rig.models import condition, follow, is_serving
from rig.site import Site, apply, kubectl

MODEL = "iris"
OURS, HAND = "bench-ours", "bench-hand"
PATIENCE = 240.0
PACE = {
    "canary": {"steps": [{"weight": 20, "hold": "2m"}]},
    "progressDeadline": "3m",
    "scaleDownDelay": "2s",
    "abortScaleDownDelay": "1s",
}


@dataclass(frozen=True)
class Bench:
    """What every row works with."""

    site: Site
    client: Client
    quick: bool
    started: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        """Tell the person at the keyboard what is going on."""
        print(f"[{time.monotonic() - self.started:7.1f} s] {text}", file=sys.stderr, flush=True)

    def times(self, full: int) -> int:
        """Return how often to measure: as asked, or once to see that it works."""
        return 1 if self.quick else full

    def target(self, namespace: str) -> Target:
        """Return where requests to a namespace's model go."""
        return self.site.target(host(namespace))

    def model(self, version: str, mark: str = "0", **spec: Any) -> Manifest:
        """Return the model with one pod; another mark is another revision of the same image."""
        return {
            "apiVersion": "ekiben.dev/v1alpha1",
            "kind": "ModelDeployment",
            "metadata": {"name": MODEL},
            "spec": {
                "bento": {"image": self.site.image(version), "service": "Iris"},
                "replicas": 1,
                "resources": {"requests": {"cpu": "100m", "memory": "300Mi"}, "limits": {"memory": "1Gi"}},
                "env": [{"name": "BENCH_MARK", "value": mark}],
                "traffic": {
                    "parentRefs": [{"name": "models", "namespace": "infra"}],
                    "hostnames": [host(OURS)],
                },
                "rollout": PACE,
                "analysis": {"interval": "2s", "checks": [{"metric": "error-rate", "max": "1%"}]},
                **spec,
            },
        }

    async def apply(self, namespace: str, *manifests: Manifest) -> None:
        """Apply manifests with one kubectl, as a user would."""
        await apply(self.site, namespace, *manifests)

    async def follow(self, done: Any, seconds: float = PATIENCE) -> Manifest:
        """Wait until the operator's model is as wanted."""
        return await follow(self.client, OURS, MODEL, done, seconds)

    async def serve(self, version: str = "1.0.0", **spec: Any) -> Manifest:
        """Apply the model as it is to start from, and wait until the gateway sends it requests."""
        await self.apply(OURS, self.model(version, **spec))
        return await self.follow(is_serving)

    async def command(self, name: str, rollout: str) -> None:
        """Give a command for a rollout of the operator's model, as `kubectl patch` does."""
        body = {"spec": {"rollout": {name: rollout}}}
        await self.client.patch_merge(MODELDEPLOYMENT, OURS, MODEL, body)

    async def empty(self, namespace: str) -> None:
        """Remove what a trial made, so that the next one starts from nothing."""
        await kubectl(self.site, "delete", "mdep", "--all", "--namespace", namespace, "--wait")
        kinds = "deployments,services,poddisruptionbudgets,httproutes.gateway.networking.k8s.io"
        await kubectl(self.site, "delete", kinds, "--all", "--namespace", namespace, "--wait")
        await self.end_pods(namespace)

    async def end_pods(self, namespace: str, selector: str = "") -> None:
        """End pods without their drain, and wait until they are gone."""
        chosen = ("--selector", selector) if selector else ("--all",)
        await kubectl(
            self.site,
            *("delete", "pods", *chosen, "--namespace", namespace),
            *("--grace-period=1", "--wait", "--timeout=120s", "--ignore-not-found"),
        )

    async def only_stable(self) -> Manifest:
        """Wait until nothing but the serving revision of the operator's model has pods."""
        model = await self.follow(
            lambda m: condition(m, "Settled").get("status") == "True" and not m["status"].get("retiring")
        )
        stable = model["status"]["stable"]["revision"]
        await self.end_pods(OURS, f"ekiben.dev/model={MODEL},ekiben.dev/revision!={stable}")
        return model

    async def pods(self, namespace: str) -> list[Manifest]:
        """List the pods of a namespace."""
        return (await self.client.list(POD, namespace))[0]


def host(namespace: str) -> str:
    """Return the host name under which a namespace's model answers."""
    return f"{namespace}.example.com"


@asynccontextmanager
async def namespaces(bench: Bench) -> AsyncIterator[None]:
    """Make both namespaces, empty, and remove them in the end."""
    await _delete_namespaces(bench)
    for name in (OURS, HAND):
        await kubectl(bench.site, "create", "namespace", name)
    try:
        yield
    finally:
        await _delete_namespaces(bench)


async def _delete_namespaces(bench: Bench) -> None:
    await kubectl(
        bench.site, "delete", "namespace", OURS, HAND, "--ignore-not-found", "--wait", "--timeout=180s"
    )
