"""What the operator says: phase, message, conditions and figures, as seen and not as meant."""

from __future__ import annotations

from typing import Any

from ekiben.api.status import Outcome, Phase, RevisionStatus, RolloutStatus, Stage, Status
from ekiben.core import gates, growing, names, sleeping, verdicts
from ekiben.core.analysis import is_counted
from ekiben.core.commands import commands
from ekiben.core.configuring import NEEDS_HAND
from ekiben.core.gates import Wait
from ekiben.core.keeping import kept_of
from ekiben.core.queueing import place_text
from ekiben.core.reach import shortfalls
from ekiben.core.revision import image_of
from ekiben.core.saying import conditions_of, failed_outcome, obstacle
from ekiben.core.scaling_said import scaling_problem, scaling_status
from ekiben.core.steps import steps_of
from ekiben.core.traffic import carried_weight, observed_headers, observed_weight
from ekiben.core.view import FINISHING, GIVEN_UP, Side, View

# Figures that change with every request are written at most every 15 s, give or take how long a look takes.
TICK = 14.5
# Waits that a hand ends, or a clock on the wall.
STOPPED = ("PauseStep", "NoData", "Inconclusive", "Paused", "Held", "Frozen", "GateTimeout")


def report(view: View, wait: Wait | None) -> Status:
    """Return the whole status as it should read now; equal to the old one when there is nothing new."""
    rollout = _measured(view)
    stable = _side(view, view.stable, view.status.stable)
    canary = _side(view, view.canary, view.status.canary)
    status = view.status.model_copy(
        update={
            "observed_generation": view.model.generation,
            "rollout": rollout,
            "stable": stable,
            "canary": canary,
            "sleep": sleeping.measured(view),
            "replicas": stable.replicas if stable else 0,
            "selector": _selector(view),
            "ready": _ready(stable, canary),
            "url": url_of(view),
            "scaling": scaling_status(view),
            "commands": commands(view),
        }
    )
    phase = phase_of(view, wait)
    message = message_of(view, wait)
    said = status.model_copy(update={"phase": phase, "message": message})
    return said.model_copy(update={"conditions": conditions_of(view, said, wait)})


def _measured(view: View) -> RolloutStatus | None:
    rollout = view.trial
    if rollout is None:
        return view.status.rollout
    split: dict[str, Any] = {"weight": carried_weight(view), "headers": observed_headers(view) or None}
    split["kept"] = kept_of(view.spec)
    if rollout.stage not in FINISHING | GIVEN_UP | {Stage.BAKING}:
        split["shortfalls"] = shortfalls(view, steps_of(rollout), gateway=view.uses_gateway) or None
    if rollout.stage in (Stage.PREFLIGHT, Stage.PREPARING) or view.recreates:
        # Nothing is judged yet, and a rollout may wait here for days without a word.
        return rollout.model_copy(update=split)
    if rollout.stage in FINISHING | GIVEN_UP:
        # The judgement is over: what it rested on stays to be read.
        return rollout.model_copy(update=split | {"growing_since": None})
    if not verdicts.counts(view):
        # Without traffic there are no figures, and a pause before the first weight may last for days.
        return rollout.model_copy(update=split | {"checks": verdicts.judged(view)})
    totals = verdicts.totals(view)
    together = totals.canary.requests + totals.stable.requests
    share = f"{100 * totals.canary.requests / together:.1f}%" if together else None
    checks = verdicts.judged(view)
    figures = {"observed_share": share, "totals": totals, "checks": checks}
    return rollout.model_copy(update=split | figures | growing.recorded(view, totals, checks))


def _side(view: View, side: Side | None, before: RevisionStatus | None) -> RevisionStatus | None:
    if side is None:
        return None
    known = before if before and before.revision == side.revision else RevisionStatus(revision=side.revision)
    digest = next((pod.image_digest for pod in side.pods if pod.image_digest and pod.ready), None)
    served = known.served_at or (view.now if side.ready else None)
    down = None if side.ready or not served or view.status.sleep else (known.unready_since or view.now)
    return known.model_copy(
        update={
            "image": image_of(side.record) if side.record else known.image,
            "image_digest": digest or known.image_digest,
            "replicas": side.replicas,
            "ready_replicas": side.ready,
            "served_at": served,
            "unready_since": down,
        }
    )


def _selector(view: View) -> str:
    selector = names.pod_selector(view.model.name, view.stable_revision or "none")
    return ",".join(f"{key}={value}" for key, value in selector.items())


def _ready(stable: RevisionStatus | None, canary: RevisionStatus | None) -> str:
    sides = [side for side in (stable, canary) if side]
    return f"{sum(s.ready_replicas for s in sides)}/{sum(s.replicas for s in sides)}"


def url_of(view: View) -> str | None:
    """Return where the model answers: its first hostname, or its Service inside the cluster."""
    traffic = view.spec.traffic
    if traffic and traffic.hostnames:
        return f"http://{traffic.hostnames[0]}{traffic.path.prefix}"
    return f"http://{names.stable_service(view.model.name)}.{view.model.namespace}:{names.PORT}"


def phase_of(view: View, wait: Wait | None) -> Phase:
    """Return the one word for people."""
    stable = view.stable
    if view.trial:
        if stable is None and view.trial.stage is Stage.PREFLIGHT:
            return Phase.PENDING
        stopped = wait is not None and wait.reason in STOPPED
        return Phase.PAUSED if stopped else Phase.PROGRESSING
    if asleep := sleeping.told(view):
        return {"Asleep": Phase.ASLEEP, "Waking": Phase.PROGRESSING}.get(asleep[0], Phase.DEGRADED)
    if stable is None or stable.ready == 0:
        served = view.status.stable and view.status.stable.served_at
        return Phase.DEGRADED if served else Phase.PENDING
    if view.is_first:
        return Phase.PROGRESSING
    if view.rollout is None and wait is not None:
        return Phase.DEGRADED if wait.reason in NEEDS_HAND else Phase.PROGRESSING
    if place_text(view):
        return Phase.QUEUED
    if view.wanted.revision != view.stable_revision:
        return Phase.PAUSED if not failed_outcome(view) else Phase.DEGRADED
    return Phase.HEALTHY


def message_of(view: View, wait: Wait | None) -> str:
    """Name the one thing that is waited for, or what serves."""
    if stuck := obstacle(view):
        return stuck[1]
    if rollout := view.trial:
        headers = "".join(f" and requests with {text}" for text in observed_headers(view))
        share = f"{observed_weight(view)}%{headers}"
        step = f"step {rollout.step} of {len(steps_of(rollout))}"
        where = f"{step}: {share} to {rollout.revision}, " if rollout.plan and rollout.step else ""
        if rollout.previous and rollout.stage not in FINISHING:
            where = f"{carried_weight(view)}% to {rollout.revision}, "
        what = wait.message if wait else str(rollout.stage)
        down = view.stable is not None and view.stable.ready == 0
        return f"{where}{what}" + (f"; no pod of {view.stable_revision} is ready" if down else "")
    if wait:
        return wait.message
    if place := place_text(view):
        return place
    if (bad := failed_outcome(view)) and (failed := view.failure):
        did = "aborted by hand" if bad is Outcome.ABORTED else f"rolled back: {failed.message}"
        way_out = f"set rollout.retry to {failed.rollout} to try again"
        return f"{failed.revision} {did}; {view.stable_revision} serves; {way_out}"
    if view.wanted.revision != view.stable_revision and view.spec.rollout.paused:
        return "a new revision waits: paused by rollout.paused; set it to false to go on"
    if asleep := sleeping.told(view):
        return asleep[1]
    stable = view.stable
    if stable is None or stable.ready == 0:
        hindrance = gates.blocked(view, stable) if stable else None
        said = f"no pod of {view.stable_revision} is ready"
        crashes = gates.crashes(stable) if stable else ""
        return hindrance.message if hindrance else f"{said}; {crashes}" if crashes else said
    unscaled = f"; not scaled: {problem}" if (problem := scaling_problem(view)) else ""
    return f"{view.stable_revision} serves with {stable.ready} of {stable.replicas} pods{unscaled}"


def is_worth_writing(old: Status, new: Status, age: float | None) -> bool:
    """Tell whether a status says something new; mere figures wait until the last ones are `TICK` old.

    `age` is the seconds since the figures in `old` were measured; None when there are none.
    """
    if old == new:
        return False
    before, after = old.to_wire(), new.to_wire()
    if before == after:
        return False
    if _without_figures(before) != _without_figures(after):
        return True
    return age is None or age >= TICK


def says_the_same(old: Status, new: Status) -> bool:
    """Tell whether two statuses differ in no more than sizes, figures and the words about them."""
    return _verdicts(old) == _verdicts(new)


def _verdicts(status: Status) -> tuple[object, ...]:
    stage = status.rollout.stage if status.rollout else None
    conditions = [(item.type, item.status, item.reason) for item in status.conditions]
    engine = status.scaling.engine if status.scaling else None
    return status.observed_generation, status.phase, stage, conditions, status.commands, engine


def _told_at_once(check: dict[str, Any]) -> tuple[str, str, bool]:
    """Return what of a check's result is no mere figure: that another source's check passes can wait."""
    title, verdict, excused = check["metric"], check["verdict"], check.get("excused", False)
    return title, "" if not is_counted(title) and verdict in ("Waiting", "Pass") else verdict, excused


def _without_figures(wire: dict[str, Any]) -> dict[str, Any]:
    rollout = {
        key: value
        for key, value in (wire.get("rollout") or {}).items()
        if key not in ("totals", "observedShare")
    }
    rollout["checks"] = [_told_at_once(check) for check in rollout.get("checks", ())]
    conditions = [
        {key: value for key, value in item.items() if key != "message"} for item in wire.get("conditions", ())
    ]
    return wire | {"message": "", "rollout": rollout, "conditions": conditions}
