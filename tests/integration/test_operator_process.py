"""`python -m ekiben` as a process of its own: exit statuses, signals, probes, metrics, log lines."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientError, ClientSession

from ekiben.kube.client import Client
from ekiben.kube.kinds import LEASE, MODELDEPLOYMENT
from integration.operators import children, iris, only, serve_models, take_lease, until
from localcluster.child import free_ports

Run = Callable[..., Awaitable["Running"]]


class Running:
    """The process, where it answers, and what it has logged once it has ended."""

    def __init__(self, process: Process, metrics_port: int, probes_port: int) -> None:
        self.process = process
        self.metrics_url = f"http://127.0.0.1:{metrics_port}/metrics"
        self.probes_url = f"http://127.0.0.1:{probes_port}"

    async def ask(self, url: str) -> tuple[int, str]:
        """GET: (HTTP status, body); 0 while nobody listens."""
        try:
            async with ClientSession() as session, session.get(url) as answer:
                return answer.status, await answer.text()
        except ClientError:
            return 0, ""

    async def until_answers(self, path: str, status: int) -> None:
        """Wait until a probe answers with this status."""

        async def answers() -> bool:
            return (await self.ask(self.probes_url + path))[0] == status

        await until(answers, f"{path} answers {status}")

    async def end(self, number: int = signal.SIGTERM) -> tuple[int, list[dict[str, Any]]]:
        """Send a signal; return the exit status and the log lines."""
        self.process.send_signal(number)
        return await self.ended()

    async def ended(self) -> tuple[int, list[dict[str, Any]]]:
        """Wait for the end; return the exit status and the log lines."""
        async with asyncio.timeout(30):
            _, log = await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode, [json.loads(line) for line in log.decode().splitlines()]


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Run]:
    """Start `python -m ekiben` with these variables; what is left of it is killed."""
    started: list[Running] = []

    async def start(**variables: str) -> Running:
        metrics_port, probes_port = free_ports(2)
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("EKIBEN_")},
            "EKIBEN_METRICS_ADDRESS": f"127.0.0.1:{metrics_port}",
            "EKIBEN_PROBES_ADDRESS": f"127.0.0.1:{probes_port}",
            "PYTHONWARNINGS": "default",
            **variables,
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "ekiben"), env=environment, cwd=tmp_path, stdout=PIPE, stderr=PIPE
        )
        started.append(Running(process, metrics_port, probes_port))
        return started[-1]

    yield start
    for running in started:
        if running.process.returncode is None:
            running.process.kill()
            await running.process.communicate()


async def test_it_works_until_sigterm_and_exits_with_0(
    run: Run, kubeconfig: Path, client: Client, namespace: str
) -> None:
    await serve_models(client)
    running = await run(
        KUBECONFIG=str(kubeconfig),
        EKIBEN_NAMESPACES=namespace,
        EKIBEN_LEADER_ELECTION="true",
        EKIBEN_LEASE_NAMESPACE=namespace,
        EKIBEN_IDENTITY="alone",
    )
    await client.create(MODELDEPLOYMENT, namespace, iris())

    async def has_children() -> bool:
        return {"Deployment/iris-*", "PodDisruptionBudget/iris-*"} <= await children(client, namespace)

    await until(has_children, "the children")
    await running.until_answers("/readyz", 200)
    status, page = await running.ask(running.metrics_url)
    assert status == 200
    assert 'ekiben_build_info{version="' in page
    assert 'ekiben_reconciles_total{result="done"}' in page
    assert 'ekiben_api_requests_total{code="200",resource="modeldeployments/status",verb="update"}' in page
    assert 'ekiben_watch_age_seconds{kind="deployments"}' in page
    assert "ekiben_leading 1.0" in page
    # No name of a model is a label: a thousand models would be a thousand series.
    assert "iris" not in page

    code, lines = await running.end()
    assert code == 0
    assert lines[-1]["message"] == "stopped"
    about = [line for line in lines if line.get("name") == "iris"]
    assert any(line["message"].startswith("applied Deployment iris-") for line in about)
    assert {line["namespace"] for line in about} == {namespace}
    assert not [line for line in lines if line["level"] in ("warning", "error", "critical")]
    assert (await only(client, LEASE, namespace))["spec"]["holderIdentity"] == ""


async def test_a_lost_lease_ends_it_with_3(
    run: Run, kubeconfig: Path, client: Client, namespace: str
) -> None:
    await serve_models(client)
    running = await run(
        KUBECONFIG=str(kubeconfig),
        EKIBEN_NAMESPACES=namespace,
        EKIBEN_LEADER_ELECTION="true",
        EKIBEN_LEASE_NAMESPACE=namespace,
    )
    await until(lambda: _leads(client, namespace), "it leads")
    await take_lease(client, await only(client, LEASE, namespace))
    code, lines = await running.ended()
    assert code == 3
    assert lines[-1]["level"] == "critical"
    assert "another process holds it" in lines[-1]["message"]


async def _leads(client: Client, namespace: str) -> bool:
    return bool((await client.list(LEASE, namespace))[0])


@pytest.fixture
def nowhere(kubeconfig: Path, tmp_path: Path) -> Path:
    """A kubeconfig whose server is not there."""
    (port,) = free_ports(1)
    text = kubeconfig.read_text()
    server = text.split("server: ", 1)[1].split("\n", 1)[0]
    written = tmp_path / "kubeconfig"
    written.write_text(text.replace(server, f"https://127.0.0.1:{port}"))
    return written


async def test_without_an_api_server_it_is_alive_and_not_ready_and_can_be_stopped(
    run: Run, nowhere: Path
) -> None:
    running = await run(KUBECONFIG=str(nowhere))
    await running.until_answers("/healthz", 200)

    async def says_why() -> bool:
        status, text = await running.ask(running.probes_url + "/readyz")
        return status == 503 and "can't be read" in text

    await until(says_why, "/readyz says what can't be read")
    assert (await running.end())[0] == 0


async def test_an_address_in_use_is_a_sentence_and_exit_2(run: Run, kubeconfig: Path) -> None:
    holder = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = holder.sockets[0].getsockname()[1]
    async with holder:
        running = await run(KUBECONFIG=str(kubeconfig), EKIBEN_METRICS_ADDRESS=f"127.0.0.1:{port}")
        code, lines = await running.ended()
    assert code == 2
    assert lines[-1]["message"].startswith(f"EKIBEN_METRICS_ADDRESS=127.0.0.1:{port}: can't listen there")


async def test_no_kubeconfig_is_a_sentence_and_exit_1(run: Run, tmp_path: Path) -> None:
    running = await run(KUBECONFIG=str(tmp_path / "missing"))
    code, lines = await running.ended()
    assert code == 1
    assert "Name a kubeconfig (KUBECONFIG), or run in a pod" in lines[-1]["message"]
