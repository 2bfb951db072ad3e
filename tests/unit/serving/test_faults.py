"""The share of requests that a release fails or delays, and what it says about it."""

from __future__ import annotations

import asyncio
import dataclasses
import importlib
import json
import sys
import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from images.names import IRIS


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The service's own module, imported as the service does."""
    monkeypatch.syspath_prepend(str(IRIS))
    yield importlib.import_module("faults")
    for name in ("faults", "releases"):
        sys.modules.pop(name, None)


async def call(middleware: Any, request: str, path: str = "/predict") -> tuple[int, dict[str, str]]:
    """Send one request through the middleware and return status and headers."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    headers = [(b"x-request-id", request.encode())]
    await middleware({"type": "http", "path": path, "headers": headers}, receive, send)
    answer = {key.decode(): value.decode() for key, value in sent[0]["headers"]}
    return sent[0]["status"], answer


async def model(scope: Any, receive: Any, send: Any) -> None:
    """Answer 200, as the model would."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"[]"})


@pytest.mark.parametrize(
    ("share", "of", "picked"), [(0.2, 50, 10), (0.3, 20, 6), (0.3, 1000, 300), (0, 9, 0), (1, 9, 9)]
)
def test_a_share_is_exact_and_evenly_spread(faults: ModuleType, share: float, of: int, picked: int) -> None:
    counter = faults.Share(share)
    picks = [counter.picks_next() for _ in range(of)]
    assert sum(picks) == picked
    for end in range(of + 1):
        assert abs(sum(picks[:end]) - end * share) <= 1


async def test_every_failure_is_logged_under_the_id_its_caller_sent(
    faults: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    release = sys.modules["releases"].RELEASES["3.0.0"]
    middleware = faults.Faults(model, "3.0.0", release, "/predict")
    answers = {f"id-{number}": await call(middleware, f"id-{number}") for number in range(50)}
    failed = [request for request, (status, _) in answers.items() if status == 500]
    assert len(failed) == 10
    logged = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["request_id"] for line in logged] == failed
    assert {line["event"] for line in logged} == {"request_failed"}
    assert {headers["x-model-version"] for _, headers in answers.values()} == {"3.0.0"}


async def test_probes_are_neither_failed_nor_counted(faults: ModuleType) -> None:
    release = sys.modules["releases"].RELEASES["3.0.0"]
    middleware = faults.Faults(model, "3.0.0", release, "/predict")
    assert {(await call(middleware, "probe", "/readyz"))[0] for _ in range(20)} == {200}
    assert [(await call(middleware, "real"))[0] for _ in range(5)] == [200, 200, 200, 200, 500]


async def test_the_slow_release_delays_its_share_and_fails_none(
    faults: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    delays: list[float] = []

    async def sleep(seconds: float) -> None:
        delays.append(seconds)

    monkeypatch.setattr(faults.asyncio, "sleep", sleep)
    release = sys.modules["releases"].RELEASES["4.0.0"]
    middleware = faults.Faults(model, "4.0.0", release, "/predict")
    assert {(await call(middleware, str(number)))[0] for number in range(20)} == {200}
    assert delays == [0.4] * 6


async def test_the_heavy_release_takes_one_call_at_a_time(faults: ModuleType) -> None:
    release = dataclasses.replace(sys.modules["releases"].RELEASES["5.0.0"], turn=0.02)
    middleware = faults.Faults(model, "5.0.0", release, "/predict")
    began = time.monotonic()
    answers = await asyncio.gather(*(call(middleware, str(number)) for number in range(5)))
    assert {status for status, _ in answers} == {200}
    assert time.monotonic() - began >= 5 * release.turn


async def test_the_good_releases_do_nothing_but_name_themselves(
    faults: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("1.0.0", "2.0.0"):
        middleware = faults.Faults(model, name, sys.modules["releases"].RELEASES[name], "/predict")
        answers = [await call(middleware, str(number)) for number in range(20)]
        assert answers == [(200, {"x-model-version": name})] * 20
    assert capsys.readouterr().out == ""
