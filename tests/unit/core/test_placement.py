"""Which nodes take a pod: labels, affinity, taints."""

from __future__ import annotations

from typing import Any

import pytest

from ekiben.core.placement import may_run_on

Json = dict[str, Any]
TAINT = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def node(labels: Json | None = None, taints: list[Json] | None = None, **spec: Any) -> Json:
    """Return a node."""
    return {"metadata": {"name": "n1", "labels": labels or {}}, "spec": {"taints": taints or [], **spec}}


def likes(*terms: Json) -> Json:
    """Return a pod with required node affinity."""
    return {"affinity": {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": list(terms)}}}}


def wants(key: str, operator: str, *values: str) -> Json:
    """Return a term of one expression."""
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


def tolerates(**toleration: Any) -> Json:
    """Return a pod with one toleration."""
    return {"tolerations": [toleration]}


YES: list[tuple[str, Json, Json]] = [
    ("anything", {}, node()),
    ("a label", {"nodeSelector": {"zone": "a"}}, node({"zone": "a"})),
    ("In", likes(wants("zone", "In", "a", "b")), node({"zone": "b"})),
    ("NotIn without the label", likes(wants("zone", "NotIn", "a")), node()),
    ("Exists", likes(wants("zone", "Exists")), node({"zone": ""})),
    ("DoesNotExist", likes(wants("zone", "DoesNotExist")), node()),
    ("Gt", likes(wants("gpus", "Gt", "1")), node({"gpus": "2"})),
    ("Lt", likes(wants("gpus", "Lt", "3")), node({"gpus": "2"})),
    ("any term", likes(wants("zone", "In", "x"), wants("zone", "In", "a")), node({"zone": "a"})),
    (
        "a name",
        likes({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}),
        node(),
    ),
    ("Equal", tolerates(key="gpu", value="yes", effect="NoSchedule"), node(taints=[TAINT])),
    ("Exists of a key", tolerates(key="gpu", operator="Exists"), node(taints=[TAINT])),
    ("everything", tolerates(operator="Exists"), node(taints=[TAINT], unschedulable=True)),
    ("a mere preference", {}, node(taints=[{"key": "x", "effect": "PreferNoSchedule"}])),
    (
        "the node's own trouble, for the five minutes that every pod gets",
        {},
        node(taints=[{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]),
    ),
    (
        "a taint named after the device that it asks for: an admission plugin may tolerate it",
        {"containers": [{"resources": {"limits": {"nvidia.com/gpu": 1}}}]},
        node(taints=[{"key": "nvidia.com/gpu", "effect": "NoSchedule"}]),
    ),
    ("a runtime class, which may tolerate it", {"runtimeClassName": "nvidia"}, node(taints=[TAINT])),
    ("an operator that nobody knows yet", likes(wants("zone", "Near", "a")), node()),
]
NO: list[tuple[str, Json, Json]] = [
    ("another label", {"nodeSelector": {"zone": "a"}}, node({"zone": "b"})),
    ("In without the label", likes(wants("zone", "In", "a")), node()),
    ("NotIn", likes(wants("zone", "NotIn", "a")), node({"zone": "a"})),
    ("Gt of no number", likes(wants("gpus", "Gt", "1")), node({"gpus": "many"})),
    ("an empty term", likes({}), node()),
    ("a taint", {}, node(taints=[TAINT])),
    ("another value", tolerates(key="gpu", value="no"), node(taints=[TAINT])),
    ("another effect", tolerates(key="gpu", operator="Exists", effect="NoExecute"), node(taints=[TAINT])),
    (
        "one taint of two",
        tolerates(key="gpu", operator="Exists"),
        node(taints=[TAINT, {**TAINT, "key": "x"}]),
    ),
    ("cordoned", {}, node(unschedulable=True)),
    ("not ready", {}, node(taints=[{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}])),
]


@pytest.mark.parametrize(("pod", "place"), [case[1:] for case in YES], ids=[case[0] for case in YES])
def test_a_pod_may_run_there(pod: Json, place: Json) -> None:
    assert may_run_on(pod, place)


@pytest.mark.parametrize(("pod", "place"), [case[1:] for case in NO], ids=[case[0] for case in NO])
def test_a_pod_never_runs_there(pod: Json, place: Json) -> None:
    assert not may_run_on(pod, place)
