"""Numbers from others: what counts as one, what is said of the rest, what a hostile answer can do."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from ekiben.asking import FINDERS
from ekiben.asking.asker import UnansweredError
from ekiben.asking.numbers import find_number
from ekiben.core.measuring import Measure, Measured
from unit.asking.test_http import KEY, means, server
from unit.cli.world import ENVIRONMENT

HUGE = 10 * 1024 * 1024


def prometheus(result: Any, kind: str = "vector", **more: Any) -> str:
    """Write what a Prometheus answers."""
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": result}} | more)


def series(*values: str) -> list[Any]:
    """Write an instant vector, one series for each value."""
    return [{"metric": {"i": str(i)}, "value": [1700000000.1, value]} for i, value in enumerate(values)]


async def ask(body: str | bytes, reads: Any = "prometheus", path: str = "$", status: int = 200) -> Measured:
    """Ask a server that answers so."""
    raw = body if isinstance(body, bytes) else body.encode()

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=raw)

    async with server(answer) as url:
        return await find_number(means(), KEY, Measure(url=url, reads=reads, path=path))


NUMBERS: dict[str, tuple[str, str, str, Measured]] = {
    "one series": (prometheus(series("0.031")), "prometheus", "$", Measured(0.031, 0.031)),
    "a scalar": (prometheus([1700000000.1, "7"], "scalar"), "prometheus", "$", Measured(7, 7)),
    "no series is no number and no error": (prometheus([]), "prometheus", "$", Measured()),
    "a range has a smallest and a largest point": (
        prometheus([{"metric": {}, "values": [[1, "3"], [2, "-1e2"], [3, "5"]]}], "matrix"),
        "prometheus",
        "$",
        Measured(-100, 5),
    ),
    "a whole document": ("0.5", "json", "$", Measured(0.5, 0.5)),
    "a place in a document": ('{"a": {"b c": [1, {"x": 2}]}}', "json", "$.a['b c'][1].x", Measured(2, 2)),
    "the last of a list": ('{"scores": [1, 2, 9]}', "json", "$.scores[-1]", Measured(9, 9)),
}


@pytest.mark.parametrize("name", NUMBERS)
async def test_what_is_a_number(name: str) -> None:
    body, reads, path, number = NUMBERS[name]
    assert await ask(body, reads, path) == number


NOT_A_NUMBER: dict[str, tuple[str | bytes, str, str, str]] = {
    "NaN": (prometheus(series("NaN")), "prometheus", "$", "what came back is no number: NaN"),
    "infinite": (prometheus(series("+Inf")), "prometheus", "$", "what came back is no number: +Inf"),
    "words": (prometheus(series("ok")), "prometheus", "$", "what came back is no number: ok"),
    "no value": (prometheus([{"metric": {}}]), "prometheus", "$", "what came back is no number: nothing"),
    "two series": (prometheus(series("1", "2")), "prometheus", "$", "the query gives 2 series, not one"),
    "a string": (prometheus([1, "x"], "string"), "prometheus", "$", "the query gives a string, not a number"),
    "a range without points": (
        prometheus([{"values": []}], "matrix"),
        "prometheus",
        "$",
        "answers no points",
    ),
    "a result that is none": (prometheus({}), "prometheus", "$", "answers without a result"),
    "a list": ("[1]", "prometheus", "$", "the Prometheus answers 200: [1]"),
    "no data": ('{"status": "success"}', "prometheus", "$", "answers without a result"),
    "no JSON": ("<html>", "json", "$", "the answer is no JSON: <html>"),
    "bad UTF-8": (b'{"a": "\xff\xfe"}', "json", "$.a", "the answer is no JSON"),
    "NaN in a document": ('{"a": NaN}', "json", "$.a", "the answer is no JSON"),
    "a number beyond all": ('{"a": 1e999}', "json", "$.a", "what came back is no number: inf"),
    "a number with too many digits": ('{"a": ' + "9" * 5000 + "}", "json", "$.a", "the answer is no JSON"),
    "true": ('{"a": true}', "json", "$.a", "what is at $.a is no number: True"),
    "a number as text": ('{"a": "0.5"}', "json", "$.a", "what is at $.a is no number: 0.5"),
    "null": ('{"a": null}', "json", "$.a", "what is at $.a is no number: nothing"),
    "nothing there": ('{"b": 1}', "json", "$.a", 'there is nothing at $.a in the answer: {"b": 1}'),
    "nothing at all": ("", "json", "$", "the answer is no JSON: nothing"),
    "deep": ("[" * 500_000, "json", "$", "the answer is no JSON"),
    "control characters": ("\x00\x1b[31m", "json", "$", "the answer is no JSON:   [31m"),
    "larger than may be": (b"1" * HUGE, "json", "$", "the answer is larger than 1024 KiB"),
}


@pytest.mark.parametrize("name", NOT_A_NUMBER)
async def test_what_is_no_number_is_said_and_never_judged(name: str) -> None:
    body, reads, path, said = NOT_A_NUMBER[name]
    with pytest.raises(UnansweredError) as problem:
        await ask(body, reads, path)
    assert said in str(problem.value)
    assert len(str(problem.value)) < 300
    assert str(problem.value).isprintable()


async def test_a_large_answer_is_not_shown_whole_and_does_not_take_long() -> None:
    body = json.dumps({"a": [{"x": i} for i in range(60_000)]})
    assert 500_000 < len(body) < 1024 * 1024
    began = time.process_time()
    with pytest.raises(UnansweredError) as problem:
        await ask(body, "json", "$.b")
    assert len(str(problem.value)) < 300
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("status", "said"), [(302, "the server answers 302"), (500, "the server answers 500: x")]
)
async def test_another_status_is_no_answer(status: int, said: str) -> None:
    with pytest.raises(UnansweredError, match=said):
        await ask("x", "json", status=status)


async def test_what_a_prometheus_says_of_a_bad_query_is_told() -> None:
    body = json.dumps({"status": "error", "errorType": "bad_data", "error": "1:4: parse error: unexpected )"})
    with pytest.raises(UnansweredError, match="the Prometheus answers 400: 1:4: parse error: unexpected"):
        await ask(body, status=400)


# A filter over the whole document for each of its nodes would take hours for a megabyte.
@pytest.mark.parametrize(
    "path", ["$..a", "$[*]", "$[0:2]", "$[?@.a]", "$[?$[?$[?@]]]", "$[?match(@, '(a+)+b')]", "x"]
)
async def test_a_path_to_more_than_one_value_is_refused(path: str) -> None:
    with pytest.raises(UnansweredError) as problem:
        await ask("{}", "json", path)
    assert problem.value.reason == "BadPath"


async def test_a_range_ends_now_and_begins_with_the_canary() -> None:
    asked: list[dict[str, str]] = []

    async def note(request: web.Request) -> web.StreamResponse:
        asked.append(dict(request.query))
        return web.Response(text=prometheus([]))

    now = time.time()
    async with server(note) as url:
        question = Measure(
            url=f"{url}/api/v1/query_range?query=up", reads="prometheus", over=300.0, step=15.0
        )
        await find_number(means(), KEY, question)
        await find_number(means(), KEY, replace(question, since=now - 60))
    first, second = asked
    assert first["query"] == "up"
    assert first["step"] == "15"
    assert float(first["end"]) == pytest.approx(now, abs=5)
    assert float(first["start"]) == pytest.approx(now - 300, abs=5)
    assert float(second["start"]) == pytest.approx(now - 60, abs=0.01)


def test_the_asker_knows_who_finds_numbers() -> None:
    assert FINDERS[Measure] is find_number


async def test_the_package_for_paths_is_imported_by_the_first_path_only() -> None:
    code = "import sys, ekiben.controller; sys.exit('jsonpath' in sys.modules)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, env=ENVIRONMENT)
    assert await process.wait() == 0
