"""What a pod feels: long predictions count while they run, and a dead worker's gauge does not for ever."""

from __future__ import annotations

import pytest

from ekiben.samples.load import PodLoad
from ekiben.samples.metrics import Reading

PATIENCE = 90.0


def reading(requests: int = 0, busy_seconds: float = 0.0, in_flight: int = 0) -> Reading:
    """Build a page's reading."""
    return Reading({200: requests}, {}, busy_ms=round(busy_seconds * 1000), in_flight=in_flight)


def test_the_first_answer_comes_from_the_gauge_and_knows_no_rate() -> None:
    felt = PodLoad(PATIENCE).look(reading(1000, 300, in_flight=3), 100.0)
    assert (felt.concurrency, felt.requests_per_second, felt.window) == (3, None, 0)


def test_a_prediction_of_twenty_seconds_counts_while_it_runs() -> None:
    load = PodLoad(PATIENCE)
    load.look(reading(), 0)
    assert load.look(reading(in_flight=4), 15).concurrency == 4


def test_short_requests_count_by_their_time_where_the_gauge_sees_none() -> None:
    load = PodLoad(PATIENCE)
    load.look(reading(100, 10), 0)
    felt = load.look(reading(400, 40), 15)
    assert (felt.concurrency, felt.requests_per_second, felt.window) == (2, 20, 15)


def test_a_gauge_that_stands_still_while_counters_do_is_a_dead_workers() -> None:
    load = PodLoad(PATIENCE)
    load.look(reading(100, in_flight=21), 0)
    assert load.look(reading(100, in_flight=21), PATIENCE).concurrency == 21
    assert load.look(reading(100, in_flight=21), PATIENCE + 15).concurrency == 0


def test_a_gauge_is_believed_again_once_anything_moves() -> None:
    load = PodLoad(PATIENCE)
    load.look(reading(100, in_flight=21), 0)
    load.look(reading(100, in_flight=21), PATIENCE + 1)
    assert load.look(reading(101, in_flight=22), PATIENCE + 16).concurrency == 22


def test_a_process_that_began_anew_answers_from_its_gauge() -> None:
    load = PodLoad(PATIENCE)
    load.look(reading(100, 10), 0)
    felt = load.look(reading(3, 1, in_flight=1), 15)
    assert (felt.concurrency, felt.requests_per_second) == (1, None)


@pytest.mark.parametrize("seconds", [0.0, 1.0, 3.9])
def test_two_questions_in_a_moment_do_not_make_a_rate_of_nothing(seconds: float) -> None:
    load = PodLoad(PATIENCE)
    load.look(reading(), 0)
    known = load.look(reading(300, 30), 15)
    again = load.look(reading(301, 30, in_flight=5), 15 + seconds)
    assert (again.requests_per_second, again.window) == (known.requests_per_second, known.window)
    assert again.concurrency == 5
