"""What steps add up to, and how a route's rules by header are written and read."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from ekiben.api.rollout import Step
from ekiben.api.traffic import Traffic
from ekiben.core.render import build_route
from ekiben.core.snapshot import Model
from ekiben.core.splitting import percent_to, rules_of
from ekiben.core.steps import header_rules, is_reached, kind_of, pods_asked, step_text

MODEL = Model("shop", "iris", "uid", 1, "1")
TRAFFIC = Traffic.model_validate({"parentRefs": [{"name": "models"}], "path": {"prefix": "/iris"}})
ONE = frozenset({("x-canary", "always")})
BOTH = frozenset({("x-canary", "always"), ("x-team", "ml")})


def by_header(**headers: str) -> Step:
    items = [{"name": name.replace("_", "-"), "value": value} for name, value in headers.items()]
    return Step.model_validate({"headers": items})


def pods(count: Any) -> Step:
    return Step.model_validate({"replicas": count})


def test_a_rule_by_header_is_exact_and_comes_behind_the_main_rule() -> None:
    route = build_route(
        MODEL, TRAFFIC, canary_weight=5, timeout_seconds=60, resource_version=None, by_header={BOTH: 100}
    )
    main, other = route["spec"]["rules"]
    assert "headers" not in main["matches"][0]
    assert other["matches"] == [
        {
            "path": {"type": "PathPrefix", "value": "/iris"},
            "headers": [
                {"type": "Exact", "name": "x-canary", "value": "always"},
                {"type": "Exact", "name": "x-team", "value": "ml"},
            ],
        }
    ]
    assert {key: main[key] for key in ("filters", "timeouts")} == {
        key: other[key] for key in ("filters", "timeouts")
    }
    split = {headers: percent_to(rule, "iris-canary") for headers, rule in rules_of(route)}
    assert split == {frozenset(): 5, BOTH: 100}


def test_without_headers_a_route_is_what_it_was() -> None:
    route = build_route(MODEL, TRAFFIC, canary_weight=5, timeout_seconds=60, resource_version=None)
    assert len(route["spec"]["rules"]) == 1


def test_equal_headers_are_one_rule_whatever_their_case() -> None:
    steps = (by_header(X_Canary="always"), by_header(x_canary="always"), by_header(x_canary="never"))
    assert header_rules(steps) == (ONE, frozenset({("x-canary", "never")}))


def test_a_rule_is_reached_with_any_step_that_wants_no_more_headers() -> None:
    steps = (by_header(x_canary="always"),)
    assert is_reached(ONE, steps)
    assert is_reached(BOTH, steps)
    assert not is_reached(frozenset({("x-team", "ml")}), steps)
    assert not is_reached(ONE, (by_header(x_canary="always", x_team="ml"),))


@pytest.mark.parametrize(
    ("counts", "full_size", "wanted"),
    [
        ([], 4, 0),
        ([3], 4, 3),
        (["50%"], 4, 2),
        (["50%"], 5, 3),
        (["7%"], 100, 7),
        (["1%"], 3, 1),
        ([3, 1], 4, 1),
    ],
)
def test_pods_are_a_number_or_a_share_of_stable_rounded_up(
    counts: list[Any], full_size: int, wanted: int
) -> None:
    assert pods_asked(tuple(pods(count) for count in counts), full_size) == wanted


@pytest.mark.parametrize("count", [0, -1, 10001, "0%", "101%", "1.5%", "two", "3", "\u0663%", ""])
def test_what_is_no_count_is_refused(count: Any) -> None:
    with pytest.raises(ValidationError):
        pods(count)


def test_each_kind_of_step_has_its_words() -> None:
    steps = [
        Step(weight=5, hold="1m"),
        Step.model_validate({"pause": {}}),
        pods(3),
        pods("50%"),
        by_header(X_Canary="always"),
    ]
    assert [(kind_of(step), step_text(step)) for step in steps] == [
        ("weight", "5%"),
        ("pause", "pause"),
        ("replicas", "3 pods"),
        ("replicas", "50% of the pods"),
        ("headers", "x-canary: always"),
    ]
