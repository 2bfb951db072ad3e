"""Label selectors mean here what they mean to kubectl."""

from __future__ import annotations

import pytest

from ekiben.api.selector import matches, parse_selector


@pytest.mark.parametrize(
    ("selector", "met", "unmet"),
    [
        ("", [{}, {"shard": "a"}], []),
        ("shard=a", [{"shard": "a", "more": "x"}], [{}, {"shard": "b"}, {"shard": ""}]),
        ("shard == a", [{"shard": "a"}], [{"shard": "b"}]),
        ("shard!=a", [{}, {"shard": "b"}], [{"shard": "a"}]),
        ("shard in (a, b)", [{"shard": "a"}, {"shard": "b"}], [{}, {"shard": "c"}]),
        ("shard notin (a,b)", [{}, {"shard": "c"}], [{"shard": "a"}, {"shard": "b"}]),
        ("shard", [{"shard": ""}, {"shard": "a"}], [{}]),
        ("!shard", [{}], [{"shard": ""}, {"shard": "a"}]),
        ("shard=", [{"shard": ""}], [{}, {"shard": "a"}]),
        ("example.com/shard=a, !legacy", [{"example.com/shard": "a"}], [{"shard": "a"}]),
        ("a=1,b in (x,y),c", [{"a": "1", "b": "y", "c": ""}], [{"a": "1", "b": "y"}, {"a": "1", "c": ""}]),
    ],
)
def test_a_selector_is_met_as_kubectl_has_it(
    selector: str, met: list[dict[str, str]], unmet: list[dict[str, str]]
) -> None:
    parsed = parse_selector(selector)
    assert [labels for labels in met if not matches(parsed, labels)] == []
    assert [labels for labels in unmet if matches(parsed, labels)] == []


def test_an_object_without_labels_has_none() -> None:
    assert matches(parse_selector("!shard"), None)
    assert not matches(parse_selector("shard"), None)


@pytest.mark.parametrize(
    "text",
    [
        "shard in (a",
        "shard in a",
        "=a",
        "a=b=c",
        "shard=a,",
        "a b",
        "-a=b",
        "a=-b",
        "a in (b c)",
        "a,,b",
        "a;b",
    ],
)
def test_what_is_no_selector_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="for example: shard=a"):
        parse_selector(text)


def test_two_shards_and_the_rest_are_disjoint_and_whole() -> None:
    shards = [parse_selector(text) for text in ("shard=a", "shard=b", "shard notin (a,b)")]
    for labels in ({}, {"shard": "a"}, {"shard": "b"}, {"shard": "c"}, {"other": "a"}):
        assert sum(matches(shard, labels) for shard in shards) == 1
