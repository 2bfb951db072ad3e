"""Lines come out whole, however the bytes are cut."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ekiben.kube.errors import ApiError
from ekiben.kube.lines import LONGEST_LINE, LineSplitter, parse_event


@given(st.lists(st.binary(max_size=12).filter(lambda line: b"\n" not in line)), st.lists(st.integers(0, 200)))
def test_lines_do_not_depend_on_the_chunks(lines: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut <= len(stream))})
    splitter = LineSplitter()
    out = [line for start, end in pairwise(edges) for line in splitter.feed(stream[start:end])]
    assert out == [line for line in lines if line]


def test_an_unfinished_line_is_kept_back() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b"abc") == []
    assert splitter.feed(b"") == []
    assert splitter.feed(b"def\nghi") == [b"abcdef"]


def test_a_line_without_end_is_refused() -> None:
    splitter = LineSplitter()
    chunk = b"x" * 2**20
    for _ in range(LONGEST_LINE // len(chunk)):
        assert splitter.feed(chunk) == []
    with pytest.raises(ApiError) as caught:
        splitter.feed(chunk)
    assert caught.value.reason == "Garbled"
    assert caught.value.is_retryable


def test_an_error_event_is_raised_as_what_it_says() -> None:
    status = {
        "kind": "Status",
        "code": 410,
        "reason": "Expired",
        "message": "too old resource version: 1 (9)",
    }
    with pytest.raises(ApiError, match="too old resource version") as caught:
        parse_event(json.dumps({"type": "ERROR", "object": status}).encode())
    assert caught.value.is_gone
    assert caught.value.reason == "Expired"


@pytest.mark.parametrize("line", [b"[" * 200_000, b'{"type": "ADDED"}', b"{", b"7"])
def test_what_is_no_event_is_garbled(line: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        parse_event(line)
    assert caught.value.reason == "Garbled"
