"""What weights come to by whole pods, and what is said of those that can't be had."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from ekiben.api.status import Status
from ekiben.api.v1alpha1 import parse_spec
from ekiben.core.reach import reachable, shortfalls
from ekiben.core.revision import revision_of
from ekiben.core.snapshot import Model, Snapshot
from ekiben.core.view import View

MODEL = Model("shop", "iris", "uid", 1, "1")


def view_of(replicas: int, steps: list[dict[str, Any]], surge: str = "100%") -> View:
    raw = {
        "bento": {"image": "iris:1"},
        "replicas": replicas,
        "rollout": {"maxSurge": surge, "canary": {"steps": steps}},
    }
    spec = parse_spec(raw)
    snapshot = Snapshot(MODEL, spec, Status(), datetime(2026, 1, 1, tzinfo=UTC))
    return View(snapshot, spec, Status(), revision_of(spec))


def said(replicas: int, steps: list[dict[str, Any]], surge: str = "100%", *, gateway: bool) -> list[str]:
    view = view_of(replicas, steps, surge)
    return [*shortfalls(view, view.spec.rollout.canary.steps, gateway=gateway)]


@pytest.mark.parametrize(
    ("replicas", "weight", "surge", "gateway", "percent"),
    [
        (4, 10, "100%", False, 20),
        (4, 20, "100%", False, 20),
        (9, 10, "100%", False, 10),
        (1, 5, "100%", False, 50),
        (4, 80, "100%", False, 50),
        (4, 100, "100%", False, 100),
        (4, 10, "100%", True, 10),
        (4, 80, "50%", True, 50),
        (4, 50, "50%", True, 50),
        (3, 50, "34%", True, 33),
    ],
)
def test_what_a_weight_comes_to(replicas: int, weight: int, surge: str, gateway: bool, percent: int) -> None:
    assert reachable(view_of(replicas, [], surge), weight, gateway=gateway) == percent


def test_behind_a_gateway_a_small_weight_is_exact_and_nothing_is_said() -> None:
    assert said(2, [{"weight": 1}, {"pause": {}}, {"weight": 50}], gateway=True) == []


def test_whole_pods_are_said_where_they_are_the_weight() -> None:
    assert said(4, [{"weight": 20}, {"weight": 30}], gateway=False) == [
        "step 2: 30% becomes 33%, because pods are whole: 2 beside 4"
    ]


def test_a_surge_that_leaves_no_room_is_said_for_the_step_and_for_the_promotion() -> None:
    first, last = said(4, [{"weight": 25}, {"weight": 75}], "50%", gateway=True)
    assert first.startswith(
        "step 2: 75% needs 3 canary pods, and rollout.maxSurge 50% allows 2, which is 50%"
    )
    assert last.startswith("the promotion needs 4 canary pods, and rollout.maxSurge 50% allows 2")
