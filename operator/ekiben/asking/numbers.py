"""Ask for one number: of a Prometheus, or of any server that answers with JSON."""

from __future__ import annotations

import functools
import itertools
import json
import math
import time
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from ekiben.asking.asker import Means, UnansweredError
from ekiben.asking.http import find_answer
from ekiben.core.calling import HttpAnswer
from ekiben.core.measuring import Measure, Measured
from ekiben.kube.store import Key

# How much of what came back is shown in place of a number.
_SHOWN = 120
# Prometheus itself gives no more points of one series.
_MOST_POINTS = 11_000


async def find_number(means: Means, key: Key, question: Measure) -> Measured:
    """Ask and read the number; raises UnansweredError, but not where a Prometheus finds no series."""
    call = question
    if question.over is not None:
        call = _within_time(question, question.over)
    answer = await find_answer(means, key, call)
    return _of_prometheus(answer) if question.reads == "prometheus" else _of_json(answer, question.path)


def _within_time(question: Measure, over: float) -> Measure:
    """Say from when to when a range goes: never to before the canary had its weight."""
    now = time.time()
    start = min(max(now - over, question.since), now)
    times = urlencode({"start": f"{start:.3f}", "end": f"{now:.3f}", "step": f"{question.step:g}"})
    return replace(question, url=f"{question.url}&{times}")


def _of_prometheus(answer: HttpAnswer) -> Measured:
    document = _document(answer, also=(400, 422, 503))
    if not isinstance(document, dict) or document.get("status") != "success":
        told = document.get("error") if isinstance(document, dict) else None
        said = _shown(told or document)
        raise UnansweredError(f"the Prometheus answers {answer.status}: {said}", "BadAnswer")
    data = document.get("data")
    kind, result = (data.get("resultType"), data.get("result")) if isinstance(data, dict) else (None, None)
    if not isinstance(result, list):
        raise UnansweredError(f"the Prometheus answers without a result: {_shown(document)}", "BadAnswer")
    if kind == "scalar":
        return _one(_number(_at(result, 1)))
    if kind not in ("vector", "matrix"):
        raise UnansweredError(f"the query gives a {_shown(kind)}, not a number", "NoNumber")
    if not result:
        return Measured()
    if len(result) > 1:
        raise UnansweredError(
            f"the query gives {len(result)} series, not one: aggregate them, such as with sum()",
            "NoNumber",
        )
    series = result[0] if isinstance(result[0], dict) else {}
    if kind == "vector":
        return _one(_number(_at(series.get("value"), 1)))
    points = series.get("values")
    if not isinstance(points, list) or not points or len(points) > _MOST_POINTS:
        raise UnansweredError(f"the Prometheus answers no points: {_shown(series)}", "BadAnswer")
    numbers = [_number(_at(point, 1)) for point in points]
    return Measured(min(numbers), max(numbers))


def _of_json(answer: HttpAnswer, path: str) -> Measured:
    document = _document(answer)
    found = _compiled(path).findall(document)
    if not found:
        raise UnansweredError(f"there is nothing at {path} in the answer: {_shown(document)}", "NoNumber")
    value = found[0]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UnansweredError(f"what is at {path} is no number: {_shown(value)}", "NoNumber")
    return _one(_number(value))


@functools.lru_cache(maxsize=256)
def _compiled(path: str) -> Any:
    """Compile a path to one value; others, which the API server refuses, may cost any amount of time."""
    # Imported late: a tenth of a second that an operator without such a check need not spend.
    from jsonpath import JSONPathEnvironment, JSONPathError  # noqa: PLC0415

    try:
        compiled = JSONPathEnvironment(strict=True).compile(path)
    except (JSONPathError, RecursionError):
        compiled = None
    if compiled is None or not getattr(compiled, "singular_query", lambda: False)():
        raise UnansweredError(f"{path} is no path to one value, such as $.data.accuracy", "BadPath")
    return compiled


def _document(answer: HttpAnswer, also: tuple[int, ...] = ()) -> Any:
    """Read a body as JSON."""
    if not (200 <= answer.status < 300 or answer.status in also):
        raise UnansweredError(
            f"the server answers {answer.status}: {_shown(_text(answer.body))}", "BadStatus"
        )
    try:
        return json.loads(answer.body.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise UnansweredError(f"the answer is no JSON: {_shown(_text(answer.body))}", "BadAnswer") from None


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _number(value: Any) -> float:
    """Read a number that a Prometheus writes as a string; raises where it is none, or not finite."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise UnansweredError(f"what came back is no number: {_shown(value)}", "NoNumber")
    return number


def _one(number: float) -> Measured:
    return Measured(number, number)


def _at(items: Any, index: int) -> Any:
    return items[index] if isinstance(items, list) and len(items) > index else None


def _text(body: bytes) -> str:
    return body[: 4 * _SHOWN].decode(errors="replace")


def _shown(value: Any) -> str:
    """Show the beginning of what came back, as printable text."""
    text = value if isinstance(value, str) else _dumped(value)
    printable = "".join(letter if letter.isprintable() else " " for letter in text[: _SHOWN + 1])
    return printable[:_SHOWN] + ("..." if len(text) > _SHOWN else "") or "nothing"


def _dumped(value: Any) -> str:
    if isinstance(value, dict | list):
        # Only as much as is shown: an answer may be a megabyte.
        return "".join(itertools.islice(json.JSONEncoder().iterencode(value), _SHOWN))
    return "nothing" if value is None else str(value)
