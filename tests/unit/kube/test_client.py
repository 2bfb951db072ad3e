"""Every way in which a request can fail is an ApiError of the right class."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from ekiben.kube.client import API_REQUESTS, AT_ONCE, ApiError, Client
from ekiben.kube.errors import error_from_response
from ekiben.kube.kinds import DEPLOYMENT, POD, SERVICE
from ekiben.kube.request import Request
from unit.kube.conftest import eventually, write_kubeconfig
from unit.kube.list_watch_server import ListWatchServer, service

BAD_MANIFEST = "failed to create typed patch object (/x; apps/v1): .spec.foo: field not declared in schema"


@pytest.mark.parametrize(
    ("status", "message", "classes"),
    [
        (0, "cut off", {"retryable"}),
        (400, "bad", {"rejected"}),
        (401, "who are you", {"retryable"}),
        (403, "no", {"rejected"}),
        (404, "what", {"not_found"}),
        (408, "slow", {"retryable"}),
        (409, "changed", {"conflict"}),
        (410, "old", {"gone"}),
        (413, "big", {"rejected"}),
        (422, "wrong", {"rejected"}),
        (429, "busy", {"retryable"}),
        (500, "oops", {"retryable"}),
        (500, BAD_MANIFEST, {"rejected"}),
        (500, "etcdserver: request is too large", {"rejected"}),
        (503, "away", {"retryable"}),
        (504, "time-out", {"retryable"}),
    ],
)
def test_each_status_has_one_class(status: int, message: str, classes: set[str]) -> None:
    error = ApiError(status, "Reason", message)
    names = ("conflict", "not_found", "gone", "retryable", "rejected")
    assert {name for name in names if getattr(error, f"is_{name}")} == classes


@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        ({}, b'{"message": "m", "reason": "R"}', ("R", "m", None)),
        ({"Retry-After": "3"}, b'{"message": "m", "reason": "R"}', ("R", "m", 3.0)),
        ({}, b'{"message": "m", "reason": "R", "details": {"retryAfterSeconds": 5}}', ("R", "m", 5.0)),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, b"{}", ("Unknown", "no message", None)),
        ({"Retry-After": "9e99"}, b"{}", ("Unknown", "no message", 300.0)),
        ({"Retry-After": "nan"}, b"{}", ("Unknown", "no message", None)),
        ({"Retry-After": "-1"}, b"{}", ("Unknown", "no message", None)),
        ({}, b"<html>Bad Gateway</html>", ("Unknown", "<html>Bad Gateway</html>", None)),
        ({}, b"[1]", ("Unknown", "[1]", None)),
        ({}, b'{"message": {"a": 1}, "details": [1]}', ("Unknown", "{'a': 1}", None)),
        ({}, b"", ("Unknown", "no message", None)),
        ({}, b"\xff", ("Unknown", "\N{REPLACEMENT CHARACTER}", None)),
        ({}, b"x" * 10**6, ("Unknown", "x" * 2000, None)),
    ],
)
def test_answers_of_any_shape_are_read(
    headers: dict[str, str], body: bytes, expected: tuple[str, str, float | None]
) -> None:
    error = error_from_response(503, headers, body)
    assert (error.reason, error.message, error.retry_after) == expected
    assert error.status == 503


def test_an_error_says_what_happened() -> None:
    assert str(ApiError(409, "Conflict", "the object has been modified")) == (
        "409 Conflict: the object has been modified"
    )
    assert str(ApiError(0, "Network", "ConnectionResetError")) == "no answer Network: ConnectionResetError"


async def test_a_server_that_does_not_answer_in_time_is_a_network_problem(
    server: ListWatchServer, client: Client
) -> None:
    impatient = Client(client._connection, timeout=0.05)
    server.stalled = True
    for attempt in (
        impatient.get(SERVICE, "ns", "x"),
        impatient.list(SERVICE),
        anext(impatient.watch(SERVICE, None, "1")),
    ):
        with pytest.raises(ApiError) as caught:
            await attempt
        assert (caught.value.status, caught.value.reason) == (0, "Network")
        assert caught.value.is_retryable


async def test_a_server_that_is_not_there_is_a_network_problem(tmp_path: Path) -> None:
    client = await Client.connect(write_kubeconfig(tmp_path / "kubeconfig", "http://127.0.0.1:1"))
    with pytest.raises(ApiError) as caught:
        await client.get(SERVICE, "ns", "x")
    await client.close()
    assert caught.value.is_retryable
    assert "127.0.0.1" in caught.value.message


async def test_a_watch_that_is_cut_off_is_a_network_problem(server: ListWatchServer, client: Client) -> None:
    server.put(service("first"))
    watch = client.watch(SERVICE, None, "100")
    assert (await anext(watch))[0] == "ADDED"
    server.drop_watches()
    with pytest.raises(ApiError) as caught:
        await anext(watch)
    assert caught.value.reason == "Network"


async def test_requests_are_counted_by_verb_resource_and_code(
    server: ListWatchServer, client: Client
) -> None:
    def counted(verb: str, resource: str, code: str) -> float:
        return float(API_REQUESTS.labels(verb, resource, code)._value.get())

    wanted = [
        ("list", "services", "200"),
        ("watch", "services", "200"),
        ("get", "deployments", "404"),
        ("patch", "deployments/scale", "429"),
    ]
    before = [counted(*labels) for labels in wanted]
    await client.list(SERVICE)
    server.put(service("x"))
    watch = client.watch(SERVICE, None, "100")
    await anext(watch)
    await watch.aclose()
    server.refusals = [(404, {}), (429, {"Retry-After": "4"})]
    assert await client.get(DEPLOYMENT, "ns", "x") is None
    with pytest.raises(ApiError) as caught:
        await client.scale("ns", "x", 3)
    assert caught.value.retry_after == 4.0
    assert [counted(*labels) for labels in wanted] == [number + 1 for number in before]


@pytest.fixture
async def odd_server(tmp_path: Path) -> AsyncIterator[tuple[Client, list[bytes]]]:
    """A client of something that answers 200 with any bytes."""
    answers: list[bytes] = []

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=answers[0])

    runner = web.AppRunner(application := web.Application())
    application.router.add_route("*", "/{path:.*}", answer)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    client = await Client.connect(write_kubeconfig(tmp_path / "kubeconfig", url))
    yield client, answers
    await client.close()
    await runner.cleanup()


@pytest.mark.parametrize(
    "body", [b"", b"OK", b"[]", b"null", b"[" * 100_000, b'{"items": 3}', b'{"items": [], "metadata": [1]}']
)
async def test_an_answer_that_no_api_server_gives_is_garbled(
    odd_server: tuple[Client, list[bytes]], body: bytes
) -> None:
    client, answers = odd_server
    answers.append(body)
    with pytest.raises(ApiError) as caught:
        await client.list(SERVICE)
    assert caught.value.reason == "Garbled"
    assert caught.value.is_retryable


async def test_a_page_of_a_pod_comes_through_the_api_server_and_no_more_of_it_than_is_asked_for(
    odd_server: tuple[Client, list[bytes]],
) -> None:
    client, answers = odd_server
    answers.append(b"x" * 1_000_000)
    assert len(await client.page("shop", "iris-a", 3000, "/metrics", 1000)) == 1001
    assert await client.page("shop", "iris-a", 3000, "/metrics", 1_000_000) == answers[0]


def test_the_path_of_a_page_leads_on_behind_the_pod_and_its_port() -> None:
    request = Request("get", POD, "shop", "iris-a:3000", "proxy", below="/metrics")
    assert request.path == "/api/v1/namespaces/shop/pods/iris-a%3A3000/proxy/metrics"
    assert request.resource == "pods/proxy"


async def test_items_that_are_no_objects_are_left_out(odd_server: tuple[Client, list[bytes]]) -> None:
    client, answers = odd_server
    content: dict[str, Any] = {"metadata": {"resourceVersion": "7"}, "items": [None, 3, {"metadata": {}}]}
    answers.append(json.dumps(content).encode())
    items, version = await client.list(SERVICE)
    assert version == "7"
    assert items == [{"metadata": {}, "apiVersion": "v1", "kind": "Service"}]


async def test_many_requests_share_few_connections(server: ListWatchServer, client: Client) -> None:
    await asyncio.gather(*(client.list(SERVICE) for _ in range(200)))
    assert len(server.lists) == 200
    assert len(server.peers) <= 32


async def test_a_flood_of_events_leaves_room_for_others(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Flood:
        """An answer whose chunks are all there, so that reading them never waits."""

        status = 200
        connection = None

        def __init__(self) -> None:
            self.content = self

        async def iter_any(self) -> AsyncIterator[bytes]:
            for _ in range(100):
                yield b'{"type": "BOOKMARK", "object": {}}\n' * 10

        def close(self) -> None:
            """Nothing is open."""

    async def flood(*_: object, **__: object) -> Flood:
        return Flood()

    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    monkeypatch.setattr(client._connection, "send", flood)
    others = asyncio.create_task(other())
    assert len([event async for event in client.watch(SERVICE, None, "1")]) == 1000
    others.cancel()
    assert turns >= 100


async def test_watches_leave_room_for_requests_however_many_there_are(
    server: ListWatchServer, client: Client
) -> None:
    watches = [client.watch(SERVICE, f"ns-{number}", "100") for number in range(2 * AT_ONCE)]
    opened = [asyncio.create_task(anext(watch)) for watch in watches]
    await eventually(lambda: len(server.watches) == len(watches), "every watch is open")
    assert await client.list(SERVICE) == ([], "100")
    for task in opened:
        task.cancel()
    await asyncio.gather(*opened, return_exceptions=True)


async def test_requests_wait_for_their_turn_but_for_those_of_a_client_apart(
    server: ListWatchServer, client: Client
) -> None:
    server.stalled = True
    waiting = [asyncio.create_task(client.list(SERVICE)) for _ in range(AT_ONCE + 5)]
    await eventually(lambda: len(server.requests) == AT_ONCE, "as many are sent as may be")
    server.stalled = False
    assert await client.apart().list(SERVICE) == ([], "100")
    assert len(server.requests) == AT_ONCE + 1, "those that have no turn were not sent"
    waiting[0].cancel()
    await eventually(lambda: len(server.requests) > AT_ONCE + 1, "the next one has its turn")
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
