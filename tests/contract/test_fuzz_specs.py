"""Generated specs at a real API server: what it accepts can be worked with, what it refuses it names."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.server import RefusedError, Server, model
from ekiben.api.crd import model_schema
from ekiben.api.v1alpha1 import Spec
from ekiben.core.snapshot import InvalidSpec, Manifest
from ekiben.observe import observe_spec
from fuzz import examples
from fuzz.mill import ANYTHING, Mill
from fuzz.schemas import damaged, fitting

SPECS = fitting(model_schema(Spec), often=0.25)
PATHS = {
    "ControllerRevision": "/apis/apps/v1/namespaces/shop/controllerrevisions",
    "Deployment": "/apis/apps/v1/namespaces/shop/deployments",
    "Service": "/api/v1/namespaces/shop/services",
    "HorizontalPodAutoscaler": "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/shop/poddisruptionbudgets",
}
# What the user wrote in Kubernetes' own words comes through to the pod, and the API server judges it there.
THEIRS = (
    *("volumes", "volumeMounts", "Containers", "containers[1]", "valueFrom", "tolerations", "affinity"),
    *("topologySpreadConstraints", "resources"),
)
# Only the operator knows calendars and time zones: a schema sees five fields in a schedule, and no more.
OURS = ("never comes", "is not known here")


@pytest.fixture(scope="module")
def shop(server: Server) -> Server:
    """An API server with the namespace of the children."""
    server.apply(
        "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    )
    return server


def try_model(server: Server, spec: Any) -> Manifest | None:
    """Return what would be stored; None where it is refused by sentences that name the field."""
    try:
        return server.try_create(model(spec))
    except RefusedError as refused:
        for refusal in refused.refusals:
            assert "spec" in f"{refusal.field} {refusal.sentence}", refusal
    return None


def live(spec: Any) -> Mill:
    """Let a model with this spec come up, change its image, and roll out as far as it gets by itself."""
    mill = Mill(spec)
    mill.turn()
    mill.change({**spec, "bento": {**spec["bento"], "image": "registry.example.com/other:2"}})
    mill.turn()
    return mill


def try_child(server: Server, child: Manifest) -> list[str]:
    """Return why the API server would refuse a child."""
    name = child["metadata"]["name"]
    bare = {key: value for key, value in child["metadata"].items() if key not in ("uid", "creationTimestamp")}
    query = {"dryRun": "All", "fieldManager": "tests", "force": "true"}
    path = f"{PATHS[child['kind']]}/{name}"
    try:
        server.send("PATCH", path, {**child, "metadata": bare}, query, "application/apply-patch+yaml")
    except RefusedError as refused:
        return [f"{refusal.field}: {refusal.sentence}" for refusal in refused.refusals]
    return []


def test_every_spec_is_worked_with_or_refused_by_field(shop: Server) -> None:
    seen: Counter[bool] = Counter()

    @examples(90)
    @given(spec=st.one_of(SPECS, SPECS, damaged(SPECS)))
    def play(spec: Any) -> None:
        stored = try_model(shop, spec)
        seen[stored is not None] += 1
        if stored is not None:
            seen_as = observe_spec(stored, ANYTHING)
            if isinstance(seen_as, InvalidSpec):
                assert any(words in seen_as.message for words in OURS), seen_as.message
                return
            for child in live(stored["spec"]).children.values():
                said = try_child(shop, child) if child["kind"] in PATHS else []
                assert all(any(part in sentence for part in THEIRS) for sentence in said), (child, said)

    play()
    assert min(seen[True], seen[False]) >= 5, f"only one kind of example is played: {seen}"


@examples(90)
@given(spec=damaged(SPECS))
def test_what_slips_past_the_api_server_is_worked_with_or_refused_by_field(spec: Any) -> None:
    seen = observe_spec({"spec": spec}, ANYTHING)
    if isinstance(seen, InvalidSpec):
        assert seen.message.startswith("spec")
        assert len(seen.message) < 1000
        Mill(spec).turn()
    else:
        live(spec)
