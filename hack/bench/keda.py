"""A ScaledObject as a person writes it by hand: the floor of a load step."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from bench.figures import BenchError
from bench.setting import Bench
from ekiben.kube.client import Manifest
from ekiben.kube.kinds import SCALEDOBJECT
from localcluster import backends
from localcluster.client import Kubectl
from localcluster.keda import install_keda, remove_keda

# Requests in flight, by the time that they took together: no probe of BentoML's counts.
QUERY = (
    'sum(rate(bentoml_service_request_duration_seconds_sum{{namespace="{namespace}",'
    'endpoint!~"/(readyz|livez|healthz|metrics)?"}}[{window}])) or vector(0)'
)
# As short as two readings of Prometheus allow: the window is most of the delay.
WINDOW = "12s"


def scaled_object(
    name: str, namespace: str, prometheus: str, concurrency: float, most: int, behavior: dict[str, Any]
) -> Manifest:
    """Return a ScaledObject for a Deployment, by its requests in flight per pod."""
    query = QUERY.format(namespace=namespace, window=WINDOW)
    about = {"serverAddress": prometheus, "query": query, "threshold": f"{concurrency:g}"}
    return {
        "apiVersion": SCALEDOBJECT.api_version,
        "kind": SCALEDOBJECT.kind,
        "metadata": {"name": name},
        "spec": {
            "scaleTargetRef": {"name": name},
            "minReplicaCount": 1,
            "maxReplicaCount": most,
            "pollingInterval": 5,
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": behavior}},
            "triggers": [{"type": "prometheus", "metadata": about}],
        },
    }


@asynccontextmanager
async def installed(bench: Bench) -> AsyncIterator[str]:
    """Have KEDA and Prometheus on the cluster while the block runs; yields where KEDA finds Prometheus."""
    name = os.environ.get("EKIBEN_BACKEND") or "local"
    if name == "existing":
        raise BenchError("nothing is installed into a cluster of yours, and the floor needs KEDA")
    bench.say("installing KEDA and Prometheus")
    try:
        yield await asyncio.to_thread(install_keda, backends.choose(name))
    finally:
        await asyncio.to_thread(remove_keda, Kubectl(bench.site.kubeconfig))
