"""What the bench concludes from what it measured."""

from __future__ import annotations

from typing import Any

import pytest

from bench.figures import CONTROL, FIGURES, LOST, SERVE, STEADY, BenchError, Result
from bench.lost import is_near, moments_of
from bench.page import BEGIN, END, render, with_summary
from bench.report import last_line
from bench.rollback import proven_at
from bench.watching import Change
from load.client import Answer


def answer(number: int, *, bad: bool = False) -> Answer:
    """One answer a second, each after half a second."""
    return Answer(str(number), float(number), 0.5, 500 if bad else 200, "3.0.0", False)


def test_a_ratio_is_judged_where_there_is_a_floor() -> None:
    assert Result(SERVE, 11.0, 10.0).ok is True
    assert Result(SERVE, 11.6, 10.0).ok is False


def test_one_lost_request_misses_the_limit() -> None:
    assert Result(LOST, 0).ok is True
    assert Result(LOST, 1).ok is False


def test_a_negative_control_that_loses_nothing_misses_its_limit() -> None:
    assert Result(CONTROL, 0).ok is False
    assert Result(CONTROL, 1).ok is True


def test_what_was_not_measured_is_neither_held_nor_missed() -> None:
    skipped = Result(STEADY, problem="not asked for")
    assert skipped.ok is None
    assert last_line([True, False, skipped.ok]) == "1 of 3 rows hold, 1 missed, 1 not run"


def test_a_canary_is_proven_bad_by_the_answer_that_excludes_its_limit() -> None:
    # One error alone never excludes a limit; the second one here does, at 7.5 s.
    assert proven_at(answer(number, bad=number in (3, 7)) for number in range(10)) == 7.5


def test_a_canary_without_errors_is_never_proven_bad() -> None:
    with pytest.raises(BenchError, match="proven it bad"):
        proven_at(answer(number) for number in range(100))


def route(at: float, weight: int) -> Change:
    """A route as a watch tells it."""
    rules = [{"backendRefs": [{"weight": 100 - weight}, {"weight": weight}]}]
    return Change(
        at, "MODIFIED", {"kind": "HTTPRoute", "metadata": {"name": "iris"}, "spec": {"rules": rules}}
    )


def test_only_a_changed_weight_is_a_change() -> None:
    moments = moments_of([route(1, 0), route(2, 0), route(50, 20), route(51, 20)])
    assert moments == [50]
    assert [is_near(at, moments) for at in (39.0, 41.0, 59.0, 61.0)] == [False, True, True, False]


def run(at: str, *results: Result) -> dict[str, Any]:
    """A stored run."""
    about = {"cpus": 2, "cpu": "some", "memory_gib": 4, "kernel": "6.1", "load": f"load at {at}"}
    return {"at": at, "commit": "abc", "machine": about, "rows": [result.to_json() for result in results]}


def test_the_page_shows_the_newest_measurement_and_does_not_hide_what_missed_before() -> None:
    page = render([run("noon", Result(LOST, 7)), run("one", Result(LOST, 0)), run("two", Result(LOST))])
    (row,) = (line for line in page.splitlines() if line.startswith(f"| {LOST.title}"))
    assert "| 0 requests |" in row
    assert "| yes | one | abc | load at one |" in row
    assert "missed on noon: 7 requests" in page
    assert f"1 of {len(FIGURES)} rows hold, {len(FIGURES) - 1} not run." in page


def test_the_readme_keeps_its_words_and_gets_the_figures() -> None:
    readme = f"# Ekiben\n{BEGIN}old figures\n{END}the end\n"
    written = with_summary(readme, [run("one", Result(LOST, 0), Result(SERVE, 11.0, 10.0))])
    assert written.startswith(f"# Ekiben\n{BEGIN}| figure |")
    assert written.endswith(f"{END}the end\n")
    assert "old figures" not in written
    assert f"| {LOST.title} | 0 requests | <= 0 requests |\n" in written
    assert f"| {SERVE.title} | 1.10 x (11 s, by hand 10 s) | <= 1.15 x |\n" in written
    assert with_summary(written, [run("one", Result(LOST, 0), Result(SERVE, 11.0, 10.0))]) == written
