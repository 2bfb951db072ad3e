"""Read what is at the gateways: those that a model names, and others' routes that answer in its place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from ekiben.api.traffic import ParentRef, Traffic
from ekiben.core.snapshot import GatewayView, Manifest, Model, RouteClaim
from ekiben.core.times import parse_time

Place = tuple[str, str]

_GROUP = "gateway.networking.k8s.io"
_EVERY_HOST = "*"


def gateway_views(
    traffic: Traffic,
    model: Model,
    gateways: Mapping[tuple[str, str], Manifest],
    classes: Mapping[str, Manifest],
) -> tuple[GatewayView, ...]:
    """Describe the Gateways that a spec names, in its order."""
    places = dict.fromkeys(
        (parent.namespace or model.namespace, parent.name) for parent in traffic.parent_refs
    )
    return tuple(_view(place, gateways.get(place), classes) for place in places)


def _view(place: tuple[str, str], raw: Manifest | None, classes: Mapping[str, Manifest]) -> GatewayView:
    namespace, name = place
    if raw is None:
        return GatewayView(namespace=namespace, name=name, found=False)
    class_name = (raw.get("spec") or {}).get("gatewayClassName", "")
    conditions = {item.get("type"): item for item in (raw.get("status") or {}).get("conditions") or ()}
    failed: dict[str, Any] = next(
        (
            conditions[kind]
            for kind in ("Accepted", "Programmed")
            if conditions.get(kind, {}).get("status") == "False"
        ),
        {},
    )
    return GatewayView(
        namespace=namespace,
        name=name,
        found=True,
        class_name=class_name,
        class_found=class_name in classes,
        programmed=conditions.get("Programmed", {}).get("status") == "True",
        message=": ".join(filter(None, (failed.get("reason"), failed.get("message")))),
    )


def claims_of(
    routes: Iterable[Manifest], traffic: Traffic, model: Model, own_created: datetime | None
) -> tuple[RouteClaim, ...]:
    """Find the routes of others that a Gateway prefers to ours: same place, and older.

    Gateway API gives a place that two routes name to the older one, then to the first by namespace/name.
    `own_created` is None while our route does not exist: every other one is older.
    """
    found = []
    for route in routes:
        metadata = route.get("metadata", {})
        place = (metadata.get("namespace", ""), metadata.get("name", ""))
        created = parse_time(metadata.get("creationTimestamp")) or datetime.min.replace(tzinfo=UTC)
        later = own_created is not None and (created, *place) > (own_created, model.namespace, model.name)
        if later or not _shares_parent(route, traffic, model):
            continue
        found += [
            RouteClaim(*place, hostname=host, created_at=created) for host in _shared_hosts(route, traffic)
        ]
    return tuple(
        sorted(found, key=lambda claim: (claim.created_at, claim.namespace, claim.name, claim.hostname))
    )


def places_of_route(route: Manifest) -> set[Place]:
    """Return where a route answers: (hostname, path prefix), for matches on nothing but the path."""
    spec = route.get("spec") or {}
    rules: list[dict[str, Any]] = spec.get("rules") or [{}]
    matches = [match for rule in rules for match in rule.get("matches") or [{}]]
    prefixes = {prefix for match in matches if (prefix := _plain_prefix(match)) is not None}
    return {(host, prefix) for host in spec.get("hostnames") or (_EVERY_HOST,) for prefix in prefixes}


def places_of_model(raw: Manifest) -> set[Place]:
    """Return where a model wants to answer, as (hostname, path prefix); none without `spec.traffic`."""
    spec = raw.get("spec") or {}
    traffic = spec.get("traffic")
    if not traffic:
        return set()
    prefix = (traffic.get("path") or {}).get("prefix", "/").rstrip("/")
    previews = ((spec.get("rollout") or {}).get("blueGreen") or {}).get("previewHostnames") or ()
    return {(host, prefix) for host in (*(traffic.get("hostnames") or (_EVERY_HOST,)), *previews)}


def _shares_parent(route: Manifest, traffic: Traffic, model: Model) -> bool:
    theirs = list(_parents_of(route))
    return any(_same_listener(parent, other, model) for parent in traffic.parent_refs for other in theirs)


def _parents_of(route: Manifest) -> Iterator[tuple[str, str, str | None]]:
    """Yield the Gateways that a route attaches to: (namespace, name, listener or None for all)."""
    home = route.get("metadata", {}).get("namespace", "")
    for parent in (route.get("spec") or {}).get("parentRefs") or ():
        if parent.get("group", _GROUP) == _GROUP and parent.get("kind", "Gateway") == "Gateway":
            yield parent.get("namespace", home), parent.get("name", ""), parent.get("sectionName")


def _same_listener(parent: ParentRef, other: tuple[str, str, str | None], model: Model) -> bool:
    namespace, name, section = other
    same_gateway = (parent.namespace or model.namespace, parent.name) == (namespace, name)
    return same_gateway and (parent.section_name is None or section in (None, parent.section_name))


def _shared_hosts(route: Manifest, traffic: Traffic) -> list[str]:
    """Return the hostnames at which a route takes exactly our prefix."""
    prefix = traffic.path.prefix.rstrip("/")
    ours = {(host, prefix) for host in traffic.hostnames or (_EVERY_HOST,)}
    return sorted(host for host, _ in places_of_route(route) & ours)


def _plain_prefix(match: dict[str, Any]) -> str | None:
    """Return the path prefix of a match; None where it is narrower or no prefix, and so no rival."""
    path = match.get("path") or {}
    if any(match.get(key) for key in ("headers", "queryParams", "method")):
        return None
    if path.get("type", "PathPrefix") != "PathPrefix":
        return None
    return str(path.get("value", "/")).rstrip("/")
