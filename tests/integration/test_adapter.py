"""The metrics adapter, a process under the chart's rights, asked as the API server asks: as a front proxy."""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from ekiben.core import names
from ekiben.kube.client import ApiError, Client
from ekiben.kube.kinds import NAMESPACE, POD
from integration.lab import CHART, Lab
from integration.operators import until
from localcluster.child import free_ports
from localcluster.tools import command_path

pytestmark = pytest.mark.apiserver

TEAM = "adapter-team"
HPA = "system:serviceaccount:kube-system:horizontal-pod-autoscaler"
ROOT = "/apis/custom.metrics.k8s.io/v1beta2"
SELECTOR = "ekiben.dev/model=iris,ekiben.dev/revision=qnkc7z4842"


@dataclass
class Pod:
    """A pod's metrics page, on an address of its own."""

    ip: str
    in_flight: int = 0
    requests: int = 0
    busy: float = 0.0
    broken: bool = False
    reads: int = 0
    slow: int = 0

    async def page(self, _: web.Request) -> web.Response:
        """Answer as BentoML does."""
        self.reads += 1
        about = 'endpoint="/predict",runner_name="Iris",service_name="iris",service_version="1"'
        lines = [
            'bentoml_service_request_in_progress{endpoint="/readyz",runner_name="Iris"} 7.0',
            f"bentoml_service_request_in_progress{{{about}}} {self.in_flight}.0",
            f'bentoml_service_request_total{{{about},http_response_code="200"}} {self.requests}.0',
            f'bentoml_service_request_duration_seconds_sum{{{about},http_response_code="200"}} {self.busy}',
        ]
        # Of all requests so many took from 0.5 to 1 s, the others less than 250 ms.
        durations = f'bentoml_service_request_duration_seconds_bucket{{{about},http_response_code="200"'
        lines += [
            f'{durations},le="{bound}"}} {n}'
            for bound, n in (
                ("0.25", self.requests - self.slow),
                ("0.5", self.requests - self.slow),
                ("1.0", self.requests),
                ("+Inf", self.requests),
            )
        ]
        return web.Response(status=500 if self.broken else 200, text="\n".join(lines) + "\n")


@dataclass
class Adapter:
    """The running adapter, and whoever asks it."""

    url: str
    lab: Lab
    pods: dict[str, Pod] = field(default_factory=dict)

    async def ask(
        self, path: str, user: str = HPA, certificate: str | None = "front-proxy"
    ) -> tuple[int, dict[str, Any]]:
        """Ask with a certificate of the control plane's, in a user's name."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if certificate is not None:
            context.load_cert_chain(self.lab.plane.pki.crt(certificate), self.lab.plane.pki.key(certificate))
        headers = {"X-Remote-User": user, "X-Remote-Group": "system:authenticated"}
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session,
            session.get(f"{self.url}{path}", headers=headers) as answer,
        ):
            return answer.status, await answer.json()

    async def values(self, metric: str, of: str = "") -> dict[str, str]:
        """Ask about the model's pods: value by pod."""
        path = f"{ROOT}/namespaces/{TEAM}/pods/*/{metric}?labelSelector={SELECTOR}"
        status, body = await self.ask(path + (f"&metricLabelSelector={of}" if of else ""))
        assert status == 200, body
        return {item["describedObject"]["name"]: item["value"] for item in body["items"]}


@pytest.fixture(scope="module")
def adapter_kubeconfig(lab: Lab) -> Path:
    """The account that the chart gives the adapter, and no other right."""
    return lab.account_of("adapter")


@pytest.fixture
async def adapter(lab: Lab, adapter_kubeconfig: Path) -> AsyncIterator[Adapter]:
    """Two pods of a model and one of nobody's, and an adapter that watches them."""
    client = await Client.connect(lab.plane.kubeconfig)
    port, serving = free_ports(2)
    pods = {"iris-a": Pod("127.21.0.1"), "iris-b": Pod("127.21.0.2"), "stranger": Pod("127.21.0.3")}
    await client.create(
        NAMESPACE, None, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TEAM}}
    )
    runners = [await _serve(pod, port) for pod in pods.values()]
    try:
        for name, pod in pods.items():
            await _create(client, name, pod.ip)
        async with _process(adapter_kubeconfig, port, serving) as url:
            made = Adapter(url, lab, pods)

            async def ready() -> bool:
                return (await made.ask("/readyz", certificate=None))[0] == 200

            await until(ready, "the adapter has listed the pods")
            yield made
    finally:
        for runner in runners:
            await runner.cleanup()
        kubectl = (str(command_path("kubectl")), f"--kubeconfig={lab.plane.kubeconfig}")
        gone = await asyncio.create_subprocess_exec(
            *kubectl, "delete", "namespace", TEAM, "--timeout=60s", stdout=asyncio.subprocess.DEVNULL
        )
        assert await gone.wait() == 0
        await client.close()


async def _serve(pod: Pod, port: int) -> web.AppRunner:
    app = web.Application()
    app.router.add_get("/metrics", pod.page)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, pod.ip, port).start()
    return runner


async def _create(client: Client, name: str, ip: str) -> None:
    labels = {} if name == "stranger" else {names.MODEL: "iris", names.REVISION: SELECTOR.rpartition("=")[2]}
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "automountServiceAccountToken": False,
            "containers": [{"name": "bento", "image": "example.com/iris:1"}],
        },
    }

    async def created() -> bool:
        try:
            await client.create(POD, TEAM, body)
        except ApiError as problem:
            # The namespace's ServiceAccount comes a moment after it.
            if "serviceaccount" not in problem.message:
                raise
            return False
        return True

    await until(created, f"pod {name} can be created")
    status = {"status": {"podIP": ip, "podIPs": [{"ip": ip}], "phase": "Running"}}
    await client.patch_merge(POD, TEAM, name, status, "status")


@asynccontextmanager
async def _process(kubeconfig: Path, pods_port: int, port: int) -> AsyncIterator[str]:
    options = ("--host=127.0.0.1", f"--port={port}", f"--pods-port={pods_port}", "--log-format=text")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ekiben.adapter", *options),
        env={**os.environ, "KUBECONFIG": str(kubeconfig), "PYTHONPATH": "operator"},
        cwd=CHART.parents[1],
    )

    async def listens() -> bool:
        assert process.returncode is None, "the adapter ended: its words are above"
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        return True

    try:
        await until(listens, "the adapter listens")
        yield f"https://127.0.0.1:{port}"
    finally:
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 20) == 0


async def test_an_autoscaler_learns_what_each_pod_feels_and_nothing_of_others(adapter: Adapter) -> None:
    adapter.pods["iris-a"].in_flight = 3
    adapter.pods["iris-b"].in_flight = 1
    adapter.pods["stranger"].in_flight = 50
    assert await adapter.values(names.CONCURRENCY) == {"iris-a": "3000m", "iris-b": "1000m"}
    assert await adapter.values(names.REQUESTS_PER_SECOND) == {}
    await asyncio.sleep(4.5)
    adapter.pods["iris-a"].requests += 900
    rates = await adapter.values(names.REQUESTS_PER_SECOND)
    assert rates["iris-b"] == "0m"
    assert 30_000 < int(rates["iris-a"].rstrip("m")) < 250_000
    assert adapter.pods["stranger"].reads == 0


async def test_an_autoscaler_learns_of_requests_that_take_too_long(adapter: Adapter) -> None:
    limit = "limit%3D500ms,quantile%3Dp95"
    for pod in adapter.pods.values():
        pod.in_flight = 4
    # Without two readings of the durations there is no opinion, and that is no missing answer.
    assert await adapter.values(names.LATENCY, limit) == {"iris-a": "0m", "iris-b": "0m"}
    await asyncio.sleep(4.5)
    for pod in (adapter.pods["iris-a"], adapter.pods["iris-b"]):
        pod.requests, pod.slow, pod.busy = 400, 100, 100.0
    # For 3 pods of 2, a little less: an autoscaler rounds up.
    assert await adapter.values(names.LATENCY, limit) == {"iris-a": "688m", "iris-b": "688m"}
    assert await adapter.values(names.LATENCY, "limit%3D1s,quantile%3Dp95") == {
        "iris-a": "0m",
        "iris-b": "0m",
    }
    assert await adapter.values(names.CONCURRENCY) != {}
    status, body = await adapter.ask(
        f"{ROOT}/namespaces/{TEAM}/pods/*/{names.LATENCY}?labelSelector={SELECTOR}"
    )
    assert (status, body["reason"]) == (400, "BadRequest")
    assert "needs quantile, one of p50, p95, p99, and limit, such as 500ms" in body["message"]


async def test_a_pod_that_cannot_be_read_is_left_out_and_the_others_are_told(adapter: Adapter) -> None:
    adapter.pods["iris-a"].broken = True
    adapter.pods["iris-b"].in_flight = 2
    assert await adapter.values(names.CONCURRENCY) == {"iris-b": "2000m"}


@pytest.mark.parametrize("certificate", [None, "admin"])
async def test_only_the_api_server_may_speak_for_a_user(adapter: Adapter, certificate: str | None) -> None:
    path = f"{ROOT}/namespaces/{TEAM}/pods/*/{names.CONCURRENCY}"
    status, body = await adapter.ask(path, certificate=certificate)
    assert (status, body["reason"]) == (401, "Unauthorized")
    assert not any(pod.reads for pod in adapter.pods.values())


async def test_a_user_without_the_right_gets_nothing(adapter: Adapter) -> None:
    path = f"{ROOT}/namespaces/{TEAM}/pods/*/{names.CONCURRENCY}"
    status, body = await adapter.ask(path, user="eve")
    assert (status, body["message"]) == (
        403,
        f"eve may not get pods/{names.CONCURRENCY} of custom.metrics.k8s.io in {TEAM}",
    )


@pytest.mark.parametrize(
    ("path", "code", "words"),
    [
        (f"{ROOT}/namespaces/{TEAM}/pods/*/nonsense", 404, "ask for one of ekiben_concurrency"),
        (f"{ROOT}/namespaces/{TEAM}/pods/*/{names.CONCURRENCY}?labelSelector=a%20b", 400, "label selector"),
        (f"{ROOT}/namespaces/{TEAM}/services/*/x", 404, "Not Found"),
    ],
)
async def test_what_cannot_be_answered_is_said_as_the_api_says_it(
    adapter: Adapter, path: str, code: int, words: str
) -> None:
    status, body = await adapter.ask(path)
    assert (status, body["kind"], body["status"]) == (code, "Status", "Failure")
    assert words in body["message"]


async def test_discovery_lists_every_metric(adapter: Adapter) -> None:
    status, body = await adapter.ask(ROOT)
    assert status == 200
    assert {item["name"] for item in body["resources"]} == {
        f"pods/{names.CONCURRENCY}",
        f"pods/{names.REQUESTS_PER_SECOND}",
        f"pods/{names.LATENCY}",
    }
