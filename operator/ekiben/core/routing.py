"""The routes that a model should have: its own, by which a rollout moves traffic, and the preview's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import partial

from ekiben.core import names, sleeping
from ekiben.core.plan import Child
from ekiben.core.previewing import is_preview_due, preview_hostnames, preview_ref
from ekiben.core.render import build_preview, build_route
from ekiben.core.revision import timeout_of
from ekiben.core.snapshot import Manifest, Ref
from ekiben.core.splitting import rules_of
from ekiben.core.steps import Headers, header_rules
from ekiben.core.traffic import header_weight, live_route, may_reshape, next_weight
from ekiben.core.view import View


def routes(view: View) -> Iterator[Child]:
    """Yield the HTTPRoutes that the model should have: its own, and the preview's."""
    yield from _route(view)
    yield from _preview(view)


def _route(view: View) -> Iterator[Child]:
    """Yield the HTTPRoute: its shape is the spec's, but never changes while a rollout has traffic."""
    live, traffic = live_route(view), view.spec.traffic
    ref, weight = Ref("HTTPRoute", names.route(view.model.name)), next_weight(view)
    if live is not None and (not may_reshape(view) or (view.trial and view.uses_gateway and traffic is None)):
        canary = names.canary_service(view.model.name)
        shares: dict[Headers, int] = {frozenset(): weight}
        shares |= {headers: header_weight(view, headers) for headers, _ in rules_of(live) if headers}
        made_of = ("weights alone", tuple(shares.items()))
        yield Child(ref, made_of, partial(_reweighted, live, canary, shares))
        return
    if traffic is None or not view.snapshot.cluster.gateway_api:
        return
    if live is None and view.snapshot.cluster.claims:
        return
    record = view.record(view.stable_revision or view.wanted.revision) or view.wanted
    timeout = timeout_of(record) + sleeping.wake_seconds(view.spec)
    version = live["metadata"].get("resourceVersion") if live else None
    steps = view.spec.rollout.canary.steps
    by_header = {headers: header_weight(view, headers) for headers in header_rules(steps)}
    sleeps = sleeping.may_sleep(view.spec)
    render = partial(
        build_route,
        view.model,
        traffic,
        canary_weight=weight,
        timeout_seconds=timeout,
        resource_version=version,
        by_header=by_header,
        names_model=sleeps,
    )
    yield Child(ref, (traffic, weight, timeout, tuple(by_header.items()), sleeps), render)


def _preview(view: View) -> Iterator[Child]:
    """Yield the preview's HTTPRoute: it carries no user's request, so an edit is applied at once."""
    traffic, hostnames = view.spec.traffic, preview_hostnames(view.spec)
    if traffic is None or not is_preview_due(view):
        return
    record = view.record(view.canary_revision or view.stable_revision or view.wanted.revision) or view.wanted
    timeout = timeout_of(record)
    render = partial(build_preview, view.model, traffic, hostnames, timeout_seconds=timeout)
    yield Child(preview_ref(view), (traffic, hostnames, timeout), render)


def _reweighted(live: Manifest, canary: str, shares: Mapping[Headers, int]) -> Manifest:
    """Return the live route with other weights; on the version it was decided on, so a stale leader fails."""
    meta = live["metadata"]
    spec = deepcopy(live["spec"])
    for headers, rule in rules_of({"spec": spec}):
        weight = shares[headers]
        for backend in rule.get("backendRefs", ()):
            backend["weight"] = weight if backend.get("name") == canary else 100 - weight
    kept = {
        key: meta[key]
        for key in ("name", "namespace", "labels", "ownerReferences", "resourceVersion")
        if key in meta
    }
    return {"apiVersion": live["apiVersion"], "kind": live["kind"], "metadata": kept, "spec": spec}
