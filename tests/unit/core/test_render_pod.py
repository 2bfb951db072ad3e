"""What the pods of a revision look like."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ekiben.api.v1alpha1 import parse_spec
from ekiben.core.canonical import duration_text
from ekiben.core.render import (
    build_deployment,
)
from ekiben.core.revision import DEFAULT_BUCKETS, revision_of
from ekiben.core.snapshot import Manifest
from sample_specs import IMAGE, MODEL, RAW, SPECS


def deployment(raw: Mapping[str, Any]) -> Manifest:
    return build_deployment(MODEL, revision_of(parse_spec(dict(raw))))


def pod_spec(raw: Mapping[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = deployment(raw)["spec"]["template"]["spec"]
    return spec


def bento(raw: Mapping[str, Any]) -> dict[str, Any]:
    container: dict[str, Any] = pod_spec(raw)["containers"][0]
    return container


def env(raw: Mapping[str, Any]) -> dict[str, str]:
    return {item["name"]: item.get("value", "") for item in bento(raw)["env"]}


def config(raw: Mapping[str, Any]) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(env(raw)["BENTOML_CONFIG_OVERRIDES"])
    return parsed


def with_spec(**fields: Any) -> dict[str, Any]:
    return {"bento": {"image": IMAGE, "service": "Iris"}, **fields}


# -- the Deployment --


@pytest.mark.parametrize("name", SPECS)
def test_replicas_are_in_no_intent(name: str) -> None:
    assert "replicas" not in build_deployment(MODEL, revision_of(SPECS[name]))["spec"]


def test_a_deployment_selects_its_own_pods_and_no_others() -> None:
    record = revision_of(SPECS["everything"])
    manifest = build_deployment(MODEL, record)
    selector = manifest["spec"]["selector"]["matchLabels"]
    labels = manifest["spec"]["template"]["metadata"]["labels"]
    assert selector == {"ekiben.dev/model": "iris", "ekiben.dev/revision": record.revision}
    assert selector.items() <= labels.items()
    assert labels["team"] == "flowers"
    assert "team" not in manifest["metadata"]["labels"]


def test_labels_of_ours_win_over_the_users() -> None:
    labels = {"ekiben.dev/model": "other", "ekiben.dev/revision": "other", "team": "flowers"}
    manifest = deployment(with_spec(podTemplate={"labels": labels}))
    selector = manifest["spec"]["selector"]["matchLabels"]
    assert selector.items() <= manifest["spec"]["template"]["metadata"]["labels"].items()


def test_a_pod_made_by_hand_again_never_leaves_fewer_pods() -> None:
    strategy = deployment(RAW["image-alone"])["spec"]["strategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}}


# -- the pod --


@pytest.mark.parametrize("name", SPECS)
def test_the_bento_runs_without_rights(name: str) -> None:
    spec = pod_spec(RAW[name])
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == 1034
    assert spec["securityContext"]["runAsGroup"] == 1034
    assert spec["securityContext"]["fsGroup"] == 1034
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert spec["enableServiceLinks"] is False


def test_a_token_is_mounted_only_where_an_account_was_chosen() -> None:
    assert pod_spec(RAW["image-alone"])["automountServiceAccountToken"] is False
    chosen = pod_spec(with_spec(serviceAccountName="reader"))
    assert chosen["serviceAccountName"] == "reader"
    assert "automountServiceAccountToken" not in chosen


@pytest.mark.parametrize("name", SPECS)
def test_tmp_can_be_written_and_is_mounted_once(name: str) -> None:
    spec = pod_spec(RAW[name])
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    (mount,) = (item for item in spec["containers"][0]["volumeMounts"] if item["mountPath"] == "/tmp")
    assert "sizeLimit" in volumes[mount["name"]]["emptyDir"]
    assert {item["name"] for item in spec["containers"][0]["volumeMounts"]} <= set(volumes)
    assert env(RAW[name])["BENTOML_HOME"].startswith("/tmp/")


def test_the_users_environment_comes_after_ours_and_wins() -> None:
    variables = [
        {"name": "FIRST", "value": "1"},
        {"name": "BENTOML_DO_NOT_TRACK", "value": "false"},
        {"name": "SECOND", "value": "$(FIRST)"},
    ]
    assert [
        (item["name"], item["value"]) for item in bento({**RAW["image-alone"], "env": variables})["env"]
    ] == [
        ("BENTOML_HOME", "/tmp/bentoml"),
        ("FIRST", "1"),
        ("BENTOML_DO_NOT_TRACK", "false"),
        ("SECOND", "$(FIRST)"),
    ]


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({}, {"requests": {"cpu": "500m", "memory": "512Mi"}, "limits": {"memory": "1Gi"}}),
        (
            {"requests": {"memory": "4Gi"}},
            {"requests": {"cpu": "500m", "memory": "4Gi"}, "limits": {"memory": "4Gi"}},
        ),
        (
            {"limits": {"memory": "256Mi", "cpu": "0.2"}},
            {"requests": {"cpu": "200m", "memory": "256Mi"}, "limits": {"memory": "256Mi", "cpu": "200m"}},
        ),
        (
            {"limits": {"nvidia.com/gpu": 2}},
            {
                "requests": {"cpu": "500m", "memory": "512Mi"},
                "limits": {"memory": "1Gi", "nvidia.com/gpu": "2"},
            },
        ),
    ],
)
def test_resources_left_open_get_defaults_that_fit(
    resources: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert bento(with_spec(resources=resources))["resources"] == expected


# -- start, stop and probes --


@given(deadline=st.integers(min_value=1, max_value=99_999))
def test_the_kubelet_never_restarts_a_pod_before_the_deadline(deadline: int) -> None:
    probe = bento(with_spec(rollout={"progressDeadline": f"{deadline}s"}))["startupProbe"]
    assert probe["httpGet"]["path"] == "/readyz"
    assert probe["periodSeconds"] in (1, 2)
    assert probe["periodSeconds"] * probe["failureThreshold"] > deadline


@given(milliseconds=st.integers(min_value=1, max_value=86_400_000))
def test_a_pod_that_ends_may_finish_its_requests(milliseconds: int) -> None:
    timeout = duration_text(milliseconds / 1000)
    raw = with_spec(runtime={"timeout": timeout})
    spec, args = pod_spec(raw), bento(raw)["args"]
    graceful = int(args[args.index("--timeout-graceful-shutdown") + 1])
    sleep = bento(raw)["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert graceful >= milliseconds / 1000
    assert spec["terminationGracePeriodSeconds"] > sleep + graceful + 2


def test_a_worker_that_is_busy_with_one_request_is_not_killed() -> None:
    for timeout in (1, 60, 900):
        probe = bento(with_spec(runtime={"timeout": f"{timeout}s"}))["livenessProbe"]
        assert probe["httpGet"]["path"] == "/livez"
        assert probe["periodSeconds"] * probe["failureThreshold"] > timeout


def test_the_server_keeps_idle_connections_longer_than_proxies() -> None:
    args = bento(RAW["image-alone"])["args"]
    assert args[:3] == ["serve", "--port", "3000"]
    assert int(args[args.index("--timeout-keep-alive") + 1]) > 90


# -- BentoML's configuration --


def test_without_a_service_nothing_is_said_to_bentoml() -> None:
    assert "BENTOML_CONFIG_OVERRIDES" not in env(RAW["image-alone"])
    assert env(RAW["image-alone"])["BENTOML_DO_NOT_TRACK"] == "true"


def test_runtime_becomes_configuration_of_the_service() -> None:
    raw = with_spec(runtime={"workers": 2, "timeout": "1500ms", "maxConcurrency": 8})
    traffic = {"timeout": 1.5, "max_concurrency": 8}
    assert config(raw) == {"services": {"Iris": {"workers": 2, "traffic": traffic}}}


def test_the_timeout_that_the_drain_rests_on_is_always_said() -> None:
    assert config(with_spec()) == {"services": {"Iris": {"traffic": {"timeout": 60}}}}


def test_each_threshold_is_a_bucket_and_buckets_of_the_bentos_code_go() -> None:
    checks = [{"metric": "slow-requests", "over": over, "max": "5%"} for over in ("300ms", "700ms")]
    text = env(with_spec(analysis={"checks": checks}))["BENTOML_CONFIG_OVERRIDES"]
    duration = json.loads(text)["services"]["Iris"]["metrics"]["duration"]
    assert duration["buckets"] == sorted({*DEFAULT_BUCKETS, 0.3, 0.7})
    assert duration == duration | {"min": None, "max": None, "factor": None}
    assert "1.0," in text, "BentoML refuses a bound that is not written as a float"


def test_overrides_win_and_reach_bentoml_as_floats_where_it_wants_them() -> None:
    overrides = {
        "services": {
            "Iris": {"workers": 3, "traffic": {"timeout": 9}, "metrics": {"duration": {"buckets": [1, 2]}}},
            "Other": {"workers": 1},
        },
        "tracing": {"sample_rate": 1},
        "logging": {"access": {"enabled": False}},
    }
    raw = with_spec(runtime={"workers": 1, "maxConcurrency": 4, "overrides": overrides})
    assert config(raw) == {
        "services": {
            "Iris": {
                "workers": 3,
                "traffic": {"timeout": 9, "max_concurrency": 4},
                "metrics": {"duration": {"buckets": [1.0, 2.0]}},
            },
            "Other": {"workers": 1},
        },
        "tracing": {"sample_rate": 1.0},
        "logging": {"access": {"enabled": False}},
    }
    text = env(raw)["BENTOML_CONFIG_OVERRIDES"]
    assert '"buckets":[1.0,2.0]' in text
    assert '"sample_rate":1.0' in text
    assert '"workers":3' in text
