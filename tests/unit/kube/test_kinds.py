"""Kinds know where the API server keeps their objects."""

from __future__ import annotations

import pytest

from ekiben.kube.kinds import DEPLOYMENT, GATEWAYCLASS, HPA, KINDS, MODELDEPLOYMENT, POD, Kind, kind_of


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (POD.path(), "/api/v1/pods"),
        (POD.path("ns"), "/api/v1/namespaces/ns/pods"),
        (DEPLOYMENT.path("ns", "iris", "scale"), "/apis/apps/v1/namespaces/ns/deployments/iris/scale"),
        (HPA.path("ns", "h"), "/apis/autoscaling/v2/namespaces/ns/horizontalpodautoscalers/h"),
        (
            MODELDEPLOYMENT.path("ns", "iris", "status"),
            "/apis/ekiben.dev/v1alpha1/namespaces/ns/modeldeployments/iris/status",
        ),
        (
            GATEWAYCLASS.path("ignored", "traefik"),
            "/apis/gateway.networking.k8s.io/v1/gatewayclasses/traefik",
        ),
        (POD.path("ns", "a/../b?c"), "/api/v1/namespaces/ns/pods/a%2F..%2Fb%3Fc"),
    ],
)
def test_paths(path: str, expected: str) -> None:
    assert path == expected


def test_a_path_without_its_namespace_or_name_is_refused() -> None:
    with pytest.raises(ValueError, match="namespace: needed to name the Pod 'x'"):
        POD.path(None, "x")
    with pytest.raises(ValueError, match="name: needed"):
        POD.path("ns", "")
    with pytest.raises(ValueError, match="name: needed"):
        POD.path("ns", None, "status")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_kinds_are_found_by_their_manifest(kind: Kind) -> None:
    assert kind_of(kind.api_version, kind.kind) is kind


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(KeyError, match="example/v1 Widget is no kind"):
        kind_of("example/v1", "Widget")
