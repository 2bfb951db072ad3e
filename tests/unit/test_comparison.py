"""docs/comparison.md claims nothing without a test: each Y of ours names tests, and each of them exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/comparison.md"
WANTED = (
    "weight with hold",
    "pause for a hand",
    "canary size apart",
    "analysis in place",
    "by header",
    "Promote all the way",
    "Abort by hand",
    "Retry",
    "Undo",
    "Restart the pods",
    "Skip",
    "Rollback window",
    "History limit",
    "Scale-down delay after promotion",
    "Scale-down delay after an abort",
    "progressDeadline",
    "surge",
    "Prometheus",
    "Source: web",
    "Arguments",
    "Dry run",
    "Inconclusive",
    "Consecutive errors",
    "Initial delay",
    "Metrics of outcomes",
)
PLAINLY_NOT = ("vendors' metric clouds", "meshes' own APIs", "Experiment objects", "experiment, plugin")


class Row(NamedTuple):
    """One row of a table of features."""

    feature: str
    ours: str
    proofs: list[str]


def lines() -> list[list[str]]:
    text = PAGE.read_text()
    found = [line.strip("|").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line] for line in found if not line[0].startswith(" ---")]


def rows() -> list[Row]:
    features = [line for line in lines() if len(line) == 6 and line[4] != "Ekiben" and "---" not in line[0]]
    return [Row(line[0], line[4], proofs_of(line[5])) for line in features]


def proofs_of(cell: str) -> list[str]:
    return re.findall(r"`((?:tests|golden)/[^`]+)`", cell)


@cache
def names_in(path: Path) -> frozenset[str]:
    """Name the tests of a file, those of classes as Class::name."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        inner = node.body if isinstance(node, ast.ClassDef) else [node]
        before = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        names = (item.name for item in inner if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef))
        found |= {before + name for name in names if name.startswith("test_")}
    return frozenset(found)


def exists(proof: str) -> bool:
    if proof.startswith("golden/"):
        return (ROOT / "tests/unit" / proof).is_file()
    path, _, name = proof.partition("::")
    return (ROOT / path).is_file() and (not name or name in names_in(ROOT / path))


def test_the_page_has_its_tables() -> None:
    assert len(rows()) > 50
    assert len({row.feature for row in rows()}) == len(rows())


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.feature)
def test_a_yes_of_ours_names_tests_that_exist_and_a_no_names_none(row: Row) -> None:
    assert row.ours.split()[0] in ("Y", "P", "N"), row
    assert bool(row.proofs) is (row.ours.split()[0] != "N"), row
    missing = [proof for proof in row.proofs if not exists(proof)]
    assert not missing


def test_every_lesson_names_a_test_that_exists() -> None:
    lessons = [line for line in lines() if len(line) == 4 and re.match(r"\d", line[0])]
    assert len(lessons) > 30
    for number, _, lesson, cell in lessons:
        found = proofs_of(cell)
        assert found, lesson
        assert [proof for proof in found if not exists(proof)] == [], number


@pytest.mark.parametrize("feature", WANTED)
def test_what_people_rely_on_is_there(feature: str) -> None:
    found = [row for row in rows() if feature.lower() in row.feature.lower()]
    assert found
    assert any(row.ours.startswith("Y") for row in found)


@pytest.mark.parametrize("feature", PLAINLY_NOT)
def test_what_is_not_there_is_said_plainly(feature: str) -> None:
    (row,) = [row for row in rows() if feature in row.feature]
    assert row.ours == "N"


def test_a_test_that_is_gone_would_be_noticed() -> None:
    assert not exists("golden/never-written.trace")
    assert not exists("tests/unit/test_line.py::test_that_nobody_wrote")
    assert not exists("tests/unit/test_nothing.py::test_x")
