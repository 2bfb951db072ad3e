"""An older CRD is noticed before anything is decided."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ekiben.api.crd import definition, template_definition
from ekiben.preflight import crd_problem, lacking, template_problem

OURS = definition()


def edited() -> tuple[dict[str, Any], dict[str, Any]]:
    """A copy of our CRD, and the properties of its status."""
    crd = copy.deepcopy(OURS)
    return crd, crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]


def test_our_own_crd_is_current() -> None:
    assert crd_problem(OURS, OURS) == ""


def test_a_newer_crd_is_fine() -> None:
    crd, status = edited()
    status["moon"] = {"type": "string"}
    status["rollout"]["properties"]["stage"]["enum"].append("Orbiting")
    assert crd_problem(crd, OURS) == ""


def test_no_crd_is_a_sentence_with_the_remedy() -> None:
    problem = crd_problem(None, OURS)
    assert "modeldeployments.ekiben.dev is not installed: apply crds/modeldeployments.yaml" in problem


def test_another_version_alone_is_no_crd_of_ours() -> None:
    crd, _ = edited()
    crd["spec"]["versions"][0]["name"] = "v1"
    assert "does not serve v1alpha1" in crd_problem(crd, OURS)


@pytest.mark.parametrize(
    ("path", "named"),
    [
        (("message",), "status.message"),
        (("rollout", "properties", "totals", "properties", "resets"), "status.rollout.totals.resets"),
        (("conditions", "items", "properties", "reason"), "status.conditions[].reason"),
    ],
)
def test_a_missing_field_is_named_wherever_it_is(path: tuple[str, ...], named: str) -> None:
    crd, schema = edited()
    for part in path[:-1]:
        schema = schema[part]
    del schema[path[-1]]
    problem = crd_problem(crd, OURS)
    assert f"it lacks {named}: apply" in problem


def test_a_value_that_would_be_refused_is_named() -> None:
    crd, status = edited()
    status["phase"]["enum"].remove("Degraded")
    assert "it lacks status.phase=Degraded:" in crd_problem(crd, OURS)


def test_several_missing_fields_are_counted() -> None:
    crd, status = edited()
    del status["message"], status["phase"], status["url"]
    assert "it lacks status.message and 2 more:" in crd_problem(crd, OURS)


def test_a_field_that_keeps_everything_lacks_nothing() -> None:
    open_schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    ours = OURS["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    assert list(lacking(open_schema, ours, "status")) == []


def test_without_the_crd_of_templates_there_are_none_and_an_older_one_is_refused() -> None:
    ours = template_definition()
    assert template_problem(None, ours) == ""
    assert template_problem(ours, ours) == ""
    older = copy.deepcopy(ours)
    spec = older["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    del spec["properties"]["checks"]["items"]["properties"]["job"]
    assert template_problem(older, ours) == (
        "the CRD modelanalyses.ekiben.dev is older than this operator: it lacks spec.checks[].job:"
        " apply crds/modelanalyses.yaml of this version of Ekiben"
    )
