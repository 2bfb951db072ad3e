"""What the operator hears of the activator: which pods of it there are, and for whom they hold requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest
from aiohttp import web

from ekiben.activators import Activators, addresses_of, held_of
from ekiben.kube.client import Client
from ekiben.kube.store import Key
from unit.samples.world import free_port


def slice_of(*endpoints: tuple[str, bool | None], family: str = "IPv4", version: int = 1) -> dict[str, Any]:
    """Return an EndpointSlice of the activator's Service."""
    return {
        "metadata": {
            "namespace": "ops",
            "name": family.lower(),
            "uid": family,
            "resourceVersion": str(version),
        },
        "addressType": family,
        "endpoints": [
            {"addresses": [address], "conditions": {} if ready is None else {"ready": ready}}
            for address, ready in endpoints
        ],
    }


def test_ready_pods_take_requests_and_those_that_end_are_still_heard() -> None:
    found = addresses_of([slice_of(("10.0.0.2", True), ("10.0.0.1", None), ("10.0.0.3", False))])
    assert found == (("10.0.0.1", "10.0.0.2"), {"10.0.0.1", "10.0.0.2", "10.0.0.3"})


def test_addresses_are_of_one_family() -> None:
    both = [slice_of(("fd00::1", True), family="IPv6"), slice_of(("10.0.0.1", True))]
    assert addresses_of(both)[0] == ("10.0.0.1",)
    assert addresses_of(both[:1])[0] == ("fd00::1",)
    assert addresses_of([]) == ((), set())


@pytest.mark.parametrize("line", [b"", b"{}", b"null", b"nonsense", b"\xff"])
def test_what_is_no_list_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - json and codecs word it
        held_of(line)


class Said:
    """An activator that says what a test tells it to."""

    def __init__(self) -> None:
        self.port = free_port()
        self.lines: asyncio.Queue[str] = asyncio.Queue()
        self.connections = 0

    async def demand(self, request: web.Request) -> web.StreamResponse:
        """Stream lines; an empty one breaks the connection."""
        self.connections += 1
        answer = web.StreamResponse()
        await answer.prepare(request)
        while line := await self.lines.get():
            await answer.write(line.encode() + b"\n")
        assert request.transport is not None
        request.transport.abort()
        return answer


async def until(done: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(5):
        while not done():  # noqa: ASYNC110 - it is many things
            await asyncio.sleep(0.01)


async def test_demand_is_heard_and_forgotten_with_the_connection_and_with_the_pod() -> None:
    said = Said()
    app = web.Application()
    app.router.add_get("/demand", said.demand)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", said.port).start()
    woken: list[Key] = []
    places: list[tuple[str, ...]] = []
    heard = Activators(
        cast(Client, None),
        "ops/activator",
        lambda: places.append(heard.addresses),
        woken.append,
        port=said.port,
    )
    store = heard.informer.store
    store.note_written(slice_of(("127.0.0.1", True)))
    assert places == [("127.0.0.1",)]
    said.lines.put_nowait('["shop/iris"]')
    await until(lambda: heard.demands(("shop", "iris")))
    said.lines.put_nowait('["shop/iris", "shop/rose"]')
    await until(lambda: heard.demands(("shop", "rose")))
    assert woken == [("shop", "iris"), ("shop", "rose")]
    said.lines.put_nowait("")
    await until(lambda: not heard.demands(("shop", "iris")))
    said.lines.put_nowait('["shop/iris"]')
    await until(lambda: heard.demands(("shop", "iris")))
    assert said.connections == 2
    # It ends, and is heard until it is gone.
    store.note_written(slice_of(("127.0.0.1", False), version=2))
    assert (heard.addresses, heard.demands(("shop", "iris"))) == ((), True)
    store.note_written(slice_of(version=3))
    assert not heard.demands(("shop", "iris"))
    await heard.stop()
    said.lines.put_nowait("")
    await runner.cleanup()
