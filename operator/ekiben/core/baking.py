"""The bake: after a promotion the old revision keeps its pods for a while, and everything can go back to it.

    Repointing | Returning -> Baking -> Over (Promoted)
    Baking -> Recalling -> Reinstating -> Aborting -> Over (RolledBack, Aborted, Reverted)

The way back is the way up with the sides exchanged, so that no request meets a Service without pods: in
Baking the canary's Service selects the old revision, at weight 0. Recalling sends everything there;
Reinstating makes the old revision stable, so that the stable Service selects it again; Aborting sends
everything to the stable backend. Without a Gateway the stable Service is all there is, and Recalling has
nothing to do.
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from ekiben.api.fields import delta
from ekiben.api.measured import Totals
from ekiben.api.status import Outcome, RevisionStatus, RolloutStatus, Stage, Status
from ekiben.core import ending, failures, verdicts
from ekiben.core.commands import commands
from ekiben.core.deciding import changed_by, hand
from ekiben.core.forgiving import count_failed_look
from ekiben.core.gates import Wait, waiting_for, weight_observed
from ekiben.core.moves import Move, event, in_stage, with_rollout
from ekiben.core.sharing import is_shrinking
from ekiben.core.traffic import route_state, selects_stable
from ekiben.core.view import View


def settle(view: View, rollout: RolloutStatus) -> Move:
    """The new revision serves everything: bake it if the spec says so, else the rollout is over."""
    return _bake(view, rollout) if _bakes(view, rollout) else ending.promoted(view, rollout)


def _bakes(view: View, rollout: RolloutStatus) -> bool:
    """Tell whether there is something to watch and something to go back to; a way back takes no bake."""
    steps = rollout.plan.steps if rollout.plan else ()
    if not bake_of(view) or not steps or not rollout.previous or view.spec.rollout.promote == rollout.id:
        return False
    if is_shrinking(view):
        return False  # The old revision has given its pods up on the way.
    return view.side(rollout.previous).ready > 0


def bake_of(view: View) -> timedelta:
    """Return how long a promoted revision is watched."""
    return delta(view.spec.analysis.bake)


def _bake(view: View, rollout: RolloutStatus) -> Move:
    fresh = {"totals": Totals(), "checks": (), "observed_share": None}
    forgiven = {"failed_looks": 0, "failed_look_at": None, "growing_since": None, "set_aside": None}
    moved = in_stage(view, rollout, Stage.BAKING, **fresh, **forgiven)
    note = (
        f"{rollout.revision} serves everything and bakes for {view.spec.analysis.bake};"
        f" {rollout.previous} keeps its pods"
    )
    return with_rollout(view, moved, note, event("Normal", "BakeStarted", "Bake", note))


def bake_over(view: View) -> Wait | None:
    """Wait until the bake is over; pods that are missing at its end are waited for, and judged."""
    rollout = view.rollout
    if rollout is None or rollout.stage_started_at is None:
        return None
    left = (rollout.stage_started_at + bake_of(view) - view.now).total_seconds()
    if left > 0:
        return Wait("Baking", f"baking for another {left:.0f}s; {rollout.previous} keeps its pods", left)
    longer = verdicts.seconds_to_bake_out(view)
    pending = next(filter(partial(verdicts.awaits_pods, view), verdicts.judged(view)), None)
    return waiting_for(view, pending, longer) if pending and longer else None


def way_back_ready(view: View) -> Wait | None:
    """Wait while a revision that should be taken back has nothing to go back to: it is not promoted then."""
    rollout = view.rollout
    if rollout is None or (view.previous and view.previous.ready):
        return None
    asked = view.spec.rollout.abort == rollout.id or view.wanted.revision == rollout.previous
    failure = failures.verdict(view)
    if not asked and not (failure and not failures.forgiven(view, failure)):
        return None
    return Wait("NoWayBack", f"can't go back: no pod of {rollout.previous} is ready")


def interrupt(view: View, rollout: RolloutStatus) -> Move | None:
    """Return what ends a bake before its time: another spec, a command, a verdict."""
    if view.wanted.revision == rollout.previous:
        return _back(view, rollout, Outcome.REVERTED, "Reverted", "the spec asks for the old revision again")
    if view.wanted.revision != rollout.revision:
        by = rollout.model_copy(update={"decided_by": changed_by(view)})
        return ending.promoted(view, by, f"its bake was cut short: the spec asks for {view.wanted.revision}")
    if view.spec.rollout.abort == rollout.id:
        return _back(view, rollout, Outcome.ABORTED, "Aborted", "aborted by rollout.abort in its bake")
    if failure := failures.verdict(view):
        if not failures.forgiven(view, failure):
            message = f"in its bake: {failure.message}"
            back = _back(view, rollout, Outcome.ROLLED_BACK, failure.reason, message)
            # Without a way back only a hand ends it: whoever says promote has seen what there is.
            return back or _ended_by_hand(view, rollout)
        if move := count_failed_look(view, rollout, failure):
            return move
    return _ended_by_hand(view, rollout)


def _ended_by_hand(view: View, rollout: RolloutStatus) -> Move | None:
    if view.spec.rollout.promote != rollout.id:
        return None
    by = rollout.model_copy(update={"decided_by": hand(view, "promote")})
    move = ending.promoted(view, by, "its bake was ended by rollout.promote")
    # Afterwards nothing tells that the command was obeyed.
    return Move(move.status.model_copy(update={"commands": commands(view)}), move.note, move.event)


def _back(view: View, rollout: RolloutStatus, outcome: Outcome, reason: str, message: str) -> Move | None:
    """Send everything back to the old revision, which has its pods; without any of them there is no way."""
    if view.previous is None or not view.previous.ready:
        return None
    if not view.uses_gateway:
        move = ending.abort(view, rollout, outcome, reason, message)
        restored = _restored(view, move.status.rollout or rollout)
        return Move(restored, move.note, move.event)
    return ending.abort(view, rollout, outcome, reason, message, stage=Stage.RECALLING)


def recalled(view: View) -> Wait | None:
    """Wait until the canary's backend carries everything; a route that no Gateway serves carries nothing."""
    state = route_state(view)
    return None if view.previous is None or (state and not state.serving) else weight_observed(view)


def restore(view: View, rollout: RolloutStatus) -> Move:
    """Make the old revision stable again; a status that names none, which we never write, ends the bake."""
    if rollout.previous is None:
        return ending.promoted(view, rollout, "its status names nothing to go back to")
    note = f"the stable Service selects {rollout.previous} again"
    return Move(_restored(view, rollout), note)


def _restored(view: View, rollout: RolloutStatus) -> Status:
    said = {"reason": rollout.reason, "message": rollout.message}
    stable = RevisionStatus(revision=rollout.previous or "", served_at=view.now)
    return view.status.model_copy(
        update={
            "rollout": in_stage(view, rollout, Stage.REINSTATING, **said),
            "stable": stable,
            "retiring": tuple(item for item in view.status.retiring if item.revision != rollout.previous),
        }
    )


def service_restored(view: View) -> Wait | None:
    """Wait until the stable Service selects the old revision and nothing else."""
    if selects_stable(view):
        return None
    return Wait("Aborting", f"waiting for the stable Service to select {view.stable_revision} again")


def hand_back(view: View, rollout: RolloutStatus) -> Move:
    """Send everything to the stable backend again; without a Gateway it is there already."""
    if not view.uses_gateway:
        return ending.aborted(view, rollout)
    said = {"reason": rollout.reason, "message": rollout.message}
    return with_rollout(
        view, in_stage(view, rollout, Stage.ABORTING, **said), "100% through the stable backend again"
    )
