"""Kopf as our shell: what it gives up on is begun anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from ekiben import handlers
from ekiben.api.v1alpha1 import GROUP, PLURAL, VERSION
from ekiben.core.snapshot import Manifest
from ekiben.kube.config import Access

IRIS = {"metadata": {"name": "iris", "namespace": "shop", "uid": "u", "resourceVersion": "7"}}


def announced(plural: str, kind: str) -> Manifest:
    return {
        "name": plural,
        "singularName": "",
        "kind": kind,
        "namespaced": kind != "Namespace",
        "verbs": ["get", "list", "watch", "patch"],
    }


@dataclass
class Server:
    """Announces one kind and lists one object; `refusals` are the statuses that lists get first."""

    refusals: list[int] = field(default_factory=list)
    lists: int = 0
    url: str = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer whatever kopf asks for."""
        version = {"groupVersion": f"{GROUP}/{VERSION}", "version": VERSION}
        known: dict[str, Any] = {
            "/api": {"versions": ["v1"]},
            "/api/v1": {"resources": [announced("namespaces", "Namespace")]},
            "/apis": {"groups": [{"name": GROUP, "versions": [version], "preferredVersion": version}]},
            f"/apis/{GROUP}/{VERSION}": {"resources": [announced(PLURAL, "ModelDeployment")]},
        }
        if request.path in known:
            return web.json_response(known[request.path])
        assert request.path.endswith(PLURAL), request.path
        if "watch" in request.query:
            await asyncio.Event().wait()
        self.lists += 1
        if self.refusals:
            return web.json_response({"kind": "Status"}, status=self.refusals.pop(0))
        return web.json_response({"items": [IRIS], "metadata": {"resourceVersion": "7"}})


class Watched:
    """Stands in for controller and client: takes what kopf hands on, and tells kopf where the server is."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.seen: asyncio.Queue[Manifest] = asyncio.Queue()

    def observe_model(self, event: str | None, raw: Manifest) -> None:
        self.seen.put_nowait(raw)

    async def access(self) -> Access:
        return Access(self.url, None, None, None, None, verify=True)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made, app = Server(), web.Application()
    app.router.add_route("*", "/{path:.*}", made.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


def begin(watched: Watched) -> asyncio.Task[None]:
    return asyncio.create_task(handlers.run(watched, watched, (), asyncio.Event()))


async def test_answers_that_kopf_gives_up_on_are_survived(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "ANEW_SECONDS", 0.01)
    server.refusals = [410, 415, 400]
    watched = Watched(server.url)
    work = begin(watched)
    try:
        async with asyncio.timeout(60):
            assert (await watched.seen.get())["metadata"]["name"] == "iris"
        assert server.lists == 4
        assert not work.done()
    finally:
        work.cancel()
        await asyncio.wait({work})


async def test_trouble_without_an_end_ends_the_watch(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers, "ANEW_SECONDS", 0.01)
    server.refusals = [415] * 50
    work = begin(Watched(server.url))
    async with asyncio.timeout(60):
        await asyncio.wait({work})
    assert "415" in repr(work.exception())
    assert server.lists == handlers.ANEW_TIMES + 1
