"""Pods that can't be read, or would rather not be: each is a reason and a sentence, and nothing worse."""

from __future__ import annotations

import asyncio
import gzip
import itertools
from typing import Any

import pytest
from aiohttp import web

from ekiben.api.measured import Load
from ekiben.core.plan import Extras
from ekiben.core.snapshot import Scrape
from ekiben.samples.metrics import PAGE_LIMIT
from unit.samples.bento import Bento
from unit.samples.world import CANARY, IRIS, Answer, Pod, World, free_port


async def scrape(world: World, *pods: Pod, **changes: Any) -> Scrape:
    """Look at canary pods and return how reading them went."""
    targets = {CANARY: tuple(pod.target for pod in pods)}
    return (await world.look(targets=targets, **changes)).scrapes[CANARY]


def fixed(status: int = 200, body: bytes = b"", **headers: str) -> Answer:
    """Answer always the same."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(
            status=status, body=body, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )

    return answer


async def cut_off(request: web.Request) -> web.StreamResponse:
    """Promise a page and hang up in the middle of it."""
    response = web.StreamResponse(headers={"Content-Length": "100000"})
    await response.prepare(request)
    await response.write(Bento().page())
    assert request.transport is not None
    request.transport.close()
    return response


ANSWERS: dict[str, tuple[Answer, str, str]] = {
    "metrics turned off": (fixed(404), "MetricsUnreachable", "answered 404 to http"),
    "a server error": (fixed(500, Bento().page()), "MetricsUnreachable", "answered 500 to http"),
    "a page that ends early": (cut_off, "MetricsUnreachable", "can't be read at http"),
    "headers without end": (fixed(X_Long="x" * 20000), "MetricsUnreachable", "can't be read at http"),
    "a zipped page": (
        fixed(200, gzip.compress(Bento().page()), Content_Encoding="gzip"),
        "MetricsInvalid",
        "has a metrics page without bentoml_service_request_total",
    ),
    "a login page": (fixed(200, b"<html>"), "MetricsInvalid", "must come from BentoML"),
    "another service": (fixed(200, Bento("Other").page()), "ServiceNameMismatch", "serves Other, not Iris"),
    "a page over 4 MiB": (fixed(200, b"#" * (PAGE_LIMIT + 1)), "MetricsTooLarge", "more than 4 MiB"),
}


@pytest.mark.parametrize(("answer", "reason", "words"), ANSWERS.values(), ids=ANSWERS)
async def test_a_bad_answer_is_explained_and_the_other_pods_count(
    world: World, answer: Answer, reason: str, words: str
) -> None:
    good, bad = await world.pod(), await world.pod(answer=answer)
    await scrape(world, bad, good)
    good.bento.serve(5)
    seen = await world.look()
    found = seen.scrapes[CANARY]
    assert (found.pods_read, found.pods_failed, found.reason) == (1, 1, reason)
    assert found.message.startswith("the pod at 127.0.0.2 ")
    assert words in found.message
    assert seen.counters[CANARY].requests == 5


async def test_a_pod_that_hangs_up_or_was_never_there_is_unreachable(world: World) -> None:
    pod = await world.pod()
    await pod.stop()
    found = await scrape(world, pod)
    assert (found.pods_read, found.pods_failed, found.reason) == (0, 1, "MetricsUnreachable")


async def test_a_pod_that_never_answers_is_given_up_within_the_interval(world: World) -> None:
    async def never(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(30)
        return web.Response()

    found = await scrape(world, await world.pod(answer=never), interval=0.1)
    assert (found.pods_read, found.pods_failed) == (0, 1)
    assert found.message.endswith(f"did not answer http://127.0.0.1:{world.port}/metrics within 0.1 s")


async def test_a_page_without_end_is_cut_at_the_limit(world: World) -> None:
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        while sent < 20 * PAGE_LIMIT:
            await response.write(b"#" * 65536)
            sent += 65536
        return response

    found = await scrape(world, await world.pod(answer=endless))
    assert found.reason == "MetricsTooLarge"
    # What is sent beyond the limit lies in the sockets' buffers.
    assert sent < 4 * PAGE_LIMIT


async def test_a_redirect_is_not_followed(world: World) -> None:
    victim = await world.pod()
    lure = await world.pod(answer=fixed(302, Location=f"http://{victim.ip}:{world.port}/metrics"))
    found = await scrape(world, lure)
    assert (found.reason, victim.hits) == ("MetricsUnreachable", 0)


async def test_several_unreadable_pods_are_one_sentence(world: World) -> None:
    pods = [await world.pod(answer=fixed(404)) for _ in range(3)]
    found = await scrape(world, *pods)
    assert (found.pods_failed, found.message.count("answered 404")) == (3, 1)
    assert found.message.endswith(", and 2 more can't be read")


async def test_what_a_pod_served_while_it_could_not_be_read_is_counted_once_it_can(world: World) -> None:
    pod = await world.pod()
    await scrape(world, pod)
    pod.bento.serve(4)
    pod.answer = fixed(500)
    await scrape(world, pod)
    pod.answer = None
    pod.bento.serve(1)
    seen = await world.look()
    assert (seen.counters[CANARY].requests, seen.resets[CANARY]) == (5, 0)
    assert seen.scrapes[CANARY].reason == ""


LOAD = Extras(batches=True, busy=True, buckets=(0.1, 0.25))
SPOILT = {
    f"{family} of {value}": (family, value)
    for family in ("adaptive_batch_size_count", "adaptive_batch_size_sum", "request_duration_seconds_sum")
    for value in ("NaN", "-3", "1e300", "x")
}


@pytest.mark.parametrize(("family", "value"), SPOILT.values(), ids=SPOILT)
async def test_a_spoilt_mean_makes_a_pod_unreadable_and_the_others_count(
    world: World, family: str, value: str
) -> None:
    line = f'bentoml_service_{family}{{runner_name="Iris",endpoint="/\xff"}} {value}\n'
    spoilt = await world.pod(answer=fixed(200, Bento().page() + line.encode("latin-1")))
    good = await world.pod()
    await scrape(world, spoilt, good, extras=LOAD)
    good.bento.serve(2, took=0.2)
    good.bento.batch(2)
    seen = await world.look()
    assert (seen.scrapes[CANARY].pods_failed, seen.scrapes[CANARY].reason) == (1, "MetricsInvalid")
    assert seen.counters[CANARY].load == Load(batches=1, batched=2, busy_ms=400, watched_ms=10_000)
    latency = seen.counters[CANARY].latency
    assert latency is not None
    assert latency.p99 == "<= 250ms"


async def test_means_that_fall_count_as_nothing_and_reset_nothing(world: World) -> None:
    pages = [Bento(), Bento()]
    for bento, took in zip(pages, (5.0, 1.0), strict=True):
        bento.serve(3, took=took)
    pod = await world.pod(answer=fixed(200, pages[0].page()))
    await scrape(world, pod, extras=LOAD)
    pod.answer = fixed(200, pages[1].page())
    seen = await world.look()
    assert seen.resets[CANARY] == 0
    assert seen.counters[CANARY].load == Load(watched_ms=10_000)


async def test_a_page_of_ten_megabytes_of_batches_is_too_large(world: World) -> None:
    line = b'bentoml_service_adaptive_batch_size_count{runner_name="Iris"} 1\n'
    found = await scrape(
        world, await world.pod(answer=fixed(200, line * (10 * 2**20 // len(line)))), extras=LOAD
    )
    assert found.reason == "MetricsTooLarge"


@pytest.fixture
def proxy_nobody_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that names a proxy which does not answer."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)


@pytest.mark.usefixtures("proxy_nobody_has")
async def test_pods_are_read_without_the_proxy_of_the_environment(world: World) -> None:
    assert (await scrape(world, await world.pod())).pods_read == 1


async def test_pods_may_have_ipv6_addresses(world: World) -> None:
    try:
        pod = await world.pod(ip="::1")
    except OSError as missing:
        pytest.skip(f"no IPv6 loopback here: {missing}")
    assert (await scrape(world, pod)).pods_read == 1


async def unhurried(request: web.Request) -> web.StreamResponse:
    """Answer late enough for others to ask meanwhile."""
    await asyncio.sleep(0.1)
    return web.Response(body=Bento().page())


async def test_pods_are_read_side_by_side_but_no_more_than_a_models_share(world: World) -> None:
    await world.restart(max_concurrency=8)
    pod = await world.pod(answer=unhurried)
    targets = {CANARY: tuple((f"uid-{n}", pod.ip) for n in range(9))}
    assert (await world.look(targets=targets)).scrapes[CANARY].pods_read == 9
    assert pod.most_running == 2


async def test_all_models_together_keep_to_the_limit(world: World) -> None:
    await world.restart(max_concurrency=4)
    pod = await world.pod(answer=unhurried)
    targets = {CANARY: (pod.target,)}
    await asyncio.gather(*(world.look(("models", f"m{n}"), targets=targets) for n in range(12)))
    assert (pod.hits, pod.most_running) == (12, 4)


async def test_pages_that_take_long_to_parse_are_asked_for_less_often(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = await world.pod()
    targets = {CANARY: (pod.target,)}
    await world.look(targets=targets, interval=1.0)
    # Each look at the clock is ten seconds after the last: so long did the page take.
    monkeypatch.setattr("ekiben.samples.pods.perf_counter", itertools.count(0, 10).__next__)
    begun = asyncio.get_running_loop().time()
    await world.look(targets=targets, interval=0.5)
    assert world.sampler._samples[IRIS]._next >= begun + 90
