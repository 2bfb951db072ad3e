"""The HTTPRoute through which a new revision answers before any traffic goes to it."""

from __future__ import annotations

from ekiben.api.traffic import Traffic
from ekiben.core import names
from ekiben.core.render.route import build_route
from ekiben.core.snapshot import Manifest, Model


def build_preview(
    model: Model, traffic: Traffic, hostnames: tuple[str, ...], *, timeout_seconds: float
) -> Manifest:
    """Build the model's route once more for other hosts, with the canary's Service as its only backend.

    A rollout changes nothing in it: the Service selects the new revision, or stable while there is none.
    """
    elsewhere = traffic.model_copy(update={"hostnames": hostnames})
    route = build_route(
        model, elsewhere, canary_weight=100, timeout_seconds=timeout_seconds, resource_version=None
    )
    route["metadata"]["name"] = names.preview_route(model.name)
    canary = names.canary_service(model.name)
    for rule in route["spec"]["rules"]:
        rule["backendRefs"] = [item for item in rule["backendRefs"] if item["name"] == canary]
    return route
