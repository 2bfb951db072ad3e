"""The ways that a rollout may go, and what each stage allows: what the core's own table must keep to."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ekiben.api.status import RolloutStatus, Stage
from ekiben.core.view import recreates

EVERYTHING = frozenset({Stage.TAKING_ALL, Stage.REPOINTING, Stage.RECALLING, Stage.REINSTATING})

# Where a rollout may go in one pass; staying is always allowed. None is: no rollout in flight.
EDGES: Mapping[Stage | None, frozenset[Stage | None]] = {
    None: frozenset({Stage.PREPARING, Stage.PREFLIGHT}),
    Stage.PREFLIGHT: frozenset({Stage.PREPARING, None}),
    Stage.PREPARING: frozenset(
        {Stage.SHIFTING, Stage.HOLDING, Stage.PAUSED, Stage.ENLARGING, Stage.ABORTING, None}
    ),
    Stage.SHIFTING: frozenset(
        {Stage.PREPARING, Stage.HOLDING, Stage.PAUSED, Stage.ENLARGING, Stage.ABORTING}
    ),
    Stage.HOLDING: frozenset(
        {Stage.PREPARING, Stage.SHIFTING, Stage.PAUSED, Stage.ENLARGING, Stage.ABORTING}
    ),
    Stage.PAUSED: frozenset(
        {Stage.PREPARING, Stage.SHIFTING, Stage.HOLDING, Stage.ENLARGING, Stage.ABORTING}
    ),
    Stage.ENLARGING: frozenset({Stage.TAKING_ALL, Stage.REPOINTING, Stage.ABORTING}),
    Stage.TAKING_ALL: frozenset({Stage.REPOINTING, Stage.ABORTING}),
    Stage.REPOINTING: frozenset({Stage.RETURNING, Stage.BAKING, None}),
    Stage.RETURNING: frozenset({Stage.BAKING, None}),
    Stage.BAKING: frozenset({Stage.RECALLING, Stage.REINSTATING, None}),
    Stage.RECALLING: frozenset({Stage.REINSTATING}),
    Stage.REINSTATING: frozenset({Stage.ABORTING, None}),
    Stage.ABORTING: frozenset({None}),
}
# Recreate's own way; before it begins nothing was touched, and it is over at once.
RECREATING: Mapping[Stage | None, frozenset[Stage | None]] = {
    Stage.PREPARING: frozenset({Stage.DRAINING, Stage.PREFLIGHT, None}),
    Stage.DRAINING: frozenset({Stage.REPLACING, Stage.CLEARING}),
    Stage.REPLACING: frozenset({Stage.REPOINTING, Stage.CLEARING}),
    Stage.CLEARING: frozenset({Stage.RESTORING}),
    Stage.RESTORING: frozenset({None}),
    Stage.REPOINTING: frozenset({None}),
}


def ways_from(before: RolloutStatus | None, after: RolloutStatus | None) -> Collection[Stage | None]:
    """Return the stages that a rollout may go to in one pass; `after` may have taken another strategy."""
    if after and before and recreates(after) is not recreates(before):
        return (Stage.PREPARING, Stage.PREFLIGHT)
    ways = RECREATING if before is not None and recreates(before) else EDGES
    return ways.get(before.stage if before else None, ())


def allowed_weight(rollout: RolloutStatus | None) -> int:
    """Return the most that a canary may get in a stage, in percent."""
    if rollout is None:
        return 0
    if rollout.stage in EVERYTHING or (rollout.stage is Stage.ENLARGING and rollout.full_size):
        return 100
    steps = rollout.plan.steps[: rollout.step] if rollout.plan else ()
    return max((step.weight or 0 for step in steps), default=0)
