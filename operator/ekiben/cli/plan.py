"""What a changed spec would set going: a revision or not, its steps, pods, resources and time. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from ekiben.api.fields import seconds
from ekiben.api.status import RolloutStatus, Stage, Status
from ekiben.api.v1alpha1 import Spec
from ekiben.cli.facts import Facts
from ekiben.cli.patches import leaves, merge_patch
from ekiben.cli.resources import Resources, added, amount, requests_of, times
from ekiben.cli.text import PLAIN, Cell, Paint, span, table
from ekiben.core import names, preflight
from ekiben.core.approvals import DEFAULT_MAX_WAIT
from ekiben.core.capacity import Capacity
from ekiben.core.configuring import configured
from ekiben.core.reach import shortfalls
from ekiben.core.revision import revision_of
from ekiben.core.scaling import need, pods_granted, replacing_size, surge_of
from ekiben.core.sharing import will_shrink
from ekiben.core.snapshot import Model, Record, Ref, Snapshot
from ekiben.core.starting import plan_of
from ekiben.core.steps import hold_of, kind_of, step_text
from ekiben.core.tracking import tracked_secrets
from ekiben.core.view import View

NO_HOLD = "-"
_MOMENTS = {
    "BeforeRollout": "before the first step",
    "BeforeStep": "before each step with a weight",
    "BeforePromotion": "before the promotion",
}


@dataclass(frozen=True, slots=True)
class StepPlan:
    """One step: the canary's percent (None: it stays), its pods, the shortest hold; its kind, and words."""

    weight: int | None
    pods: int
    hold: str
    kind: str
    says: str
    all_pods: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """What applying a spec would do."""

    name: str
    verdict: str
    says: str
    revision: str
    changed: tuple[str, ...]
    steps: tuple[StepPlan, ...] = ()
    stable_pods: int = 0
    peak_pods: int = 0
    peak_requests: Resources | None = None
    least_seconds: float = 0.0
    notes: tuple[str, ...] = ()


def plan_for(new: Facts, live: Facts | None, records: dict[str, Record], now: datetime) -> Plan:
    """Say what happens when `new`, as the server would store it, takes the place of `live`."""
    if new.spec is None:
        raise ValueError("the server stores a spec that this version can't read")
    view = _view(new, new.spec, live, now)
    verdict, says, rolls = _verdict(view)
    old = (live.raw.get("spec") or {}) if live else {}
    changed = tuple(path for path, _ in leaves(merge_patch(old, new.raw.get("spec") or {}))) if live else ()
    revision = "" if configured(view) else view.wanted.revision
    said = Plan(new.name, verdict, says, revision, changed, notes=_notes(view))
    if not rolls:
        return said
    if view.status.stable is None:
        return replace(said, peak_pods=view.floor, peak_requests=times(requests_of(view.wanted), view.floor))
    if view.spec.rollout.strategy == "Recreate":
        return _recreated(said, view, records)
    steps = _steps(view)
    peak = max(step.pods for step in steps)
    most = view.full_size + (min(peak, surge_of(view)) if will_shrink(view) else peak)
    stable = records.get(view.stable_revision or "") or view.wanted
    return replace(
        said,
        steps=tuple(steps),
        stable_pods=view.full_size,
        peak_pods=most,
        peak_requests=_most(requests_of(view.wanted), requests_of(stable), peak, view.full_size, most),
        least_seconds=sum(seconds(step.hold) for step in steps if step.hold != NO_HOLD) + _bake(view),
        notes=(*said.notes, *_limits(view, steps)),
    )


def _recreated(said: Plan, view: View, records: dict[str, Record]) -> Plan:
    """Say what Recreate comes to: one revision at a time, and nobody serves in between."""
    stable = records.get(view.stable_revision or "") or view.wanted
    old, new = (
        times(requests_of(stable), view.full_size),
        times(requests_of(view.wanted), replacing_size(view)),
    )
    stops = f"serving stops: {view.full_size} pods of {view.stable_revision} end before"
    return replace(
        said,
        peak_pods=max(view.full_size, replacing_size(view)),
        peak_requests={name: max(old.get(name, 0.0), new.get(name, 0.0)) for name in sorted({**old, **new})},
        notes=(*said.notes, f"{stops} {replacing_size(view)} of {view.wanted.revision} come"),
    )


def room_question(new: Facts, live: Facts | None, now: datetime) -> Capacity | None:
    """Return what the preflight of the rollout would ask; None where none begins, or none is wanted."""
    if new.spec is None or not new.spec.rollout.preflight.enabled:
        return None
    view = _view(new, new.spec, live, now)
    if not _verdict(view)[2]:
        return None
    revision = view.wanted.revision
    coming = RolloutStatus(id=f"{revision}.1", revision=revision, stage=Stage.PREFLIGHT, plan=plan_of(view))
    asked = preflight.planned(view, coming)
    return replace(asked, nodes=True) if asked else None


def _view(new: Facts, spec: Spec, live: Facts | None, now: datetime) -> View:
    """Build what the operator would decide on, as far as the status tells of it."""
    status = live.status if live else Status()
    deployments = {
        Ref("Deployment", names.revision_child(new.name, side.revision)): {
            "spec": {"replicas": side.replicas}
        }
        for side in (status.stable, status.canary)
        if side
    }
    model = Model(new.namespace, new.name, new.uid, 0, "")
    snapshot = Snapshot(model=model, spec=spec, status=status, now=now, live=deployments, config=new.config)
    return View(snapshot=snapshot, spec=spec, status=status, wanted=revision_of(spec, config=new.config))


def _verdict(view: View) -> tuple[str, str, bool]:
    """Return what happens in a word, as a sentence, and whether a rollout starts."""
    wanted, stable, rollout = view.wanted.revision, view.stable_revision, view.rollout
    if lacks := configured(view):
        return "Waits", lacks.message, False
    if stable is None:
        held = view.spec.rollout.initial == "Held"
        how = "held until promote" if held else "served as soon as its pods are ready"
        return "FirstRevision", f"{wanted} is the first revision: {how}", True
    if rollout and rollout.revision == wanted:
        return _going_on(view, rollout)
    if rollout and wanted == stable:
        return "Reverted", f"{rollout.revision} is taken back: all traffic to {stable}, which serves", False
    before = f"{rollout.revision}, which is in flight, is superseded; " if rollout else ""
    if wanted == stable:
        return "NoRevision", f"no new revision: {stable} goes on serving, no pod is replaced", False
    if view.failure and view.spec.rollout.retry != view.failure.rollout:
        why = f"{view.failure.reason}: {view.failure.message}".rstrip(": ")
        said = f"{before}{wanted} failed before ({why}) and is not tried again until kubectl ekiben retry"
        return "FailedBefore", said, False
    if view.spec.rollout.paused:
        return "Waits", f"{before}{wanted} waits: rollout.paused is true", True
    return "NewRevision", f"{before}{wanted} is rolled out beside {stable}", True


def _going_on(view: View, rollout: RolloutStatus) -> tuple[str, str, bool]:
    """Say what an edit does to the rollout that brings the same revision."""
    if rollout.revision == view.stable_revision:
        return "NoRevision", f"{rollout.revision} is being finished", False
    if rollout.stage is Stage.ABORTING:
        return "NoRevision", f"{rollout.revision} is being aborted", False
    if rollout.plan and rollout.plan.hash != plan_of(view).hash:
        said = (
            f"rollout {rollout.id} takes the edited steps or checks over, and never raises its weight by that"
        )
        return "Edited", said, False
    return "NoRevision", f"rollout {rollout.id} goes on", False


def _steps(view: View) -> list[StepPlan]:
    found: list[StepPlan] = []
    plan, gateway = plan_of(view), view.spec.traffic is not None
    # What switches at once has all its pods from the start; else up to the first weight those for it.
    first = next((step.weight for step in plan.steps if step.weight or step.headers or step.replicas), 100)
    pods = need(first or 0, view.full_size, gateway=gateway)
    pods = view.full_size if plan.strategy == "BlueGreen" else pods
    for number, step in enumerate(plan.steps, start=1):
        if step.weight is not None:
            pods = max(pods, need(step.weight, view.full_size, gateway=gateway))
        pods = max(pods, pods_granted(view, plan.steps[:number]))
        hold = hold_of(step) if step.weight or step.analysis else NO_HOLD
        found.append(StepPlan(step.weight, pods, hold, kind_of(step), step_text(step)))
    # Before everything goes over the canary gets stable's size.
    last = StepPlan(100, max(pods, view.full_size), NO_HOLD, "weight", "100%")
    return [replace(step, all_pods=_together(view, step.pods)) for step in (*found, last)]


def _together(view: View, pods: int) -> int:
    """Return the pods of both revisions while the canary has so many."""
    both = view.full_size + pods
    return min(both, view.full_size + surge_of(view)) if will_shrink(view) else both


def _most(new: Resources, old: Resources, peak: int, full_size: int, most: int) -> Resources:
    """Return what is asked for at most: all pods of one revision, and of the other what fits beside them."""
    up, back = most - full_size, min(peak, most)
    either = (
        added(times(new, up), times(old, full_size)),
        added(times(new, back), times(old, most - back)),
    )
    return {name: max(asked[name] for asked in either) for name in either[0]}


def _bake(view: View) -> float:
    """Return the seconds for which a promoted revision is watched: a way back is not."""
    return seconds(view.spec.analysis.bake) if plan_of(view).steps else 0.0


def _limits(view: View, steps: Sequence[StepPlan]) -> list[str]:
    """Say what the rollout would stop at."""
    both = view.full_size + surge_of(view)
    shrinks = f"stable gives up pods as the weight rises: both together have at most {both}"
    said = [shrinks] if will_shrink(view) else []
    said += [*shortfalls(view, plan_of(view).steps, gateway=view.spec.traffic is not None)]
    if pauses := sum(step.kind == "pause" for step in steps):
        said.append(f"steps that wait for kubectl ekiben resume: {pauses}")
    for gate in view.spec.rollout.gates:
        longest = gate.max_wait or DEFAULT_MAX_WAIT
        then = gate.on_timeout or "pause"
        said.append(f"gate {gate.name} is asked {_MOMENTS[gate.when]}, for at most {longest} (then: {then})")
    if warmup := view.spec.rollout.warmup:
        calls = f"{warmup.requests} calls of {warmup.method} {warmup.path}"
        said.append(f"each canary pod is warmed up first: {calls}")
    rules = view.spec.analysis
    if _bake(view):
        said.append(
            f"then the old version keeps its pods for {rules.bake}, and takes everything back if need be"
        )
    said.append(
        f"a step also lasts until {rules.min_samples} requests are judged, at most {rules.max_wait} longer"
        f" (then: {rules.on_no_data})"
    )
    return said


def _notes(view: View) -> tuple[str, ...]:
    notes = tuple(f"it begins once Secret {name} is immutable" for name in tracked_secrets(view.spec))
    if view.spec.scaled is not None and view.stable:
        notes = (*notes, "autoscaling: counted from the present size, which load changes")
    return notes


def plan_lines(plan: Plan, paint: Paint = PLAIN) -> list[str]:
    """Write a plan."""
    lines = [f"{paint(plan.name, 'bold')}: {paint(plan.verdict, 'warn')}: {plan.says}"]
    if plan.changed:
        lines.append(f"  changes {', '.join(plan.changed)}")
    if plan.steps:
        rows: list[list[Cell | str]] = [
            [Cell(head, "dim") for head in ("STEP", "WEIGHT", "HOLD", "CANARY PODS", "ALL PODS")]
        ]
        for number, step in enumerate(plan.steps, start=1):
            last = number == len(plan.steps)
            total = str(step.all_pods)
            rows.append(["promote" if last else str(number), step.says, step.hold, str(step.pods), total])
        lines += ["", *table(rows, paint, indent="  "), ""]
    if plan.peak_pods and plan.peak_requests is not None:
        asked = ", ".join(f"{name} {amount(name, value)}" for name, value in plan.peak_requests.items())
        lines.append(f"  at most {plan.peak_pods} pods at a time, which ask for {asked}")
    if plan.steps:
        lines.append(f"  takes at least {span(plan.least_seconds)}, and what pods need to start")
    return [*lines, *(f"  note: {note}" for note in plan.notes)]


def as_data(plan: Plan) -> dict[str, Any]:
    """Return the same for a program."""
    asked = plan.peak_requests
    return {
        "name": plan.name,
        "verdict": plan.verdict,
        "message": plan.says,
        "revision": plan.revision,
        "changes": list(plan.changed),
        "steps": [
            {"kind": step.kind, "weight": step.weight, "hold": step.hold, "canaryPods": step.pods}
            for step in plan.steps
        ],
        "peak": {
            "pods": plan.peak_pods,
            "requests": {name: amount(name, value) for name, value in asked.items()},
        }
        if asked is not None
        else None,
        "leastSeconds": plan.least_seconds,
        "notes": list(plan.notes),
    }
