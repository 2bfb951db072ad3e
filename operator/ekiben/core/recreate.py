"""Recreate: stable goes, then the new revision comes. For hardware that holds only one of them.

Theory of operation
-------------------
Serving stops on the way, so the way back is made first: the size that stable had is in the status before its
pods go (`rollout.stableReplicas`). Service and route stay as they are: they send everything to stable's pods,
whichever these are. Never have both revisions pods at the same time.

    Preparing -> Draining -> Replacing -> Repointing -> Over (Promoted)
    Preparing -> Over (Aborted, Superseded, Reverted): nothing was touched
    Draining, Replacing -> Clearing -> Restoring -> Over (RolledBack, Aborted, Superseded, Reverted)

    Draining    stable has no replicas any more; its pods finish their requests and end
    Replacing   the new revision gets all its pods
    Clearing    the new revision has no replicas any more; its pods end
    Restoring   stable gets the pods that it had

Whoever waits here waits while nobody serves. So `progressDeadline` counts from the beginning of Draining and
of Replacing, whatever it is that takes so long, and then goes back; and no pause or freeze holds it on the
way. A new pod that does not end in Clearing within the deadline is no longer waited for.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from ekiben.api.fields import delta
from ekiben.api.status import RolloutStatus, Stage
from ekiben.core import approvals, ending, gates
from ekiben.core.failures import Failure, seconds_to_deadline
from ekiben.core.gates import Wait
from ekiben.core.moves import Move, Row, event, in_stage, with_rollout
from ekiben.core.preflight import room
from ekiben.core.scaling import replacing_size
from ekiben.core.view import Side, View

_UNSERVED = "nobody serves until then, by rollout.strategy Recreate"


def drained(view: View) -> Wait | None:
    """Wait until no pod of the model is left."""
    if not view.snapshot.pods and (view.stable is None or not view.stable.replicas):
        return None
    # No count: it would be written anew with each pod that ends.
    said = f"pods finish their requests before {view.canary_revision} comes; {_UNSERVED}"
    return Wait("Draining", said, _seconds_left(view))


def replaced(view: View) -> Wait | None:
    """Wait until the new revision has all its pods ready."""
    canary = view.canary
    if canary is None:
        return None
    wanted = replacing_size(view)
    if canary.deployment is not None and canary.ready >= wanted:
        return None
    hindrance = gates.blocked(view, canary)
    ready = f"{canary.ready} of {wanted} pods of {canary.revision} are ready"
    said = hindrance.message if hindrance else ready
    due = [end for end in (_seconds_left(view), seconds_to_deadline(view, canary.pods)) if end is not None]
    return Wait(hindrance.reason if hindrance else "Starting", f"{said}; {_UNSERVED}", min(due, default=None))


def cleared(view: View) -> Wait | None:
    """Wait until the new revision has no pod left, or for as long as is sensible."""
    canary = view.canary
    if canary is None or (not canary.pods and not canary.replicas) or _is_late(view):
        return None
    said = f"the pods of {canary.revision} end before {view.stable_revision} comes back"
    return Wait("Clearing", said, _seconds_left(view))


def restored(view: View) -> Wait | None:
    """Wait until stable has the pods that it had."""
    stable, rollout = view.stable, view.rollout
    if stable is None or rollout is None:
        return None
    wanted = rollout.stable_replicas or 1
    if stable.ready >= wanted:
        return None
    if _is_late(view) and stable.replicas >= wanted and view.wanted.revision not in _both(view):
        # It can't be had back, and somebody asks for another: whoever mends it must not wait for it.
        return None
    said = f"{stable.ready} of {wanted} pods of {stable.revision} are back"
    hindrance = gates.blocked(view, stable)
    crashes = gates.crashes(stable)
    said = hindrance.message if hindrance else f"{said}; {crashes}" if crashes else said
    return Wait(hindrance.reason if hindrance else "Restoring", said, _seconds_left(view))


def take_down(view: View, rollout: RolloutStatus, by: str = "") -> Move:
    """Take stable's pods away; the size to come back with is remembered with it. `by` skips the waiting."""
    size = (view.stable.replicas if view.stable else 0) or view.floor
    moved = in_stage(view, rollout, Stage.DRAINING, stable_replicas=size, decided_by=by)
    note = f"taking {view.stable_revision} down for {rollout.revision}: {size} pods"
    # What retires beside them would be in the way as well.
    status = view.status.model_copy(update={"rollout": moved, "retiring": ()})
    return Move(status, note, event("Normal", "Recreating", "TakeDown", note))


def bring_up(view: View, rollout: RolloutStatus) -> Move:
    """Give the new revision its pods."""
    moved = in_stage(view, rollout, Stage.REPLACING)
    return with_rollout(view, moved, f"bringing {rollout.revision} up: {replacing_size(view)} pods")


def repoint(view: View, rollout: RolloutStatus) -> Move:
    """Make the new revision stable: the point of no return."""
    status = ending.make_stable(view, rollout)
    moved = in_stage(view, rollout, Stage.REPOINTING)
    note = f"promoting {rollout.revision}: the stable Service selects it"
    return Move(status.model_copy(update={"rollout": moved}), note)


def restore(view: View, rollout: RolloutStatus) -> Move:
    """Give stable its pods back; how it ends is remembered on the way."""
    kept = {"outcome": rollout.outcome, "reason": rollout.reason, "message": rollout.message}
    moved = in_stage(view, rollout, Stage.RESTORING, **kept)
    return with_rollout(view, moved, f"bringing {view.stable_revision} back: {rollout.stable_replicas} pods")


TABLE: Mapping[Stage, Row] = {
    Stage.PREPARING: Row((gates.paused, gates.frozen, room, approvals.approved), take_down),
    Stage.DRAINING: Row((drained,), bring_up),
    Stage.REPLACING: Row((replaced,), repoint),
    Stage.REPOINTING: Row((gates.service_repointed,), ending.promoted),
    Stage.CLEARING: Row((cleared,), restore),
    Stage.RESTORING: Row((restored,), ending.aborted),
}


def overdue(view: View) -> Failure | None:
    """Return the evidence that this takes too long while nobody serves."""
    rollout, canary = view.rollout, view.canary
    if rollout is None or canary is None or not view.recreates or not _is_late(view):
        return None
    deadline = view.spec.rollout.progress_deadline
    if rollout.stage is Stage.DRAINING:
        left = ", ".join(pod.name for pod in view.snapshot.pods[:3])
        return Failure("NotDrained", f"pods did not end within {deadline}: {left}")
    if rollout.stage is Stage.REPLACING:
        return _not_ready(view, canary, deadline)
    return None


def _not_ready(view: View, canary: Side, deadline: str) -> Failure:
    hindrance = gates.blocked(view, canary)
    said = f"{canary.ready} of {replacing_size(view)} pods were ready within {deadline}"
    if hindrance:
        return Failure(hindrance.reason, f"{said}: {hindrance.message}")
    return Failure("NeverReady", said)


def _both(view: View) -> set[str | None]:
    return {view.stable_revision, view.canary_revision}


def _age(view: View) -> timedelta:
    entered = view.rollout.stage_started_at if view.rollout else None
    return view.now - entered if entered else timedelta()


def _is_late(view: View) -> bool:
    return _age(view) >= delta(view.spec.rollout.progress_deadline)


def _seconds_left(view: View) -> float | None:
    left = (delta(view.spec.rollout.progress_deadline) - _age(view)).total_seconds()
    return left if left > 0 else None
