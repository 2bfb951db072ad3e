"""What KEDA is told of a revision."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from ekiben.api.scaling import Autoscaling
from ekiben.core import names
from ekiben.core.devices import asks_for_device
from ekiben.core.render import ScaleTarget, build_autoscaler, build_scaled_object
from ekiben.core.revision import revision_of
from ekiben.core.snapshot import Record
from sample_specs import MODEL, SPECS, children

RECORD = revision_of(SPECS["by-keda"])
BY_FORMULA: dict[str, Any] = {child["kind"]: child for child in children(SPECS["by-formula"])}[
    "ScaledObject"
]["spec"]
RENDERED = {child["kind"]: child for child in children(SPECS["by-keda"])}


def target(record: Record = RECORD, hold: bool = False, **fields: Any) -> ScaleTarget:
    block = Autoscaling.model_validate({"maxReplicas": 9, **fields})
    return ScaleTarget(MODEL, record, block, block.metrics, min_replicas=3, max_replicas=7, hold=hold)


def scaled(hold: bool = False, **fields: Any) -> dict[str, Any]:
    spec: dict[str, Any] = build_scaled_object(target(hold=hold, **fields), fallback=4)["spec"]
    return spec


def test_a_scaled_object_sizes_its_own_deployment_between_the_given_sizes() -> None:
    spec = scaled(metrics=[{"cpu": "70%"}])
    assert spec["scaleTargetRef"]["name"] == names.revision_child(MODEL.name, RECORD.revision)
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (3, 7)


def test_triggers_say_what_the_metrics_say() -> None:
    cpu, memory, query, queue, hours = RENDERED["ScaledObject"]["spec"]["triggers"]
    assert (cpu["metricType"], cpu["metadata"]) == ("Utilization", {"value": "70", "containerName": "bento"})
    assert memory["metricType"] == "AverageValue"
    assert f'pod=~"iris-{RECORD.revision}-.*"' in query["metadata"]["query"]
    assert query["metadata"]["authModes"] == "bearer"
    assert queue["metadata"]["authModes"] == "basic"
    assert hours["metadata"] == {
        "timezone": "Europe/Berlin",
        "start": "0 8 * * 1-5",
        "end": "0 20 * * 1-5",
        "desiredReplicas": "6",
    }


def test_no_answer_is_no_load_of_zero_and_an_outage_takes_no_pod() -> None:
    spec = RENDERED["ScaledObject"]["spec"]
    queries = [item for item in spec["triggers"] if item["type"] == "prometheus"]
    assert [item["metadata"]["ignoreNullValues"] for item in queries] == ["false", "false"]
    assert spec["fallback"] == {"failureThreshold": 3, "replicas": 4, "behavior": "currentReplicasIfHigher"}


def test_a_fallback_is_left_out_where_keda_would_refuse_it() -> None:
    assert "fallback" not in scaled(metrics=[{"cpu": "70%"}])


def test_every_value_for_keda_is_text() -> None:
    for trigger in RENDERED["ScaledObject"]["spec"]["triggers"]:
        assert all(isinstance(value, str) for value in trigger["metadata"].values())


def test_secrets_are_named_and_never_read() -> None:
    found = [child for child in children(SPECS["by-keda"]) if child["kind"] == "TriggerAuthentication"]
    assert [child["spec"]["secretTargetRef"] for child in found] == [
        [{"parameter": "bearerToken", "name": "prometheus", "key": "token"}],
        [
            {"parameter": "username", "name": "prometheus", "key": "user"},
            {"parameter": "password", "name": "prometheus", "key": "password"},
        ],
    ]
    triggers = RENDERED["ScaledObject"]["spec"]["triggers"]
    referred = [item["authenticationRef"]["name"] for item in triggers if "authenticationRef" in item]
    assert referred == [child["metadata"]["name"] for child in found]


def test_a_trigger_is_passed_on_as_it_is_written_with_its_words_filled_in() -> None:
    (queue, query), spec = BY_FORMULA["triggers"], BY_FORMULA
    assert queue == {
        "name": "waiting",
        "type": "rabbitmq",
        "metricType": "Value",
        "metadata": {"queueName": "shop-iris", "mode": "QueueLength", "value": "20"},
        "authenticationRef": {"name": "rabbitmq"},
    }
    assert query["name"] == "work"
    assert spec["fallback"]["behavior"] == "currentReplicasIfHigher"
    kinds = [child["kind"] for child in children(SPECS["by-formula"])]
    assert "TriggerAuthentication" not in kinds, "theirs is made by whoever knows the secret"


def test_each_revision_has_a_trigger_of_its_own_where_the_metadata_names_it() -> None:
    (trigger,) = scaled(
        metrics=[{"trigger": {"type": "kafka", "metadata": {"topic": "{{revision}}", "filter": '{"a": {}}'}}}]
    )["triggers"]
    assert trigger == {"type": "kafka", "metadata": {"topic": RECORD.revision, "filter": '{"a": {}}'}}


def test_a_formula_takes_the_place_of_the_metrics_for_each_pod() -> None:
    assert BY_FORMULA["advanced"]["scalingModifiers"] == {
        "formula": "max([waiting / 20, work / 8]) * 10",
        "target": "10",
        "metricType": "AverageValue",
    }
    assert "scalingModifiers" not in scaled(metrics=[{"cpu": "70%"}])["advanced"]


@pytest.mark.parametrize(
    "expression",
    [
        "queue",
        "max([queue / 20, work / 8]) * 10",
        "(queue / 20 + work / 8) * 10",
        "queue / max([work, 1])",
        "queue > 1 and not (work in [1, 2]) ? 1e3 : abs (queue) ** 2 % 7 | max(1.5) ?? 0",
        "not\t(queue > counted) or\n(sum - count < .5)",
        " ".join(["queue"] * 170),
    ],
)
def test_a_formula_may_be_made_of_numbers_names_and_what_ends_soon(expression: str) -> None:
    Autoscaling.model_validate({"formula": {"expression": expression, "target": "1"}})


@pytest.mark.parametrize(
    "expression",
    [
        "count([queue], true)",
        "queue + sum ([work])",
        "[queue] | any\n(true)",
        "2 + all([queue], true)",
        "queue and count([1], true) > 0",
        "queue + count/* */([1], true)",
        "queue // + work",
        "len(1..9)",
        "maxi(queue)",
        "a.count(queue)",
        'queue + float("1")',
        "queue + float('1')",
        "queue == `a` ? 1 : 2",
        "let a = queue; a + a",
        "if queue > 1 { 1 } else { 2 }",
        "map(queue, #)",
        "toBase64(queue)",
        "queue\u00a0+ work",
        "(" * 400 + "repeat(queue, 9)",
        "queue " * 160 + "count(1)",
    ],
)
def test_a_formula_can_not_keep_keda_busy_for_all_models_of_a_cluster(expression: str) -> None:
    with pytest.raises(ValidationError):
        Autoscaling.model_validate({"formula": {"expression": expression, "target": "1"}})


def test_by_a_formula_keda_falls_back_for_it_reads_a_whole_number_as_target() -> None:
    """KEDA's own check of a fallback beside a formula reads the target as an integer, and else has none."""
    for target in ("0.5", "0", "-1", "10m"):
        with pytest.raises(ValidationError):
            Autoscaling.model_validate({"formula": {"expression": "a", "target": target}})
    assert int(BY_FORMULA["advanced"]["scalingModifiers"]["target"]) > 0


@pytest.mark.parametrize("hold", [True, False])
def test_pace_is_the_same_by_either_engine(hold: bool) -> None:
    hpa = build_autoscaler(target(hold=hold, metrics=[{"cpu": "70%"}]))
    by_keda = scaled(hold, metrics=[{"cpu": "70%"}])["advanced"]["horizontalPodAutoscalerConfig"]
    assert by_keda["behavior"] == hpa["spec"]["behavior"]


def test_a_pod_with_a_gpu_is_given_up_late_unless_told_otherwise() -> None:
    gpu = revision_of(SPECS["gpu"])
    assert (asks_for_device(gpu), asks_for_device(RECORD)) == (True, False)
    written = {"scaleDown": {"stabilizationWindowSeconds": 60}}
    for fields, window in (({}, 900), ({"behavior": written}, 60)):
        spec = build_autoscaler(target(gpu, metrics=[{"concurrency": "4"}], **fields))["spec"]
        assert spec["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == window
