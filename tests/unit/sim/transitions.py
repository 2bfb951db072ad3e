"""Rules of the way that a rollout takes (I3), and of what must be in the status before its effects (I9)."""

from __future__ import annotations

from collections.abc import Iterator

from ekiben.api.status import RolloutStatus, Stage
from ekiben.core import names
from ekiben.core.snapshot import Manifest
from ekiben.core.splitting import percent_to, rules_of
from ekiben.core.steps import Headers
from rules.ways import allowed_weight, ways_from
from unit.sim.apiserver import ref_of
from unit.sim.operator import Pass
from unit.sim.passes import ROUTE, STABLE_SERVICE, in_flight, to_canary_by_header
from unit.sim.world import MODEL


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


def is_allowed_by_header(rollout: RolloutStatus | None, headers: Headers) -> bool:
    """Tell whether requests with these headers may go to the canary in a stage."""
    if rollout is None or rollout.stage is Stage.ABORTING:
        return False
    steps = rollout.plan.steps[: rollout.step] if rollout.plan else ()
    by_header = [step.headers for step in steps if step.headers]
    asked = any({(item.name.lower(), item.value) for item in wanted} <= headers for wanted in by_header)
    return asked or allowed_weight(rollout) == 100
