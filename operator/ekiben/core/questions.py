"""What is asked now: the questions of everybody who needs to know what no watch tells."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ekiben.core import approvals, preflight, sleeping, sources, starting, warming
from ekiben.core.asking import Question
from ekiben.core.view import View

# Each says what it wants to know of a model as it stands: small functions, beside the gates that they serve.
ASKING: tuple[Callable[[View], Iterable[Question]], ...] = (
    sources.open_questions,
    preflight.open_questions,
    starting.open_questions,
    warming.open_questions,
    approvals.open_questions,
    sleeping.open_questions,
)


def questions(view: View) -> tuple[Question, ...]:
    """Return every question that is open, each once."""
    return tuple(dict.fromkeys(question for ask in ASKING for question in ask(view)))
