"""Checks of other sources with real parts: the Job controller, a Prometheus, a web server."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from ekiben.kube.kinds import JOB
from integration.site import Site, is_at, is_settled

pytestmark = pytest.mark.apiserver

GOLDEN = {
    "name": "golden",
    "job": {"image": "registry.example.com/golden:3", "args": ["{{canary.revision}}"]},
}
ERRORS = {"metric": "error-rate", "max": "50%"}
LOOPBACK = {"call_hosts": ("127.0.0.1",)}
PROMETHEUS = shutil.which("prometheus")


async def jobs(site: Site) -> list[dict[str, Any]]:
    """Return the Jobs that there are."""
    return (await site.client.list(JOB, site.namespace))[0]


async def test_a_job_passes_each_step_and_the_next_rollout_removes_it(site: Site) -> None:
    await site.running()
    await site.serve("v1", analysis={"checks": [ERRORS, GOLDEN]})
    await site.release("v2")
    status = await site.promoted("v2")
    made = await jobs(site)
    assert len(made) == 2
    for job in made:
        (owner,) = job["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["controller"]) == ("ModelDeployment", "iris", True)
        assert job["status"]["succeeded"] == 1
        assert job["spec"]["template"]["spec"]["containers"][0]["args"] == [status["stable"]["revision"]]
    await site.release("v3")
    await site.promoted("v3")
    assert not {job["metadata"]["uid"] for job in made} & {job["metadata"]["uid"] for job in await jobs(site)}


async def test_a_job_that_exits_otherwise_rolls_back_and_says_with_what(site: Site) -> None:
    site.kubelet.exit_status = 3
    await site.running()
    await site.serve("v1", analysis={"checks": [ERRORS, GOLDEN]})
    await site.release("v2")
    status = await site.until(is_settled("RolledBack"), "v2 is rolled back")
    (failed,) = status["failedRevisions"]
    assert failed["reason"] == "JobFailed"
    assert "exit code 3" in failed["message"]
    assert len(await jobs(site)) == 1


@contextlib.asynccontextmanager
async def serving(handler: Any) -> AsyncIterator[str]:
    """Serve one handler on loopback; yields its URL."""
    runner = web.ServerRunner(web.Server(handler), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield "http://{}:{}".format(*runner.addresses[0][:2])
    finally:
        await runner.cleanup()


async def test_a_server_judges_and_one_that_may_not_be_called_says_so(site: Site) -> None:
    scores = {"score": 0.95}

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({"of": request.path, **scores})

    async with serving(answer) as url:
        check = {
            "name": "score",
            "min": "0.9",
            "web": {"url": f"{url}/{{{{model.name}}}}", "jsonPath": "$.score"},
        }
        operator = await site.running()
        await site.serve("v1", analysis={"checks": [ERRORS, check]})
        await site.release("v2")

        def refused(status: dict[str, Any]) -> bool:
            said = [item["message"] for item in (status.get("rollout") or {}).get("checks") or ()]
            return any("list it in the chart value calls.hosts" in message for message in said)

        await site.until(refused, "the check says that it may not ask")
        await operator.stop()
        await site.running(**LOOPBACK)
        await site.promoted("v2")
        scores["score"] = 0.5
        await site.release("v3")
        status = await site.until(is_settled("RolledBack"), "v3 is rolled back")
    assert status["failedRevisions"][0]["message"] == "score 0.5, limit at least 0.9"


@contextlib.asynccontextmanager
async def real_prometheus(folder: Path, target: str) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """Run a Prometheus that scrapes a target every 200 ms; yields its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = folder / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 200ms}\n"
        f"scrape_configs: [{{job_name: judge, static_configs: [{{targets: ['{target}']}}]}}]\n"
    )
    assert PROMETHEUS is not None
    process = await asyncio.create_subprocess_exec(
        PROMETHEUS,
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield f"http://127.0.0.1:{port}", process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def has_series(url: str, query: str) -> None:
    """Wait until a query finds something."""
    end = time.monotonic() + 60
    async with aiohttp.ClientSession() as session:
        while time.monotonic() < end:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(f"{url}/api/v1/query", params={"query": query}) as answer:
                    if answer.status == 200 and (await answer.json())["data"]["result"]:
                        return
            await asyncio.sleep(0.1)
    raise AssertionError(f"{query} finds nothing")


@pytest.mark.skipif(PROMETHEUS is None, reason="no `prometheus` on this machine: hack/packages installs it")
async def test_a_real_prometheus_judges_is_an_error_while_it_is_down_and_goes_on(
    site: Site, tmp_path: Path
) -> None:
    drift = {"value": 0.1}

    async def exporter(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text=f'drift{{model="iris"}} {drift["value"]}\n')

    async with (
        serving(exporter) as url,
        real_prometheus(tmp_path, url.removeprefix("http://")) as (at, process),
    ):
        await has_series(at, "drift")
        query = {"address": at, "query": 'max(drift{model="{{model.name}}"})'}
        nothing = {"address": at, "query": "max(no_such_series)"}
        spread = {**query, "range": {"over": "5s", "step": "1s"}}
        checks = [
            ERRORS,
            {"name": "drift", "max": "0.2", "prometheus": query},
            {"name": "worst", "max": "0.2", "prometheus": spread},
            {
                "name": "many",
                "max": "1",
                "dryRun": True,
                "prometheus": {"address": at, "query": "up or drift"},
            },
            {"name": "nothing", "max": "1", "onNoData": "pass", "prometheus": nothing},
        ]
        await site.running(**LOOPBACK)
        await site.serve("v1", analysis={"checks": checks, "maxWait": "3s"})
        await site.release("v2")
        await site.promoted("v2")

        await site.change(rollout={"canary": {"steps": [{"weight": 20, "hold": "1s"}, {"pause": {}}]}})
        await site.release("v3")
        paused = await site.until(is_at("Paused"), "v3 pauses")
        said = {item["metric"]: item for item in paused["rollout"]["checks"]}
        assert said["drift"]["value"] == "0.1"
        assert said["worst"]["verdict"] == "Pass"
        assert said["nothing"]["value"] == "no data"
        assert "the query gives 2 series, not one" in said["many"]["message"]
        drift["value"] = 0.5
        status = await site.until(is_settled("RolledBack"), "v3 is rolled back")
        assert "limit at most 0.2" in status["failedRevisions"][0]["message"]

        process.terminate()
        await process.wait()
        await site.change(rollout={"retry": status["failedRevisions"][0]["rollout"]})

        def waits(status: dict[str, Any]) -> bool:
            conditions = {item["type"]: item["reason"] for item in status.get("conditions") or ()}
            return conditions.get("Reconciling") == "CheckError"

        down = await site.until(waits, "v3 waits for the Prometheus")
        assert "can't be asked" in down["message"]
        assert down["rollout"].get("outcome") is None
