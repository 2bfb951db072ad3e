"""Whose metrics are read now, and into which window they count."""

from __future__ import annotations

from ekiben.api.fields import seconds
from ekiben.api.measured import Totals
from ekiben.api.status import Stage
from ekiben.core import analysis
from ekiben.core.plan import Extras, Sampling
from ekiben.core.revision import DEFAULT_BUCKETS
from ekiben.core.scaling import canary_need
from ekiben.core.view import View
from ekiben.core.warming import is_measured

# A canary whose metrics can't be read yet is looked at often, so that nobody waits for an interval.
EAGER_SECONDS = 2.0
# But not while it waits for more pods, a whole fleet's for each other perhaps: each new pod brings a look.
WAITING_SECONDS = 15.0
# Often enough to see that the requests to a retiring revision have stopped.
RETIRING_SECONDS = 5.0
_JUDGED = frozenset(
    {Stage.SHIFTING, Stage.HOLDING, Stage.PAUSED, Stage.ENLARGING, Stage.TAKING_ALL, Stage.BAKING}
)


def sampling(view: View) -> Sampling | None:
    """Return what to read: both sides of a rollout and whoever retires; None when nobody is judged."""
    rollout = view.status.rollout
    revisions = [item.revision for item in view.status.retiring]
    # A canary may wait for its pods for days: until it has one there is nothing to compare.
    if view.trial and view.judged and (_pods(view, view.judged.revision) or is_judged(view)):
        revisions += [revision for revision in (view.stable_revision, view.canary_revision) if revision]
    targets = {revision: _pods(view, revision) for revision in sorted(set(revisions))}
    if rollout is None or not any(targets.values()):
        return None
    known = rollout.totals
    checks = rollout.plan.checks if rollout.plan else ()
    return Sampling(
        window=view.window,
        interval=_interval(view),
        service=view.spec.bento.service,
        targets=targets,
        bounds=analysis.bounds_of(checks),
        stable=view.stable_revision or "",
        canary=rollout.revision,
        base=known if known and known.window == view.window else Totals(window=view.window),
        extras=_extras(view),
    )


def _extras(view: View) -> Extras:
    plan = view.trial.plan if view.trial else None
    if plan is None:
        return Extras()
    metrics = {check.metric for check in plan.checks}
    sides = (view.stable, view.canary) if view.spec.analysis.show_latency else ()
    records = [side.record for side in sides if side and side.record]
    buckets = {bound for record in records for bound in record.buckets or DEFAULT_BUCKETS}
    return Extras(
        batches="mean-batch-size" in metrics,
        busy="concurrency" in metrics,
        buckets=tuple(sorted(buckets)),
        exclude=plan.exclude_paths or (),
    )


def is_judged(view: View) -> bool:
    """Tell whether the canary is on trial, with or without pods right now."""
    return view.rollout is not None and view.rollout.stage in _JUDGED


def asks_others(view: View) -> bool:
    """Tell whether others than the pods are asked about the canary now: from when its step is judged."""
    rollout = view.trial
    if rollout is None or rollout.plan is None or not is_judged(view):
        return False
    return (view.judged_step > 0 or rollout.stage is Stage.BAKING) and view.is_past_initial_delay


def _interval(view: View) -> float:
    # What is served until the last look before a step counts for the step: in Shifting that must not be much.
    if is_judged(view) and view.rollout and view.rollout.stage is not Stage.SHIFTING:
        return seconds(view.spec.analysis.interval)
    if view.canary is None or view.rollout is None:
        return RETIRING_SECONDS
    waits = view.rollout.stage is Stage.PREPARING and view.canary.ready < canary_need(view)
    return WAITING_SECONDS if waits else EAGER_SECONDS


def _pods(view: View, revision: str) -> tuple[tuple[str, str], ...]:
    return tuple(
        (pod.uid, pod.ip)
        for pod in view.side(revision).pods
        if pod.ip and (pod.ready or pod.deleting) and is_measured(view, pod)
    )
