"""What is remembered between passes, and for how long."""

from __future__ import annotations

import pytest

from ekiben import memory
from ekiben.core.snapshot import Ref
from ekiben.memory import Echoes, Memory, Refusal

KEY = ("shop", "iris")
APPLY = ("apply", Ref("Service", "iris"))


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    moved = Clock()
    monkeypatch.setattr(memory, "time", moved)
    return moved


class TestEchoes:
    """Every status write of ours has to come back from the watch."""

    def test_nothing_is_owed_at_first(self, clock: Clock) -> None:
        assert Echoes().age() == 0.0

    def test_a_write_that_is_not_shown_ages(self, clock: Clock) -> None:
        echoes = Echoes()
        echoes.expect(KEY, 7)
        clock.now += 90
        echoes.expect(KEY, 9)
        assert echoes.age() == 90.0

    def test_a_write_that_is_shown_is_paid(self, clock: Clock) -> None:
        echoes = Echoes()
        echoes.expect(KEY, 7)
        clock.now += 30
        echoes.expect(KEY, 9)
        echoes.heard(KEY, 7)
        clock.now += 5
        assert echoes.age() == 5.0
        echoes.heard(KEY, 9)
        assert echoes.age() == 0.0

    def test_a_later_version_pays_for_those_before_it(self, clock: Clock) -> None:
        echoes = Echoes()
        echoes.expect(KEY, 7)
        echoes.expect(KEY, 9)
        echoes.heard(KEY, 12)
        clock.now += 60
        assert echoes.age() == 0.0

    def test_a_write_that_the_watch_showed_before_the_answer_came_is_not_owed(self, clock: Clock) -> None:
        echoes = Echoes()
        echoes.heard(KEY, 9)
        echoes.expect(KEY, 9)
        clock.now += 60
        assert echoes.age() == 0.0

    def test_a_model_that_is_gone_owes_nothing(self, clock: Clock) -> None:
        echoes = Echoes()
        echoes.expect(KEY, 7)
        echoes.forget(KEY)
        clock.now += 60
        assert echoes.age() == 0.0


class TestRefusals:
    """What the server said."""

    def test_a_refusal_holds_for_its_intent_and_its_time(self, clock: Clock) -> None:
        refusal = Refusal("no", "intent", generation=1, retry_at=1060.0)
        assert refusal.holds("intent")
        assert not refusal.holds("another intent")
        clock.now = 1060.0
        assert not refusal.holds("intent")

    def test_what_was_said_to_an_older_spec_is_forgotten(self, clock: Clock) -> None:
        known = Memory("uid")
        known.refusals[APPLY] = Refusal("no", "intent", generation=1, retry_at=1060.0)
        assert known.rejections(1) == {APPLY[1]: "no"}
        assert known.rejections(2) == {}
        assert known.next_try() is None

    def test_what_is_no_longer_asked_for_is_forgotten_when_it_is_due(self, clock: Clock) -> None:
        known = Memory("uid")
        known.refusals[APPLY] = Refusal("no", "intent", generation=1, retry_at=1060.0)
        assert not known.forget_refusals(set())
        clock.now = 1060.0
        assert not known.forget_refusals({APPLY})
        assert known.forget_refusals(set())
        assert known.rejections(1) == {}

    def test_the_next_try_is_the_earliest_of_all(self, clock: Clock) -> None:
        known = Memory("uid")
        assert known.next_try() is None
        known.refusals[APPLY] = Refusal("no", "intent", generation=1, retry_at=1060.0)
        known.taken[Ref("Service", "iris-canary")] = 1030.0
        assert known.next_try() == 30.0
        clock.now = 1090.0
        assert known.next_try() == 0.0
