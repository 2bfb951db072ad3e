"""Questions: what a decision needs to know that no watch tells, and what came of asking it.

A plan names the questions that are open; each answer comes back as an event, and stands in the next
snapshot. Equal questions are one. So whatever makes an old answer worthless, such as a rollout's ID or its
step, belongs into the question. Answers are lost with the process and asked for again: asking twice must do
no harm.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One thing to find out; every kind of question is a frozen, hashable subclass of this.

    `every` is the seconds from one answer to the next asking, None: an answer holds for ever. `timeout` is
    the seconds after which there is no answer.
    """

    every: float | None = None
    timeout: float = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of the last asking: `value`, or in `problem` one sentence that says why there is none.

    `reason` names a problem as one word, for conditions.
    """

    at: datetime
    value: Any = None
    problem: str = ""
    reason: str = ""
