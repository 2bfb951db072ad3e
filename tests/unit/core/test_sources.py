"""What checks of other sources say about answers."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ekiben.api.judging import Check
from ekiben.api.measured import CheckResult
from ekiben.api.status import RolloutPlan, RolloutStatus, Stage, Status
from ekiben.api.v1alpha1 import parse_spec
from ekiben.core import sources
from ekiben.core.asking import Answer
from ekiben.core.calling import SecretKey
from ekiben.core.filling import UnknownPlaceholderError, filled
from ekiben.core.measuring import Measure, Measured, build_measure
from ekiben.core.revision import revision_of
from ekiben.core.snapshot import Model, Snapshot
from ekiben.core.view import View

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
QUERY = {"address": "http://prometheus:9090/base/", "query": 'x{r="{{canary.revision}}"}'}


def check(**parts: Any) -> Check:
    """Build a check of a Prometheus."""
    return Check.model_validate({"name": "score", "prometheus": QUERY} | parts)


def view_of(*checks: Check, stage: Stage = Stage.HOLDING, step: int = 1, **analysis: Any) -> View:
    """Build the view of a rollout at a step, 60 s after its weight was observed."""
    spec = parse_spec({"bento": {"image": "iris:2"}, "analysis": analysis})
    wanted = revision_of(spec)
    rollout = RolloutStatus(
        id=f"{wanted.revision}.2",
        revision=wanted.revision,
        stage=stage,
        step=step,
        step_started_at=NOW - timedelta(seconds=60),
        plan=RolloutPlan.model_validate(
            {"hash": "h", "steps": [{"weight": 10}, {"pause": {}}], "checks": checks}
        ),
    )
    status = Status.model_validate({"rollout": rollout, "stable": {"revision": "s" * 10}})
    model = Model("shop", "iris", "uid", 1, "1")
    return View(Snapshot(model, spec, status, NOW), spec, status, wanted)


def answered(view: View, answer: Answer) -> View:
    """Give the view's only question an answer."""
    (question,) = sources.open_questions(view)
    return View(replace(view.snapshot, answers={question: answer}), view.spec, view.status, view.wanted)


def judged(item: Check, answer: Answer, before: CheckResult | None = None) -> CheckResult:
    """Judge by one answer."""
    return sources.judge(answered(view_of(item), answer), item, before)


VERDICTS: dict[str, tuple[dict[str, str], Measured, str, str]] = {
    "within max": ({"max": "0.05"}, Measured(0.05, 0.05), "Pass", "score 0.05, limit at most 0.05"),
    "above max": ({"max": "0.05"}, Measured(0.051, 0.051), "Fail", "score 0.051, limit at most 0.05"),
    "within min": ({"min": "-1"}, Measured(-1, -1), "Pass", "score -1, limit at least -1"),
    "below min": ({"min": "-1"}, Measured(-1.5, -1.5), "Fail", "score -1.5, limit at least -1"),
    "between both": ({"min": "1", "max": "2"}, Measured(1.5, 1.5), "Pass", "limit at least 1, at most 2"),
    "as the limit, as far as floats know": (
        {"max": "0.3"},
        Measured(0.1 + 0.2, 0.1 + 0.2),
        "Pass",
        "score 0.3",
    ),
    "the worst point of a range": ({"max": "2"}, Measured(1, 3), "Fail", "score 1 to 3, limit at most 2"),
    "the other end of a range": ({"min": "2"}, Measured(1, 3), "Fail", "score 1 to 3, limit at least 2"),
    "a limit of zero": ({"max": "0"}, Measured(0.0001, 0.0001), "Fail", "score 0.0001"),
    "no series": ({"max": "0"}, Measured(), "Waiting", "score: the query finds no series"),
}


@pytest.mark.parametrize("name", VERDICTS)
def test_a_number_is_within_its_limits_or_not(name: str) -> None:
    limits, measured, verdict, said = VERDICTS[name]
    result = judged(check(**limits), Answer(NOW, measured))
    assert (result.verdict, result.metric) == (verdict, "score")
    assert said in result.message
    assert sources.has_no_data(result) == (name == "no series")


def test_no_answer_is_an_error_and_never_a_failure() -> None:
    result = judged(check(max="1"), Answer(NOW, problem="there was no answer within 10 s", reason="TimedOut"))
    assert result.verdict == "Error"
    assert result.message == "score can't be measured: there was no answer within 10 s"


def test_before_the_first_answer_it_says_what_it_said_last() -> None:
    item = check(max="1")
    view = view_of(item)
    assert sources.judge(view, item, None).verdict == "Waiting"
    assert not sources.has_no_data(sources.judge(view, item, None))
    before = CheckResult(metric="score", verdict="Error", message="down", since=NOW)
    assert sources.judge(view, item, before) == before
    others = CheckResult(metric="error-rate", verdict="Pass")
    assert sources.judge(view, item, others).verdict == "Waiting"


def test_a_dry_run_is_told_as_one() -> None:
    assert judged(check(max="1", dryRun=True), Answer(NOW, Measured(2, 2))).dry_run is True


# CEL refuses these; a server without it, or an older one, may let them through.
CAN_NOT_BE_JUDGED = {
    "without a limit": ({}, "score has no limit: set max or min"),
    "by a share": ({"max": "5%"}, 'score has a share as its limit: write 0.05 in place of "5%"'),
    "by unknown words": (
        {"max": "1", "prometheus": QUERY | {"query": "x{{args.team}}"}},
        "score {{args.team}} is nothing that is known here",
    ),
}


@pytest.mark.parametrize("name", CAN_NOT_BE_JUDGED)
def test_what_can_not_be_judged_is_an_error_and_not_asked(name: str) -> None:
    parts, said = CAN_NOT_BE_JUDGED[name]
    item = check(**parts)
    view = view_of(item)
    assert list(sources.open_questions(view)) == []
    result = sources.judge(view, item, None)
    assert result.verdict == "Error"
    assert result.message.startswith(said)


ASKED = {
    "while a step is held": (Stage.HOLDING, 1, "0s", 1),
    "not before initialDelay is over": (Stage.HOLDING, 1, "61s", 0),
    "not before the first weight is observed": (Stage.SHIFTING, 1, "0s", 0),
    "on the way to the next weight": (Stage.SHIFTING, 2, "0s", 1),
    "in a pause": (Stage.PAUSED, 2, "0s", 1),
    "while everything goes over": (Stage.TAKING_ALL, 2, "0s", 1),
    "not while pods are prepared": (Stage.PREPARING, 0, "0s", 0),
    "not on the way back": (Stage.ABORTING, 1, "0s", 0),
    "not when it is stable": (Stage.REPOINTING, 2, "0s", 0),
}


@pytest.mark.parametrize("name", ASKED)
def test_when_others_are_asked(name: str) -> None:
    stage, step, delay, count = ASKED[name]
    view = view_of(check(max="1"), stage=stage, step=step, initialDelay=delay)
    assert len(list(sources.open_questions(view))) == count


def test_a_question_says_all_that_makes_an_old_answer_worthless() -> None:
    (first,) = sources.open_questions(view_of(check(max="1")))
    (again,) = sources.open_questions(view_of(check(max="1")))
    assert first == again
    view = view_of(check(max="1"))
    assert view.status.rollout is not None
    assert isinstance(first, Measure)
    assert first.about == view.window == f"{view.status.rollout.id}/1/h"


def test_a_question_carries_everything_that_the_check_says() -> None:
    secret = {"name": "judge", "key": "token"}
    item = check(
        max="1",
        interval="1m",
        prometheus=QUERY
        | {
            "headers": [{"name": "X-Scope-OrgID", "value": "shop"}, {"name": "X-Key", "secret": secret}],
            "basic": {"username": secret, "password": secret},
            "tls": {"caSecret": secret},
            "timeout": "3s",
            "range": {"over": "5m", "step": "30s"},
        },
    )
    key = SecretKey("judge", "token")
    assert build_measure(item, {"canary.revision": "abc"}, every=60.0, about="w", since=7.0) == Measure(
        url="http://prometheus:9090/base/api/v1/query_range?query=x%7Br%3D%22abc%22%7D",
        reads="prometheus",
        every=60.0,
        timeout=3.0,
        headers=(("X-Scope-OrgID", "shop"),),
        secret_headers=(("X-Key", key),),
        basic=(key, key),
        ca=key,
        over=300.0,
        step=30.0,
        since=7.0,
        about="w",
    )
    web = {"url": "https://judge/{{model.name}}", "method": "POST", "body": '{"m": "{{model.name}}"}'}
    item = Check.model_validate({"name": "a", "max": "1", "web": web | {"jsonPath": "$.x", "bearer": secret}})
    assert build_measure(item, {"model.name": "iris"}, every=5.0, about="w", since=7.0) == Measure(
        url="https://judge/iris",
        method="POST",
        body='{"m": "iris"}',
        reads="json",
        path="$.x",
        every=5.0,
        bearer=key,
        about="w",
    )


def test_words_are_filled_in_once_and_what_is_put_in_is_not_read_again() -> None:
    words = {"a.b": "{{c.d}}", "c.d": "x"}
    assert filled('sum(x{a="{{a.b}}"}) / {{c.d}}', words) == 'sum(x{a="{{c.d}}"}) / x'
    with pytest.raises(
        UnknownPlaceholderError, match=r"is nothing that is known here: write \{\{a.b}}, \{\{c.d}}"
    ):
        filled("{{ a.b }}", words)
    assert filled("{{{}", words) == "{{{}"


def test_a_check_without_any_source_is_an_error_that_says_what_to_set() -> None:
    """The CRD refuses it; a status that somebody else wrote may hold one all the same."""
    found = Check.model_validate({"name": "score", "max": "1"})
    view = view_of(found)
    result = sources.judge(view, found, None)
    assert (result.verdict, sources.looked_at(view, found)) == ("Error", None)
    assert result.message == "score has no source: set one of metric, prometheus, web and job"
    assert not list(sources.open_questions(view))
