"""Ask what plans want to know, and keep the last answers.

Theory of operation. Each open question of a model has one task: it asks, keeps the answer, wakes the model
and sleeps until it is to ask again. A question that the newest plan no longer names is dropped with its
answer. A problem is an answer like any other, but is asked again soon, also where an answer would hold for
ever.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ekiben import logs
from ekiben.core.asking import Answer, Question
from ekiben.core.calling import NO_CALLS, CallPolicy
from ekiben.kube.client import ApiError
from ekiben.kube.reads import Reads
from ekiben.kube.store import Key

logger = logging.getLogger(__name__)

# After a problem a question that is asked once is asked again, in seconds: no more often than a status is
# written for mere words, since the problem may read differently each time.
AGAIN_SECONDS = 16.0
# No question is asked more often than this, in seconds.
SHORTEST = 1.0
# Askings under way at a time, of all models; a model may have a part of them, so that none starves others.
MOST_AT_ONCE = 64
MOST_OF_ONE = 8
# An answer's words end up in the status.
LONGEST_PROBLEM = 300


class UnansweredError(Exception):
    """Nothing was found out; the message is one sentence, `reason` one word for a condition."""

    def __init__(self, message: str, reason: str = "Unanswered") -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Means:
    """What finders may use to find an answer."""

    client: Reads
    calls: CallPolicy = NO_CALLS


Finder = Callable[[Means, Key, Any], Awaitable[Any]]


class Asker:
    """Asks for every model; `on_answer` is told whose answer came."""

    def __init__(
        self,
        on_answer: Callable[[Key], None],
        finders: Mapping[type[Question], Finder],
        means: Means,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._on_answer = on_answer
        self._finders = finders
        self._means = means
        self._clock = clock
        self._answers: dict[Key, dict[Question, Answer]] = {}
        self._tasks: dict[Key, dict[Question, asyncio.Task[None]]] = {}
        self._shares: dict[Key, asyncio.Semaphore] = {}
        self._slots = asyncio.Semaphore(MOST_AT_ONCE)
        self._ending: set[asyncio.Task[None]] = set()

    def ensure(self, key: Key, questions: Iterable[Question]) -> None:
        """Ask these questions about a model from now on, and no others."""
        wanted = dict.fromkeys(questions)
        tasks = self._tasks.get(key, {})
        for question in [question for question in tasks if question not in wanted]:
            self._drop(key, question)
        for question in wanted:
            if question not in tasks:
                share = self._shares.setdefault(key, asyncio.Semaphore(MOST_OF_ONE))
                task = asyncio.create_task(self._ask(key, question, share), name=f"{type(question).__name__}")
                self._tasks.setdefault(key, {})[question] = task
        if not self._tasks.get(key):
            self._tasks.pop(key, None)
            self._answers.pop(key, None)
            self._shares.pop(key, None)

    def answers(self, key: Key) -> Mapping[Question, Answer]:
        """Return what came of the questions that are open."""
        return dict(self._answers.get(key, {}))

    async def close(self) -> None:
        """Ask nothing more."""
        for key in list(self._tasks):
            self.ensure(key, ())
        await asyncio.gather(*self._ending, return_exceptions=True)

    def _drop(self, key: Key, question: Question) -> None:
        task = self._tasks[key].pop(question)
        self._answers.get(key, {}).pop(question, None)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        task.cancel()

    async def _ask(self, key: Key, question: Question, share: asyncio.Semaphore) -> None:
        with logs.about(key):
            while True:
                async with share, self._slots:
                    answer = await self._answer(key, question)
                self._answers.setdefault(key, {})[question] = answer
                self._on_answer(key)
                pause = question.every
                if pause is None:
                    if not answer.problem:
                        # The task stays: it is what tells an answered question from one that nobody asked.
                        await asyncio.Event().wait()
                    pause = AGAIN_SECONDS
                await asyncio.sleep(max(pause, SHORTEST) * random.uniform(0.95, 1.05))

    async def _answer(self, key: Key, question: Question) -> Answer:
        try:
            async with asyncio.timeout(question.timeout):
                value = await self._finders[type(question)](self._means, key, question)
            return Answer(self._clock(), value)
        except TimeoutError:
            return self._problem(f"there was no answer within {question.timeout:g} s", "TimedOut")
        except UnansweredError as problem:
            return self._problem(str(problem), problem.reason)
        except ApiError as problem:
            return self._problem(str(problem), problem.reason)
        except Exception as problem:
            # A bug must not end the asking for good: a rollout would wait for ever without a word.
            logger.exception("a bug while asking %s", type(question).__name__)
            return self._problem(f"a bug, see the operator's log: {type(problem).__name__}", "Bug")

    def _problem(self, message: str, reason: str) -> Answer:
        return Answer(self._clock(), problem=message[:LONGEST_PROBLEM], reason=reason or "Unanswered")
