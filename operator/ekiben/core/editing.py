"""Steps and checks that are edited while a rollout is on its way."""

from __future__ import annotations

from ekiben.api.status import RolloutStatus, Stage
from ekiben.core.moves import Move, event, in_stage, with_rollout
from ekiben.core.snapshot import InvalidSpec
from ekiben.core.starting import first_stage, plan_of
from ekiben.core.steps import header_rules, step_weight
from ekiben.core.templates import template_problem
from ekiben.core.view import View


def edited(view: View, rollout: RolloutStatus) -> Move | None:
    """Take over edited steps: re-enter at the last one whose weight is not above the current one."""
    plan = plan_of(view)
    if rollout.plan is None or rollout.plan.hash == plan.hash or view.stable is None:
        return None
    if template_problem(view):
        return None
    if isinstance(view.snapshot.spec, InvalidSpec):
        return None
    note = "the steps or checks were edited"
    other_way = plan.strategy != rollout.plan.strategy
    if rollout.stage in (Stage.PREFLIGHT, Stage.PREPARING):
        stage = first_stage(view, plan) if other_way else rollout.stage
        moved = in_stage(view, rollout, stage) if stage is not rollout.stage else rollout
        size = rollout.full_size if plan.strategy == "Canary" else None
        return with_rollout(view, moved.model_copy(update={"plan": plan, "full_size": size}), note)
    if other_way and "Recreate" in (plan.strategy, rollout.plan.strategy):
        # What carries traffic goes on as it began; the next rollout takes the other way.
        return None
    carried = step_weight(rollout, rollout.step)
    entry = max(
        (n for n, step in enumerate(plan.steps, start=1) if step.weight and step.weight <= carried), default=0
    )
    if set(header_rules(plan.steps)) - set(header_rules(rollout.plan.steps)):
        # The route gets its rules while no rollout has traffic.
        entry = 0
    stage = Stage.SHIFTING if entry else Stage.PREPARING
    moved = in_stage(view, rollout, stage, plan=plan, step=entry, totals=None, checks=(), failed_looks=0)
    where = f"goes on at step {entry}" if entry else "starts again below the first step"
    return with_rollout(
        view, moved, f"{note}: {where}", event("Normal", "StepsEdited", "Edit", f"{note}: {where}")
    )
