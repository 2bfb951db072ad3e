"""Autoscaling on what a model feels, with neither Prometheus nor KEDA: real HPAs, the adapter as a pod."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest

from e2e.test_operator import model
from ekiben.core.render.template_v1 import PRE_STOP_SECONDS
from ekiben.kube.client import Client
from ekiben.kube.kinds import HPA, POD
from rig.models import follow, is_settled
from rig.site import ROOT, Site, apply, inside, install_adapter, kubectl
from rig.traffic import traffic

pytestmark = pytest.mark.cluster

# 400 ms more for 30 % of its requests: at RATE a second 1.44 are in flight on any machine (Little's law).
# Of LESS a second it is 0.24, half of what one pod may have.
SLOW, RATE, LESS = "4.0.0", 12, 2

# As often as it takes for the mean of a few seconds to be no chance.
OFTEN = 60

# A model whose calls take as long as they are told: one by a thread that is busy, one as a stream.
LONG_SECONDS = 20
LONG_MODEL = """
import asyncio, time
from collections.abc import AsyncGenerator
import bentoml

@bentoml.service(threads=8)
class Iris:
    @bentoml.api
    def predict(self, seconds: float) -> str:
        time.sleep(seconds)
        return "whole"

    @bentoml.api
    async def stream(self, seconds: float) -> AsyncGenerator[str, None]:
        for second in range(int(seconds)):
            await asyncio.sleep(1)
            yield f"{second}\\n"
        yield "whole"
"""
# Says when the request is out; then prints the answer's status and its text.
CALL = """
import http.client, sys
host, path, body = sys.argv[1:]
connection = http.client.HTTPConnection(host, 3000, timeout=60)
connection.request("POST", path, body, {"Content-Type": "application/json"})
print("sent", flush=True)
answer = connection.getresponse()
print(answer.status, answer.read().decode())
"""


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
    await install_adapter(site)
    pace = {"scaleUp": {"stabilizationWindowSeconds": 0}, "scaleDown": {"stabilizationWindowSeconds": 5}}
    scaling = {"minReplicas": 1, "maxReplicas": 2, "metrics": [{"concurrency": "0.5"}], "behavior": pace}
    await apply(site, namespace, model(site, SLOW, autoscaling=scaling))
    await follow(client, namespace, "iris", lambda m: is_settled(m, "Promoted"), 120)
    target = await inside(site, namespace)
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
    await install_adapter(site)
    pace = {"scaleUp": {"stabilizationWindowSeconds": 0}, "scaleDown": {"stabilizationWindowSeconds": 5}}
    # Its requests sleep, and don't wait for each other: 30 % are over the limit with any number of pods.
    metrics = [{"concurrency": "100"}, {"latency": {"p95": "250ms"}}]
    scaling = {"minReplicas": 1, "maxReplicas": 3, "metrics": metrics, "behavior": pace}
    await apply(site, namespace, model(site, SLOW, autoscaling=scaling))
    await follow(client, namespace, "iris", lambda m: is_settled(m, "Promoted"), 120)
    target = await inside(site, namespace)
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


@dataclass
class Call:
    """One long request to one pod: `ended` and `said` come with its answer."""

    path: str
    process: asyncio.subprocess.Process
    ended: float = 0.0
    said: str = ""

    @classmethod
    async def send(cls, site: Site, ip: str, path: str) -> Call:
        """Send the request; return once it is out."""
        process = await asyncio.create_subprocess_exec(
            *(*site.prefix, sys.executable, "-c", CALL, ip, path, f'{{"seconds": {LONG_SECONDS}}}'),
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        assert await process.stdout.readline() == b"sent\n"
        return cls(path, process)

    async def end(self) -> None:
        """Wait for the answer."""
        out, _ = await self.process.communicate()
        self.ended, self.said = time.time(), out.decode().strip()


def long_model(site: Site) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the long model's code, and two pods of it: the image is the sample's, the code is not."""
    code = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "code"},
        "data": {"service.py": LONG_MODEL},
    }
    there = {"name": "code", "mountPath": "/home/bentoml/bento/src/service.py", "subPath": "service.py"}
    pod = {"volumes": [{"name": "code", "configMap": {"name": "code"}}], "volumeMounts": [there]}
    runtime = {"timeout": f"{LONG_SECONDS + 10}s"}
    return code, model(site, "1.0.0", replicas=2, runtime=runtime, podTemplate=pod)


async def pods_of(client: Client, namespace: str) -> dict[str, dict[str, Any]]:
    """Return the model's pods by name."""
    found = (await client.list(POD, namespace, label_selector="ekiben.dev/model=iris"))[0]
    return {pod["metadata"]["name"]: pod for pod in found}


async def one_that_leaves(client: Client, namespace: str) -> dict[str, Any]:
    """Return the pod that was told to go; Kubernetes chooses which."""
    async with asyncio.timeout(10):
        while True:
            for pod in (await pods_of(client, namespace)).values():
                if "deletionTimestamp" in pod["metadata"]:
                    return pod
            await asyncio.sleep(0.2)


async def test_a_pod_that_a_scale_down_takes_away_finishes_its_long_requests_first(
    site: Site, client: Client, namespace: str
) -> None:
    await apply(site, namespace, *long_model(site))
    await follow(client, namespace, "iris", lambda m: is_settled(m, "Promoted") and stable_pods(m) == 2, 120)
    short = await inside(site, namespace, '{"seconds": 0}')
    async with traffic(short, 5, site.prefix) as seen:
        # Each pod has one of each, so whichever leaves has both.
        calls = {
            name: [await Call.send(site, pod["status"]["podIP"], path) for path in ("/predict", "/stream")]
            for name, pod in (await pods_of(client, namespace)).items()
        }
        await kubectl(site, "scale", "mdep/iris", "--replicas=1", "--namespace", namespace)
        told = (await one_that_leaves(client, namespace))["metadata"]
        await asyncio.gather(*(call.end() for each in calls.values() for call in each))
        # It goes once they are done, and does not wait for its deadline.
        deadline = datetime.fromisoformat(told["deletionTimestamp"])
        left = f"--timeout={int(deadline.timestamp() - time.time())}s"
        await kubectl(site, "wait", f"pod/{told['name']}", "--for=delete", left, "--namespace", namespace)
    assert not seen.lost(), seen.lost()[:3]
    lines = "".join(f"{second}\n" for second in range(LONG_SECONDS))
    for call in (call for each in calls.values() for call in each):
        assert call.said == {"/predict": "200 whole", "/stream": f"200 {lines}whole"}[call.path]
    # BentoML itself had been told to end while they ran, not only the preStop that comes before.
    since = (deadline - timedelta(seconds=told["deletionGracePeriodSeconds"])).timestamp()
    assert min(call.ended for call in calls[told["name"]]) - since > PRE_STOP_SECONDS + 5
