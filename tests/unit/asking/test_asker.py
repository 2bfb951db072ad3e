"""Questions are asked while a plan names them, and a problem never ends the asking."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from ekiben.asking import asker as module
from ekiben.asking.asker import Asker, Means, UnansweredError
from ekiben.core.asking import Question
from ekiben.kube.client import ApiError
from unit.fake_client import FakeClient

KEY = ("team", "iris")


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather(Question):
    """A question of the tests."""

    town: str = "Bern"


class Oracle:
    """Answers by what it was given; counts how often it was asked."""

    def __init__(self, find: Callable[[Weather], Any]) -> None:
        self.find = find
        self.asked: list[Weather] = []

    async def __call__(self, means: Means, key: tuple[str, str], question: Weather) -> Any:
        self.asked.append(question)
        found = self.find(question)
        return await found if asyncio.iscoroutine(found) else found


@asynccontextmanager
async def asking(oracle: Oracle) -> AsyncIterator[tuple[Asker, asyncio.Queue[tuple[str, str]]]]:
    """Run an asker; the queue holds whose answers came."""
    woken: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    asker = Asker(woken.put_nowait, {Weather: oracle}, Means(FakeClient()))
    try:
        yield asker, woken
    finally:
        await asker.close()


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask again at once: these tests wait for answers, never for seconds."""
    monkeypatch.setattr(module, "SHORTEST", 0.001)
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0.001)


def boom(question: Weather) -> Any:
    raise ValueError("no such town")


def unanswered(question: Weather) -> Any:
    raise UnansweredError("the station is closed", "Closed")


def refused(question: Weather) -> Any:
    raise ApiError(403, "Forbidden", "may not list towns")


async def test_an_answer_wakes_the_model_and_is_kept_for_the_question() -> None:
    async with asking(Oracle(lambda question: "rain")) as (asker, woken):
        asker.ensure(KEY, [Weather()])
        assert await woken.get() == KEY
        assert asker.answers(KEY)[Weather()].value == "rain"
        assert Weather(town="Basel") not in asker.answers(KEY)


async def test_a_question_without_an_interval_is_asked_once_however_often_it_is_planned() -> None:
    oracle = Oracle(lambda question: "rain")
    async with asking(oracle) as (asker, woken):
        for _ in range(5):
            asker.ensure(KEY, [Weather()])
        await woken.get()
        for _ in range(50):
            await asyncio.sleep(0.002)
            asker.ensure(KEY, [Weather()])
        assert len(oracle.asked) == 1


async def test_a_question_with_an_interval_is_asked_again() -> None:
    oracle = Oracle(lambda question: "rain")
    async with asking(oracle) as (asker, woken):
        asker.ensure(KEY, [Weather(every=0.001)])
        for _ in range(3):
            await woken.get()
        assert len(oracle.asked) >= 3


@pytest.mark.parametrize(
    ("find", "problem", "reason"),
    [
        (unanswered, "the station is closed", "Closed"),
        (refused, "403 Forbidden: may not list towns", "Forbidden"),
        (boom, "a bug, see the operator's log: ValueError", "Bug"),
        (lambda question: asyncio.sleep(60), "there was no answer within 0.01 s", "TimedOut"),
    ],
)
async def test_a_problem_is_an_answer_and_is_asked_again(
    find: Callable[[Weather], Any], problem: str, reason: str
) -> None:
    oracle = Oracle(find)
    async with asking(oracle) as (asker, woken):
        asker.ensure(KEY, [Weather(timeout=0.01)])
        await woken.get()
        answer = asker.answers(KEY)[Weather(timeout=0.01)]
        assert (answer.value, answer.problem, answer.reason) == (None, problem, reason)
        oracle.find = lambda question: "sun"
        while not asker.answers(KEY)[Weather(timeout=0.01)].value:
            await woken.get()


async def test_what_is_no_longer_planned_is_forgotten_and_its_late_answer_wakes_nobody() -> None:
    gate = asyncio.Event()

    async def late() -> str:
        await gate.wait()
        return "snow"

    async with asking(Oracle(lambda question: late())) as (asker, woken):
        asker.ensure(KEY, [Weather()])
        await asyncio.sleep(0)
        asker.ensure(KEY, ())
        gate.set()
        await asyncio.sleep(0.01)
        assert not asker.answers(KEY)
        assert woken.empty()


async def test_one_model_that_asks_much_leaves_room_for_others() -> None:
    gate = asyncio.Event()

    async def slow() -> str:
        await gate.wait()
        return "fog"

    oracle = Oracle(lambda question: slow() if question.town.startswith("slow") else "sun")
    async with asking(oracle) as (asker, woken):
        asker.ensure(KEY, [Weather(town=f"slow {number}") for number in range(200)])
        asker.ensure(("team", "rose"), [Weather()])
        assert await woken.get() == ("team", "rose")
        assert len(oracle.asked) == module.MOST_OF_ONE + 1
        gate.set()
