"""A request before it is sent."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from ekiben.kube.kinds import SERVICE
from ekiben.kube.request import Request


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("café ☕ 本", id="any language"),
        pytest.param('"\\\n\x00\u2028', id="what has to be escaped"),
        pytest.param("half of a pair: \ud800", id="what is no UTF-8"),
    ],
)
def test_a_body_is_json_whatever_its_text(text: str) -> None:
    body = {"spec": {"count": 3, "share": 0.5, "ready": True, "left": None, "items": [text]}}
    payload = Request("update", SERVICE, "shop", "iris", body=body).payload
    assert payload is not None
    assert json.loads(payload) == body


def test_a_request_without_a_body_sends_none() -> None:
    assert Request("get", SERVICE, "shop", "iris").payload is None


def test_a_time_that_is_no_text_is_a_mistake() -> None:
    request = Request("update", SERVICE, "shop", "iris", body={"at": datetime(2026, 11, 28, tzinfo=UTC)})
    with pytest.raises(TypeError):
        _ = request.payload
