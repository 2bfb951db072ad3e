"""How a rollout begins: with the first revision, a changed spec, or a retry."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from ekiben.api.rollout import Pause, Step, StepAnalysis
from ekiben.api.status import Outcome, RevisionStatus, RolloutPlan, RolloutStatus, Stage
from ekiben.api.strategy import BlueGreen
from ekiben.core import analysis, preflight, sleeping
from ekiben.core.asking import Question
from ekiben.core.commands import commands
from ekiben.core.configuring import configured, secret_looks, secrets_immutable
from ekiben.core.deciding import changed_by, hand
from ekiben.core.gates import Wait
from ekiben.core.moves import Move, event, in_stage, with_hand, with_rollout
from ekiben.core.queueing import NO_ROOM, has_turn, line_up, taken_out
from ekiben.core.reach import shortfalls
from ekiben.core.sharing import will_shrink
from ekiben.core.snapshot import Record
from ekiben.core.steps import steps_of
from ekiben.core.templates import checks_of, template_problem
from ekiben.core.tracking import TRACKED, digests_of
from ekiben.core.view import View, once, switches_at_once

DEFAULT_STEPS = (
    Step(weight=5, hold="2m"),
    Step(weight=25, hold="5m"),
    Step(weight=50, hold="5m"),
)
# Pods are whole: without a Gateway small weights can't be reached with few replicas.
DEFAULT_SERVICE_STEPS = (Step(weight=50, hold="5m"),)


@once
def plan_of(view: View) -> RolloutPlan:
    """Snapshot the steps and checks that the spec asks for; a way back has no steps."""
    strategy = view.spec.rollout.strategy
    steps = () if is_way_back(view) else steps_wanted(view)
    checks = checks_of(view)
    # What a template holds is no part of the hash: editing one disturbs no rollout that is on its way.
    written = analysis.effective_checks(view.spec.analysis.checks) if not view.spec.analysis.templates else ()
    own = (*view.spec.analysis.checks, *view.spec.analysis.templates) or written
    wire: list[Any] = [item.model_dump(mode="json", exclude_none=True) for item in (*steps, *own)]
    # The default is left out, so that a rollout in flight is not taken for edited by an operator's upgrade.
    wire += [strategy] if strategy != "Canary" else []
    paths = view.spec.analysis.exclude_paths
    wire += [{"excludePaths": [*paths]}] if paths else []
    digest = hashlib.sha256(json.dumps(wire, sort_keys=True).encode()).hexdigest()[:8]
    return RolloutPlan(
        hash=digest, strategy=strategy, steps=tuple(steps), checks=checks, exclude_paths=paths or None
    )


def steps_wanted(view: View) -> tuple[Step, ...]:
    """Return the steps that a strategy comes to: BlueGreen's judge without traffic, then all goes over."""
    if view.spec.rollout.strategy == "Recreate":
        return ()
    if view.spec.rollout.strategy == "BlueGreen":
        rules = view.spec.rollout.blue_green or BlueGreen()
        judged = Step(analysis=StepAnalysis(hold=rules.auto_promotion_delay))
        return (judged,) if rules.auto_promotion else (judged, Step(pause=Pause()))
    default = DEFAULT_STEPS if view.uses_gateway else DEFAULT_SERVICE_STEPS
    return view.spec.rollout.canary.steps or default


def is_way_back(view: View) -> bool:
    """Tell whether the spec asks for one of the revisions that served last, within `rollbackWindow`."""
    served = dict.fromkeys(
        entry.revision
        for entry in view.status.history
        if entry.outcome is Outcome.PROMOTED and entry.revision != view.stable_revision
    )
    return view.wanted.revision in tuple(served)[: view.spec.rollout.rollback_window]


def next_number(view: View) -> int:
    """Return a rollout number that was never used for this model."""
    ids = [entry.rollout for entry in view.status.history]
    ids += [failed.rollout for failed in view.status.failed_revisions]
    if view.status.rollout:
        ids.append(view.status.rollout.id)
    used = [int(number) for _, _, number in (item.rpartition(".") for item in ids) if number.isdigit()]
    used += [record.number for record in view.snapshot.records.values()]
    return max(used, default=0) + 1


def is_due(view: View) -> bool:
    """Tell whether a rollout is to begin: not of what serves already, or failed and was not released."""
    if view.rollout is not None or configured(view) or view.wanted.revision == view.stable_revision:
        return False
    if view.status.stable is None:
        return True
    released = view.failure is None or view.spec.rollout.retry == view.failure.rollout
    return released and not view.spec.rollout.paused


@once
def hindrance(view: View) -> Wait | None:
    """Say what keeps the spec's revision from being begun that lies in what it names."""
    if view.rollout is not None:
        return None
    return (
        configured(view)
        or _templates_usable(view)
        or (secrets_immutable(view) if _is_next(view) else None)
        or (sleeping.waking(view) if is_due(view) else None)
    )


def _templates_usable(view: View) -> Wait | None:
    """Wait until every ModelAnalysis that the spec names can be used; a first revision is not judged."""
    if view.status.stable is None or not is_due(view):
        return None
    problem = template_problem(view)
    return Wait("TemplateUnusable", problem) if problem else None


def open_questions(view: View) -> Iterable[Question]:
    """Ask about the Secrets of a revision that is to begin."""
    return secret_looks(view) if _is_next(view) else ()


def _is_next(view: View) -> bool:
    """Tell whether a rollout is to begin now, or to take its place in the line: there nothing is asked."""
    return is_due(view) and (view.queued is None or has_turn(view))


def start(view: View) -> Move | None:
    """Start what the spec asks for; None when there is nothing to start, or something is in the way."""
    if move := taken_out(view):
        return move
    if not is_due(view) or hindrance(view):
        return None
    if view.status.stable is None:
        return _first(view)
    wanted = view.wanted.revision
    if not is_way_back(view) and not has_turn(view):
        return line_up(view, _new(view))
    way_back = f"{wanted} served before: no steps, by rollout.rollbackWindow" if is_way_back(view) else ""
    return _begin(view, "retry" if view.failure else way_back or _what_changed(view))


def _what_changed(view: View) -> str:
    """Say whether the spec brought the wanted revision about, or what a tracked ConfigMap holds."""
    changed = _changed_maps(view)
    return f"what ConfigMap {changed} holds changed" if changed else "the spec changed"


def _changed_maps(view: View) -> str:
    """Name the ConfigMaps that alone make the wanted revision another than stable; "" where more does."""
    stable = view.record(view.stable_revision or "")
    if stable is None or _but_digests(stable) != _but_digests(view.wanted):
        return ""
    old, new = digests_of(stable), digests_of(view.wanted)
    return ", ".join(name for name in new if old.get(name) != new[name])


def _but_digests(record: Record) -> dict[str, Any]:
    tracked = [{**item, "digest": ""} for item in record.inputs.get(TRACKED, ())]
    return {**record.inputs, TRACKED: tracked}


def _first(view: View) -> Move | None:
    wanted = view.wanted
    rollout = _new(view)
    if view.spec.rollout.initial == "Held":
        note = f"first revision {wanted.revision} is held until rollout.promote is {rollout.id}"
        # There is nothing that it could take the place of.
        alone = plan_of(view).model_copy(update={"steps": (), "strategy": "Canary"})
        held = rollout.model_copy(update={"plan": alone})
        return Move(
            view.status.model_copy(update={"rollout": held}), note, event("Normal", "Held", "Start", note)
        )
    note = f"first revision {wanted.revision}"
    first: dict[str, Any] = {"rollout": rollout}
    if rollout.stage is Stage.PREPARING:
        first["stable"] = RevisionStatus(revision=wanted.revision)
    return Move(view.status.model_copy(update=first), note, event("Normal", "FirstRevision", "Start", note))


def _begin(view: View, why: str) -> Move:
    plan = plan_of(view)
    shrinks = will_shrink(view) and plan.strategy == "Canary"
    size = max(view.full_size, view.spec.replicas) if shrinks else None
    rollout = _new(view, plan).model_copy(update={"full_size": size})
    wanted = view.wanted.revision
    # Without a Gateway the widened Service would select the pods of every revision that is still there.
    keep = rollout.provider == "Gateway" or switches_at_once(rollout)
    status = view.status.model_copy(
        update={
            "rollout": rollout,
            "retiring": tuple(i for i in view.status.retiring if keep and i.revision != wanted),
            "failed_revisions": tuple(i for i in view.status.failed_revisions if i.revision != wanted),
            "commands": commands(view),
        }
    )
    short = "".join(f"; {text}" for text in shortfalls(view, steps_of(rollout), gateway=keep))
    note = f"rollout {rollout.id} started: {why}{short}"
    if view.queued and view.queued.reason == NO_ROOM and view.queued.revision == wanted:
        # It was told when it began first; what would be told anew with every turn is told by the status.
        return Move(status, note)
    told = event("Normal", "RolloutStarted", "Start", note)
    return Move(status, note, with_hand(told, rollout.by, f"from {rollout.from_} to {wanted}"))


def prepare(view: View, rollout: RolloutStatus) -> Move:
    """Leave Preflight: the new revision gets its first pods."""
    moved = in_stage(view, rollout, Stage.PREPARING)
    unseen = preflight.unseen(view, rollout)
    note = f"getting pods of {rollout.revision} ready" + (f"; {unseen}" if unseen else "")
    told = event("Warning", "PreflightIncomplete", "Preflight", note) if unseen else None
    if view.stable is not None or view.spec.rollout.initial == "Held":
        return with_rollout(view, moved, note, told)
    stable = RevisionStatus(revision=rollout.revision)
    return Move(view.status.model_copy(update={"stable": stable, "rollout": moved}), note, told)


def fall_back(view: View, rollout: RolloutStatus, why: str) -> Move:
    """Take the way that `preflight.fallback` allows."""
    plan = (rollout.plan or plan_of(view)).model_copy(update={"strategy": "Recreate", "steps": ()})
    moved = in_stage(view, rollout, Stage.PREPARING, plan=plan, full_size=None)
    note = f"rollout {rollout.id} falls back to Recreate, by rollout.preflight.fallback: {why}"
    return with_rollout(view, moved, note, event("Warning", "FallingBack", "Preflight", note))


def first_stage(view: View, plan: RolloutPlan | None) -> Stage:
    """Return where a rollout begins."""
    return Stage.PREFLIGHT if preflight.is_wanted(view, plan) else Stage.PREPARING


def _new(view: View, plan: RolloutPlan | None = None) -> RolloutStatus:
    revision, queued = view.wanted.revision, view.queued
    promised = queued if queued and queued.revision == revision else None
    maps = _changed_maps(view)
    by = hand(view, "retry") if view.failure else f"ConfigMap {maps}" if maps else changed_by(view)
    return RolloutStatus(
        id=promised.id if promised else f"{revision}.{next_number(view)}",
        from_=view.stable_revision or "",
        by=promised.by if promised else by,
        revision=revision,
        provider="Gateway" if view.spec.traffic else "Service",
        stage=first_stage(view, plan),
        stage_started_at=view.now,
        started_at=view.now,
        plan=plan,
    )
