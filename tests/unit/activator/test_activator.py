"""The activator with real pods on loopback: what is held, what is passed on, and what nobody answers."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import REGISTRY
from yarl import URL

from ekiben.activator.control import build_control
from ekiben.activator.holding import Places
from ekiben.activator.models import Limits
from ekiben.activator.proxy import Proxy
from ekiben.kube.store import Key
from unit.samples.world import free_port

KEY = ("shop", "iris")
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def echo(request: web.Request) -> web.StreamResponse:
    """Answer what was asked."""
    return web.Response(body=await request.read(), headers={"X-Path": request.raw_path})


class Cluster:
    """An activator before pods that a test starts; all pods listen on one port, each on an address."""

    def __init__(self) -> None:
        self.pods_port = free_port()
        self.ready: list[str] = []
        self.limits = Limits(most_held=1000, wake_seconds=10.0)
        self.answer: Answer = echo
        self.served: Counter[str] = Counter()
        self.places = Places(lambda key: list(self.ready) if key == KEY else [], most=5000)
        self.proxy = Proxy(self._find, lambda key: self.limits, self.places, port=self.pods_port)
        self.url = self.control = ""
        self._runners: list[web.AppRunner] = []
        self._pods: dict[str, web.AppRunner] = {}

    def _find(self, headers: Mapping[str, str], host: str) -> Key | None:
        return KEY if host.startswith("iris.shop") else None

    async def start(self) -> None:
        """Start the activator."""
        app = web.Application(client_max_size=0)
        app.router.add_route("*", "/{path:.*}", self.proxy.handle)
        self.url = await self._serve(app)
        self.control = await self._serve(build_control(self.places, lambda: []))

    async def _serve(self, app: web.Application) -> str:
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=2048).start()
        self._runners.append(runner)
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    async def start_pod(self, ip: str = "127.0.0.1") -> None:
        """Start a pod, and say that it is ready."""

        async def handle(request: web.Request) -> web.StreamResponse:
            self.served[ip] += 1
            return await self.answer(request)

        app = web.Application(client_max_size=2**30)
        app.router.add_route("*", "/{path:.*}", handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, ip, self.pods_port, backlog=2048).start()
        self._pods[ip] = runner
        self.say_ready(ip)

    async def stop_pod(self, ip: str = "127.0.0.1") -> None:
        """End a pod without a word."""
        await self._pods.pop(ip).cleanup()

    def say_ready(self, *ips: str) -> None:
        """Say that pods are ready, whether they are or not."""
        self.ready += ips
        self.places.look(KEY)

    async def held(self, count: int) -> None:
        """Wait until so many requests are held."""
        async with asyncio.timeout(10):
            while self.places.held().get(KEY, 0) != count:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.01)

    async def close(self) -> None:
        """End everything."""
        await self.proxy.close()
        for runner in (*self._runners, *self._pods.values()):
            await runner.cleanup()


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    """Yield an activator before a model without pods."""
    made = Cluster()
    await made.start()
    yield made
    await made.close()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """Yield a client that may have any number of requests on their way."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as made:
        yield made


Said = tuple[int, bytes, Mapping[str, str]]


async def ask(session: aiohttp.ClientSession, url: str, **parts: Any) -> Said:
    """Send one request to the model, and return its status, its body and its headers."""
    headers = {"Host": "iris.shop:3000"} | parts.pop("headers", {})
    async with session.post(URL(f"{url}/pre%2Fdict?a=%2F", encoded=True), headers=headers, **parts) as answer:
        return answer.status, await answer.read(), answer.headers


def count(result: str) -> float:
    """Return how often something became of a request."""
    return REGISTRY.get_sample_value("ekiben_activator_requests_total", {"result": result}) or 0.0


async def test_five_hundred_at_once_while_at_zero_are_all_answered(
    cluster: Cluster, session: aiohttp.ClientSession
) -> None:
    bodies = [f"request {number}".encode() for number in range(500)]
    asked = [asyncio.create_task(ask(session, cluster.url, data=body)) for body in bodies]
    await cluster.held(500)
    await cluster.start_pod()
    answers = await asyncio.gather(*asked)
    assert [(status, body) for status, body, _ in answers] == [(200, body) for body in bodies]
    assert cluster.served == {"127.0.0.1": 500}
    assert cluster.places.held() == {}


async def test_a_request_is_passed_on_as_it_came_and_asks_for_a_new_connection(
    cluster: Cluster, session: aiohttp.ClientSession
) -> None:
    seen: list[Mapping[str, str]] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append(request.headers)
        return await echo(request)

    cluster.answer = answer
    await cluster.start_pod()
    sent = {"X-Request-Id": "7", "Connection": "X-Private", "X-Private": "1", "Content-Type": "text/plain"}
    status, body, headers = await ask(session, cluster.url, data=b"abc", headers=sent)
    assert (status, body, headers["X-Path"], headers["Connection"]) == (
        200,
        b"abc",
        "/pre%2Fdict?a=%2F",
        "close",
    )
    assert {key: seen[0].get(key) for key in ("Host", "X-Request-Id", "X-Private", "Content-Type")} == {
        "Host": "iris.shop:3000",
        "X-Request-Id": "7",
        "X-Private": None,
        "Content-Type": "text/plain",
    }
    assert seen[0]["Content-Length"] == "3"


async def test_beyond_max_held_the_answer_is_503_with_retry_after(
    cluster: Cluster, session: aiohttp.ClientSession
) -> None:
    cluster.limits = Limits(most_held=3, wake_seconds=10.0)
    before = count("full")
    asked = [asyncio.create_task(ask(session, cluster.url)) for _ in range(3)]
    await cluster.held(3)
    status, body, headers = await ask(session, cluster.url)
    assert (status, headers["Retry-After"]) == (503, "1")
    assert json.loads(body)["error"] == "iris has no pods, and too many requests wait for one already"
    assert count("full") == before + 1
    await cluster.start_pod()
    assert [status for status, _, _ in await asyncio.gather(*asked)] == [200, 200, 200]


async def test_after_wake_timeout_the_answer_is_503_with_retry_after(
    cluster: Cluster, session: aiohttp.ClientSession
) -> None:
    cluster.limits = Limits(most_held=10, wake_seconds=0.3)
    status, body, headers = await ask(session, cluster.url)
    assert (status, headers["Retry-After"]) == (503, "5")
    assert "none got ready within 0.3 s" in json.loads(body)["error"]
    assert cluster.places.held() == {}


async def test_a_host_that_is_no_models_is_told_so(cluster: Cluster, session: aiohttp.ClientSession) -> None:
    async with session.get(cluster.url, headers={"Host": "shop.example.com"}) as answer:
        assert answer.status == 404
        assert "NAME.NAMESPACE" in (await answer.json())["error"]


async def test_a_caller_that_goes_away_frees_its_place(
    cluster: Cluster, session: aiohttp.ClientSession
) -> None:
    asked = asyncio.create_task(ask(session, cluster.url))
    await cluster.held(1)
    asked.cancel()
    await cluster.held(0)
    await cluster.start_pod()
    await asyncio.sleep(0.1)
    assert cluster.served == {}


async def test_a_pod_that_cannot_be_connected_to_gets_nothing_and_another_one_answers(
    cluster: Cluster, session: aiohttp.ClientSession
) -> None:
    cluster.say_ready("127.0.0.9")
    asked = [asyncio.create_task(ask(session, cluster.url, data=b"x" * 100_000)) for _ in range(20)]
    await cluster.held(20)
    await cluster.start_pod("127.0.0.2")
    answers = await asyncio.gather(*asked)
    assert [(status, len(body)) for status, body, _ in answers] == [(200, 100_000)] * 20
    assert cluster.served == {"127.0.0.2": 20}


async def test_a_pod_that_dies_with_a_request_does_not_get_it_twice(
    cluster: Cluster, session: aiohttp.ClientSession
) -> None:
    async def die(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        raise web.HTTPInternalServerError

    cluster.answer = die
    await cluster.start_pod()
    status, body, _ = await ask(session, cluster.url, data=b"charge the card")
    assert (status, json.loads(body)["error"].partition(":")[0]) == (502, "the pod gave no answer")
    assert cluster.served == {"127.0.0.1": 1}


async def test_half_an_answer_does_not_look_like_a_whole_one(
    cluster: Cluster, session: aiohttp.ClientSession
) -> None:
    async def break_off(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b"half")
        await asyncio.sleep(0.05)
        assert request.transport is not None
        request.transport.abort()
        return answer

    cluster.answer = break_off
    await cluster.start_pod()
    with pytest.raises(aiohttp.ClientError):
        await ask(session, cluster.url)


async def test_bodies_flow_both_ways_before_they_are_whole(
    cluster: Cluster, session: aiohttp.ClientSession
) -> None:
    arrived = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        async for part in request.content.iter_any():
            arrived.set()
            await response.write(part.upper())
        return response

    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        async with asyncio.timeout(5):
            await arrived.wait()
        yield b"second"

    cluster.answer = answer
    await cluster.start_pod()
    status, said, _ = await ask(session, cluster.url, data=body())
    assert (status, said) == (200, b"FIRSTSECOND")


async def test_a_caller_that_waits_for_leave_to_send_gets_it(
    cluster: Cluster, session: aiohttp.ClientSession
) -> None:
    await cluster.start_pod()
    status, body, _ = await ask(session, cluster.url, data=b"large", expect100=True)
    assert (status, body) == (200, b"large")


async def test_a_head_has_no_body_and_says_how_long_it_would_be(
    cluster: Cluster, session: aiohttp.ClientSession
) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"seven b", headers={"Set-Cookie": "a=1"})

    cluster.answer = answer
    await cluster.start_pod()
    async with session.head(f"{cluster.url}/", headers={"Host": "iris.shop"}) as said:
        assert (said.status, said.headers["Content-Length"], await said.read()) == (200, "7", b"")


async def test_requests_are_shared_out_evenly(cluster: Cluster, session: aiohttp.ClientSession) -> None:
    async def slow(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.3)
        return await echo(request)

    cluster.answer = slow
    asked = [asyncio.create_task(ask(session, cluster.url)) for _ in range(40)]
    await cluster.held(40)
    await cluster.start_pod("127.0.0.2")
    cluster.ready.clear()
    await cluster.start_pod("127.0.0.3")
    cluster.say_ready("127.0.0.2")
    await asyncio.gather(*asked)
    asked = [asyncio.create_task(ask(session, cluster.url)) for _ in range(40)]
    cluster.served.clear()
    await asyncio.gather(*asked)
    assert cluster.served == {"127.0.0.2": 20, "127.0.0.3": 20}


async def test_what_is_held_is_told_at_once_and_what_is_held_no_longer_too(
    cluster: Cluster, session: aiohttp.ClientSession
) -> None:
    async with asyncio.timeout(5), session.get(f"{cluster.control}/demand") as heard:
        assert json.loads(await heard.content.readline()) == []
        asked = asyncio.create_task(ask(session, cluster.url))
        assert json.loads(await heard.content.readline()) == ["shop/iris"]
        await cluster.start_pod()
        assert json.loads(await heard.content.readline()) == []
        assert (await asked)[0] == 200


async def test_the_page_says_how_many_are_held(cluster: Cluster, session: aiohttp.ClientSession) -> None:
    asked = [asyncio.create_task(ask(session, cluster.url)) for _ in range(2)]
    await cluster.held(2)
    async with session.get(f"{cluster.control}/metrics") as answer:
        page = await answer.text()
    assert "\nekiben_activator_held 2.0\n" in page
    assert "\nekiben_activator_models 1.0\n" in page
    await cluster.start_pod()
    await asyncio.gather(*asked)
