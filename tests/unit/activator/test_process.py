"""The activator as a process that is told to go, before an API server, a pod and callers on loopback."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from ekiben.core import names
from unit.kube.conftest import write_kubeconfig
from unit.kube.list_watch_server import ListWatchServer, Manifest
from unit.samples.world import free_port

OPERATOR = Path(__file__).parents[3] / "operator"
MODEL: Manifest = {
    "metadata": {"namespace": "shop", "name": "iris", "uid": "1"},
    "status": {"stable": {"revision": "r1"}},
}
POD: Manifest = {
    "metadata": {
        "namespace": "shop",
        "name": "iris-r1-x",
        "uid": "2",
        "labels": {names.MODEL: "iris", names.REVISION: "r1"},
    },
    "status": {"podIP": "127.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]},
}
HEADERS = {names.MODEL_HEADER: "shop/iris"}
Said = tuple[int, str | None]


@asynccontextmanager
async def listening(answer: Handler, port: int = 0) -> AsyncIterator[int]:
    """Serve on loopback; yield the port."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


class Running:
    """A running activator of a model without pods, and what its callers are told."""

    def __init__(self, pods: ListWatchServer, process: asyncio.subprocess.Process, ports: list[int]) -> None:
        self.pods, self.process = pods, process
        self._url, self._control = (f"http://127.0.0.1:{port}" for port in ports)

    async def ask(self) -> Said:
        """Send one request to the model; return its status and when to come again."""
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self._url}/predict", headers=HEADERS, json=[[1]]) as answer,
        ):
            await answer.read()
            return answer.status, answer.headers.get("Retry-After")

    async def problems(self) -> list[str] | None:
        """Return why it is not ready; None where nobody answers."""
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"{self._control}/readyz") as answer,
            ):
                found: list[str] = (await answer.json())["problems"]
                assert answer.status == (503 if found else 200)
                return found
        except aiohttp.ClientConnectorError:
            return None

    async def until(self, *problems: str) -> None:
        """Wait until these are the reasons why it is not ready; with none, until it is."""
        async with asyncio.timeout(30):
            while await self.problems() != list(problems):
                assert self.process.returncode is None, "it ended: its words are above"
                await asyncio.sleep(0.05)

    async def hold(self, count: int, before: int = 0) -> list[asyncio.Task[Said]]:
        """Send so many requests; return once all of them are held, and so many from before."""
        tasks = [asyncio.create_task(self.ask()) for _ in range(count)]
        async with (
            asyncio.timeout(10),
            aiohttp.ClientSession() as session,
        ):
            text = ""
            while f"ekiben_activator_held {before + count:.1f}\n" not in text:
                async with session.get(f"{self._control}/metrics") as answer:
                    text = await answer.text()
        return tasks


@asynccontextmanager
async def activator(folder: Path, *options: str) -> AsyncIterator[Running]:
    """Run an activator until it is ready, and see that nothing of it stays."""
    models, pods = ListWatchServer(), ListWatchServer()
    models.put(json.loads(json.dumps(MODEL)))

    async def api(request: web.Request) -> web.StreamResponse:
        return await (pods if request.path.endswith("/pods") else models).answer(request)

    pods_port, *ports = free_port(), free_port(), free_port()

    async def predict(_: web.Request) -> web.Response:
        return web.Response(text="whole")

    async with listening(api) as port, listening(predict, pods_port):
        kubeconfig = write_kubeconfig(folder / "kubeconfig", f"http://127.0.0.1:{port}")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "ekiben.activator", "--host=127.0.0.1", f"--port={ports[0]}"),
            *(f"--control-port={ports[1]}", f"--pods-port={pods_port}", "--log-format=text", *options),
            env=os.environ | {"KUBECONFIG": str(kubeconfig), "PYTHONPATH": str(OPERATOR)},
        )
        running = Running(pods, process, ports)
        try:
            await running.until()
            yield running
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def test_what_it_holds_when_it_is_told_to_go_is_answered_and_then_it_ends(tmp_path: Path) -> None:
    async with activator(tmp_path, "--linger=2", "--grace=20") as running:
        held = await running.hold(20)
        running.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(2):
            await running.until("stopping")
        # Not everybody has heard yet: what still comes is held too.
        late = await running.hold(1, before=20)
        await asyncio.sleep(2.5)
        with pytest.raises(aiohttp.ClientConnectorError):
            await running.ask()
        assert not any(task.done() for task in held + late)
        running.pods.put(json.loads(json.dumps(POD)))
        async with asyncio.timeout(5):
            assert await asyncio.gather(*held, *late) == [(200, None)] * 21
            assert await running.process.wait() == 0


async def test_what_it_can_hold_no_longer_is_told_to_come_again(tmp_path: Path) -> None:
    async with activator(tmp_path, "--linger=0", "--grace=1") as running:
        held = await running.hold(5)
        running.process.send_signal(signal.SIGTERM)
        told = time.monotonic()
        async with asyncio.timeout(10):
            assert await asyncio.gather(*held) == [(503, "5")] * 5
            assert await running.process.wait() == 0
        assert 0.9 < time.monotonic() - told < 5
