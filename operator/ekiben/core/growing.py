"""Pods that are on their way by the autoscaler's own wish: how long requests take says nothing until then.

Theory of operation. A revision that gets more requests is slow until its autoscaler has brought the pods for
them. That is no fault of the model, so a check of durations is not held against it

    Answering: when a limit is first broken, for as long as its autoscaler may take to ask for more pods;
    Growing:   while its Deployment asks for more pods than are ready, and an autoscaler of ours sizes it;
    Settling:  until these pods have been there, and read, for a while: what had queued up is answered late;
    Over:      for the one pass that sets aside what both sides have counted until then.

All of it stands in the status (`checks`, `growingSince`, `setAside`) before anything is judged by it, so a
restart in between decides the same; pods that came while no operator ran are known by their age. Behind it
durations are judged by what was counted since; errors, and everything else, by all that the step has counted.
A check that passes with too few pods passes, and where all do nothing is set aside. How many pods the
autoscaler wants is what it wrote into the Deployment: its own status says so later, and no more.

Each time the counts begin anew a healthy canary may be blamed by chance. So each beginning has half of the
error of the one before: together they have what a step has that begins once (`tries`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from ekiben.api.judging import Check
from ekiben.api.measured import CheckResult, Counters, Load, SetAside, Totals
from ekiben.api.status import RolloutStatus, Stage
from ekiben.core.scalers import KINDS, live_scaler
from ekiben.core.scaling import canary_need
from ekiben.core.snapshot import Manifest
from ekiben.core.view import Side, View, once

REASON = "InsufficientCapacity"
# The metrics that say how long requests take.
DURATIONS = frozenset({"slow-requests", "concurrency"})
# Metrics take two readings, 15 s apart, and an autoscaler asks every 15 s; its own window comes on top.
ANSWERS_WITHIN = timedelta(seconds=45)
DEFAULT_WINDOW = 30
# As long as the latency guard gives pods before it looks whether they helped.
SETTLES_WITHIN = timedelta(seconds=30)
# Halved more often than this, an error is none.
_MOST_TRIES = 20

# The weight is what it was when these began; in the others it has changed on the way.
_AT_REST = frozenset({Stage.HOLDING, Stage.PAUSED, Stage.BAKING})
_JUDGED = _AT_REST | {Stage.SHIFTING, Stage.ENLARGING, Stage.TAKING_ALL}


@dataclass(frozen=True, slots=True)
class Growth:
    """Pods that the autoscaler of the revision that is judged still has to bring, or has just brought.

    `seconds` until that is over by itself; None where pods are waited for.
    """

    phase: Literal["Growing", "Settling", "Over"]
    why: str
    seconds: float | None = None


@once
def growth(view: View) -> Growth | None:
    """Say what the autoscaler of the revision that is judged still has to bring; None where nothing."""
    rollout, side = view.trial, view.judged
    if rollout is None or side is None or not _is_judged(view, rollout):
        return None
    # Pods that an autoscaler has asked for come all the same where another engine takes over meanwhile.
    noted, is_scaled = rollout.growing_since is not None, _scaler(view, side) is not None
    if (noted or is_scaled) and _is_short(view, rollout, side):
        said = f"{side.ready} of the {side.replicas} pods that its autoscaler wants are ready"
        return Growth("Growing", said)
    if not noted and not (is_scaled and _grew_unseen(view, rollout, side)):
        return None
    left = _seconds_to_settle(view, side)
    said = f"the {side.replicas} pods that its autoscaler wants have just become ready"
    return Growth("Over" if left <= 0 else "Settling", said, left)


def excused(
    view: View, check: Check, result: CheckResult, before: CheckResult | None, *, waited_out: bool
) -> CheckResult:
    """Return the result of a check as it counts; `before` is that of the last look.

    With `waited_out` nobody waits any more for pods: whose fault it is is inconclusive.
    """
    if check.metric not in DURATIONS or result.verdict in ("Pass", "Error") or _lacks_requests(view, result):
        return result
    grown = growth(view)
    why = grown.why if grown else "" if waited_out else _may_answer(view, before)
    if not why:
        # Remembered as long as the limit stays broken: the autoscaler has its time once.
        answered = before is not None and before.excused is not None
        return result.model_copy(update={"excused": False}) if answered else result
    late = waited_out and grown is not None and grown.phase != "Over"
    message = f"{result.message}; not held against it: {why}"
    verdict = "Inconclusive" if late else "Waiting"
    return result.model_copy(update={"verdict": verdict, "excused": True, "message": message})


def _may_answer(view: View, before: CheckResult | None) -> str:
    """Say that the autoscaler may yet ask for more pods; "" where it had the time, or may have no more."""
    side = view.judged
    scaler = _scaler(view, side) if side else None
    if side is None or scaler is None or not _may_add(scaler, side) or (before and before.excused is False):
        return ""
    since = before.since if before and before.excused else None
    if since is not None and view.now >= since + _answers_within(scaler):
        return ""
    return f"its autoscaler may yet want more pods than {side.replicas}"


def _lacks_requests(view: View, result: CheckResult) -> bool:
    """Tell whether a check only waits for requests, and is not over its limit."""
    few = result.value is None or result.samples < view.spec.analysis.min_samples
    return result.verdict == "Waiting" and few


def judged_counts(view: View, counted: Totals) -> Totals:
    """Return the counts that durations are judged by: those since the pods were there."""
    aside = _aside(view)
    if aside is None:
        return counted
    return counted.model_copy(
        update={
            "stable": _without(counted.stable, aside.stable),
            "canary": _without(counted.canary, aside.canary),
        }
    )


def tries(view: View) -> int:
    """Return into how many parts the error of a step is cut, of which the current beginning has one."""
    aside, side = _aside(view), view.judged
    if aside is None and (side is None or _scaler(view, side) is None):
        return 1
    times = min(aside.times if aside else 0, _MOST_TRIES)
    return int(2 ** (times + 1))


def began_anew(view: View, result: CheckResult) -> datetime | None:
    """Return when the counts that a check lacks requests of began anew; None where they did not."""
    return result.since if _aside(view) is not None and result.metric in DURATIONS else None


def recorded(view: View, counted: Totals, checks: tuple[CheckResult, ...]) -> dict[str, Any]:
    """Return what the status has to say of it, as changes of the rollout; `checks` are its results now."""
    rollout, grown = view.trial, growth(view)
    if rollout is None or grown is None:
        return {}
    if grown.phase != "Over":
        return {"growing_since": rollout.growing_since or view.now}
    if all(result.verdict == "Pass" for result in checks if result.metric in DURATIONS):
        # Nothing is in question: what has been counted stays.
        return {"growing_since": None}
    known = _aside(view)
    aside = SetAside(
        window=counted.window,
        times=min((known.times if known else 0) + 1, _MOST_TRIES),
        stable=counted.stable,
        canary=counted.canary,
    )
    # What was excused until now was excused for pods that are there; what it says now it says anew.
    anew = {"excused": None, "since": view.now}
    fresh = tuple(
        result.model_copy(update=anew) if result.metric in DURATIONS else result for result in checks
    )
    return {"growing_since": None, "set_aside": aside, "checks": fresh}


def next_look(view: View) -> float | None:
    """Return the seconds until the pods have been there for long enough; None where none are new."""
    grown = growth(view)
    return grown.seconds if grown else None


def _is_judged(view: View, rollout: RolloutStatus) -> bool:
    checks = rollout.plan.checks if rollout.plan else ()
    if rollout.stage not in _JUDGED or not any(check.metric in DURATIONS for check in checks):
        return False
    return view.judged_step > 0 or rollout.stage is Stage.BAKING


def _is_short(view: View, rollout: RolloutStatus, side: Side) -> bool:
    """Tell whether pods are missing that the load asks for; those of the next weight are no sign of load."""
    if side.ready >= side.replicas:
        return False
    by_load = rollout.stage in _AT_REST or rollout.growing_since is not None
    return by_load or side.replicas > canary_need(view)


def _grew_unseen(view: View, rollout: RolloutStatus, side: Side) -> bool:
    """Tell whether pods have come since the counts began and nobody noted it: nothing of ours ran then."""
    began, youngest = rollout.stage_started_at, _youngest(side)
    if rollout.stage not in (Stage.HOLDING, Stage.BAKING) or _aside(view) is not None:
        return False
    return began is not None and youngest is not None and youngest > began


def _seconds_to_settle(view: View, side: Side) -> float:
    seen = view.observation.scrapes.get(side.revision) if view.observation else None
    if seen is None or seen.pods_read + seen.pods_failed < side.ready:
        # Each new pod brings a look; one that is not warm yet has none.
        return SETTLES_WITHIN.total_seconds()
    since = _youngest(side)
    age = view.now - since if since else SETTLES_WITHIN
    # Of two clocks that don't agree, neither keeps anybody waiting.
    return (SETTLES_WITHIN - age).total_seconds() if age >= timedelta() else 0.0


def _youngest(side: Side) -> datetime | None:
    known = (pod.ready_changed_at for pod in side.pods if pod.serves)
    return max((at for at in known if at is not None), default=None)


def _scaler(view: View, side: Side) -> Manifest | None:
    found = (live_scaler(view, kind, side.revision) for kind in KINDS)
    return next((live for live in found if live is not None), None)


def _may_add(scaler: Manifest, side: Side) -> bool:
    spec = scaler.get("spec") or {}
    most = spec.get("maxReplicas", spec.get("maxReplicaCount"))
    return not isinstance(most, int) or side.replicas < most


def _answers_within(scaler: Manifest) -> timedelta:
    spec = scaler.get("spec") or {}
    made = (spec.get("advanced") or {}).get("horizontalPodAutoscalerConfig") or spec
    up: Mapping[str, Any] = (made.get("behavior") or {}).get("scaleUp") or {}
    window = up.get("stabilizationWindowSeconds")
    return ANSWERS_WITHIN + timedelta(seconds=window if isinstance(window, int) else DEFAULT_WINDOW)


def _aside(view: View) -> SetAside | None:
    """Return what was set aside of the current window; of another one it says nothing."""
    aside = view.trial.set_aside if view.trial else None
    return aside if aside and aside.window == view.window else None


def _without(counted: Counters, aside: Counters) -> Counters:
    slow = {name: max(number - aside.slow.get(name, 0), 0) for name, number in counted.slow.items()}
    return counted.model_copy(
        update={
            "requests": max(counted.requests - aside.requests, 0),
            "slow": slow,
            "load": _load_without(counted.load, aside.load or Load()) if counted.load else None,
        }
    )


def _load_without(counted: Load, aside: Load) -> Load:
    return counted.model_copy(
        update={
            "busy_ms": max(counted.busy_ms - aside.busy_ms, 0),
            "watched_ms": max(counted.watched_ms - aside.watched_ms, 0),
        }
    )
