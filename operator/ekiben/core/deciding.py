"""Who or what decided: each transition as one record, for the log, the history and the Events.

A decision is made by a hand (a command or a change of the spec, with the field manager that wrote it), by a
check (with its numbers), or by the operator's own rules (pods that die, a step that is over).
"""

from __future__ import annotations

from ekiben.api.status import Outcome, RolloutStatus, Stage
from ekiben.core import verdicts
from ekiben.core.moves import Move
from ekiben.core.names import pause_of
from ekiben.core.plan import Decision
from ekiben.core.sampling import is_judged
from ekiben.core.steps import steps_of
from ekiben.core.view import GIVEN_UP, View

DECISIONS: dict[str, str] = {
    "Queued": "As many rollouts run as may at once: it waits for its turn.",
    "Held": "The first revision waits for rollout.promote.",
    "Started": "A rollout begins.",
    "Step": "The next step's weight is asked for.",
    "Paused": "It waits for a hand: a pause step, no data, or an uncertain check.",
    "Resumed": "A hand ended a pause or a hold.",
    "Edited": "The steps or checks were edited.",
    "Forgiven": "A failed look that failureLimit allows.",
    "GateAsked": "Gates are asked whether it may go on.",
    "GateTimeout": "A gate stayed shut for too long: it pauses, or goes on without it.",
    "Promoting": "The canary gets everything.",
    "Baking": "The promoted revision is watched, while the one before keeps its pods.",
    "Rebuilt": "The status was lost: the rollout that was on its way is known from the children.",
    "Aborting": "The canary, or in a bake the new stable, gives everything back.",
    "Moved": "It goes on to the next stage by itself.",
    "Ended": "The rollout is over, with its outcome as the reason.",
}


def decided(view: View, move: Move) -> Decision | None:
    """Return the decision behind a transition; None where it is about no rollout."""
    before, after = view.status.rollout, move.status.rollout
    if after is None or after == before:
        return None
    what = _what(view, before, after)
    return Decision(
        decision=what,
        rollout=after.id,
        old=after.from_,
        new=after.revision,
        by=_by(view, what, after),
        reason=after.reason or (str(after.stage) if after.outcome is None else str(after.outcome)),
        message=move.note,
        numbers=verdicts.judged(view) if is_judged(view) and what != "Moved" else after.checks,
    )


def rebuilt(view: View) -> Decision | None:
    """Return the decision behind a rebuilt status; None where no rollout was on its way."""
    rollout = view.rollout
    if rollout is None:
        return None
    return Decision(
        decision="Rebuilt",
        rollout=rollout.id,
        old=rollout.previous or view.stable_revision or "",
        new=rollout.revision,
        by="operator",
        reason=rollout.reason,
        message=rollout.message,
    )


def _what(view: View, before: RolloutStatus | None, after: RolloutStatus) -> str:
    if after.stage is Stage.QUEUED:
        return "Queued"
    if before is None or before.id != after.id or before.stage is Stage.OVER:
        return "Held" if view.status.stable is None and after.plan else "Started"
    if after.stage is Stage.OVER:
        return "Ended"
    if before.stage is Stage.QUEUED:
        return "Started"
    if after.stage in GIVEN_UP:
        return "Moved" if before.stage in GIVEN_UP else "Aborting"
    if after.stage is Stage.BAKING and before.stage is not Stage.BAKING:
        return "Baking"
    if (before.plan and before.plan.hash) != (after.plan and after.plan.hash):
        return "Edited"
    return _on_the_way(view, before, after)


def _on_the_way(view: View, before: RolloutStatus, after: RolloutStatus) -> str:
    if before.stage is after.stage and before.failed_looks != after.failed_looks:
        return "Forgiven"
    if before.stage is after.stage and before.gates_asked_at != after.gates_asked_at:
        return "GateAsked"
    if before.stage is after.stage and after.reason == "GateTimeout" != before.reason:
        return "GateTimeout"
    if _is_resumed(view, before):
        return "Resumed"
    if after.stage is Stage.ENLARGING:
        return "Promoting"
    if after.stage is Stage.PAUSED:
        return "Paused"
    return "Step" if after.step > before.step else "Moved"


def _is_resumed(view: View, before: RolloutStatus) -> bool:
    stays = before.stage in (Stage.PREPARING, Stage.PAUSED, Stage.HOLDING)
    return stays and view.spec.rollout.resume == pause_of(before.id, before.step)


def _by(view: View, what: str, after: RolloutStatus) -> str:
    if what in ("Queued", "Held", "Started"):
        return after.by
    if what == "Resumed":
        return hand(view, "resume")
    if what == "Edited":
        return changed_by(view, "rollout")
    if after.decided_by:
        return after.decided_by
    held = view.rollout is not None and view.rollout.stage is Stage.HOLDING
    return "checks" if held and what != "Moved" and verdicts.judged(view) else "operator"


def hand(view: View, command: str) -> str:
    """Name a command and the field manager that wrote it."""
    return _written(view, f"rollout.{command}", command)


def changed_by(view: View, part: str = "spec") -> str:
    """Name a change of the spec and the field manager that wrote it; `part` as in `writers.py`."""
    return _written(view, "spec", part)


def abort_by(view: View, outcome: Outcome) -> str:
    """Name who or what takes a canary's traffic away."""
    if outcome is Outcome.ABORTED:
        return hand(view, "abort")
    if outcome is not Outcome.ROLLED_BACK:
        return changed_by(view)
    bad = next((result for result, deed in verdicts.deeds(view) if deed == "fail"), None)
    return f"check {bad.metric}" if bad else "operator"


def outcome_by(rollout: RolloutStatus) -> str:
    """Name who or what an outcome goes back to, where nobody decided against the way up."""
    return rollout.decided_by or ("checks" if steps_of(rollout) else "operator")


def _written(view: View, what: str, field: str) -> str:
    manager = view.model.writers.get(field)
    return f"{what} by {manager}" if manager else what
