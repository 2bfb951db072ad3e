"""Whatever stands in a status or a file, every view of it is drawn, and a file's faults are sentences."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ekiben.api.crd import model_schema
from ekiben.api.policy import RESTRICTED
from ekiben.api.status import Status
from ekiben.cli import history as past
from ekiben.cli import tree as trees
from ekiben.cli import why as reasons
from ekiben.cli import yamls
from ekiben.cli.exits import CommandError
from ekiben.cli.facts import facts_of
from ekiben.cli.lint import problems_of
from ekiben.cli.outcome import ending_of, progress
from fuzz import examples
from fuzz.schemas import damaged, fitting
from unit.cli import world

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STATUSES = fitting(model_schema(Status), often=0.7)
IN_FLIGHT = world.in_flight().raw["status"]
MANIFEST = {**world.serving().raw, "status": {}}


@examples(60)
@given(st.one_of(STATUSES, damaged(st.just(IN_FLIGHT))))
def test_every_status_can_be_looked_at(status: Any) -> None:
    facts = facts_of({**world.in_flight().raw, "status": status})
    pods = world.pods()
    assert facts.name in trees.tree(facts, pods, NOW, wide=True)[0]
    assert trees.as_data(facts, pods, NOW)["name"] == facts.name
    assert len(trees.listing([facts], NOW)) == 2
    assert reasons.why(facts, reasons.explain(facts, reasons.Surroundings(pods=tuple(pods))))
    assert past.history(past.entries(facts, {}), NOW)
    ended = ending_of(facts)
    assert ended or progress(facts)


@examples(60)
@given(damaged(st.just(MANIFEST)))
def test_every_manifest_is_linted(manifest: Any) -> None:
    found = problems_of(manifest, RESTRICTED)
    assert all(isinstance(text, str) and text for text in found)
    assert found or manifest["spec"]["bento"]["image"]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("a: 2024-01-01", {"a": "2024-01-01"}),
        ("a: {2: x, true: y}", {"a": {"2": "x", "true": "y"}}),
        ("? [1, 2]\n: x", None),
        ("a: !!binary aGk=", None),
        ("a: &a [*a]", None),
    ],
)
def test_a_file_is_read_as_the_server_would_get_it(text: str, read: Any, tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(text)
    if read is None:
        with pytest.raises(CommandError, match="is no YAML"):
            yamls.read_documents(str(path))
    else:
        assert yamls.read_documents(str(path)) == [read]
