"""Warming a pod up: which answers make it warm, and what is made of the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest
from aiohttp import web

from ekiben.asking.asker import Means, UnansweredError
from ekiben.asking.warming import LARGEST, warm_up
from ekiben.core.warming import WARMUP_FAILED, WARMUP_REFUSED, WarmUpCall
from unit.fake_client import FakeClient
from unit.samples.world import free_port

MEANS = Means(FakeClient())
KEY = ("models", "iris")
Answer = Callable[[int], Awaitable[web.StreamResponse]]


class Pod:
    """Answers calls as a test says, by their number, and remembers them."""

    def __init__(self) -> None:
        self.port = free_port()
        self.seen: list[tuple[str, str, str, str]] = []
        self.running = self.most = 0
        self.answer: Answer = fixed(200)

    @property
    def call(self) -> WarmUpCall:
        """A call to it."""
        return WarmUpCall(
            rollout="r.1",
            uid="uid-1",
            ip="127.0.0.1",
            restarts=0,
            requests=6,
            path="/predict",
            method="POST",
            body="[1]",
            content_type="application/json",
            call_timeout=5.0,
            max_latency=None,
            port=self.port,
        )

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one call."""
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            kind = request.headers.get("Content-Type", "")
            self.seen.append((request.method, request.path, kind, await request.text()))
            return await self.answer(len(self.seen))
        finally:
            self.running -= 1


def fixed(status: int, body: bytes = b"", **headers: str) -> Answer:
    """Answer always the same."""

    async def answer(number: int) -> web.StreamResponse:
        return web.Response(status=status, body=body, headers=headers)

    return answer


@pytest.fixture
async def pod() -> AsyncIterator[Pod]:
    """A pod that listens."""
    pod, app = Pod(), web.Application()
    app.router.add_route("*", "/{path:.*}", pod.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.05)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", pod.port).start()
    yield pod
    await runner.cleanup()


async def problem(call: WarmUpCall) -> UnansweredError:
    """Warm up in vain."""
    with pytest.raises(UnansweredError) as caught:
        await warm_up(MEANS, KEY, call)
    return caught.value


async def test_so_many_calls_are_made_one_after_the_other(pod: Pod) -> None:
    await warm_up(MEANS, KEY, pod.call)
    assert pod.seen == [("POST", "/predict", "application/json", "[1]")] * 6
    assert pod.most == 1


async def test_a_get_sends_no_body(pod: Pod) -> None:
    await warm_up(MEANS, KEY, replace(pod.call, method="GET", requests=1, body=""))
    assert [(method, path, body) for method, path, _, body in pod.seen] == [("GET", "/predict", "")]


BAD: dict[str, tuple[Answer, str, str]] = {
    "a server error": (fixed(500, b"boom\n"), WARMUP_FAILED, "answers 500 to POST /predict ('boom')"),
    "an overload": (fixed(503), WARMUP_FAILED, "answers 503 to POST /predict"),
    "a path that is not there": (
        fixed(404), WARMUP_REFUSED, "answers 404 to POST /predict: correct rollout.warmup"
    ),
    "a body that does not fit": (
        fixed(422, b"\xff" * 500), WARMUP_REFUSED, "answers 422 to POST /predict ("
    ),
    "a redirect": (
        fixed(302, Location="http://127.0.0.9/"), WARMUP_REFUSED, "answers 302 to POST /predict: correct"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("answer", "reason", "words"), BAD.values(), ids=BAD)
async def test_the_first_bad_answer_ends_the_round(pod: Pod, answer: Answer, reason: str, words: str) -> None:
    pod.answer = answer
    found = await problem(pod.call)
    assert (found.reason, len(pod.seen)) == (reason, 1)
    assert str(found).startswith(words)
    assert str(found).isprintable()


async def test_only_the_last_third_has_to_be_quick(pod: Pod) -> None:
    slow = 4

    async def slow_at_first(number: int) -> web.StreamResponse:
        await asyncio.sleep(0.3 if number <= slow else 0)
        return web.Response()

    pod.answer = slow_at_first
    await warm_up(MEANS, KEY, replace(pod.call, max_latency=0.2))
    pod.seen.clear()
    slow = 5
    found = await problem(replace(pod.call, max_latency=0.2))
    assert found.reason == WARMUP_FAILED
    assert str(found) == "after 6 calls an answer to POST /predict still takes 0.3 s, more than 0.2 s"


async def test_a_single_call_counts_itself(pod: Pod) -> None:
    async def slow(number: int) -> web.StreamResponse:
        await asyncio.sleep(0.1)
        return web.Response()

    pod.answer = slow
    assert (await problem(replace(pod.call, requests=1, max_latency=0.01))).reason == WARMUP_FAILED


async def test_a_call_that_is_not_answered_in_time_is_the_revisions_fault(pod: Pod) -> None:
    async def never(number: int) -> web.StreamResponse:
        await asyncio.sleep(30)
        return web.Response()

    pod.answer = never
    found = await problem(replace(pod.call, call_timeout=0.1))
    assert (found.reason, str(found)) == (WARMUP_FAILED, "no answer to POST /predict within 0.1 s")


async def test_a_pod_that_nobody_reaches_is_nobodys_fault() -> None:
    found = await problem(Pod().call)
    assert found.reason == "Unanswered"
    assert str(found).startswith("can't be called at http://127.0.0.1:")


async def test_an_answer_without_end_is_cut(pod: Pod) -> None:
    sent = 0

    async def endless(number: int) -> web.StreamResponse:
        return web.Response(body=pages())

    async def pages() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 10 * LARGEST:
            sent += 65536
            yield b"x" * 65536

    pod.answer = endless
    await warm_up(MEANS, KEY, replace(pod.call, requests=1))
    assert sent < 3 * LARGEST


async def test_no_proxy_of_the_environment_is_used(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    await warm_up(MEANS, KEY, replace(pod.call, requests=1))
    assert len(pod.seen) == 1
