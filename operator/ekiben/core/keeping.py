"""What a rollout keeps of the last spec that could be followed: that counts while the spec is refused."""

from __future__ import annotations

from typing import Any

from ekiben.api.judging import Analysis
from ekiben.api.kept import Kept
from ekiben.api.rollout import Canary, Rollout
from ekiben.api.status import RolloutStatus, Status
from ekiben.api.v1alpha1 import Spec
from ekiben.core.commands import PROMOTING

_ANALYSIS = ("bake", "min_samples", "failure_limit", "initial_delay", "confidence")
_ROLLOUT = ("progress_deadline", "max_surge", "warmup")
_CANARY = ("traffic_ramp",)


def kept_of(spec: Spec) -> Kept | None:
    """Return the parts of a spec that are kept; None where all are as they are by default."""
    parts = (
        (spec.analysis, Analysis(), _ANALYSIS),
        (spec.rollout, Rollout(), _ROLLOUT),
        (spec.rollout.canary, Canary(), _CANARY),
    )
    found = {
        name: getattr(asked, name)
        for asked, default, names in parts
        for name in names
        if getattr(asked, name) != getattr(default, name)
    }
    return Kept().model_copy(update=found) if found else None


def analysis_kept(rollout: RolloutStatus | None) -> Analysis:
    """Return how the rollout is judged on: by its own checks, as the last good spec said."""
    # Not by validation: with those of templates there may be more checks than a spec may hold itself.
    checks = rollout.plan.checks if rollout and rollout.plan else ()
    return Analysis().model_copy(update={"checks": checks, **_kept(rollout, _ANALYSIS)})


def rollout_kept(status: Status, rollout: RolloutStatus | None) -> Rollout:
    """Return how the rollout goes on: paused, on the way that the last good spec said."""
    steps = rollout.plan.steps if rollout and rollout.plan else ()
    shrinks = rollout is not None and rollout.full_size is not None
    ramp = _kept(rollout, _CANARY)
    canary = Canary().model_copy(update={"steps": steps, "shrink_stable": shrinks, **ramp})
    known = {"paused": True, "canary": canary, "promote": _promoted(status, rollout)}
    return Rollout().model_copy(update={**known, **_kept(rollout, _ROLLOUT)})


def _kept(rollout: RolloutStatus | None, names: tuple[str, ...]) -> dict[str, Any]:
    kept = rollout.kept if rollout else None
    found = {name: getattr(kept, name) for name in names} if kept else {}
    return {name: value for name, value in found.items() if value is not None}


def _promoted(status: Status, rollout: RolloutStatus | None) -> str | None:
    """Return the `promote` that sent the rollout all the way, which also leaves its bake out."""
    if rollout is None or rollout.stage not in PROMOTING:
        return None
    honoured = (
        item.value for item in status.commands if (item.command, item.result) == ("promote", "Honoured")
    )
    return rollout.id if rollout.id in honoured else None
