"""Metrics that stable's HorizontalPodAutoscaler can't read: a component of the cluster is missing, or down.

Theory of operation. The autoscaler then takes no pod away by itself; we only say what to do. It says so too
of pods that have just started, and in the first seconds of its own life. So what it says counts once it has
said it, and a pod has been ready, for a while; and it stays said until the autoscaler has read for as long.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from ekiben.core import conditions as c
from ekiben.core import names
from ekiben.core.engines import SCALERS, metrics_for, needs_adapter
from ekiben.core.snapshot import Ref
from ekiben.core.times import parse_time
from ekiben.core.view import View

REASON = "MetricsUnreadable"
# Longer than metrics-server takes for the first numbers of a new pod: two readings, 15 s apart, and a window.
LASTS = timedelta(seconds=90)

_OF_PODS = "FailedGetPodsMetric"
_READS = frozenset({_OF_PODS, "FailedGetResourceMetric", "FailedGetContainerResourceMetric"})


def unreadable(view: View) -> str:
    """Say which metrics stable's autoscaler can't read, and what to do; "" where it can, or may yet."""
    said = _said(view)
    if said is None:
        return ""
    fails, since = said
    lasts = since is not None and view.now - since >= LASTS
    if not (fails if lasts else _told(view)):
        return ""
    # Once it reads again, what it could not read is not known any more.
    return _remedy(view) if fails else _told(view)


def next_look(view: View) -> float | None:
    """Return the seconds until what the autoscaler says will have lasted; None where that changes nothing."""
    said = _said(view)
    if said is None or said[1] is None or said[0] == bool(_told(view)):
        return None
    return (said[1] + LASTS - view.now).total_seconds()


def _said(view: View) -> tuple[bool, datetime | None] | None:
    """Return whether stable's autoscaler fails to read, and since when that counts.

    None where it says nothing; without a ready pod no failure counts.
    """
    told = _scaling_active(view)
    fails = told.get("status") == "False" and told.get("reason") in _READS
    if not fails and told.get("status") != "True":
        return None
    since = parse_time(told.get("lastTransitionTime"))
    if since is None or since.tzinfo is None:
        return fails, None
    if not fails:
        return fails, since
    pods = view.stable.pods if view.stable else ()
    ready = [pod.ready_changed_at for pod in pods if pod.serves and pod.ready_changed_at]
    return fails, max(since, min(ready)) if ready else None


def _told(view: View) -> str:
    """Return the sentence that the status says already; "" where it says none."""
    told = ((item.type, item.reason, item.message) for item in view.status.conditions)
    return next((message for kind, reason, message in told if (kind, reason) == (c.SCALING, REASON)), "")


def _scaling_active(view: View) -> Mapping[str, Any]:
    """Return what stable's autoscaler says of its metrics last; nothing where it has said nothing."""
    live = view.live.get(Ref(SCALERS["hpa"], _name(view))) or {}
    told = (live.get("status") or {}).get("conditions") or ()
    return next((item for item in told if item.get("type") == "ScalingActive"), {})


def _name(view: View) -> str:
    return names.revision_child(view.model.name, view.stable_revision or "")


def _remedy(view: View) -> str:
    of_pods = _scaling_active(view).get("reason") == _OF_PODS
    way_out = (
        "install the chart with adapter.enabled=true, or see to the adapter that is there"
        if of_pods
        else "install metrics-server, or see to the one that is there"
    )
    return (
        f"the autoscaler can't read {_listed(view, of_pods=of_pods)}, so no pod goes: {way_out};"
        f" `kubectl describe hpa {_name(view)}` says what it lacks"
    )


def _listed(view: View, *, of_pods: bool) -> str:
    """Name the metrics of a kind on which stable is scaled, as the spec writes them."""
    metrics = metrics_for(view, view.stable_revision or "")
    found = [
        name
        for metric in metrics
        if needs_adapter(metric) == of_pods
        for name in metric.model_dump(by_alias=True, exclude_none=True)
    ]
    return ", ".join(dict.fromkeys(found)) or "a metric"
