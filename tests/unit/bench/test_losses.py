"""What is told and kept of lost requests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench import report, strategies
from bench.losses import keep, kinds, not_ready, percentile, stalls, told
from bench.watching import Change, Changes
from load.client import Answer

RESET = "ClientOSError: reset"


def lost(at: float, status: int = 503, error: str = "") -> Answer:
    """A request that was lost."""
    return Answer(f"{at}", at, 0.25, status, "", True, error)


def pod(at: float, name: str, *, ready: bool = True, event: str = "MODIFIED", **about: Any) -> Change:
    """A pod as a watch tells it."""
    labels = {"ekiben.dev/model": "iris", "ekiben.dev/revision": "kbcdfghjkm"}
    conditions = [{"type": "Ready", "status": str(ready)}]
    metadata = {"name": name, "namespace": "shop", "uid": name, "labels": labels, **about}
    status = {"phase": "Running", "conditions": conditions}
    return Change(at, event, {"kind": "Pod", "metadata": metadata, "spec": {}, "status": status})


CHANGES = [
    pod(1, "a"),
    pod(2, "b", ready=False),
    pod(3, "b"),
    pod(4, "a", deletionTimestamp="2026-01-01T00:00:00Z"),
    pod(5, "a", event="DELETED"),
]


def test_losses_are_counted_by_kind_and_told_by_the_stretch_of_time_in_which_they_lie() -> None:
    answers = [lost(10.0), lost(10.5, 0, RESET), lost(90.0)]
    assert kinds(answers) == {"status 503": 2, RESET: 1}
    assert [item.partition(" lost from ")[0] for item in stalls(answers)] == ["2", "1"]
    assert stalls(answers)[0].endswith(f"in 0.5 s: {{'status 503': 1, '{RESET}': 1}}")
    assert told(answers[1]) == f"{RESET}, new connection, 0.25 s"
    assert stalls([]) == []


@pytest.mark.parametrize(("percent", "value"), [(50, 10), (95, 19), (99, 20), (100, 20), (0, 1)])
def test_a_percentile_is_a_value_that_was_measured(percent: int, value: int) -> None:
    assert percentile(range(20, 0, -1), percent) == value
    assert percentile([7.0], percent) == 7.0


def test_the_pods_that_could_not_serve_are_those_of_the_moment() -> None:
    moments = [0.5, 2.5, 3.5, 4.5, 5.5]
    assert list(not_ready(CHANGES, moments, "iris")) == [[], ["b is not ready"], [], ["a is ending"], []]


def test_what_was_lost_is_kept_with_its_round_its_deed_and_its_pods(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "FOLDER", tmp_path / "bench")
    rounds = [strategies.Round(0, "abort", 0.0, 1.0), strategies.Round(1, "promote", 4.0, 9.0, "Promoted")]
    account = strategies.Account(rounds, sent=100, lost=[lost(4.5), lost(2.5, 0, RESET)])
    kept = strategies._kept(strategies.WAYS[0], account, Changes(CHANGES))
    lines = [json.loads(line) for line in keep("strategies", kept).read_text().splitlines()]
    seen = [(item["kind"], item["at"], item["round"]["deed"], item["not_ready"]) for item in lines]
    assert seen == [
        (RESET, 2.5, "abort", ["b is not ready"]),
        ("status 503", 4.5, "promote", ["a is ending"]),
    ]
    assert lines[0]["way"] == "Canary, Gateway"
    assert "2 lost" in strategies._told("Canary, Gateway", account)
