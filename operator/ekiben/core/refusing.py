"""A spec that can't be followed: say why, go no further, and keep up what is served.

A rollout that is in flight then can't be left alone: its pods may die and its canary may turn bad. So the
decision is made as ever, with what the status and the record of the revision still tell of the last good
spec, paused; and of its plan only what that is enough for is carried out.
"""

from __future__ import annotations

from dataclasses import replace

from pydantic import ValidationError

from ekiben.api.pod import Bento
from ekiben.api.status import Phase, RolloutStatus, Stage, Status
from ekiben.api.v1alpha1 import Spec
from ekiben.core import conditions as c
from ekiben.core import names
from ekiben.core.children import serving
from ekiben.core.commands import PROMOTING
from ekiben.core.keeping import analysis_kept, rollout_kept
from ekiben.core.plan import Delete, Plan
from ekiben.core.recovery import recovered
from ekiben.core.saying import Said, timed
from ekiben.core.snapshot import InvalidSpec, Snapshot
from ekiben.core.view import View

# These follow from the status and the records alone; sizes and budgets stay as the last good spec had them.
_KEPT_UP = frozenset({"ControllerRevision", "Deployment", "Service", "HTTPRoute", "EndpointSlice"})
_GOES_WITH_ITS_PODS = frozenset({"HorizontalPodAutoscaler", "ScaledObject", "PodDisruptionBudget"})


def held_view(snapshot: Snapshot) -> View | None:
    """Return the view to decide on while the spec can't be followed; None where nothing was begun."""
    status = recovered(snapshot)
    at_rest = (Stage.OVER, Stage.QUEUED)
    rollout = status.rollout if status.rollout and status.rollout.stage not in at_rest else None
    revision = status.moving
    record = snapshot.records.get(revision) if revision else None
    if record is None:
        return None
    try:
        bento = Bento.model_validate(record.inputs.get("bento"))
    except ValidationError:
        return None
    spec = Spec(bento=bento, rollout=rollout_kept(status, rollout), analysis=analysis_kept(rollout))
    view = View(snapshot=snapshot, spec=spec, status=status, wanted=record)
    size = (rollout.stable_replicas if rollout else None) or (view.stable.replicas if view.stable else 0)
    return replace(view, spec=spec.model_copy(update={"replicas": max(size, 1)}))


def refused(snapshot: Snapshot, invalid: InvalidSpec, view: View | None, plan: Plan) -> Plan:
    """Return what of a held view's plan is carried out, with the status that says why it is no more."""
    kept_pods = {names.revision_child(snapshot.model.name, item) for item in serving(view)} if view else set()
    return replace(
        plan,
        status=_said(snapshot, invalid, view, plan.status or snapshot.status),
        applies=tuple(item for item in plan.applies if item["kind"] in _KEPT_UP),
        deletes=tuple(item for item in plan.deletes if _goes(item, kept_pods)),
        notes=(*plan.notes, invalid.message),
    )


def _goes(delete: Delete, kept_pods: set[str]) -> bool:
    if delete.ref.kind == "EndpointSlice":
        # A model that wakes for this has its pods in the path again.
        return True
    return delete.ref.kind in _GOES_WITH_ITS_PODS and delete.ref.name not in kept_pods


def _what_becomes_of(view: View, trial: RolloutStatus) -> str:
    """Say what a rollout still does: it takes no step, but what takes everything over is gone to its end."""
    if trial.stage is Stage.BAKING:
        return "stays in its bake"
    begun = trial.stage is not Stage.PREPARING if view.recreates else trial.stage in PROMOTING
    return "ends what it began" if begun else "goes no further"


def _said(snapshot: Snapshot, invalid: InvalidSpec, view: View | None, status: Status) -> Status:
    old, generation = snapshot.status, snapshot.model.generation
    message = f"{invalid.message}; what serves goes on serving"
    # As it is after this pass: what would be said otherwise in the next one would be a write of its own.
    trial = status.rollout if view and view.trial else None
    if view and trial and trial.outcome is None:
        message += f", and rollout {trial.id} {_what_becomes_of(view, trial)}"
    said = (
        Said(c.STALLED, "True", invalid.reason, message),
        Said(c.ROLLED_OUT, "False", invalid.reason, message),
        Said(c.SETTLED, "True", invalid.reason, message),
    )
    new = {item.type: timed(item, old, generation, snapshot.now) for item in said}
    new |= {item.type: item for item in status.conditions if item.type == c.READY}
    kept = (item for item in old.conditions if item.type not in new)
    return status.model_copy(
        update={
            "observed_generation": generation,
            "phase": Phase.DEGRADED,
            "message": message,
            "conditions": (*kept, *new.values()),
            # What the spec would say of these is not known.
            "url": old.url,
            "commands": old.commands,
        }
    )
