"""The rollout that was in flight when the status was lost, as far as the children tell.

A record's label says `failed` from the moment its revision is judged bad, `stable` from the moment it is
promoted, and is written together with the Service and the route that follow from it. So what was on its way
back goes on back, what was on its way to be stable goes on there, and a bake begins anew. Only the evidence
about a canary that was on its way up is lost with the status: that one is given up, and may begin again.
"""

from __future__ import annotations

from typing import Any, Literal

from ekiben.api.status import Outcome, RolloutPlan, RolloutStatus, Stage
from ekiben.api.v1alpha1 import Spec
from ekiben.core import names
from ekiben.core.analysis import effective_checks
from ekiben.core.snapshot import InvalidSpec, Manifest, Record, Ref, Snapshot
from ekiben.core.splitting import percent_to, rules_of
from ekiben.core.starting import DEFAULT_STEPS

LOST_FAILURE = "it had failed before the status was lost"


def lost_rollout(snapshot: Snapshot, serving: str) -> RolloutStatus | None:
    """Return the rollout that was in flight; `serving` is the revision that the Service says serves."""
    return (
        _given_up(snapshot, serving)
        or _taken_back(snapshot, serving)
        or _taking_over(snapshot, serving)
        or _baking(snapshot, serving)
    )


def last_rollout(record: Record) -> str:
    """Name a revision's last rollout."""
    return f"{record.revision}.{max(record.number, 1)}"


def _given_up(snapshot: Snapshot, stable: str) -> RolloutStatus | None:
    """Return the rollout of a canary on its way up as one that is being aborted: its evidence is lost.

    Its canary may have traffic, which has to go before its pods do, whatever the spec asks for now.
    """
    canary = next((item for item in _labelled(snapshot, "candidate") if item.revision != stable), None)
    if canary is None:
        return None
    message = "the status was lost, and with it what the canary was judged on"
    return _going_back(snapshot, stable, canary, Outcome.SUPERSEDED, "StatusLost", message)


def _taken_back(snapshot: Snapshot, serving: str) -> RolloutStatus | None:
    """Return the rollout of a revision that had failed, and has pods or traffic still."""
    failed = _failed(snapshot, serving)
    if failed is None:
        return None
    before = _before(snapshot, failed.revision)
    if serving == failed.revision:
        if before is None:
            return None
        # By a Gateway everything goes through the old revision's backend before the Service does.
        stage = Stage.RECALLING if _provider(snapshot) == "Gateway" else Stage.REINSTATING
        said = {"outcome": Outcome.ROLLED_BACK, "reason": "RolledBack", "message": LOST_FAILURE}
        return _lost(snapshot, failed, stage, previous=before.revision, **said)
    if _replicas(snapshot, failed.revision) or _recreated(snapshot, serving):
        return _going_back(snapshot, serving, failed, Outcome.ROLLED_BACK, "RolledBack", LOST_FAILURE)
    return None


def _failed(snapshot: Snapshot, serving: str) -> Record | None:
    """Return the revision of the last rollout, if it failed: by its label, or since the Service left it."""
    last = max(snapshot.records.values(), key=lambda record: record.number, default=None)
    if last is None or _deployment(snapshot, last.revision) is None:
        return None
    before = snapshot.records.get(serving)
    left = last.outcome == "stable" and before is not None and before.outcome == "previous"
    return last if last.outcome == "failed" or (left and serving != last.revision) else None


def _taking_over(snapshot: Snapshot, serving: str) -> RolloutStatus | None:
    """Return the rollout whose revision is promoted already, while Service or route do not say so yet."""
    promoted = next(iter(_labelled(snapshot, "stable")), None)
    if promoted is None or not _ready(snapshot, promoted.revision):
        return None
    others = (item for item in _labelled(snapshot, "retired") if item.revision != promoted.revision)
    before = next((item for item in others if _replicas(snapshot, item.revision)), None)
    if before is None or (serving == promoted.revision and not _weight(snapshot)):
        return None
    said = {"full_size": _full_size(snapshot), "message": "the status was lost: it is stable already"}
    return _lost(snapshot, promoted, Stage.REPOINTING, previous=before.revision, **said)


def _baking(snapshot: Snapshot, stable: str) -> RolloutStatus | None:
    """Return the rollout whose bake was on: it begins anew, judged by the checks that the spec has now."""
    promoted = snapshot.records.get(stable)
    before = next((item for item in _labelled(snapshot, "previous") if item.revision != stable), None)
    if before is None or promoted is None:
        return None
    message = "the status was lost: the bake begins anew"
    return _lost(snapshot, promoted, Stage.BAKING, previous=before.revision, message=message)


def _going_back(
    snapshot: Snapshot, stable: str, canary: Record, outcome: Outcome, reason: str, message: str
) -> RolloutStatus:
    """Return the rollout of a canary whose traffic goes back to a stable that never gave it up."""
    said: dict[str, Any] = {"outcome": outcome, "reason": reason, "message": message}
    if recreated := _recreated(snapshot, stable):
        plan = RolloutPlan(hash="", strategy="Recreate")
        return _lost(snapshot, canary, Stage.CLEARING, stable_replicas=recreated, plan=plan, **said)
    if _selected(snapshot, names.canary_service(snapshot.model.name)) == stable:
        # It stays there until the route has let go of it, as on every way back from a bake.
        said["previous"] = stable
    return _lost(snapshot, canary, Stage.ABORTING, full_size=_full_size(snapshot), plan=None, **said)


def _lost(snapshot: Snapshot, record: Record, stage: Stage, **known: Any) -> RolloutStatus:
    spec = snapshot.spec if isinstance(snapshot.spec, Spec) else None
    checks = effective_checks(spec.analysis.checks if spec else ())
    # Its own steps are not known any more; that it had some makes it one that bakes.
    steps = (spec.rollout.canary.steps if spec else ()) or DEFAULT_STEPS
    rollout = RolloutStatus(
        id=last_rollout(record),
        revision=record.revision,
        provider=_provider(snapshot),
        stage=stage,
        reason="StatusLost",
        stage_started_at=snapshot.now,
        started_at=snapshot.now,
        plan=RolloutPlan(hash="", steps=steps, checks=checks),
    )
    return rollout.model_copy(update=known)


def _labelled(snapshot: Snapshot, outcome: str) -> list[Record]:
    """Return the records with a label whose Deployments are there, the last one that was rolled out first."""
    found = (
        record
        for record in snapshot.records.values()
        if record.outcome == outcome and _deployment(snapshot, record.revision) is not None
    )
    return sorted(found, key=lambda record: -record.number)


def _before(snapshot: Snapshot, failed: str) -> Record | None:
    """Return the revision that everything can go back to: it kept its pods, or is stable again already."""
    kept = (*_labelled(snapshot, "previous"), *_labelled(snapshot, "stable"))
    return next((item for item in kept if item.revision != failed), None)


def _recreated(snapshot: Snapshot, stable: str) -> int | None:
    """Return the pods that a stable is to get back that was taken down by strategy; None for any other."""
    if _replicas(snapshot, stable) != 0 or isinstance(snapshot.spec, InvalidSpec):
        return None
    scaled = snapshot.spec.scaled
    return scaled.floor if scaled else snapshot.spec.replicas


def _full_size(snapshot: Snapshot) -> int | None:
    """Return the pods that carry all traffic where stable may have given some of them up."""
    spec = snapshot.spec
    shrinks = isinstance(spec, Spec) and spec.rollout.canary.shrink_stable and spec.autoscaling is None
    return spec.replicas if isinstance(spec, Spec) and shrinks else None


def _provider(snapshot: Snapshot) -> Literal["Gateway", "Service"]:
    return "Gateway" if Ref("HTTPRoute", names.route(snapshot.model.name)) in snapshot.live else "Service"


def _weight(snapshot: Snapshot) -> int:
    """Return the percent that the live route sends to the canary's Service; 0 without a route."""
    route = snapshot.live.get(Ref("HTTPRoute", names.route(snapshot.model.name)), {})
    canary = names.canary_service(snapshot.model.name)
    return next((percent_to(rule, canary) for headers, rule in rules_of(route) if not headers), 0)


def _selected(snapshot: Snapshot, service: str) -> str | None:
    live = snapshot.live.get(Ref("Service", service), {})
    selected = (live.get("spec", {}).get("selector") or {}).get(names.REVISION)
    return str(selected) if selected else None


def _deployment(snapshot: Snapshot, revision: str) -> Manifest | None:
    return snapshot.live.get(Ref("Deployment", names.revision_child(snapshot.model.name, revision)))


def _replicas(snapshot: Snapshot, revision: str) -> int | None:
    """Return what a revision's Deployment asks for; None where there is none, or it does not say."""
    replicas = (_deployment(snapshot, revision) or {}).get("spec", {}).get("replicas")
    return int(replicas) if replicas is not None else None


def _ready(snapshot: Snapshot, revision: str) -> bool:
    return any(pod.serves for pod in snapshot.pods if pod.revision == revision)
