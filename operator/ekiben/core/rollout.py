"""The rollout as a transition table: what moves a rollout, and when, is decided in this file.

Theory of operation
-------------------
A rollout is in exactly one stage, and the stage is in `.status`. Children are rendered from the persisted
stage, so a transition is written first and takes effect in the next pass: a crash repeats or continues, it
never skips. One pass makes at most one transition.

    (Queued ->) [Preflight ->] Preparing -> Shifting -> Holding -> (Shifting -> Holding | Paused)*
        -> Enlarging -> TakingAll -> Repointing -> Returning -> Over (Promoted)
    Preflight without room -> Queued (giving_way.py)
    any stage up to TakingAll -> Aborting -> Over (RolledBack, Aborted, Superseded, Reverted)
    Returning -> Baking -> Over (Promoted), or back again: baking.py

`TABLE` says for each stage which gates must be open before the rollout leaves it, and where it goes then.
`_interrupt` says what may happen at any moment instead: the spec changed, a command, a verdict, an edit of
the steps, a stable that is down. A queued rollout is not in flight (queueing.py).
From Repointing on the new revision is stable; only a bake is interrupted.
Without a Gateway the Service itself splits the traffic, so TakingAll and Returning have nothing to do.
Preflight (preflight.py) is there only where the operator may look for room. Strategy Recreate goes another
way: recreate.py holds its theory and its table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ekiben.api.measured import Totals
from ekiben.api.status import Outcome, RolloutStatus, Stage
from ekiben.core import (
    approvals,
    baking,
    ending,
    failures,
    gates,
    giving_way,
    preflight,
    recreate,
    sleeping,
    verdicts,
)
from ekiben.core import steps as steps_
from ekiben.core.commands import commands, pause_of
from ekiben.core.configuring import configured
from ekiben.core.deciding import hand
from ekiben.core.editing import edited
from ekiben.core.forgiving import count_failed_look
from ekiben.core.gates import Wait
from ekiben.core.moves import Move, Row, event, in_stage, with_rollout
from ekiben.core.reach import sets
from ekiben.core.starting import fall_back, hindrance, is_due, prepare, start
from ekiben.core.steps import step_weight
from ekiben.core.view import FINISHING, GIVEN_UP, View, once

REVERSIBLE = frozenset({Stage.PREFLIGHT, Stage.PREPARING, Stage.SHIFTING, Stage.HOLDING, Stage.PAUSED})


def enter_next_step(view: View, rollout: RolloutStatus) -> Move:
    """Go to the next step: a weight, a pause, or past the last one to the promotion."""
    number = rollout.step + 1
    steps = steps_.steps_of(rollout)
    if number > len(steps):
        return enlarge(view, rollout, "every step has passed" if steps else "no step to take")
    passed = verdicts.numbers_text(verdicts.judged(view)) if rollout.stage is Stage.HOLDING else ""
    step, where = steps[number - 1], f"step {number} of {len(steps)}: "
    if steps_.kind_of(step) == "pause":
        moved = in_stage(view, rollout, Stage.PAUSED, step=number)
        note = f"{where}pause"
        return with_rollout(view, moved, note, event("Normal", "Paused", "Pause", note + passed))
    fresh = rollout.model_copy(update={"step": number, "failed_looks": 0, "failed_look_at": None})
    if step.analysis:
        note = f"{where}analysis at {step_weight(rollout, number)}%"
        moved = _holding(view, fresh)
        return with_rollout(view, moved, note, event("Normal", "AnalysisStarted", "Analyse", note + passed))
    moved = in_stage(view, fresh, Stage.SHIFTING)
    note = where + sets(view, rollout, steps[:number])
    return with_rollout(view, moved, note, event("Normal", "StepStarted", "Shift", note + passed))


def go_on(view: View, rollout: RolloutStatus) -> Move:
    """Leave a pause or a hold; the command that said so is remembered with it, or nothing would tell."""
    move = enter_next_step(view, rollout)
    return replace(move, status=move.status.model_copy(update={"commands": commands(view)}))


def begin_hold(view: View, rollout: RolloutStatus) -> Move:
    """The weight is observed: start the step's window. A step that sets no weight is over with that."""
    if not gates.holds(rollout):
        return enter_next_step(view, rollout)
    return with_rollout(view, _holding(view, rollout), f"step {rollout.step}: weight observed, analysing")


def _holding(view: View, rollout: RolloutStatus) -> RolloutStatus:
    """Return the rollout as its step is held and judged from now on."""
    fresh = {"step_started_at": view.now, "totals": Totals(), "checks": (), "observed_share": None}
    return in_stage(view, rollout, Stage.HOLDING, growing_since=None, set_aside=None, **fresh)


def enlarge(view: View, rollout: RolloutStatus, why: str, by: str = "") -> Move:
    """Give the canary the pods that all traffic needs; `by` is who or what skips what is left."""
    moved = in_stage(view, rollout, Stage.ENLARGING, message=why, decided_by=by)
    return with_rollout(view, moved, f"promoting {rollout.revision}: {why}")


def take_all(view: View, rollout: RolloutStatus) -> Move:
    """Send everything to the canary's backend; without a Gateway go on at once."""
    if not view.uses_gateway:
        return repoint(view, rollout)
    moved = in_stage(view, rollout, Stage.TAKING_ALL)
    return with_rollout(view, moved, f"promoting {rollout.revision}: 100% through the canary's backend")


def repoint(view: View, rollout: RolloutStatus) -> Move:
    """Make the canary stable: the point of no return."""
    status = ending.make_stable(view, rollout)
    moved = in_stage(view, rollout, Stage.REPOINTING, previous=view.stable_revision)
    note = f"promoting {rollout.revision}: the stable Service selects it"
    return Move(status.model_copy(update={"rollout": moved}), note)


def give_back(view: View, rollout: RolloutStatus) -> Move:
    """Send everything to the stable backend again, which is the new revision now."""
    if not view.uses_gateway:
        return baking.settle(view, rollout)
    moved = in_stage(view, rollout, Stage.RETURNING)
    return with_rollout(view, moved, f"promoting {rollout.revision}: 100% through the stable backend")


TABLE: Mapping[Stage, Row] = {
    Stage.PREFLIGHT: Row((preflight.room,), prepare),
    Stage.PREPARING: Row(
        (
            *(gates.paused, configured, gates.pods_ready, gates.warmed_up, gates.routed),
            *(gates.metrics_readable, gates.held, gates.frozen, approvals.approved),
        ),
        enter_next_step,
    ),
    Stage.SHIFTING: Row(
        (
            gates.paused,
            gates.alone,
            gates.pods_ready,
            gates.warmed_up,
            gates.routed,
            gates.weight_observed,
            gates.stepping,
            approvals.approved_at_once,
        ),
        begin_hold,
    ),
    Stage.HOLDING: Row(
        (gates.paused, configured, gates.hold_over, gates.checks_pass, gates.frozen, approvals.approved),
        enter_next_step,
    ),
    Stage.PAUSED: Row((gates.paused, configured, gates.resumed, approvals.approved), go_on),
    Stage.ENLARGING: Row((gates.pods_ready, gates.warmed_up), take_all),
    Stage.TAKING_ALL: Row((gates.weight_observed,), repoint),
    Stage.REPOINTING: Row((gates.service_repointed,), give_back),
    Stage.RETURNING: Row((gates.weight_observed,), baking.settle),
    Stage.BAKING: Row(
        (baking.way_back_ready, gates.paused, baking.bake_over, gates.metrics_readable), ending.promoted
    ),
    Stage.RECALLING: Row((baking.recalled,), baking.restore),
    Stage.REINSTATING: Row((baking.service_restored,), baking.hand_back),
    Stage.ABORTING: Row((gates.weight_observed, gates.stable_whole), ending.aborted),
}
FIRST = Row((gates.first_ready,), ending.promoted)


def row_of(view: View, rollout: RolloutStatus) -> Row:
    """Return the row of the table that holds now."""
    if view.is_first:
        return FIRST
    own, other = (recreate.TABLE, TABLE) if view.recreates else (TABLE, recreate.TABLE)
    # A stage of the other way is nothing that we write, and must not be the end of the model.
    return own.get(rollout.stage) or other[rollout.stage]


@once
def waits_for(view: View) -> Wait | None:
    """Say the one thing that a rollout waits for, to go on or to begin; None when there is nothing."""
    if view.rollout is None:
        return hindrance(view)
    row = row_of(view, view.rollout)
    return next((wait for gate in row.gates if (wait := gate(view))), None)


def next_move(view: View) -> Move | None:
    """Return the one transition that is due now; None while there is nothing but to wait."""
    rollout = view.rollout
    if move := sleeping.next_move(view, is_due=is_due(view)):
        return move
    if rollout is None:
        return start(view) or ending.retire(view)
    if move := _interrupt(view, rollout):
        return move
    wait = waits_for(view)
    if wait is None:
        return _leave(view, rollout)
    if move := approvals.next_move(view, rollout, wait) or giving_way.next_move(view, rollout, wait):
        return move
    return None if rollout.stage in FINISHING else ending.retire(view)


def _leave(view: View, rollout: RolloutStatus) -> Move:
    """Leave a stage; a resume that passed by a gate is remembered with it, since afterwards nothing tells."""
    move = row_of(view, rollout).leave(view, rollout)
    if rollout.reason != approvals.TIMED_OUT or view.is_first:
        return move
    return replace(move, status=move.status.model_copy(update={"commands": commands(view)}))


def _interrupt(view: View, rollout: RolloutStatus) -> Move | None:
    if rollout.stage in FINISHING or rollout.stage in GIVEN_UP:
        return None
    if rollout.stage is Stage.BAKING:
        return baking.interrupt(view, rollout)
    if view.wanted.revision != rollout.revision:
        return _spec_changed(view, rollout)
    if view.is_first:
        return None
    if view.spec.rollout.abort == rollout.id and view.stable is not None:
        return ending.abort(view, rollout, Outcome.ABORTED, "Aborted", "aborted by rollout.abort")
    if why := preflight.falls_back(view, rollout):
        return fall_back(view, rollout, why)
    if view.stable is not None and (failure := _failure(view)):
        if not failures.forgiven(view, failure):
            return ending.abort(view, rollout, Outcome.ROLLED_BACK, failure.reason, failure.message)
        if move := count_failed_look(view, rollout, failure):
            return move
    if rollout.stage not in REVERSIBLE:
        return None
    return edited(view, rollout) or _hurried(view, rollout) or _uncertain(view, rollout)


def _failure(view: View) -> failures.Failure | None:
    """Return the evidence that the canary is bad; pods that are left of an earlier rollout are none."""
    return (failures.verdict(view) if view.is_fielded else None) or recreate.overdue(view)


def _spec_changed(view: View, rollout: RolloutStatus) -> Move:
    wanted = view.wanted.revision
    if view.is_first:
        if view.status.stable and view.status.stable.served_at:
            return ending.promoted(view, rollout)
        return ending.replace_first(view, rollout)
    if view.stable is None:
        return ending.replace_first(view, rollout)
    if wanted == view.stable_revision:
        return ending.abort(view, rollout, Outcome.REVERTED, "Reverted", "the spec is stable's again")
    return ending.abort(view, rollout, Outcome.SUPERSEDED, "Superseded", f"the spec asks for {wanted} now")


def _hurried(view: View, rollout: RolloutStatus) -> Move | None:
    """Skip the steps that are left: by command, or because stable serves nothing any more."""
    if view.spec.rollout.promote == rollout.id:
        if rollout.stage is Stage.PREFLIGHT:
            return prepare(view, rollout)
        if view.recreates:
            return recreate.take_down(view, rollout, hand(view, "promote"))
        return enlarge(view, rollout, "rollout.promote says so", hand(view, "promote"))
    if view.stable_is_down and view.canary and view.canary.ready:
        return enlarge(view, rollout, "stable has had no ready pod for 60s", "operator")
    return go_on(view, rollout) if _is_skipped(view, rollout) else None


def _is_skipped(view: View, rollout: RolloutStatus) -> bool:
    """Tell whether `rollout.resume` ends the hold of the step: once, also where it is entered again."""
    ticket = view.spec.rollout.resume
    if rollout.stage is not Stage.HOLDING or ticket != pause_of(rollout) or view.spec.rollout.paused:
        return False
    return not any(item.value == ticket and item.result == "Honoured" for item in view.status.commands)


def _uncertain(view: View, rollout: RolloutStatus) -> Move | None:
    """Pause a step whose checks are not certain within `maxWait`, or did not get their requests."""
    if rollout.stage is not Stage.HOLDING or gates.metrics_readable(view):
        return None
    found = next((result for result, deed in verdicts.deeds(view) if deed == "pause"), None)
    if found is None:
        return None
    lacks = verdicts.lacks(view, found)
    reason, message = ("NoData", verdicts.no_data(view, found)) if lacks else ("Inconclusive", found.message)
    moved = in_stage(view, rollout, Stage.PAUSED, reason=reason, message=message)
    return with_rollout(view, moved, f"paused: {message}", event("Warning", reason, "Pause", message))
