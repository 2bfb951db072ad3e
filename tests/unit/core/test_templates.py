"""Checks of ModelAnalysis objects: what they come to for a model, and what is said where they don't."""

from __future__ import annotations

from typing import Any

import pytest

from ekiben.api.judging import Analysis
from ekiben.api.template import Template
from ekiben.core.analysis import DEFAULT_CHECKS
from ekiben.core.templates import MOST_CHECKS, TemplateError, resolved_checks
from ekiben.observe import observe_template

WEB = {"url": "http://judge.{{args.team}}/{{model.name}}", "jsonPath": "$.score"}
CHECK = {"name": "score", "min": "0.9", "web": WEB}
QUALITY = {"args": [{"name": "team"}, {"name": "set", "default": "golden"}], "checks": [CHECK]}
ERRORS = {"metric": "error-rate", "max": "1%"}


def analysis(*checks: Any, **args: str) -> Analysis:
    """Use the template `quality` with arguments, beside checks."""
    given = [{"name": name, "value": value} for name, value in args.items()]
    return Analysis.model_validate({"checks": checks, "templates": [{"name": "quality", "args": given}]})


def templates(spec: dict[str, Any] = QUALITY) -> dict[str, Template | str]:
    """Return what the API server has."""
    return {"quality": observe_template({"spec": spec})}


def test_a_template_adds_its_checks_with_the_arguments_filled_in_and_leaves_the_other_words() -> None:
    own, score = resolved_checks(analysis(ERRORS, team="flowers"), templates())
    assert own.metric == "error-rate"
    assert score.web is not None
    assert score.web.url == "http://judge.flowers/{{model.name}}"


def test_a_default_holds_where_a_model_says_nothing() -> None:
    spec = QUALITY | {"checks": [CHECK | {"web": WEB | {"url": "http://j/{{args.team}}/{{args.set}}"}}]}
    (score,) = resolved_checks(analysis(team="a"), templates(spec))
    assert score.web is not None
    assert score.web.url == "http://j/a/golden"
    (score,) = resolved_checks(analysis(team="a", set="b"), templates(spec))
    assert score.web is not None
    assert score.web.url == "http://j/a/b"


def test_without_anything_there_is_the_default_check_and_with_a_template_there_is_not() -> None:
    assert resolved_checks(Analysis(), {}) == DEFAULT_CHECKS
    assert [check.title for check in resolved_checks(analysis(team="a"), templates())] == ["score"]


def many(count: int, prefix: str) -> dict[str, Any]:
    """Return a template of so many checks."""
    return {
        "checks": [
            CHECK | {"name": f"{prefix}{number}", "web": {"url": "http://j"}} for number in range(count)
        ]
    }


REFUSED: dict[str, tuple[Analysis, dict[str, Template | str], str]] = {
    "that does not exist": (analysis(team="a"), {}, "ModelAnalysis quality, which does not exist: create it"),
    "that can't be understood": (
        analysis(team="a"),
        templates({"checks": [{"name": "x", "web": {"url": 7}}]}),
        "ModelAnalysis quality can't be used: spec.checks[0].web.url",
    ),
    "without a spec": (
        analysis(team="a"),
        {"quality": observe_template({})},
        "ModelAnalysis quality can't be used",
    ),
    "without an argument that it needs": (analysis(), templates(), "needs its argument team"),
    "with an argument that it does not know": (analysis(team="a", x="b"), templates(), "has no argument x"),
    "with a word that nobody gives": (
        analysis(),
        templates({"checks": [CHECK]}),
        "{{args.team}} is nothing that is known here",
    ),
    "with an argument that breaks what it is put into": (
        analysis(team="a" * 256),
        templates(QUALITY | {"checks": [CHECK | {"web": WEB | {"url": "http://{{args.team}}" * 5}}]}),
        "can't be used with these arguments",
    ),
    "with a name that the model has": (
        analysis({"name": "score", "max": "1", "web": {"url": "http://j"}}, team="a"),
        templates(),
        "two checks are called score",
    ),
    "in which nothing decides": (
        analysis(team="a"),
        templates(QUALITY | {"checks": [CHECK | {"dryRun": True}]}),
        "none of the checks decides",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_template(name: str) -> None:
    wanted, known, said = REFUSED[name]
    with pytest.raises(TemplateError) as problem:
        resolved_checks(wanted, known)
    assert said in str(problem.value)


def test_a_plan_holds_no_more_checks_than_a_status_can_bear() -> None:
    uses = [{"name": name} for name in ("a", "b", "c")]
    asked = Analysis.model_validate({"templates": uses})
    known = {name: observe_template({"spec": many(7, name)}) for name in ("a", "b", "c")}
    with pytest.raises(TemplateError, match=f"come to 21 checks, more than {MOST_CHECKS}"):
        resolved_checks(asked, known)
