"""One way to write each value."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ekiben.api.v1alpha1 import parse_spec
from ekiben.core.canonical import canonical_quantity, duration_text, quantity_value
from ekiben.core.revision import (
    revision_of,
    timeout_of,
)
from sample_specs import IMAGE


@given(
    whole=st.integers(min_value=0, max_value=10**15),
    suffix=st.sampled_from(["", "m", "k", "M", "G", "Ki", "Mi", "Gi"]),
)
def test_a_canonical_quantity_is_the_same_number_and_stays_as_it_is(whole: int, suffix: str) -> None:
    text = canonical_quantity(f"{whole}{suffix}")
    assert quantity_value(text) == quantity_value(f"{whole}{suffix}")
    assert canonical_quantity(text) == text


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        (1, "1"),
        (0.5, "500m"),
        ("1e3", "1k"),
        ("0.1", "100m"),
        (".5Gi", "512Mi"),
        ("1500Mi", "1500Mi"),
        ("1000M", "1G"),
        ("0", "0"),
        ("-1000m", "-1"),
        ("100u", "100u"),
        ("0.0000000001", "1n"),
        ("a lot", "a lot"),
        (True, True),
        (None, None),
    ],
)
def test_quantities_are_written_as_the_server_writes_them(written: Any, canonical: Any) -> None:
    assert canonical_quantity(written) == canonical


@given(milliseconds=st.integers(min_value=0, max_value=359_999_999_999))
def test_a_duration_reads_back_as_it_was(milliseconds: int) -> None:
    text = duration_text(milliseconds / 1000)
    # The API's own parser and pattern.
    raw = parse_spec({"bento": {"image": IMAGE}, "runtime": {"timeout": text}})
    assert timeout_of(revision_of(raw)) == pytest.approx(milliseconds / 1000, abs=1e-9)
