"""One transition of a rollout: the status that persists it, and the words that explain it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from ekiben.api.status import RolloutStatus, Stage, Status
from ekiben.core.gates import Gate
from ekiben.core.plan import Event
from ekiben.core.view import View


@dataclass(frozen=True, slots=True)
class Move:
    """A transition: written to the status first, its effects come with the next pass."""

    status: Status
    note: str
    event: Event | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a transition table: what must be open before a stage is left, and what leaving it does."""

    gates: tuple[Gate, ...]
    leave: Callable[[View, RolloutStatus], Move]


def event(type_: Literal["Normal", "Warning"], reason: str, action: str, note: str) -> Event:
    """Build an Event about the model."""
    return Event(type=type_, reason=reason, action=action, note=note)


def with_hand(said: Event, by: str, *more: str) -> Event:
    """Add to an Event who decided, and what else only the reader of Events needs."""
    parts = [said.note, *filter(None, (by and f"by {by}", *more))]
    return replace(said, note="; ".join(parts))


def in_stage(view: View, rollout: RolloutStatus, stage: Stage, **changes: Any) -> RolloutStatus:
    """Return the rollout in another stage, entered now; reason and message start empty."""
    fresh = {
        "reason": "",
        "message": "",
        "stage": stage,
        "stage_started_at": view.now,
        "gates_asked_at": None,
    }
    return rollout.model_copy(update=fresh | changes)


def with_rollout(view: View, rollout: RolloutStatus, note: str, event_: Event | None = None) -> Move:
    """Build the move that changes nothing but the rollout."""
    return Move(view.status.model_copy(update={"rollout": rollout}), note, event_)
