"""Gates that others keep: whom a rollout asks before it goes on, and what is made of the answers.

Asking begins with a transition of its own, so that the time for which a gate may stay shut survives a
restart. All gates of one moment are asked at the same time, and must be open at the same time. Only what
goes on by itself is asked about: `promote`, an abort, a verdict and a way back pass by every gate.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from ekiben.api.fields import delta, seconds
from ekiben.api.gates import OnTimeout, RolloutGate
from ekiben.api.status import Outcome, RolloutStatus, Stage
from ekiben.core import ending
from ekiben.core.asking import Question
from ekiben.core.calling import HttpAnswer, HttpCall
from ekiben.core.commands import pause_of
from ekiben.core.gates import Wait, holds
from ekiben.core.measuring import call_parts
from ekiben.core.moves import Move, event, with_rollout
from ekiben.core.starting import is_way_back
from ekiben.core.steps import step_weight, steps_of
from ekiben.core.view import View

SHUT, TIMED_OUT = "GateShut", "GateTimeout"
DEFAULT_INTERVAL, DEFAULT_MAX_WAIT = "30s", "24h"
_ASKED_IN = frozenset({Stage.PREPARING, Stage.SHIFTING, Stage.HOLDING, Stage.PAUSED})
_THEN: dict[OnTimeout, str] = {"pause": "pauses", "pass": "goes on", "fail": "rolls back"}
_EXCERPT = 80
# What is asked more often is not quoted, in seconds: each answer may read differently, and be a write.
_QUOTED_FROM = 16.0


def open_questions(view: View) -> Iterator[Question]:
    """Yield the call to each gate that is asked now."""
    rollout = view.trial
    if rollout and rollout.gates_asked_at:
        yield from (call_of(view, rollout, gate) for gate in due(view))


def due(view: View) -> tuple[RolloutGate, ...]:
    """Return the gates that must be open for the rollout's next transition by itself."""
    rollout = view.trial
    if rollout is None or rollout.plan is None or view.stable is None or rollout.stage not in _ASKED_IN:
        return ()
    steps, number = steps_of(rollout), rollout.step + 1
    if is_way_back(view) or not (steps or rollout.plan.strategy != "Canary"):
        return ()
    moments = {"BeforeRollout"} if rollout.stage is Stage.PREPARING else set()
    if number > len(steps):
        moments.add("BeforePromotion")
    elif steps[number - 1].weight is not None:
        moments.add("BeforeStep")
    return tuple(gate for gate in view.spec.rollout.gates if gate.when in moments)


def call_of(view: View, rollout: RolloutStatus, gate: RolloutGate) -> HttpCall:
    """Build the question to a gate: it is the same each time that it is asked about one moment."""
    steps, number = steps_of(rollout), rollout.step + 1
    following = steps[number - 1] if number <= len(steps) else None
    about = {
        "gate": gate.name,
        "when": gate.when,
        "namespace": view.model.namespace,
        "model": view.model.name,
        "rollout": rollout.id,
        "stable": view.stable_revision,
        "canary": rollout.revision,
        "step": rollout.step,
        "steps": len(steps),
        "weight": step_weight(rollout, rollout.step),
        "nextWeight": following.weight if following else 100,
    }
    parts = call_parts(gate)
    if not any(name.lower() == "content-type" for name, _ in parts["headers"]):
        parts["headers"] += (("Content-Type", "application/json"),)
    return HttpCall(
        **parts,
        url=gate.url,
        method="POST",
        body=json.dumps(about),
        every=seconds(gate.interval or DEFAULT_INTERVAL),
        about=f"{rollout.id}/{rollout.step}/{rollout.stage}",
    )


def approved(view: View) -> Wait | None:
    """Wait until every gate of this moment is open, or was shut for too long and may be passed."""
    waits = _waits(view)
    if not waits:
        return None
    _, first = waits[0]
    left = [wait.seconds for _, wait in waits if wait.seconds is not None]
    return replace(first, seconds=min(left, default=None))


def approved_at_once(view: View) -> Wait | None:
    """Wait for the gates behind a step that is not held."""
    return approved(view) if view.rollout and not holds(view.rollout) else None


def _waits(view: View) -> list[tuple[RolloutGate, Wait]]:
    """Return the gates that are not open, and what each waits for; first those whose end is the rollout's."""
    rollout = view.trial
    if rollout is None:
        return []
    found = [(gate, wait) for gate in due(view) if (wait := _wait(view, rollout, gate))]
    return sorted(found, key=lambda item: not (item[1].reason == TIMED_OUT and item[0].on_timeout == "fail"))


def _wait(view: View, rollout: RolloutStatus, gate: RolloutGate) -> Wait | None:
    if rollout.gates_asked_at is None:
        return Wait(SHUT, f"gate {gate.name} is to be asked")
    answer = view.snapshot.answers.get(call_of(view, rollout, gate))
    end, then = _end(rollout.gates_asked_at, gate), gate.on_timeout or "pause"
    left = (end - view.now).total_seconds()
    if answer is None:
        return Wait(SHUT, f"gate {gate.name} is asked")
    value = answer.value
    if isinstance(value, HttpAnswer) and not answer.problem and 200 <= value.status < 300:
        return None
    said = f"gate {gate.name} is shut ({_said(gate, value)})"
    if answer.problem or not isinstance(value, HttpAnswer):
        said = f"gate {gate.name} can't be asked: {answer.problem}"
    if left > 0:
        return Wait(SHUT, f"{said}; the rollout {_THEN[then]} at {end:%Y-%m-%dT%H:%M:%SZ}", left)
    if rollout.reason == TIMED_OUT and (then == "pass" or _is_resumed(view, rollout)):
        return None
    late = f"{said}, for longer than {gate.max_wait or DEFAULT_MAX_WAIT}"
    if then != "pause" or rollout.stage is Stage.PAUSED:
        return Wait(TIMED_OUT, late)
    return Wait(TIMED_OUT, f"{late}; open it, or set rollout.resume to {pause_of(rollout)} to go on")


def _is_resumed(view: View, rollout: RolloutStatus) -> bool:
    """Tell whether a hand lets a rollout pass by; at a pause it was given before, for the pause."""
    return rollout.stage is not Stage.PAUSED and view.spec.rollout.resume == pause_of(rollout)


def _end(asked_at: datetime, gate: RolloutGate) -> datetime:
    return asked_at + delta(gate.max_wait or DEFAULT_MAX_WAIT)


def _said(gate: RolloutGate, answer: object) -> str:
    if not isinstance(answer, HttpAnswer):
        return "no answer"
    if seconds(gate.interval or DEFAULT_INTERVAL) < _QUOTED_FROM:
        return str(answer.status)
    text = answer.body[:_EXCERPT].decode(errors="replace").strip()
    return f"{answer.status}: {text!r}" if text else str(answer.status)


def next_move(view: View, rollout: RolloutStatus, wait: Wait) -> Move | None:
    """Return the transition that a gate which is not open asks for: to ask it, or to give it up."""
    gates = due(view)
    if wait.reason == SHUT and rollout.gates_asked_at is None:
        names = ", ".join(gate.name for gate in gates)
        note = f"asking {'gate' if len(gates) == 1 else 'gates'} {names}"
        moved = rollout.model_copy(update={"gates_asked_at": view.now})
        return with_rollout(view, moved, note, event("Normal", "GateAsked", "Ask", note))
    if wait.reason != TIMED_OUT:
        return None
    gate, _ = _waits(view)[0]
    if gate.on_timeout != "fail" and rollout.reason == TIMED_OUT:
        return None
    if gate.on_timeout == "fail":
        return ending.abort(view, rollout, Outcome.ROLLED_BACK, TIMED_OUT, wait.message)
    moved = rollout.model_copy(update={"reason": TIMED_OUT, "message": wait.message})
    note = f"{wait.message}: the rollout {_THEN[gate.on_timeout or 'pause']}"
    return with_rollout(view, moved, note, event("Warning", TIMED_OUT, "Ask", note))
