"""The asker's loop on virtual time, around answers that a scenario makes up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from ekiben.asking.asker import AGAIN_SECONDS, UnansweredError
from ekiben.core.asking import Answer, Question
from unit.sim.clock import Clock

ASKING_TAKES = 0.1

Oracle = Callable[[Any], Any]


class Asker:
    """Asks what a plan names, and keeps nothing that a crash may not lose.

    `oracles` answer a kind of question: they return the value, or raise UnansweredError.
    """

    def __init__(
        self, clock: Clock, wall: Callable[[], datetime], oracles: Mapping[type[Question], Oracle]
    ) -> None:
        self.clock, self.wall, self.oracles = clock, wall, oracles
        self.on_answer: Callable[[], None] = lambda: None
        self.answers: dict[Question, Answer] = {}
        self._open: dict[Question, object] = {}

    def ensure(self, questions: Iterable[Question]) -> None:
        """Ask these questions from now on, and no others."""
        wanted = dict.fromkeys(questions)
        for question in [question for question in self._open if question not in wanted]:
            del self._open[question]
            self.answers.pop(question, None)
        for question in wanted:
            if question not in self._open:
                self._open[question] = object()
                self._later(self.clock.after, ASKING_TAKES, question)

    def _later(
        self, waits: Callable[[float, Callable[[], None]], None], seconds: float, question: Question
    ) -> None:
        opened = self._open[question]

        def ask() -> None:
            if self._open.get(question) is opened:
                self._ask(question)

        waits(seconds, ask)

    def _ask(self, question: Question) -> None:
        try:
            answer = Answer(self.wall(), self.oracles[type(question)](question))
        except UnansweredError as problem:
            answer = Answer(self.wall(), problem=str(problem), reason=problem.reason)
        self.answers[question] = answer
        self.on_answer()
        if question.every is not None or answer.problem:
            # Another seed makes an answer late; the real asker's pauses are never off by more than 5 %.
            self._later(self.clock.exactly, question.every or AGAIN_SECONDS, question)
