"""A status that was lost is rebuilt from the children before anything is decided.

Restoring a backup, re-creating a namespace or a client that wipes the status must not put an untried
revision in front of users: the Service says who serves, the ControllerRevisions' labels say what became of
every other revision. What was on its way then is in lost_rollout.py.
"""

from __future__ import annotations

from ekiben.api.sizing import Sleep
from ekiben.api.status import FailedRevision, RetiringRevision, RevisionStatus, Stage, Status
from ekiben.core import names
from ekiben.core.lost_rollout import LOST_FAILURE, last_rollout, lost_rollout
from ekiben.core.snapshot import Ref, Snapshot


def recovered(snapshot: Snapshot) -> Status:
    """Return the persisted status, or what the children tell of it where it was lost."""
    status = snapshot.status
    if status.stable is not None or status.rollout is not None or not snapshot.live:
        return status
    stable = _serving(snapshot)
    failed = tuple(
        FailedRevision(
            revision=record.revision,
            rollout=last_rollout(record),
            reason="RolledBack",
            message=LOST_FAILURE,
            at=snapshot.now,
        )
        for record in sorted(snapshot.records.values(), key=lambda item: -item.number)
        if record.outcome == "failed"
    )
    if stable is None:
        return status.model_copy(update={"failed_revisions": failed})
    rollout = lost_rollout(snapshot, stable)
    # What was gone back to is stable already where nothing but the Service is left to be written.
    serves = rollout.previous if rollout and rollout.stage is Stage.REINSTATING else stable
    retires = rollout.previous if rollout and rollout.previous != serves else None
    return status.model_copy(
        update={
            "stable": RevisionStatus(revision=serves or stable, served_at=snapshot.now),
            "rollout": rollout,
            "retiring": (RetiringRevision(revision=retires, since=snapshot.now, until=snapshot.now),)
            if retires
            else (),
            "failed_revisions": failed,
            "sleep": None if rollout else _sleep(snapshot),
        }
    )


def _sleep(snapshot: Snapshot) -> Sleep | None:
    """Return the sleep of a model whose requests the activator has: it wakes, and may then idle anew."""
    slice_ = Ref("EndpointSlice", names.activator_slice(snapshot.model.name))
    return Sleep(state="Waking", since=snapshot.now) if slice_ in snapshot.live else None


def _serving(snapshot: Snapshot) -> str | None:
    """Return the revision that serves: selected by the Service, labelled so, or with most ready pods."""
    labelled = [record.revision for record in snapshot.records.values() if record.outcome == "stable"]
    service = snapshot.live.get(Ref("Service", names.stable_service(snapshot.model.name)), {})
    selected = (service.get("spec", {}).get("selector") or {}).get(names.REVISION)
    if selected and selected in snapshot.records:
        return str(selected)
    if labelled:
        return labelled[0]
    ready: dict[str, int] = {}
    for pod in snapshot.pods:
        ready[pod.revision] = ready.get(pod.revision, 0) + pod.ready
    known = {revision: count for revision, count in ready.items() if revision in snapshot.records}
    return max(known, key=lambda revision: known[revision]) if known else None
