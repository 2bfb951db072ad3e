"""A status that was lost is rebuilt from the children before anything is decided.

Restoring a backup, re-creating a namespace or a client that wipes the status must not put an untried
revision in front of users: the Service says who serves, the ControllerRevisions' labels say what became of
every other revision.
"""

from __future__ import annotations

from typing import Literal

from ekiben.api.status import (
    FailedRevision,
    Outcome,
    RetiringRevision,
    RevisionStatus,
    RolloutPlan,
    RolloutStatus,
    Stage,
    Status,
)
from ekiben.api.v1alpha1 import Spec
from ekiben.core import names
from ekiben.core.analysis import effective_checks
from ekiben.core.snapshot import InvalidSpec, Record, Ref, Snapshot


def recovered(snapshot: Snapshot) -> Status:
    """Return the persisted status, or what the children tell of it where it was lost."""
    status = snapshot.status
    if status.stable is not None or status.rollout is not None or not snapshot.live:
        return status
    stable = _serving(snapshot)
    failed = tuple(
        FailedRevision(
            revision=record.revision,
            rollout=_last_rollout(record),
            reason="RolledBack",
            message="it had failed before the status was lost",
            at=snapshot.now,
        )
        for record in sorted(snapshot.records.values(), key=lambda item: -item.number)
        if record.outcome == "failed"
    )
    if stable is None:
        return status.model_copy(update={"failed_revisions": failed})
    side = RevisionStatus(revision=stable, served_at=snapshot.now)
    rollout = _given_up(snapshot, stable)
    before = None if rollout else _previous(snapshot, stable)
    return status.model_copy(
        update={
            "stable": side,
            "rollout": _baking(snapshot, stable, before) if before else rollout,
            "retiring": (RetiringRevision(revision=before, since=snapshot.now, until=snapshot.now),)
            if before
            else (),
            "failed_revisions": failed,
        }
    )


def _previous(snapshot: Snapshot, stable: str) -> str | None:
    """Return the revision that kept its pods in a bake."""
    for record in snapshot.records.values():
        ref = Ref("Deployment", names.revision_child(snapshot.model.name, record.revision))
        if record.outcome == "previous" and record.revision != stable and ref in snapshot.live:
            return record.revision
    return None


def _baking(snapshot: Snapshot, stable: str, before: str) -> RolloutStatus | None:
    """Return the rollout whose bake was on: it begins anew, judged by the checks that the spec has now."""
    record = snapshot.records.get(stable)
    checks = snapshot.spec.analysis.checks if isinstance(snapshot.spec, Spec) else ()
    return RolloutStatus(
        id=_last_rollout(record) if record else f"{stable}.1",
        revision=stable,
        previous=before,
        provider=_provider(snapshot),
        stage=Stage.BAKING,
        reason="StatusLost",
        message="the status was lost: the bake begins anew",
        stage_started_at=snapshot.now,
        started_at=snapshot.now,
        plan=RolloutPlan(hash="", checks=effective_checks(checks)),
    )


def _provider(snapshot: Snapshot) -> Literal["Gateway", "Service"]:
    return "Gateway" if Ref("HTTPRoute", names.route(snapshot.model.name)) in snapshot.live else "Service"


def _given_up(snapshot: Snapshot, stable: str) -> RolloutStatus | None:
    """Return the rollout that was in flight as one that is being aborted: its evidence is lost.

    Its canary may have traffic, which has to go before its pods do, whatever the spec asks for now.
    """
    for record in snapshot.records.values():
        ref = Ref("Deployment", names.revision_child(snapshot.model.name, record.revision))
        if record.outcome != "candidate" or record.revision == stable or ref not in snapshot.live:
            continue
        recreated = _recreated(snapshot, stable)
        return RolloutStatus(
            id=_last_rollout(record),
            revision=record.revision,
            provider=_provider(snapshot),
            stage=Stage.CLEARING if recreated else Stage.ABORTING,
            stable_replicas=recreated,
            plan=RolloutPlan(hash="", strategy="Recreate") if recreated else None,
            stage_started_at=snapshot.now,
            outcome=Outcome.SUPERSEDED,
            reason="StatusLost",
            message="the status was lost, and with it what the canary was judged on",
            started_at=snapshot.now,
            full_size=None if recreated else _full_size(snapshot),
        )
    return None


def _recreated(snapshot: Snapshot, stable: str) -> int | None:
    """Return the pods that a stable is to get back that was taken down by strategy; None for any other."""
    deployment = snapshot.live.get(Ref("Deployment", names.revision_child(snapshot.model.name, stable)), {})
    if deployment.get("spec", {}).get("replicas") != 0 or isinstance(snapshot.spec, InvalidSpec):
        return None
    autoscaling = snapshot.spec.autoscaling
    return autoscaling.min_replicas if autoscaling else snapshot.spec.replicas


def _full_size(snapshot: Snapshot) -> int | None:
    """Return the pods that carry all traffic where stable may have given some of them up."""
    spec = snapshot.spec
    shrinks = isinstance(spec, Spec) and spec.rollout.canary.shrink_stable and spec.autoscaling is None
    return spec.replicas if isinstance(spec, Spec) and shrinks else None


def _last_rollout(record: Record) -> str:
    """Name a revision's last rollout."""
    return f"{record.revision}.{max(record.number, 1)}"


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
