"""The line that a rollout waits in while as many run as may run at once.

A rollout in the line has its ID and nothing else: no pod, no record, no claim on stable's size. It keeps its
place when the spec changes meanwhile. What goes back to stable, and what goes all the way by a hand, never
waits; see docs/fleet.md for who counts.
"""

from __future__ import annotations

from ekiben.api.status import Command, Outcome, RolloutStatus, Stage
from ekiben.core.commands import commands
from ekiben.core.ending import withdrawn
from ekiben.core.moves import Move, event, in_stage
from ekiben.core.view import View

# A place is told anew at most this often, in seconds; with many in the line less often, so that the whole
# line writes no more than two statuses a second.
PLACE_SECONDS = 60.0
PLACE_SECONDS_EACH = 0.5
# Why a rollout that had its turn stands in the line again.
NO_ROOM = "InsufficientCapacity"


def has_turn(view: View) -> bool:
    """Tell whether a rollout may begin now: there is no limit, it is its turn, or a hand says so."""
    line = view.snapshot.line
    return line is None or line.turn or _is_hurried(view)


def line_up(view: View, rollout: RolloutStatus) -> Move | None:
    """Put a new rollout into the line; None where the wanted revision stands in it already."""
    queued = view.queued
    if queued and queued.revision == rollout.revision:
        return None
    waits = in_stage(view, rollout, Stage.QUEUED, started_at=None)
    if queued:
        # Whoever releases often would otherwise never get to the front.
        waits = waits.model_copy(update={"stage_started_at": queued.stage_started_at})
    failed = tuple(i for i in view.status.failed_revisions if i.revision != rollout.revision)
    update = {"rollout": waits, "failed_revisions": failed, "commands": commands(view)}
    note = f"rollout {rollout.id} is {_place(view)}"
    return Move(view.status.model_copy(update=update), note, event("Normal", "Queued", "Queue", note))


def taken_out(view: View) -> Move | None:
    """Take a rollout out of the line by `rollout.abort`, or because the spec is stable's again."""
    queued = view.queued
    if queued is None:
        return None
    if view.spec.rollout.abort == queued.id:
        note = f"aborted {queued.revision} before its turn"
        honoured = Command(command="abort", value=queued.id, result="Honoured")
        others = tuple(item for item in commands(view) if item.command != "abort")
        status = withdrawn(view, queued, Outcome.ABORTED, "aborted by rollout.abort before its turn")
        status = status.model_copy(update={"commands": (*others, honoured)})
        return Move(status, note, event("Normal", "Aborted", "Abort", note))
    if view.wanted.revision == view.stable_revision:
        note = f"rollout {queued.id} leaves the line: the spec is stable's again"
        status = withdrawn(view, queued, Outcome.REVERTED, "the spec is stable's again")
        return Move(status, note, event("Normal", "Reverted", "Abort", note))
    return None


def place_text(view: View) -> str:
    """Say where in the line the model is; empty where it is not, or where `paused` is what it waits for."""
    if view.queued is None or view.snapshot.line is None or view.spec.rollout.paused:
        return ""
    had = f"; it had its turn and {view.queued.message}" if view.queued.reason == NO_ROOM else ""
    return f"{_place(view)}{had}; set rollout.promote to {view.queued.id} to go all the way now"


def next_look(view: View) -> float | None:
    """Return the seconds until a place is worth telling anew; None outside the line."""
    line = view.snapshot.line
    return max(PLACE_SECONDS, PLACE_SECONDS_EACH * line.waiting) if line and place_text(view) else None


def _is_hurried(view: View) -> bool:
    return view.queued is not None and view.spec.rollout.promote == view.queued.id


def _place(view: View) -> str:
    line = view.snapshot.line
    if line is None or line.turn:
        # Who gives a slot back has no place yet.
        return "queued"
    more = line.running - len(line.names)
    names = ", ".join(line.names) + (f" and {more} more" if more > 0 else "")
    where = f" in namespace {line.namespace}" if line.namespace else ""
    return (
        f"queued: place {line.place} of {line.waiting},"
        f" {line.running} of {line.limit} rollouts run{where}" + (f" ({names})" if names else "")
    )
