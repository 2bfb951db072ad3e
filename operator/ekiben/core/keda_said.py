"""What KEDA says of a revision's ScaledObject, and that it says nothing: it may be down.

Theory of operation. Of each ScaledObject KEDA makes a HorizontalPodAutoscaler and keeps that to its bounds,
within a second. Whoever asks for more pods by the bounds, as a rollout does for its canary, waits for both. A
KEDA that is down says nothing, and what it said last still stands; so what counts is what it has left undone
for a while since we asked for it. It is read from the watches that are there anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from ekiben.core.engines import SCALERS
from ekiben.core.scalers import live_scaler, made_by_keda
from ekiben.core.snapshot import ASKED_AT, Manifest
from ekiben.core.times import parse_time
from ekiben.core.view import View

# Longer than a KEDA needs that is moved to another node: a pod that starts, and a lease that runs out.
LASTS = timedelta(seconds=60)
# What KEDA says may be as long as a Prometheus likes.
LONGEST = 300


class KedaSaid(NamedTuple):
    """What is wrong with one ScaledObject: a reason of the conditions, and what to do."""

    reason: str
    message: str


def hindrance(view: View, revision: str) -> KedaSaid | None:
    """Say why no pod comes by the bounds of a revision's ScaledObject; None where nothing keeps it."""
    live = _asked(view, revision)
    if live is None:
        return None
    name, told = str(live["metadata"]["name"]), _told(live)
    if (ready := told.get("Ready", {})).get("status") == "False":
        # Of a formula that is wrong it says so in several lines, with a drawing of where.
        words = " ".join(str(ready.get("message") or ready.get("reason")).split())
        message = f"KEDA says of ScaledObject {name}: {words}"
        return KedaSaid("KEDANotReady", message[:LONGEST])
    undone = _undone(view, revision, live)
    if undone and told.get("Paused", {}).get("status") == "True":
        return KedaSaid(
            "KEDAPaused",
            f"ScaledObject {name} is paused: take its annotations autoscaling.keda.sh/paused... away",
        )
    since = _asked_at(live, undone)
    if not undone or since is None or view.now - since < LASTS:
        return None
    return KedaSaid(
        "KEDASilent",
        f"KEDA does not run, or not for this namespace: {undone}; see to its operator, or set"
        " autoscaling.engine to hpa and leave prometheus, schedule and trigger out",
    )


def fallback(view: View, revision: str) -> KedaSaid | None:
    """Say that KEDA can't read a metric of a revision, and keeps to its fallback; None where it can."""
    live = _asked(view, revision)
    if live is None or _told(live).get("Fallback", {}).get("status") != "True":
        return None
    name = live["metadata"]["name"]
    return KedaSaid(
        "Fallback", f"KEDA can't read a metric of ScaledObject {name}, so no pod goes: see its status.health"
    )


def next_look(view: View) -> float | None:
    """Return the seconds until something will have been left undone for long; None where nothing is."""
    due = []
    for side in (view.stable, view.canary):
        live = _asked(view, side.revision) if side else None
        since = _asked_at(live, _undone(view, side.revision, live)) if side and live else None
        if since is not None and view.now - since < LASTS:
            due.append((since + LASTS - view.now).total_seconds())
    return min(due, default=None)


def _asked(view: View, revision: str) -> Manifest | None:
    """Return a revision's ScaledObject, unless it is on its way out."""
    live = live_scaler(view, SCALERS["keda"], revision)
    return None if live is None or "deletionTimestamp" in live["metadata"] else live


def _told(live: Manifest) -> dict[Any, Mapping[str, Any]]:
    return {item.get("type"): item for item in (live.get("status") or {}).get("conditions") or ()}


def _undone(view: View, revision: str, live: Manifest) -> str:
    """Say what KEDA has not done of what a ScaledObject asks for; "" where all is done."""
    name, spec = live["metadata"]["name"], live.get("spec") or {}
    least, most = spec.get("minReplicaCount"), spec.get("maxReplicaCount")
    made = made_by_keda(view, revision)
    if made is None:
        return f"it has made no HorizontalPodAutoscaler of ScaledObject {name}"
    if made.bounds is None or made.bounds == (least, most):
        return ""
    return f"it has not taken over {least} to {most} pods from ScaledObject {name}"


def _asked_at(live: Manifest, undone: str) -> datetime | None:
    """Return since when KEDA could have done what it has not."""
    if not undone:
        return None
    about = live["metadata"]
    return parse_time(about.get(ASKED_AT) or about.get("creationTimestamp"))
