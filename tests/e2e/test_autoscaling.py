"""Autoscaling on what a model feels, with neither Prometheus nor KEDA: real HPAs, the adapter as a pod."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from typing import Any

import pytest

from e2e.test_operator import model
from ekiben.kube.client import Client
from ekiben.kube.kinds import HPA
from load.client import Target
from rig.models import follow, is_settled
from rig.site import FLOWERS, ROOT, Site, apply, install_operator, kubectl
from rig.traffic import traffic

pytestmark = pytest.mark.cluster

# 400 ms more for 30 % of its requests: at RATE a second 1.44 are in flight on any machine (Little's law).
# Of LESS a second it is 0.24, half of what one pod may have.
SLOW, RATE, LESS = "4.0.0", 12, 2

# As often as it takes for the mean of a few seconds to be no chance.
OFTEN = 60


def advice(site: Site, namespace: str, *options: str) -> tuple[int, dict[str, Any]]:
    """Ask `kubectl ekiben advise` about the model."""
    where = (f"--kubeconfig={site.kubeconfig}", f"--namespace={namespace}", "--output=json")
    command = [sys.executable, "-m", "ekiben.cli.main", "advise", "iris", *options, *where]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "operator")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def stable_pods(found: dict[str, Any]) -> int:
    """Count the ready pods of the revision that serves."""
    ready: int = (found["status"].get("stable") or {}).get("readyReplicas", 0)
    return ready


async def test_a_model_scales_on_concurrency_out_and_back(site: Site, client: Client, namespace: str) -> None:
    await install_operator(site, ("--set", "adapter.enabled=true"))
    await kubectl(site, "wait", "apiservice/v1beta2.custom.metrics.k8s.io", "--for=condition=Available")
    pace = {"scaleUp": {"stabilizationWindowSeconds": 0}, "scaleDown": {"stabilizationWindowSeconds": 5}}
    scaling = {"minReplicas": 1, "maxReplicas": 2, "metrics": [{"concurrency": "0.5"}], "behavior": pace}
    await apply(site, namespace, model(site, SLOW, autoscaling=scaling))
    await follow(client, namespace, "iris", lambda m: is_settled(m, "Promoted"), 120)
    service = await kubectl(
        site, "get", "service", "iris", "--namespace", namespace, "--output=jsonpath={.spec.clusterIP}"
    )
    target = Target(url=f"http://{service}:3000/predict", host="iris", body=FLOWERS)
    async with traffic(target, RATE, site.prefix) as seen:
        await follow(client, namespace, "iris", lambda m: stable_pods(m) == 2, 150)
    assert not seen.lost(), seen.lost()[:3]
    (autoscaler,) = (await client.list(HPA, namespace))[0]
    (metric,) = autoscaler["spec"]["metrics"]
    assert metric["pods"]["metric"]["name"] == "ekiben_concurrency"
    # Back with less of it, and the pod that goes answers what it has.
    async with traffic(target, LESS, site.prefix) as seen:
        await follow(client, namespace, "iris", lambda m: stable_pods(m) == 1, 150)
    assert seen.answers
    assert not seen.lost(), seen.lost()[:3]


async def test_the_latency_guard_tries_a_pod_and_gives_up_where_requests_are_slow_by_themselves(
    site: Site, client: Client, namespace: str
) -> None:
    await install_operator(site, ("--set", "adapter.enabled=true"))
    await kubectl(site, "wait", "apiservice/v1beta2.custom.metrics.k8s.io", "--for=condition=Available")
    pace = {"scaleUp": {"stabilizationWindowSeconds": 0}, "scaleDown": {"stabilizationWindowSeconds": 5}}
    # Its requests sleep, and don't wait for each other: 30 % are over the limit with any number of pods.
    metrics = [{"concurrency": "100"}, {"latency": {"p95": "250ms"}}]
    scaling = {"minReplicas": 1, "maxReplicas": 3, "metrics": metrics, "behavior": pace}
    await apply(site, namespace, model(site, SLOW, autoscaling=scaling))
    await follow(client, namespace, "iris", lambda m: is_settled(m, "Promoted"), 120)
    service = await kubectl(
        site, "get", "service", "iris", "--namespace", namespace, "--output=jsonpath={.spec.clusterIP}"
    )
    target = Target(url=f"http://{service}:3000/predict", host="iris", body=FLOWERS)
    async with traffic(target, OFTEN, site.prefix) as seen:
        await follow(client, namespace, "iris", lambda m: stable_pods(m) == 2, 150)
        (autoscaler,) = (await client.list(HPA, namespace))[0]
        told = [item["pods"]["metric"]["name"] for item in autoscaler["status"]["currentMetrics"]]
        assert told == ["ekiben_concurrency", "ekiben_latency_seconds"]
        # The second pod makes none of them faster: the guard lets the other metric have it back.
        await follow(client, namespace, "iris", lambda m: stable_pods(m) == 1, 200)
        code, said = await asyncio.to_thread(advice, site, namespace, "--window=20s", "--latency=1s")
    assert not seen.lost(), seen.lost()[:3]
    assert (code, said["verdict"], said["manifest"]) == (1, "TooLittleLoad", None)
    assert said["levels"][0]["requests"] >= 100
    (pod,) = said["samples"]
    assert 0.7 * OFTEN < pod["requestsPerSecond"] < 1.3 * OFTEN
