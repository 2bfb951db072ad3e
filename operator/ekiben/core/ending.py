"""How a rollout ends: promoted, or traffic back to stable; and what becomes of the pods."""

from __future__ import annotations

from datetime import datetime, timedelta

from ekiben.api.fields import delta
from ekiben.api.status import (
    FailedRevision,
    HistoryEntry,
    Outcome,
    RetiringRevision,
    RevisionStatus,
    RolloutStatus,
    Stage,
    Status,
)
from ekiben.core.deciding import abort_by, changed_by, hand, outcome_by
from ekiben.core.moves import Move, event, in_stage, with_hand, with_rollout
from ekiben.core.sharing import OUTRIGHT, is_cold
from ekiben.core.snapshot import Scrape
from ekiben.core.verdicts import numbers_text
from ekiben.core.view import View

KEPT = 10
# Counters of a retiring revision that stood still this long have no caller any more.
QUIET_FOR = timedelta(seconds=5)

QUARANTINED = {Outcome.ROLLED_BACK, Outcome.ABORTED}


def abort(
    view: View,
    rollout: RolloutStatus,
    outcome: Outcome,
    reason: str,
    message: str,
    stage: Stage | None = None,
) -> Move:
    """Go back to stable at once, by way of `stage`; the verdict is remembered with the transition.

    First the canary's traffic goes, or in Recreate its pods; where it has neither yet, all is over.
    """
    by = abort_by(view, outcome)
    ramp = view.spec.rollout.canary.traffic_ramp is not None and view.uses_gateway and is_cold(view)
    moved = in_stage(
        view,
        rollout,
        stage or (Stage.CLEARING if view.recreates else Stage.ABORTING),
        outcome=outcome,
        reason=reason,
        message=message,
        decided_by=by,
        returning_from=rollout.weight if ramp and stage is None and reason not in OUTRIGHT else None,
    )
    note = f"{_verb(outcome)} {rollout.revision}: {message}"
    told = event("Warning" if outcome is Outcome.ROLLED_BACK else "Normal", str(outcome), "Abort", note)
    told = with_hand(told, by, f"back to {rollout.previous or view.stable_revision}")
    if not view.is_fielded and rollout.stage is not Stage.DRAINING:
        return Move(aborted(view, moved).status, note, told)
    return with_rollout(view, moved, note, told)


def aborted(view: View, rollout: RolloutStatus) -> Move:
    """The canary carries nothing any more: record the outcome and let its pods go."""
    outcome = rollout.outcome or Outcome.ABORTED
    delay = delta(view.spec.rollout.abort_scale_down_delay) if outcome in QUARANTINED else timedelta()
    status = _over(view, rollout, outcome, rollout.message)
    if view.is_fielded:
        status = _retire(status, rollout.revision, view.now, view.now + delay)
    if outcome in QUARANTINED:
        failed = FailedRevision(
            revision=rollout.revision,
            rollout=rollout.id,
            reason=rollout.reason,
            message=rollout.message,
            at=view.now,
        )
        status = status.model_copy(update={"failed_revisions": _remember(status, failed)})
    return Move(status, f"rollout {rollout.id} is over: {outcome}")


def withdrawn(view: View, rollout: RolloutStatus, outcome: Outcome, message: str) -> Status:
    """Return the status in which a rollout is over that never began; an aborted one is remembered."""
    by = hand(view, "abort") if outcome is Outcome.ABORTED else changed_by(view)
    status = _over(view, rollout.model_copy(update={"decided_by": by}), outcome, message)
    if outcome is not Outcome.ABORTED:
        return status
    failed = FailedRevision(
        revision=rollout.revision, rollout=rollout.id, reason=str(outcome), message=message, at=view.now
    )
    return status.model_copy(update={"failed_revisions": _remember(status, failed)})


def make_stable(view: View, rollout: RolloutStatus) -> Status:
    """Return the status in which the canary is stable and the old stable retires."""
    stable = RevisionStatus(revision=rollout.revision, served_at=view.now)
    status = view.status.model_copy(update={"stable": stable})
    old = view.stable_revision
    if old is None or view.recreates:
        return status
    return _retire(status, old, view.now, view.now + delta(view.spec.rollout.scale_down_delay))


def promoted(view: View, rollout: RolloutStatus, why: str = "") -> Move:
    """The new revision serves everything: record it; the old one's delay begins now."""
    status = _over(view, rollout, Outcome.PROMOTED, why)
    until = view.now + delta(view.spec.rollout.scale_down_delay)
    status = status.model_copy(
        update={
            "retiring": tuple(
                item.model_copy(update={"until": max(item.until, until)}) for item in status.retiring
            )
        }
    )
    note = f"promoted {rollout.revision}" + (f": {why}" if why else "")
    was = f"before it {rollout.from_}" if rollout.from_ else ""
    said = event("Normal", "Promoted", "Promote", note + numbers_text(rollout.checks))
    return Move(status, note, with_hand(said, rollout.decided_by, was))


def replace_first(view: View, rollout: RolloutStatus) -> Move:
    """Drop a first revision that never served: nobody loses anything by replacing it at once."""
    status = _over(view, rollout, Outcome.SUPERSEDED, "replaced before it ever served")
    if view.is_fielded:
        status = _retire(status, rollout.revision, view.now, view.now)
    note = f"first revision {rollout.revision} is replaced before it ever served"
    return Move(
        status.model_copy(update={"stable": None}), note, event("Normal", "Superseded", "Abort", note)
    )


def retire(view: View) -> Move | None:
    """Forget a retiring revision whose time is over and whose requests have stopped."""
    for item in _leaving(view):
        if _may_go(view, item):
            left = tuple(other for other in view.status.retiring if other != item)
            status = view.status.model_copy(update={"retiring": left})
            return Move(status, f"{item.revision} retires")
    return None


def next_retirement(view: View) -> float | None:
    """Return the seconds until a retiring revision is worth another look."""
    leaving = _leaving(view)
    if not leaving:
        return None
    due = min(_due(view, item) for item in leaving)
    return max((due - view.now).total_seconds(), 1.0)


def _due(view: View, item: RetiringRevision) -> datetime:
    """Return when a revision may go if nothing more is seen of it: each reading of its pods is an event."""
    if view.now < item.until:
        return item.until
    scrape = _scrape(view, item)
    if scrape is None:
        return item.until + QUIET_FOR
    return scrape.quiet_since + QUIET_FOR if scrape.quiet_since else _latest(view, item)


def _leaving(view: View) -> list[RetiringRevision]:
    """Return the revisions that retire: in a bake the one before stays, for everything may go back to it."""
    kept = view.previous.revision if view.previous else None
    return [item for item in view.status.retiring if item.revision != kept]


def _may_go(view: View, item: RetiringRevision) -> bool:
    ready = any(pod.ready for pod in view.side(item.revision).pods)
    if view.now < item.until or (ready and view.stable is not None and not view.stable.ready):
        # While stable has no pods these are all there is to go back to.
        return False
    scrape = _scrape(view, item)
    if scrape is None:
        # Nothing can be read of it: its delay has to be enough.
        return view.now >= item.until + QUIET_FOR or not ready
    quiet = scrape.quiet_since is not None and view.now - scrape.quiet_since >= QUIET_FOR
    return quiet or view.now >= _latest(view, item)


def _scrape(view: View, item: RetiringRevision) -> Scrape | None:
    """Return how a retiring revision was read last; None where it can't be."""
    seen = view.snapshot.observation
    scrape = seen.scrapes.get(item.revision) if seen else None
    return None if scrape is None or scrape.reason or not scrape.pods_read else scrape


def _latest(view: View, item: RetiringRevision) -> datetime:
    """Return when it goes in any case: a caller that never hangs up must not keep it for ever."""
    return item.until + delta(view.spec.rollout.progress_deadline)


def _over(view: View, rollout: RolloutStatus, outcome: Outcome, message: str) -> Status:
    ended = in_stage(
        view,
        rollout,
        Stage.OVER,
        outcome=outcome,
        reason=rollout.reason or str(outcome),
        message=message,
        weight=0,
        headers=None,
        shortfalls=None,
        kept=None,
    )
    entry = HistoryEntry(
        rollout=rollout.id,
        revision=rollout.revision,
        outcome=outcome,
        message=message,
        at=view.now,
        from_=rollout.from_ or None,
        started_at=rollout.started_at,
        started_by=rollout.by or None,
        by=ended.decided_by or outcome_by(rollout),
    )
    history = (entry, *view.status.history)[:KEPT]
    kept = tuple(
        item
        for item in view.status.failed_revisions
        if outcome is not Outcome.PROMOTED or item.revision != rollout.revision
    )
    update = {"rollout": ended, "canary": None, "history": history, "failed_revisions": kept}
    return view.status.model_copy(update=update)


def _retire(status: Status, revision: str, since: datetime, until: datetime) -> Status:
    others = tuple(item for item in status.retiring if item.revision != revision)
    entry = RetiringRevision(revision=revision, since=since, until=until)
    return status.model_copy(update={"retiring": (*others, entry)})


def _remember(status: Status, failed: FailedRevision) -> tuple[FailedRevision, ...]:
    """Keep the last failures; the newest one is the current spec's, so it is never evicted."""
    others = tuple(item for item in status.failed_revisions if item.revision != failed.revision)
    return (failed, *others)[:KEPT]


def _verb(outcome: Outcome) -> str:
    return {
        Outcome.ROLLED_BACK: "rolling back",
        Outcome.ABORTED: "aborting",
        Outcome.SUPERSEDED: "superseding",
        Outcome.REVERTED: "reverting",
    }.get(outcome, "ending")
