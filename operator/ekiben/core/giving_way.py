"""A rollout that finds no room gives its place to the next one: it has touched nothing yet.

It goes back into the line, behind everybody who has not been looked at, and has its turn again as it comes.
Only where somebody else could begin then, and not before a shortage has lasted: alone it waits where it is.
"""

from __future__ import annotations

from datetime import timedelta

from ekiben.api.status import RolloutStatus, Stage
from ekiben.core.gates import Wait
from ekiben.core.moves import Move, event, in_stage, with_rollout
from ekiben.core.queueing import NO_ROOM
from ekiben.core.starting import is_way_back
from ekiben.core.view import View

# Long enough for pods that end to leave their room; and each turn costs a write or two.
GIVES_WAY_AFTER = timedelta(seconds=60)


def next_move(view: View, rollout: RolloutStatus, wait: Wait) -> Move | None:
    """Return the move back into the line; None where the rollout keeps its place."""
    line, since = view.snapshot.line, rollout.stage_started_at
    if wait.reason != NO_ROOM or line is None or not line.next_waits or since is None:
        return None
    begun = rollout.stage not in (Stage.PREFLIGHT, Stage.PREPARING) or view.is_fielded
    if begun or view.stable is None or is_way_back(view) or view.now < since + GIVES_WAY_AFTER:
        return None
    message = f"found {wait.message}" if wait.message.startswith("no room") else wait.message
    moved = in_stage(view, rollout, Stage.QUEUED, started_at=None, plan=None, reason=NO_ROOM, message=message)
    moved = moved.model_copy(update={"full_size": None, "kept": None, "shortfalls": None})
    note = f"rollout {rollout.id} gives its place to the next one: {message}"
    return with_rollout(view, moved, note, event("Normal", "Queued", "Queue", note))
