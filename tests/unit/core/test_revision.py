"""What makes a revision, and what does not."""

from __future__ import annotations

import copy
import json
import random
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from ekiben.api.rollout import RolloutId
from ekiben.api.v1alpha1 import parse_spec
from ekiben.core.blocks import recorded_block
from ekiben.core.canonical import canonical_quantity
from ekiben.core.defaults import DEFAULTS, Defaults, effective_resources
from ekiben.core.render import build_record
from ekiben.core.revision import (
    CURRENT_TEMPLATE_VERSION,
    DEFAULT_BUCKETS,
    image_of,
    record_of,
    revision_of,
    service_of,
    timeout_of,
)
from ekiben.core.snapshot import Model
from sample_specs import EVERYTHING, IMAGE, SPECS, edit

BASE: dict[str, Any] = {"bento": {"image": IMAGE, "service": "Iris"}}


def name_of(raw: dict[str, Any]) -> str:
    return revision_of(parse_spec(raw)).revision


def with_base(**fields: Any) -> dict[str, Any]:
    return {**BASE, **fields}


def shuffled(value: Any, source: random.Random) -> Any:
    """Copy a JSON value with the keys of every object in another order."""
    if isinstance(value, dict):
        keys = list(value)
        source.shuffle(keys)
        return {key: shuffled(value[key], source) for key in keys}
    return [shuffled(item, source) for item in value] if isinstance(value, list) else value


# -- the name --


@pytest.mark.parametrize("name", SPECS)
def test_a_revision_is_ten_safe_characters_that_fit_a_rollouts_id(name: str) -> None:
    revision = revision_of(SPECS[name]).revision
    assert re.fullmatch(r"[bcdfghjkmnpqrstvwxz][bcdfghjkmnpqrstvwxz2456789]{9}", revision)
    assert TypeAdapter(RolloutId).validate_python(f"{revision}.1")


@given(seed=st.integers())
def test_the_order_of_keys_is_irrelevant(seed: int) -> None:
    assert name_of(shuffled(EVERYTHING, random.Random(seed))) == name_of(EVERYTHING)


@given(tags=st.sets(st.integers(min_value=0, max_value=10**9), min_size=2, max_size=50))
def test_other_images_are_other_revisions(tags: set[int]) -> None:
    assert len({name_of({"bento": {"image": f"iris:{tag}"}}) for tag in tags}) == len(tags)


@pytest.mark.parametrize(
    ("written", "same"),
    [
        pytest.param(
            {"resources": {"requests": {"cpu": "1000m"}}},
            {"resources": {"requests": {"cpu": "1"}}},
            id="1000m",
        ),
        pytest.param(
            {"resources": {"requests": {"cpu": 1}}}, {"resources": {"requests": {"cpu": "1.0"}}}, id="number"
        ),
        pytest.param(
            {"resources": {"limits": {"memory": "2048Mi"}}},
            {"resources": {"limits": {"memory": 2147483648}}},
            id="bytes",
        ),
        pytest.param({"runtime": {"timeout": "90s"}}, {"runtime": {"timeout": "1m30s"}}, id="duration"),
        pytest.param(
            {"runtime": {"overrides": {"x": 1.0}}},
            {"runtime": {"overrides": {"x": 1}}},
            id="float as the server",
        ),
        pytest.param(
            {"podTemplate": {"sidecars": [{"name": "a", "resources": {"limits": {"cpu": "1000m"}}}]}},
            {"podTemplate": {"sidecars": [{"name": "a", "resources": {"limits": {"cpu": 1}}}]}},
            id="sidecar",
        ),
        pytest.param(
            {"podTemplate": {"volumes": [{"name": "a", "emptyDir": {"sizeLimit": "1024Mi"}}]}},
            {"podTemplate": {"volumes": [{"name": "a", "emptyDir": {"sizeLimit": "1Gi"}}]}},
            id="volume",
        ),
        pytest.param(
            {"podTemplate": {"affinity": {"nodeAffinity": None, "podAffinity": {"x": 1}}}},
            {"podTemplate": {"affinity": {"podAffinity": {"x": 1}}}},
            id="null",
        ),
    ],
)
def test_the_same_value_written_otherwise_is_the_same_revision(
    written: dict[str, Any], same: dict[str, Any]
) -> None:
    assert name_of(with_base(**written)) == name_of(with_base(**same)) != name_of(BASE)


@pytest.mark.parametrize(
    "default",
    [
        {"runtime": {}},
        {"runtime": {"timeout": "60s"}},
        {"runtime": {"timeout": "1m", "overrides": {}}},
        {"resources": {}},
        {"resources": {"requests": {"cpu": "0.5"}}},
        {"resources": {"requests": {"memory": "512Mi"}}},
        {"resources": {"limits": {"memory": "1024Mi"}}},
        {"resources": {"requests": {"cpu": "500m", "memory": "0.5Gi"}, "limits": {"memory": "1Gi"}}},
        {"env": []},
        {"serviceAccountName": ""},
        {"imagePullSecrets": []},
        {"podTemplate": {}},
        {"podTemplate": {"labels": {}, "sidecars": [], "affinity": {}, "priorityClassName": ""}},
    ],
    ids=json.dumps,
)
def test_writing_a_default_down_changes_nothing(default: dict[str, Any]) -> None:
    assert name_of(with_base(**default)) == name_of(BASE)


def test_writing_down_a_default_beside_another_value_changes_nothing() -> None:
    some = with_base(resources={"requests": {"memory": "4Gi"}})
    more = with_base(resources={"requests": {"memory": "4Gi", "cpu": "500m"}, "limits": {"memory": "4Gi"}})
    assert name_of(some) == name_of(more) != name_of(BASE)


def test_an_empty_variable_is_the_same_with_and_without_its_value() -> None:
    without, empty = ({"env": [{"name": "A", **value}]} for value in ({}, {"value": ""}))
    assert name_of(with_base(**without)) == name_of(with_base(**empty)) != name_of(BASE)


@pytest.mark.parametrize(
    "field",
    [
        {"traffic": EVERYTHING["traffic"]},
        {"autoscaling": EVERYTHING["autoscaling"]},
        {"replicas": 7},
        {"podDisruptionBudget": {"enabled": False}},
        {"rollout": {"progressDeadline": "1h", "paused": True, "canary": {"steps": [{"weight": 9}]}}},
        {"analysis": {"minSamples": 9, "checks": EVERYTHING["analysis"]["checks"]}},
    ],
    ids=lambda field: next(iter(field)),
)
def test_what_says_nothing_of_the_pod_is_no_new_revision(field: dict[str, Any]) -> None:
    assert name_of(with_base(**field)) == name_of(BASE)


CANARIED = {"maxReplicas": 4, "canary": True, "metrics": [{"cpu": "70%"}]}


def test_a_block_whose_changes_are_canaried_is_part_of_the_revision() -> None:
    first = name_of(with_base(autoscaling=CANARIED))
    assert first != name_of(BASE)
    written_out = CANARIED | {"engine": "auto", "minReplicas": 1, "behavior": {}, "idleAfter": None}
    assert name_of(with_base(autoscaling=written_out)) == first
    for change in ({"minReplicas": 2}, {"maxReplicas": 5}, {"metrics": []}, {"engine": "hpa"}):
        assert name_of(with_base(autoscaling=CANARIED | change)) != first
    assert name_of(with_base(autoscaling=CANARIED | {"canary": False})) == name_of(BASE)


@pytest.mark.parametrize(
    "block",
    [
        CANARIED,
        CANARIED | {"metrics": [{"concurrency": "0.5"}, {"latency": {"p95": "500ms"}}], "minReplicas": 0},
        CANARIED
        | {"behavior": {"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}}},
        CANARIED
        | {
            "metrics": [
                {"prometheus": {"address": "http://prometheus:9090", "query": "up", "threshold": "1.5"}},
                {"schedule": {"start": "0 8 * * *", "end": "0 9 * * *", "replicas": 3}},
            ],
            "fallbackReplicas": 2,
        },
    ],
)
def test_the_block_of_a_record_is_the_one_that_it_was_born_with(block: dict[str, Any]) -> None:
    spec = parse_spec(with_base(autoscaling=block))
    born = revision_of(spec)
    kept = record_of(json.loads(json.dumps(build_record(Model("ns", "iris", "uid", 1, "1"), born, "stable"))))
    assert kept is not None
    assert recorded_block(kept) == spec.autoscaling
    assert recorded_block(revision_of(parse_spec(BASE))) is None


@pytest.mark.parametrize("block", [7, [], "x", {"maxReplicas": "many"}, {"minReplicas": -1}])
def test_a_block_that_can_not_be_understood_is_none(block: Any) -> None:
    born = revision_of(parse_spec(BASE))
    assert recorded_block(replace(born, inputs={**born.inputs, "autoscaling": block})) is None


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("bento.image", "registry.example.com/iris:1.4.3"),
        ("bento.service", "Other"),
        ("runtime.workers", 3),
        ("runtime.timeout", "61s"),
        ("runtime.maxConcurrency", 33),
        ("runtime.overrides.tracing.sample_rate", 0.5),
        ("runtime.overrides.tracing.otlp.protocol", None),
        ("resources.requests.cpu", "1501m"),
        ("resources.limits.memory", "5Gi"),
        ("env.0.value", "5"),
        ("serviceAccountName", "other"),
        ("imagePullSecrets.0.name", "other"),
        ("podTemplate.labels.team", "trees"),
        ("podTemplate.nodeSelector", {"a": "b"}),
        ("podTemplate.volumes.0.persistentVolumeClaim.readOnly", False),
        ("podTemplate.sidecars.0.image", "registry.example.com/proxy:8"),
        ("podTemplate.volumeMounts.1.mountPath", "/other"),
        ("podTemplate.volumes.1.emptyDir", {}),
    ],
)
def test_every_change_of_the_pod_is_a_new_revision(path: str, value: Any) -> None:
    raw = copy.deepcopy(EVERYTHING)
    edit(path, value)(raw)
    assert name_of(raw) != name_of(EVERYTHING)


def test_the_order_of_variables_matters_as_they_may_refer_to_each_other() -> None:
    a, b = {"name": "A", "value": "1"}, {"name": "B", "value": "$(A)"}
    assert name_of(with_base(env=[a, b])) != name_of(with_base(env=[b, a]))


@given(
    sections=st.fixed_dictionaries(
        {
            section: st.dictionaries(
                st.sampled_from(["cpu", "memory", "nvidia.com/gpu"]),
                st.sampled_from(["0", "100m", "500m", "512Mi", "1Gi", "1024Mi", "4Gi", 2]),
            )
            for section in ("requests", "limits")
        }
    )
)
def test_resources_are_the_same_revision_just_when_pods_get_the_same(sections: dict[str, Any]) -> None:
    record = revision_of(parse_spec(with_base(resources=sections)))
    written = {
        section: {name: canonical_quantity(value) for name, value in items.items()}
        for section, items in sections.items()
    }
    wanted = effective_resources(written, DEFAULTS[1])
    assert effective_resources(record.inputs.get("resources", {}), DEFAULTS[1]) == wanted
    spelled_out = revision_of(parse_spec(with_base(resources=wanted)))
    assert spelled_out.revision == record.revision


def test_a_new_template_versions_defaults_rename_no_revision_of_an_older_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = {name: revision_of(spec, 1) for name, spec in SPECS.items()}
    monkeypatch.setitem(DEFAULTS, 2, Defaults(timeout=30.0, limits={"memory": "2Gi"}))
    assert {name: revision_of(spec, 1) for name, spec in SPECS.items()} == before
    explicit = parse_spec(with_base(runtime={"timeout": "60s"}))
    assert timeout_of(revision_of(explicit, 2)) == timeout_of(revision_of(explicit, 1)) == 60.0


# -- what goes along --


def test_a_record_says_what_its_pods_are() -> None:
    record = revision_of(SPECS["everything"])
    assert image_of(record) == EVERYTHING["bento"]["image"]
    assert service_of(record) == "Iris"
    assert timeout_of(record) == 150.0
    assert record.deadline_seconds == 900.0
    assert record.template_version == CURRENT_TEMPLATE_VERSION
    alone = revision_of(SPECS["image-alone"])
    assert alone.inputs == {"bento": {"image": IMAGE}}
    assert (service_of(alone), timeout_of(alone), alone.deadline_seconds) == (None, 60.0, 600.0)


@pytest.mark.parametrize(
    ("service", "bounds", "buckets"),
    [
        ("Iris", [], ()),
        ("Iris", ["300ms"], tuple(sorted((*DEFAULT_BUCKETS, 0.3)))),
        ("Iris", ["35ms", "7m", "35ms"], tuple(sorted((*DEFAULT_BUCKETS, 0.035, 420.0)))),
        ("Iris", ["1s"], DEFAULT_BUCKETS),
        ("Iris", ["0s"], ()),
        (None, ["300ms"], ()),
    ],
)
def test_pods_export_a_bucket_for_each_threshold(
    service: str | None, bounds: list[str], buckets: tuple[float, ...]
) -> None:
    checks = [{"metric": "slow-requests", "over": over, "max": "1%"} for over in bounds]
    others = [{"metric": "error-rate", "max": "1%"}]
    bento = {"image": IMAGE} | ({"service": service} if service else {})
    record = revision_of(parse_spec({"bento": bento, "analysis": {"checks": others + checks}}))
    assert record.buckets == buckets
    assert record.revision == name_of({"bento": bento})


def test_pods_export_a_bucket_for_the_latency_that_scales_them() -> None:
    bento = {"image": IMAGE, "service": "Iris"}
    metrics = [{"cpu": "70%"}, {"latency": {"p95": "300ms"}}, {"latency": {"p99": "1s"}}]
    scaled = {"maxReplicas": 4, "metrics": metrics}
    record = revision_of(parse_spec({"bento": bento, "autoscaling": scaled}))
    assert record.buckets == tuple(sorted((*DEFAULT_BUCKETS, 0.3)))
    assert record.revision == name_of({"bento": bento})
