"""Gateways and the routes of others, as far as they concern a model."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from ekiben.core import names
from ekiben.core.snapshot import GatewayView, Manifest
from ekiben.observe import Remembered, Seen, build_snapshot

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
TRAFFIC: dict[str, Any] = {
    "parentRefs": [{"name": "models", "namespace": "infra"}],
    "hostnames": ["iris.example.com", "ml.example.com"],
    "path": {"prefix": "/iris"},
}


def model(traffic: dict[str, Any] | None = TRAFFIC) -> Manifest:
    spec = {"bento": {"image": "registry.example.com/iris:1"}}
    metadata = {"name": "iris", "namespace": "shop", "uid": "uid-iris", "generation": 1}
    return {"metadata": metadata, "spec": {**spec, "traffic": traffic} if traffic else spec}


def route(**spec: Any) -> Manifest:
    whole = {
        "parentRefs": [{"name": "models", "namespace": "infra"}],
        "hostnames": ["ml.example.com"],
        "rules": [{"matches": [{"path": {"type": "PathPrefix", "value": "/iris"}}]}],
        **spec,
    }
    metadata = {"name": "theirs", "namespace": "lab", "creationTimestamp": "2026-11-22T11:00:00Z"}
    return {"kind": "HTTPRoute", "metadata": metadata, "spec": whole}


def own_route(created: str) -> Manifest:
    owner = {"kind": "ModelDeployment", "name": "iris", "uid": "uid-iris", "controller": True}
    metadata = {
        "name": "iris",
        "namespace": "shop",
        "labels": names.model_labels("iris"),
        "ownerReferences": [owner],
        "creationTimestamp": created,
    }
    return {**route(), "metadata": metadata}


def claims(*routes: Manifest, own: Manifest | None = None, traffic: dict[str, Any] = TRAFFIC) -> list[str]:
    children = (own,) if own else ()
    seen = Seen(model(traffic), children=children, routes=(*routes, *children))
    found = build_snapshot(seen, Remembered(), NOW).cluster.claims
    return [f"{claim.namespace}/{claim.name} {claim.hostname}" for claim in found]


def test_an_older_route_for_the_same_place_claims_it() -> None:
    assert claims(route()) == ["lab/theirs ml.example.com"]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(route(hostnames=["mnist.example.com"]), id="another hostname"),
        pytest.param(route(hostnames=None), id="every hostname: ours is more specific"),
        pytest.param(route(parentRefs=[{"name": "models"}]), id="a Gateway of its own namespace"),
        pytest.param(
            route(parentRefs=[{"kind": "Service", "group": "", "name": "models", "namespace": "infra"}]),
            id="a mesh's parent",
        ),
        pytest.param(route(rules=[{"matches": [{"path": {"value": "/iris/v2"}}]}]), id="a longer path"),
        pytest.param(
            route(rules=[{"matches": [{"path": {"type": "Exact", "value": "/iris"}}]}]), id="one exact path"
        ),
        pytest.param(
            route(rules=[{"matches": [{"path": {"value": "/iris"}, "method": "POST"}]}]), id="one method"
        ),
        pytest.param(route(rules=None), id="every path: ours is more specific"),
    ],
)
def test_a_route_that_is_no_rival_claims_nothing(other: Manifest) -> None:
    assert claims(other) == []


def test_a_path_is_the_same_with_and_without_its_last_slash() -> None:
    assert claims(route(rules=[{"matches": [{"path": {"value": "/iris/"}}]}])) == [
        "lab/theirs ml.example.com"
    ]


def test_without_hostname_and_path_a_model_wants_the_whole_listener() -> None:
    traffic = {"parentRefs": TRAFFIC["parentRefs"]}
    assert claims(route(hostnames=None, rules=None), traffic=traffic) == ["lab/theirs *"]
    assert claims(route(), traffic=traffic) == []


@pytest.mark.parametrize(
    ("created", "claimed"),
    [
        ("2026-11-22T10:59:59Z", []),
        ("2026-11-22T11:00:01Z", ["lab/theirs ml.example.com"]),
        # Gateway API: of two of the same age the first by namespace/name wins.
        ("2026-11-22T11:00:00Z", ["lab/theirs ml.example.com"]),
    ],
)
def test_the_older_route_wins(created: str, claimed: list[str]) -> None:
    assert claims(route(), own=own_route(created)) == claimed


def test_two_listeners_of_one_gateway_do_not_meet() -> None:
    ours = {**TRAFFIC, "parentRefs": [{"name": "models", "namespace": "infra", "sectionName": "https"}]}
    theirs = [{"name": "models", "namespace": "infra", "sectionName": "http"}]
    assert claims(route(parentRefs=theirs), traffic=ours) == []
    assert claims(route(), traffic=ours) == ["lab/theirs ml.example.com"]


def views(gateways: dict[tuple[str, str], Manifest], classes: dict[str, Manifest]) -> list[GatewayView]:
    traffic = {**TRAFFIC, "parentRefs": [*TRAFFIC["parentRefs"], {"name": "local"}, *TRAFFIC["parentRefs"]]}
    seen = Seen(model(traffic), gateways=gateways, gateway_classes=classes)
    return list(build_snapshot(seen, Remembered(), NOW).cluster.gateways)


def gateway(*conditions: dict[str, str]) -> Manifest:
    return {"spec": {"gatewayClassName": "traefik"}, "status": {"conditions": list(conditions)}}


def test_each_gateway_is_seen_once_and_its_namespace_defaults_to_the_models() -> None:
    assert views({}, {}) == [GatewayView("infra", "models", False), GatewayView("shop", "local", False)]


def test_a_gateway_that_works_has_its_class_and_is_programmed() -> None:
    programmed = gateway({"type": "Accepted", "status": "True"}, {"type": "Programmed", "status": "True"})
    view = views({("infra", "models"): programmed}, {"traefik": {}})[0]
    assert view == GatewayView("infra", "models", True, "traefik", class_found=True, programmed=True)


def test_a_gateway_that_does_not_work_says_why() -> None:
    broken = gateway({"type": "Accepted", "status": "False", "reason": "Invalid", "message": "no listener"})
    view = views({("infra", "models"): broken}, {})[0]
    assert (view.class_found, view.programmed, view.message) == (False, False, "Invalid: no listener")


def test_without_traffic_no_gateway_concerns_the_model() -> None:
    cluster = build_snapshot(Seen(model(None), routes=(route(),)), Remembered(), NOW).cluster
    assert (cluster.gateways, cluster.claims) == ((), ())
