"""What the children look like, the pods apart."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ekiben.api.fields import seconds
from ekiben.api.scaling import Autoscaling, PodDisruptionBudget
from ekiben.api.traffic import Traffic
from ekiben.core import names
from ekiben.core.engines import DEFAULT_METRIC
from ekiben.core.render import (
    ScaleTarget,
    build_autoscaler,
    build_deployment,
    build_disruption_budget,
    build_record,
    build_route,
    build_service,
)
from ekiben.core.revision import record_of, revision_of
from sample_specs import MODEL, SPECS, children


def traffic(**fields: Any) -> Traffic:
    return Traffic.model_validate({"parentRefs": [{"name": "models"}], **fields})


def route(weight: int = 0, timeout: float = 60.0, **fields: Any) -> dict[str, Any]:
    manifest = build_route(
        MODEL, traffic(**fields), canary_weight=weight, timeout_seconds=timeout, resource_version=None
    )
    spec: dict[str, Any] = manifest["spec"]
    return spec


def autoscaler(hold: bool = False, of: str = "image-alone", **fields: Any) -> dict[str, Any]:
    block = Autoscaling.model_validate({"maxReplicas": 9, **fields})
    metrics = block.metrics or (DEFAULT_METRIC,)
    target = ScaleTarget(
        MODEL, revision_of(SPECS[of]), block, metrics, min_replicas=3, max_replicas=7, hold=hold
    )
    spec: dict[str, Any] = build_autoscaler(target)["spec"]
    return spec


# -- what every child has --


@pytest.mark.parametrize("name", SPECS)
def test_every_child_belongs_to_its_model(name: str) -> None:
    for child in children(SPECS[name]):
        metadata = child["metadata"]
        assert metadata["namespace"] == "shop"
        assert metadata["labels"]["app.kubernetes.io/managed-by"] == "ekiben"
        assert metadata["labels"]["ekiben.dev/model"] == "iris"
        assert metadata["ownerReferences"] == [
            {
                "apiVersion": "ekiben.dev/v1alpha1",
                "kind": "ModelDeployment",
                "name": "iris",
                "uid": MODEL.uid,
                "controller": True,
                "blockOwnerDeletion": False,
            }
        ]


def test_a_manifest_shares_nothing_with_the_record_it_was_made_of() -> None:
    record = revision_of(SPECS["everything"])
    before = json.dumps(dict(record.inputs), sort_keys=True)
    manifests = [build_deployment(MODEL, record), build_record(MODEL, record, "stable")]
    manifests[0]["spec"]["template"]["spec"]["containers"][1]["env"].clear()
    manifests[0]["spec"]["template"]["spec"]["tolerations"][0]["key"] = "other"
    manifests[1]["data"]["inputs"]["env"].clear()
    assert json.dumps(dict(record.inputs), sort_keys=True) == before


# -- Services, budget, autoscaler --


def test_a_service_selects_one_revision_or_all() -> None:
    one = build_service(MODEL, "iris", "k7c4f9xw2p")
    both = build_service(MODEL, "iris", None)
    assert one["spec"]["selector"] == {"ekiben.dev/model": "iris", "ekiben.dev/revision": "k7c4f9xw2p"}
    assert both["spec"]["selector"] == {"ekiben.dev/model": "iris"}
    assert one["spec"]["ports"][0]["targetPort"] == "http"


def test_a_budget_covers_one_revision_and_spares_broken_pods_none() -> None:
    spec = build_disruption_budget(MODEL, "k7c4f9xw2p", PodDisruptionBudget(max_unavailable=2))["spec"]
    assert spec["maxUnavailable"] == 2
    assert spec["selector"]["matchLabels"]["ekiben.dev/revision"] == "k7c4f9xw2p"
    assert spec["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_an_autoscaler_scales_its_own_deployment_between_the_given_sizes() -> None:
    record = revision_of(SPECS["image-alone"])
    spec = autoscaler()
    assert spec["scaleTargetRef"]["name"] == build_deployment(MODEL, record)["metadata"]["name"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (3, 7)


def test_an_autoscaler_looks_at_the_bento_container_alone() -> None:
    metrics = autoscaler(metrics=[{"cpu": "60%"}, {"cpu": "0.5"}, {"memory": "1024Mi"}])["metrics"]
    assert all(metric["type"] == "ContainerResource" for metric in metrics)
    assert [metric["containerResource"] for metric in metrics] == [
        {"name": "cpu", "container": "bento", "target": {"type": "Utilization", "averageUtilization": 60}},
        {"name": "cpu", "container": "bento", "target": {"type": "AverageValue", "averageValue": "500m"}},
        {"name": "memory", "container": "bento", "target": {"type": "AverageValue", "averageValue": "1Gi"}},
    ]


def test_an_autoscaler_asks_an_adapter_for_what_a_pod_feels() -> None:
    concurrency, rate = autoscaler(metrics=[{"concurrency": "0.5"}, {"requestsPerSecond": "50"}])["metrics"]
    assert concurrency == {
        "type": "Pods",
        "pods": {
            "metric": {"name": "ekiben_concurrency"},
            "target": {"type": "AverageValue", "averageValue": "500m"},
        },
    }
    assert rate["pods"]["metric"] == {"name": "ekiben_requests_per_second"}
    assert rate["pods"]["target"] == {"type": "AverageValue", "averageValue": "50"}


@pytest.mark.parametrize(
    ("latency", "labels", "target"),
    [
        ({"p95": "500ms"}, {"quantile": "p95", "limit": "500ms"}, "500m"),
        ({"p99": "2500ms"}, {"quantile": "p99", "limit": "2s500ms"}, "2500m"),
        ({"p50": "1m"}, {"quantile": "p50", "limit": "1m"}, "60"),
        ({"p50": "10ms"}, {"quantile": "p50", "limit": "10ms"}, "10m"),
    ],
)
def test_an_autoscaler_asks_about_a_latency_with_its_limit(
    latency: dict[str, str], labels: dict[str, str], target: str
) -> None:
    concurrency, guard = autoscaler(metrics=[{"concurrency": "8"}, {"latency": latency}])["metrics"]
    assert concurrency["pods"]["metric"] == {"name": "ekiben_concurrency"}
    assert guard == {
        "type": "Pods",
        "pods": {
            "metric": {"name": "ekiben_latency_seconds", "selector": {"matchLabels": labels}},
            "target": {"type": "AverageValue", "averageValue": target},
        },
    }


@pytest.mark.parametrize("hold", [False, True])
def test_an_autoscaler_follows_the_pace_that_is_asked_for_and_takes_no_pod_in_a_rollout(hold: bool) -> None:
    down = {"stabilizationWindowSeconds": 5, "policies": [{"type": "Pods", "value": 1, "periodSeconds": 15}]}
    behavior = autoscaler(hold, behavior={"scaleDown": down})["behavior"]
    assert behavior == {
        "scaleUp": {"stabilizationWindowSeconds": 30},
        "scaleDown": {**down, "selectPolicy": "Disabled" if hold else "Max"},
    }


def test_an_autoscaler_without_metrics_keeps_cpu_at_70_percent() -> None:
    (metric,) = autoscaler()["metrics"]
    assert metric["containerResource"]["name"] == "cpu"
    assert metric["containerResource"]["target"] == {"type": "Utilization", "averageUtilization": 70}


def test_a_held_autoscaler_takes_no_pod_away_and_a_released_one_says_so() -> None:
    assert autoscaler(hold=True)["behavior"]["scaleDown"] == {"selectPolicy": "Disabled"}
    assert autoscaler(hold=False)["behavior"]["scaleDown"] == {"selectPolicy": "Max"}


def test_the_cpu_of_a_start_is_not_taken_for_load() -> None:
    assert autoscaler(hold=False)["behavior"]["scaleUp"] == {"stabilizationWindowSeconds": 30}


# -- the route --


@given(weight=st.integers(min_value=0, max_value=100))
def test_a_route_always_has_both_backends_and_all_the_traffic(weight: int) -> None:
    (rule,) = route(weight)["rules"]
    weights = {backend["name"]: backend["weight"] for backend in rule["backendRefs"]}
    assert weights == {"iris": 100 - weight, "iris-canary": weight}


def test_a_rollout_moves_nothing_but_weights() -> None:
    def shape(weight: int) -> dict[str, Any]:
        spec = route(weight, path={"prefix": "/iris", "rewrite": "/"}, hostnames=["iris.example.com"])
        for backend in spec["rules"][0]["backendRefs"]:
            del backend["weight"]
        return spec

    assert shape(0) == shape(25) == shape(100)


def test_a_route_answers_under_its_prefix() -> None:
    (plain,) = route()["rules"]
    assert plain["matches"] == [{"path": {"type": "PathPrefix", "value": "/"}}]
    assert plain["filters"] == []
    (rewritten,) = route(path={"prefix": "/iris", "rewrite": "/"})["rules"]
    assert rewritten["matches"] == [{"path": {"type": "PathPrefix", "value": "/iris"}}]
    assert rewritten["filters"] == [
        {
            "type": "URLRewrite",
            "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}},
        }
    ]


def test_a_gateway_without_a_namespace_is_in_the_models() -> None:
    parents = route(parentRefs=[{"name": "a"}, {"name": "b", "namespace": "infra", "sectionName": "https"}])
    assert [(item["namespace"], item["name"], item.get("sectionName")) for item in parents["parentRefs"]] == [
        ("shop", "a", None),
        ("infra", "b", "https"),
    ]


@given(timeout=st.floats(min_value=0.001, max_value=300_000_000))
def test_the_gateway_waits_longer_than_the_pod(timeout: float) -> None:
    text = route(timeout=timeout)["rules"][0]["timeouts"]["request"]
    # GEP-2257: at most four parts of at most five digits; the longest is 99999 hours.
    assert seconds(text) > timeout
    parts = text.replace("ms", "x").replace("h", "x").replace("m", "x").replace("s", "x").split("x")[:-1]
    assert len(parts) <= 4
    assert all(len(part) <= 5 for part in parts)


def test_a_route_is_written_on_the_version_it_was_decided_on() -> None:
    def metadata(version: str | None) -> dict[str, Any]:
        manifest = build_route(
            MODEL, traffic(), canary_weight=5, timeout_seconds=60, resource_version=version
        )
        found: dict[str, Any] = manifest["metadata"]
        return found

    assert metadata("812")["resourceVersion"] == "812"
    assert "resourceVersion" not in metadata(None)


# -- the record --


@pytest.mark.parametrize("name", SPECS)
def test_a_record_reads_back_as_it_was(name: str) -> None:
    record = replace(revision_of(SPECS[name]), number=12)
    manifest = json.loads(json.dumps(build_record(MODEL, record, "failed")))
    assert record_of(manifest) == replace(record, outcome="failed")
    assert manifest["metadata"]["labels"][names.ROLLOUT] == f"{record.revision}.12"
    assert manifest["metadata"]["labels"][names.TEMPLATE_VERSION] == "1"
    assert manifest["metadata"]["name"] == f"iris-{record.revision}"
