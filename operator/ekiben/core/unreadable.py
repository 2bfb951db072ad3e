"""Metrics that an autoscaler can't read: a component of the cluster is missing, or down.

Theory of operation. The autoscaler then takes no pod away by itself; we only say what to do. It says so too
of pods that have just started, and in the first seconds of its own life. So what it says counts once it has
said it, and a pod has been ready, for a while; and it stays said until the autoscaler has read for as long.
Stable's is looked at first, then the canary's; KEDA's, which it made of a ScaledObject, as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from ekiben.core import conditions as c
from ekiben.core import names
from ekiben.core.engines import SCALERS, engine_for, metrics_for, needs_adapter, needs_keda
from ekiben.core.scalers import live_scaler, made_by_keda
from ekiben.core.snapshot import Reading
from ekiben.core.times import parse_time
from ekiben.core.view import Side, View

REASON = "MetricsUnreadable"
# Longer than metrics-server takes for the first numbers of a new pod: two readings, 15 s apart, and a window.
LASTS = timedelta(seconds=90)

_OF_PODS, _OF_KEDA = "FailedGetPodsMetric", "FailedGetExternalMetric"
_READS = frozenset({_OF_PODS, _OF_KEDA, "FailedGetResourceMetric", "FailedGetContainerResourceMetric"})
_NONE = Reading("", "", "")


class _Autoscaler(NamedTuple):
    """One side's autoscaler: its name, and what it says of its metrics."""

    side: Side
    name: str
    reading: Reading

    @property
    def fails(self) -> bool:
        return self.reading.status == "False" and self.reading.reason in _READS

    @property
    def speaks(self) -> bool:
        return self.fails or self.reading.status == "True"


def unreadable(view: View) -> str:
    """Say which metrics an autoscaler can't read, and what to do; "" where each can, or may yet."""
    return next((text for autoscaler in _autoscalers(view) if (text := _unread(view, autoscaler))), "")


def next_look(view: View) -> float | None:
    """Return the seconds until what an autoscaler says will have lasted; None where that changes nothing."""
    due = []
    for autoscaler in _autoscalers(view):
        since = _since(autoscaler)
        if since is not None and autoscaler.fails != bool(_told(view, autoscaler)):
            due.append((since + LASTS - view.now).total_seconds())
    return min((seconds for seconds in due if seconds > 0), default=None)


def _unread(view: View, autoscaler: _Autoscaler) -> str:
    told, since = _told(view, autoscaler), _since(autoscaler)
    lasts = since is not None and view.now - since >= LASTS
    if not (autoscaler.fails if lasts else told):
        return ""
    # Once it reads again, what it could not read is not known any more.
    return _remedy(view, autoscaler) if autoscaler.fails else told


def _autoscalers(view: View) -> Iterator[_Autoscaler]:
    """Yield the autoscalers that say whether they can read."""
    for side in (view.stable, view.canary):
        found = _autoscaler(view, side) if side else None
        if found and found.speaks:
            yield found


def _autoscaler(view: View, side: Side) -> _Autoscaler | None:
    chosen, name = engine_for(view, side.revision), names.revision_child(view.model.name, side.revision)
    if chosen is not None and chosen.name == "keda":
        made = made_by_keda(view, side.revision)
        return _Autoscaler(side, f"keda-hpa-{name}", made.reading or _NONE) if made else None
    if chosen is None or chosen.name != "hpa":
        return None
    reading = Reading.of(live_scaler(view, SCALERS["hpa"], side.revision) or {})
    return _Autoscaler(side, name, reading) if reading else None


def _since(autoscaler: _Autoscaler) -> datetime | None:
    """Return since when counts what an autoscaler says; without a ready pod no failure does."""
    since = parse_time(autoscaler.reading.since)
    if since is None or not autoscaler.fails:
        return since
    ready = [pod.ready_changed_at for pod in autoscaler.side.pods if pod.serves and pod.ready_changed_at]
    return max(since, min(ready)) if ready else None


def _told(view: View, autoscaler: _Autoscaler) -> str:
    """Return the sentence that the status says already of this one; "" where it says none."""
    told = ((item.type, item.reason, item.message) for item in view.status.conditions)
    said = next((message for kind, reason, message in told if (kind, reason) == (c.SCALING, REASON)), "")
    return said if _way_to_see(autoscaler) in said else ""


def _way_to_see(autoscaler: _Autoscaler) -> str:
    return f"`kubectl describe hpa {autoscaler.name}`"


def _remedy(view: View, autoscaler: _Autoscaler) -> str:
    reason, revision = autoscaler.reading.reason, autoscaler.side.revision
    way_out = {
        _OF_PODS: "install the chart with adapter.enabled=true, or see to the adapter that is there",
        _OF_KEDA: "see to KEDA's operator and its metrics server",
    }.get(reason, "install metrics-server, or see to the one that is there")
    whose = f"the autoscaler of {revision}" if view.canary else "the autoscaler"
    return (
        f"{whose} can't read {_listed(view, revision, reason)}, so no pod goes: {way_out};"
        f" {_way_to_see(autoscaler)} says what it lacks"
    )


def _listed(view: View, revision: str, reason: str) -> str:
    """Name the metrics of a kind on which a revision is scaled, as the spec writes them."""
    found = [
        name
        for metric in metrics_for(view, revision)
        if (needs_adapter(metric), needs_keda(metric)) == (reason == _OF_PODS, reason == _OF_KEDA)
        for name in metric.model_dump(by_alias=True, exclude_none=True, exclude={"name"})
    ]
    return ", ".join(dict.fromkeys(found)) or "a metric"
