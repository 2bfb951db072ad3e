"""What is read back from a ControllerRevision."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ekiben.core.render import build_record
from ekiben.core.revision import (
    record_of,
    revision_of,
    timeout_of,
)
from ekiben.core.snapshot import Manifest
from sample_specs import MODEL, RAW, SPECS, edit


def stored(name: str = "everything") -> Manifest:
    """A ControllerRevision as the API server hands it out."""
    record = replace(revision_of(SPECS[name]), number=3)
    manifest: Manifest = json.loads(json.dumps(build_record(MODEL, record, "stable")))
    manifest["data"]["deadlineSeconds"] = int(manifest["data"]["deadlineSeconds"])
    manifest["data"]["buckets"] = [int(b) if b == int(b) else b for b in manifest["data"]["buckets"]]
    return manifest


@pytest.mark.parametrize("name", RAW)
def test_a_record_is_read_back_whole(name: str) -> None:
    record = replace(revision_of(SPECS[name]), number=3, outcome="stable")
    assert record_of(stored(name)) == record


def test_a_record_of_a_newer_operator_is_read_and_kept() -> None:
    manifest = stored()
    manifest["metadata"]["labels"]["ekiben.dev/template-version"] = "9"
    record = record_of(manifest)
    assert record is not None
    assert record.template_version == 9
    assert timeout_of(record) == 150.0


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("data", None),
        ("data", "text"),
        ("data.inputs", []),
        ("data.inputs", {}),
        ("data.inputs.bento.image", "registry.example.com/other:1"),
        ("data.inputs.env", []),
        ("data.buckets", 3),
        ("data.buckets", ["a"]),
        ("data.deadlineSeconds", "soon"),
        ("data.deadlineSeconds", -1),
        ("data.deadlineSeconds", math.inf),
        ("data.buckets", [math.nan]),
        ("data.buckets", [True]),
        ("revision", -1),
        ("revision", None),
        ("metadata.labels", None),
        ("metadata.labels", {}),
        ("metadata.labels", {"ekiben.dev/revision": "x"}),
    ],
)
def test_a_foreign_or_damaged_record_is_none(path: str, value: Any) -> None:
    manifest = stored()
    edit(path, value)(manifest)
    assert record_of(manifest) is None


@pytest.mark.parametrize(
    ("label", "value"),
    [
        ("app.kubernetes.io/managed-by", "somebody"),
        ("ekiben.dev/revision", "bcdfghjkmn"),
        ("ekiben.dev/template-version", "one"),
        ("ekiben.dev/template-version", "0"),
    ],
)
def test_a_record_under_wrong_labels_is_none(label: str, value: str) -> None:
    manifest = stored()
    manifest["metadata"]["labels"][label] = value
    assert record_of(manifest) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(data=JSON, inputs=JSON, labels=JSON, number=JSON)
def test_nothing_in_a_cluster_makes_reading_fail(data: Any, inputs: Any, labels: Any, number: Any) -> None:
    record_of({"data": data, "metadata": {"labels": labels}, "revision": number})
    manifest = stored()
    manifest["data"]["inputs"]["extra"] = inputs
    assert record_of({**manifest, "revision": number}) is None
    own = {**stored(), "data": data}
    assert record_of(own) is None
