"""The HTTPRoute of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ekiben.api.traffic import ParentRef, RoutePath, Traffic
from ekiben.core import names
from ekiben.core.canonical import duration_text
from ekiben.core.render.metadata import build_metadata
from ekiben.core.snapshot import Manifest, Model
from ekiben.core.steps import Headers

GATEWAY_API_GROUP = "gateway.networking.k8s.io"

# A pod's own 504 must come before the gateway's: only the pod's says which revision was slow.
TIMEOUT_MARGIN_SECONDS = 5.0


def build_route(
    model: Model,
    traffic: Traffic,
    *,
    canary_weight: int,
    timeout_seconds: float,
    resource_version: str | None,
    by_header: Mapping[Headers, int] | None = None,
    names_model: bool = False,
) -> Manifest:
    """Build the route with `canary_weight` percent to the canary's Service and the rest to stable's.

    `by_header` is the percent to the canary's of requests with these headers. Each gets a rule of its own,
    behind the main one: at every Gateway a rule with more headers comes first, wherever it stands.
    `timeout_seconds` is the longest time that a pod may take. With `resource_version` the write is refused
    when the route has changed since. For the life of a spec only the weights differ: gateways lose requests
    when rules, filters or backends come and go. So both backends are always there, and every field that the
    API would fill in is written out: what is found beside them was added by somebody else. With `names_model`
    each request says in a header whose it is: an activator has the requests of many models.
    """
    metadata = build_metadata(model, names.route(model.name), names.model_labels(model.name))
    filters = [*_filters(traffic.path), *(_naming(model) if names_model else ())]
    if resource_version is not None:
        metadata["resourceVersion"] = resource_version
    return {
        "apiVersion": f"{GATEWAY_API_GROUP}/v1",
        "kind": "HTTPRoute",
        "metadata": metadata,
        "spec": {
            "parentRefs": [_parent_ref(model, parent) for parent in traffic.parent_refs],
            "hostnames": list(traffic.hostnames),
            # No name: rules have one only in newer versions of the API's standard channel.
            "rules": [
                _rule(model, traffic, headers, weight, timeout_seconds, filters)
                for headers, weight in {frozenset(): canary_weight, **(by_header or {})}.items()
            ],
        },
    }


def _rule(
    model: Model,
    traffic: Traffic,
    headers: Headers,
    canary_weight: int,
    timeout_seconds: float,
    filters: list[dict[str, Any]],
) -> dict[str, Any]:
    match: dict[str, Any] = {"path": {"type": "PathPrefix", "value": traffic.path.prefix}}
    if headers:
        match["headers"] = [
            {"type": "Exact", "name": name, "value": value} for name, value in sorted(headers)
        ]
    return {
        "matches": [match],
        "filters": filters,
        "backendRefs": [
            _backend(names.stable_service(model.name), 100 - canary_weight),
            _backend(names.canary_service(model.name), canary_weight),
        ],
        "timeouts": {"request": duration_text(timeout_seconds + TIMEOUT_MARGIN_SECONDS)},
    }


def _parent_ref(model: Model, parent: ParentRef) -> dict[str, Any]:
    return {
        "group": GATEWAY_API_GROUP,
        "kind": "Gateway",
        "namespace": parent.namespace or model.namespace,
        "name": parent.name,
        **({"sectionName": parent.section_name} if parent.section_name else {}),
    }


def _filters(path: RoutePath) -> list[dict[str, Any]]:
    if path.rewrite is None:
        return []
    rewrite = {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": path.rewrite}}
    return [{"type": "URLRewrite", "urlRewrite": rewrite}]


def _naming(model: Model) -> list[dict[str, Any]]:
    named = {"name": names.MODEL_HEADER, "value": f"{model.namespace}/{model.name}"}
    return [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [named]}}]


def _backend(service: str, weight: int) -> dict[str, Any]:
    return {"group": "", "kind": "Service", "name": service, "port": names.PORT, "weight": weight}
