"""Rules of the way that a rollout takes (I3), and of what must be in the status before its effects (I9)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from ekiben.api.status import RolloutStatus, Stage
from ekiben.core import names
from ekiben.core.snapshot import Manifest
from ekiben.core.splitting import percent_to, rules_of
from ekiben.core.steps import Headers
from unit.sim.apiserver import ref_of
from unit.sim.operator import Pass
from unit.sim.passes import ROUTE, STABLE_SERVICE, in_flight, recreates, to_canary_by_header
from unit.sim.world import MODEL

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


def at_most_one_step(done: Pass) -> Iterator[str]:
    """I3: one pass makes at most one transition, and only one that the theory knows."""
    if done.plan.status is None or not done.snapshot.status.conditions:
        return
    before, after = in_flight(done.snapshot.status), in_flight(done.plan.status)
    stages = (before.stage if before else None, after.stage if after else None)
    if stages[0] is not stages[1] and stages[1] not in ways_from(before, after):
        yield f"I3: from {stages[0]} to {stages[1]} in one pass"
    if (
        before
        and after
        and before.id == after.id
        and after.step > before.step + 1
        and before.plan == after.plan
    ):
        yield f"I3: from step {before.step} to step {after.step} in one pass"


def written_ahead(done: Pass, manifest: Manifest) -> Iterator[str]:
    """I9: what a write brings about stood in the status that the decision was made from."""
    status, ref = done.snapshot.status, ref_of(manifest)
    rollout = in_flight(status)
    known = {item.revision for item in status.retiring}
    known |= {status.stable.revision} if status.stable else set()
    known |= {rollout.revision} if rollout else set()
    if ref.kind == "Deployment" and ref not in done.snapshot.live:
        revision = ref.name.removeprefix(f"{MODEL}-")
        if revision not in known:
            yield f"I9: {ref.name} is created before the status names its revision"
    if ref == STABLE_SERVICE:
        revision = manifest["spec"]["selector"].get(names.REVISION)
        if status.stable and revision not in (None, status.stable.revision):
            yield f"I9: the stable Service selects {revision} before the status says so"
    if ref == ROUTE:
        weight = next(
            item["weight"]
            for item in manifest["spec"]["rules"][0]["backendRefs"]
            if item["name"] == names.canary_service(MODEL)
        )
        if weight > max(allowed_weight(rollout), still_held(done, rollout)):
            yield f"I9: {weight}% is written before the status says so"
        for headers, percent in to_canary_by_header(manifest).items():
            if percent and not is_allowed_by_header(rollout, headers):
                yield f"I9: requests with {sorted(headers)} go to the canary before the status says so"


def still_held(done: Pass, rollout: RolloutStatus | None) -> int:
    """Return what a canary that is given up may keep of its weight, where stable has to grow back first."""
    route = done.snapshot.live.get(ROUTE)
    if rollout is None or rollout.stage is not Stage.ABORTING or rollout.full_size is None or route is None:
        return 0
    (main,) = (rule for headers, rule in rules_of(route) if not headers)
    return percent_to(main, names.canary_service(MODEL))


def allowed_weight(rollout: RolloutStatus | None) -> int:
    """Return the most that a canary may get in a stage, in percent."""
    if rollout is None:
        return 0
    if rollout.stage in EVERYTHING or (rollout.stage is Stage.ENLARGING and rollout.full_size):
        return 100
    steps = rollout.plan.steps[: rollout.step] if rollout.plan else ()
    return max((step.weight or 0 for step in steps), default=0)


def is_allowed_by_header(rollout: RolloutStatus | None, headers: Headers) -> bool:
    """Tell whether requests with these headers may go to the canary in a stage."""
    if rollout is None or rollout.stage is Stage.ABORTING:
        return False
    steps = rollout.plan.steps[: rollout.step] if rollout.plan else ()
    by_header = [step.headers for step in steps if step.headers]
    asked = any({(item.name.lower(), item.value) for item in wanted} <= headers for wanted in by_header)
    return asked or allowed_weight(rollout) == 100
