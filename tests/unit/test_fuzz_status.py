"""A status that somebody else wrote, another version or a broken tool, ends no pass and makes no loop."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ekiben.api.crd import model_schema
from ekiben.api.status import Status
from ekiben.observe import observe_status
from fuzz import examples
from fuzz.mill import Mill
from fuzz.schemas import damaged, fitting

SPEC: dict[str, Any] = {"bento": {"image": "iris:1"}, "replicas": 2}
GATEWAY = {"parentRefs": [{"name": "models"}]}
STATUSES = fitting(model_schema(Status), often=0.7)


def a_status_in_flight() -> Any:
    """Return what we write ourselves in the middle of a rollout."""
    mill = Mill(SPEC)
    mill.turn()
    mill.change(SPEC | {"bento": {"image": "iris:2"}})
    mill.turn(waits=2)
    assert mill.status["rollout"]["stage"] != "Over"
    return mill.status


IN_FLIGHT = a_status_in_flight()


@examples(80)
@given(st.one_of(STATUSES, damaged(st.just(IN_FLIGHT)), damaged(STATUSES)))
def test_any_status_is_survived_and_the_next_one_is_ours(status: Any) -> None:
    mill = Mill(SPEC | {"bento": {"image": "iris:2"}}, status)
    mill.turn()
    assert Status.model_validate(mill.status).observed_generation == 1


@examples(50)
@given(damaged(st.just(IN_FLIGHT)), st.sampled_from([SPEC, SPEC | {"traffic": GATEWAY}]))
def test_a_damaged_status_beside_living_children_is_survived(status: Any, spec: dict[str, Any]) -> None:
    mill = Mill(spec)
    mill.turn()
    mill.change(spec | {"bento": {"image": "iris:2"}})
    mill.turn(waits=2)
    mill.model["status"] = status
    mill.turn()
    assert "Service" in {ref.kind for ref in mill.children}
    assert Status.model_validate(mill.status).observed_generation == 2


@examples(100)
@given(st.text(max_size=400) | st.integers(0, len(json.dumps(IN_FLIGHT))))
def test_a_status_that_was_cut_off_or_is_no_object_counts_as_lost(cut: str | int) -> None:
    text = cut if isinstance(cut, str) else json.dumps(IN_FLIGHT)[:cut]
    try:
        raw = json.loads(text)
    except ValueError:
        raw = text
    assert isinstance(observe_status({"status": raw}), Status)
