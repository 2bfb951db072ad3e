"""What is concluded from a load step, and how it is drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench import keda, plots
from bench.curve import Size, Step, enough_pods
from bench.figures import STEP, BenchError, Result
from bench.step import BEHAVIOR, judged, sizes
from bench.watching import Change
from load.client import Answer

AT = 1000.0


def step(slow_until: float, over: int = 0, lost: int = 0, ended: float = 60.0) -> Step:
    """A step whose requests, ten a second, take 2 s until some second after it and 0.1 s from then on."""
    answers = [
        Answer(
            str(number),
            at,
            2.0 if AT <= at < AT + slow_until else 0.1,
            500 if number < lost else 200,
            "",
            False,
        )
        for number in range(10 * int(10 + ended))
        for at in [AT - 10 + number / 10]
    ]
    pods = [Size(AT - 10, 1, 1), Size(AT + 10, 4 + over, 1), Size(AT + 15, 4 + over, 4 + over)]
    return Step(AT, AT + ended, answers, pods)


def test_latency_is_back_when_no_later_window_is_over_the_limit() -> None:
    assert step(0).recovered(0.5) == 0
    # The window from second 19 on is the last with a slow request in twenty.
    assert step(20).recovered(0.5) == pytest.approx(25, abs=1)


def test_latency_that_is_over_the_limit_to_the_end_was_never_back() -> None:
    with pytest.raises(BenchError, match=r"not back under 0\.5 s in 60 s"):
        step(60).recovered(0.5)


def test_a_lost_request_took_for_ever() -> None:
    assert step(0, lost=150).recovered(0.5) > 0


def test_overshoot_is_what_is_above_enough_from_the_step_on() -> None:
    assert step(0).overshoot(4) == 0
    assert step(0, over=2).overshoot(4) == 2 * 50
    assert step(0, over=2).overshoot(1) == 5 * 50, "one pod for ten seconds is not above one"


def test_enough_is_what_littles_law_says() -> None:
    assert enough_pods(16, 0.1, 0.4) == 4
    assert enough_pods(16, 0.1, 0.5) == 4
    assert enough_pods(2, 0.1, 0.4) == 1


def test_a_curve_has_a_value_for_each_second() -> None:
    curve = step(20, lost=100).curve(10)
    assert curve["seconds"] == list(range(-10, 60))
    assert {len(values) for values in curve.values()} == {70}
    assert set(curve["load"]) == {10}
    assert (curve["pods"][0], curve["pods"][-1], curve["ready"][21]) == (1, 4, 1)
    assert curve["p95"][-1] == 0.1
    assert curve["p95"][6] is None, "all of it was lost"
    json.dumps(curve, allow_nan=False)


def test_a_step_is_judged_by_the_median_pair() -> None:
    ours = [step(20), step(22), step(24, over=2)]
    back, lost, over = judged(ours, [step(20, over=1), step(20), step(20, over=1)])
    assert back.ok is True
    assert back.ratio == pytest.approx(1.08, abs=0.01)
    assert (lost.value, lost.ok) == (0, True)
    assert (over.value, over.bound, over.ok) == (0, 50, True)
    assert over.details[1:] == (
        "pair 1: Ekiben 0, KEDA by hand 50",
        "pair 2: Ekiben 0, KEDA by hand 0",
        "pair 3: Ekiben 100, KEDA by hand 50",
    )
    assert set(back.data["curves"]) == {"Ekiben (hpa)", "KEDA, by hand"}
    slower, lossy, larger = judged([step(30, over=1, lost=1)], [step(20)])
    assert (slower.ok, lossy.ok, larger.ok) == (False, False, False)


def test_sizes_are_what_a_watch_told_of_one_deployment() -> None:
    def deployment(name: str, pods: int) -> dict[str, Any]:
        return {"metadata": {"name": name}, "status": {"replicas": pods, "readyReplicas": 1}}

    changes = [
        Change(0.5, "MODIFIED", deployment("a", 9)),
        Change(2.0, "MODIFIED", deployment("a", 1)),
        Change(3.0, "MODIFIED", deployment("b", 7)),
        Change(4.0, "MODIFIED", deployment("a", 4)),
    ]
    assert sizes(deployment("a", 1), changes, "a", 1.0) == [Size(1.0, 1, 1), Size(4.0, 4, 1)]


def test_the_scaled_object_asks_for_requests_in_flight_without_probes() -> None:
    spec = keda.scaled_object("iris-1", "team", "http://p:9090", 0.4, 8, BEHAVIOR)["spec"]
    (trigger,) = spec["triggers"]
    assert 'namespace="team"' in trigger["metadata"]["query"]
    assert "readyz" in trigger["metadata"]["query"]
    assert (trigger["metadata"]["threshold"], spec["maxReplicaCount"]) == ("0.4", 8)


def test_curves_are_kept_and_the_same_curves_give_the_same_plot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plots, "FOLDER", tmp_path)
    monkeypatch.setattr(plots, "KEPT", tmp_path / "steps.json")
    monkeypatch.setattr(plots, "PLOTS", {STEP.row: tmp_path / "step.svg"})
    result = Result(
        STEP, 20.0, 20.0, data={"curves": {"ours": step(20).curve(10), "theirs": step(9).curve(10)}}
    )
    run = {"at": "now", "commit": "abc", "machine": {"cpus": 2}, "rows": [result.to_json()]}
    path = tmp_path / "run.json"
    path.write_text(json.dumps(run))
    plots.write([path])
    first = (tmp_path / "step.svg").read_text()
    assert "ours" in first
    assert json.loads((tmp_path / "steps.json").read_text())["step"]["commit"] == "abc"
    plots.write([])
    assert (tmp_path / "step.svg").read_text() == first
