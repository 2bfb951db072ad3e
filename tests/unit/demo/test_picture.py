"""The picture shows what was answered: every version, every failure, every weight."""

from __future__ import annotations

from pathlib import Path

from demo.picture import Moment, draw, moment
from load.client import Answer


def answer(at: float, version: str, status: int = 200) -> Answer:
    return Answer(id="1", at=at, seconds=0.01, status=status, version=version, fresh=True)


def test_a_moment_has_the_weight_of_a_rollout_in_flight_only() -> None:
    status = {"phase": "Progressing", "rollout": {"weight": 20}, "canary": {"revision": "k7c4f9xw2p"}}
    assert moment(5.0, {"status": status}) == Moment(5.0, "Progressing", 20)
    del status["canary"]
    assert moment(5.0, {"status": status | {"phase": "Healthy"}}) == Moment(5.0, "Healthy", 0)
    assert moment(5.0, {}) == Moment(5.0, "Pending", 0)


def test_the_same_demo_gives_the_same_picture_and_names_what_it_shows(tmp_path: Path) -> None:
    answers = [answer(100.0, "1.0.0"), answer(101.5, "2.0.0"), answer(102.5, "3.0.0", 500)]
    moments = [Moment(99.0, "Healthy", 0), Moment(101.0, "Progressing", 20), Moment(103.0, "Degraded", 0)]
    pictures = []
    for name in ("one.svg", "other.svg"):
        draw(tmp_path / name, answers, moments)
        pictures.append((tmp_path / name).read_text())
    assert pictures[0] == pictures[1]
    for text in ("v1.0.0", "v2.0.0", "failed", "Progressing", "Degraded", "answers per second"):
        assert f">{text}<" in pictures[0]
    assert "v3.0.0" not in pictures[0]
