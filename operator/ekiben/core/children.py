"""The children that a model should have, as a function of its spec and its persisted status."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from ekiben.api.status import Stage, Status
from ekiben.core import names, sleeping
from ekiben.core.copying import copies_of, lacking
from ekiben.core.diff import in_sync, standing
from ekiben.core.ending import QUARANTINED
from ekiben.core.jobs import missing_jobs, unwanted_jobs
from ekiben.core.plan import Child, Delete, Scale
from ekiben.core.previewing import preview_hostnames, preview_ref
from ekiben.core.render import (
    TEMPLATES,
    build_deployment,
    build_disruption_budget,
    build_record,
    build_service,
)
from ekiben.core.routing import routes
from ekiben.core.scalers import may_size, scaler_children, unwanted_scalers
from ekiben.core.scaling import Size, previous_size
from ekiben.core.shrinking import canary_size, stable_size
from ekiben.core.snapshot import Manifest, Record, Ref, Settled
from ekiben.core.traffic import canary_backend, stable_selector
from ekiben.core.view import View, once

# Any of them may be all that is left of a revision that was given up before it had all of them.
OF_ONE_REVISION = (
    *("Deployment", "ControllerRevision", "HorizontalPodAutoscaler", "PodDisruptionBudget"),
    *("ScaledObject", "TriggerAuthentication", "ConfigMap"),
)


def ref_of(manifest: Manifest) -> Ref:
    """Return what names a child within its model's namespace."""
    return Ref(manifest["kind"], manifest["metadata"]["name"])


def applies(view: View) -> tuple[tuple[Manifest, ...], dict[Ref, Settled]]:
    """Return the children that are missing or differ from what they should be, and those that don't.

    What was settled before is neither rendered nor compared again while it and its sources are the same: that
    is most of what a decision would cost.
    """
    snapshot = view.snapshot
    wanted, settled = [], {}
    for child in intents(view):
        live = snapshot.live.get(child.ref)
        if child.ref in snapshot.foreign:
            continue
        now = Settled(child.made_of, standing(live)) if live is not None else None
        if now is None or now != snapshot.settled.get(child.ref):
            intent = child.render()
            if now is None or not in_sync(intent, live, snapshot.ledger.get(child.ref)):
                wanted.append(intent)
                continue
        settled[child.ref] = now
    return tuple(wanted), settled


def intents(view: View) -> Iterator[Child]:
    """Yield every child that the model should have, in the order in which they are made."""
    if view.status.stable is None and view.status.rollout is None:
        # What is to be served is not known yet, and a name without pods behind it is of no use.
        return
    yield from _records(view)
    for revision in serving(view):
        record = view.record(revision)
        ref = Ref("Deployment", names.revision_child(view.model.name, revision))
        # Without their config the first pods would only fail, and be started again and again.
        complete = ref in view.live or not lacking(view, revision)
        if record and complete and revision != too_new(view):
            yield Child(ref, (record,), partial(build_deployment, view.model, record))
    yield from _services(view)
    yield from sleeping.slices(view)
    yield from routes(view)
    yield from missing_jobs(view)
    for revision, size in sizes(view).items():
        yield from _revision_policies(view, revision, size)


def serving(view: View) -> tuple[str, ...]:
    """Return the revisions that get pods: the canary first, since its start takes longest."""
    canary = view.canary_revision if view.is_fielded else None
    before = view.previous.revision if view.previous else None
    return tuple(revision for revision in (canary, view.stable_revision, before) if revision)


def too_new(view: View) -> str | None:
    """Return a serving revision whose pods a newer operator made: we can't render them, so they stay."""
    records = (view.record(revision) for revision in serving(view))
    return next((r.revision for r in records if r and r.template_version not in TEMPLATES), None)


@once
def sizes(view: View) -> dict[str, Size]:
    """Return the size of each revision that gets pods."""
    found = {}
    if view.canary_revision and view.is_fielded:
        found[view.canary_revision] = canary_size(view)
    if view.stable_revision:
        found[view.stable_revision] = stable_size(view)
    if view.previous:
        found[view.previous.revision] = previous_size(view)
    return found


def scales(view: View) -> tuple[Scale, ...]:
    """Return the Deployments whose replicas we set: never one that an autoscaler owns."""
    wanted = []
    for revision, size in sizes(view).items():
        side = view.side(revision)
        has = side.replicas if side.deployment else 1
        short = has < size.replicas if size.autoscaled else has != size.replicas
        if short and may_size(view, revision, size.replicas) and view.record(revision):
            wanted.append(Scale(names.revision_child(view.model.name, revision), size.replicas))
    emptied = (
        Scale(names.revision_child(view.model.name, revision), 0)
        for revision in gone(view)
        if view.side(revision).replicas and may_size(view, revision, 0)
    )
    return (*wanted, *emptied)


def deletes(view: View) -> tuple[Delete, ...]:
    """Return our children that should not be there: policies without pods, a route without a Gateway."""
    unwanted: list[Ref] = []
    has = sizes(view)
    for revision in (*has, *gone(view)):
        name = names.revision_child(view.model.name, revision)
        unwanted += unwanted_scalers(view, revision, has.get(revision))
        if revision not in has or not view.spec.pod_disruption_budget.enabled:
            unwanted.append(Ref("PodDisruptionBudget", name))
    if view.spec.traffic is None and not view.uses_gateway:
        unwanted.append(Ref("HTTPRoute", names.route(view.model.name)))
    if not preview_hostnames(view.spec):
        unwanted.append(preview_ref(view))
    if view.status.sleep is None or view.snapshot.cluster.activators is None:
        unwanted.append(Ref("EndpointSlice", names.activator_slice(view.model.name)))
    unwanted += unwanted_jobs(view)
    for revision in _beyond_history(view):
        name = names.revision_child(view.model.name, revision)
        unwanted += [Ref("Deployment", name), Ref("ControllerRevision", name), *copies_of(view, revision)]
    live = view.live
    return tuple(Delete(ref, live[ref]["metadata"]["uid"]) for ref in unwanted if ref in live)


@once
def gone(view: View) -> tuple[str, ...]:
    """Return the revisions of the past that should have no pods."""
    kept = {*serving(view), *(item.revision for item in view.status.retiring)}
    revisions = {
        str(child["metadata"]["labels"][names.REVISION])
        for ref, child in view.live.items()
        if ref.kind in OF_ONE_REVISION and names.REVISION in child["metadata"].get("labels", {})
    }
    return tuple(sorted(revisions - kept))


def _beyond_history(view: View) -> list[str]:
    """Return the revisions without pods that the history limit leaves out, oldest first."""
    idle = [revision for revision in gone(view) if not view.side(revision).pods]
    idle.sort(key=lambda revision: record.number if (record := view.record(revision)) else 0)
    limit = view.spec.rollout.revision_history_limit
    remembered = view.wanted.revision
    return [revision for revision in idle[: max(len(idle) - limit, 0)] if revision != remembered]


def _records(view: View) -> Iterator[Child]:
    """Keep each revision's record: its labels tell a lost status what had become of it."""
    failed = {item.revision for item in view.status.failed_revisions}
    dropped = set(_beyond_history(view))
    for revision in dict.fromkeys((*_coming(view), *serving(view), *sorted(view.snapshot.records))):
        record = view.record(revision)
        if record is None or revision in dropped:
            continue
        if revision == judged_bad(view):
            outcome = "failed"
        elif revision == view.stable_revision:
            outcome = "stable"
        elif revision == view.canary_revision:
            outcome = "candidate"
        elif view.previous and revision == view.previous.revision:
            outcome = "previous"
        else:
            outcome = "failed" if revision in failed else "retired"
        numbered = _numbered(record, view.status)
        ref = Ref("ControllerRevision", names.revision_child(view.model.name, revision))
        yield Child(ref, (numbered, outcome), partial(build_record, view.model, numbered, outcome))


def judged_bad(view: View) -> str | None:
    """Return the revision that failed or was aborted and is on its way out; a lost status is told by this."""
    rollout = view.trial
    return rollout.revision if rollout is not None and rollout.outcome in QUARANTINED else None


def _coming(view: View) -> tuple[str, ...]:
    """Return the revision that stable makes way for: it is recorded before, so that it can always be made."""
    makes_way = view.rollout is not None and view.rollout.stage is Stage.DRAINING
    return (view.canary_revision,) if makes_way and view.canary_revision else ()


def _numbered(record: Record, status: Status) -> Record:
    """Give a record the number of its revision's last rollout, also where it was deleted by hand."""
    ids = [(entry.revision, entry.rollout) for entry in status.history]
    if status.rollout:
        ids.append((status.rollout.revision, status.rollout.id))
    numbers = [int(item.rpartition(".")[2]) for revision, item in ids if revision == record.revision]
    return replace(record, number=max([record.number, *numbers]))


def _services(view: View) -> Iterator[Child]:
    name = view.model.name
    selected = {
        names.stable_service(name): stable_selector(view).get(names.REVISION),
        names.canary_service(name): canary_backend(view),
    }
    for service, revision in selected.items():
        yield Child(
            Ref("Service", service), (revision,), partial(build_service, view.model, service, revision)
        )


def _revision_policies(view: View, revision: str, size: Size) -> Iterator[Child]:
    budget = view.spec.pod_disruption_budget
    if view.record(revision) is None:
        return
    yield from scaler_children(view, revision, size)
    if budget.enabled:
        name = names.revision_child(view.model.name, revision)
        render = partial(build_disruption_budget, view.model, revision, budget)
        yield Child(Ref("PodDisruptionBudget", name), (budget,), render)
