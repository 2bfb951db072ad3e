"""Whose metrics are read now, and into which window they count."""

from __future__ import annotations

from ekiben.api.fields import seconds
from ekiben.api.status import Stage, Totals
from ekiben.core import analysis
from ekiben.core.plan import Sampling
from ekiben.core.view import View

# Where nothing is judged yet a look costs no status write: look often, so that nobody waits for an interval.
EAGER_SECONDS = 2.0


def sampling(view: View) -> Sampling | None:
    """Return what to read: both sides of a rollout and whoever retires; None when nobody is judged."""
    rollout = view.status.rollout
    in_flight = view.rollout is not None and not view.is_first
    revisions = [item.revision for item in view.status.retiring]
    if in_flight:
        revisions += [revision for revision in (view.stable_revision, view.canary_revision) if revision]
    targets = {revision: _pods(view, revision) for revision in sorted(set(revisions))}
    if rollout is None or not any(targets.values()):
        return None
    known = rollout.totals
    judging = rollout.stage in (Stage.HOLDING, Stage.PAUSED)
    checks = rollout.plan.checks if rollout.plan else ()
    return Sampling(
        window=view.window,
        interval=seconds(view.spec.analysis.interval) if judging else EAGER_SECONDS,
        service=view.spec.bento.service,
        targets=targets,
        bounds=analysis.bounds_of(checks),
        stable=view.stable_revision or "",
        canary=rollout.revision,
        base=known if known and known.window == view.window else Totals(window=view.window),
    )


def _pods(view: View, revision: str) -> tuple[tuple[str, str], ...]:
    return tuple(
        (pod.uid, pod.ip) for pod in view.side(revision).pods if pod.ip and (pod.ready or pod.deleting)
    )
