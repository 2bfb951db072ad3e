"""A small LIST and WATCH server, and a client of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp import web

from ekiben.kube.client import Client
from unit.kube.list_watch_server import ListWatchServer


def write_kubeconfig(path: Path, url: str, **user: object) -> Path:
    """Write a kubeconfig for a server; `user` is how one proves who one is."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "clusters": [{"name": "test", "cluster": {"server": url}}],
        "users": [{"name": "test", "user": user}],
    }
    path.write_text(json.dumps(content))
    return path


async def eventually(condition: Callable[[], bool], what: str) -> None:
    """Wait until something is so."""
    for _ in range(3000):
        if condition():
            return
        await asyncio.sleep(0.005)
    pytest.fail(f"never came true: {what}")


@pytest.fixture
async def server() -> ListWatchServer:
    """The server's state, to play with."""
    return ListWatchServer()


@pytest.fixture
async def url(server: ListWatchServer) -> AsyncIterator[str]:
    """Where the server listens."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture
async def client(url: str, tmp_path: Path) -> AsyncIterator[Client]:
    """A client of the server."""
    connected = await Client.connect(write_kubeconfig(tmp_path / "kubeconfig", url))
    yield connected
    await connected.close()
