"""The latency guard, and what an autoscaler makes of it: pods where they help, none where they don't."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil, inf
from typing import cast

import pytest

from ekiben.adapter.latency import (
    FORGOTTEN_AFTER,
    GIVEN_UP_SECONDS,
    KEPT_SECONDS,
    LASTING_SECONDS,
    Guard,
    Guards,
)
from ekiben.adapter.limits import Limit, limit_of
from ekiben.adapter.looks import look_at
from ekiben.adapter.pods import Pods, trim_pod
from ekiben.core.revision import DEFAULT_BUCKETS
from ekiben.kube.client import Client, Manifest
from ekiben.samples.load import Felt, PodLoad
from ekiben.samples.metrics import Reading

LIMIT = Limit("p95", 0.5)
PERIOD = 15.0


def served(requests: int, seconds: float, slow: int = 0, slow_seconds: float = 0.0) -> Reading:
    """Build the requests of a window: so many of one duration, and `slow` of another."""
    each = [seconds] * (requests - slow) + [slow_seconds] * slow
    within = {bound: sum(took <= bound for took in each) for bound in (*DEFAULT_BUCKETS, inf)}
    return Reading({200: requests}, within, busy_ms=round(1000 * sum(each)))


def felt(
    seconds: float, requests: int = 300, slow: int = 0, slow_seconds: float = 0.0, in_flight: float = 8.0
) -> Felt:
    reading = served(requests, seconds, slow, slow_seconds)
    # By Little's law so many in flight have taken so long together.
    window = reading.busy_ms / 1000 / in_flight if requests else PERIOD
    return Felt(in_flight, requests / window, window, reading)


def wanted(value: float, pods: int, limit: Limit = LIMIT) -> int:
    """Return the pods that an autoscaler makes of a value: within a tenth it leaves them."""
    ratio = round(1000 * value) / round(1000 * limit.seconds)
    return pods if abs(ratio - 1) <= 0.1 else ceil(ratio * pods)


# -- what is seen --


def test_the_latency_is_of_all_pods_together_and_known_by_its_bucket() -> None:
    look = look_at([felt(0.2, 300), felt(0.2, 300, slow=40, slow_seconds=0.8)])
    assert (look.pods, look.requests, look.in_flight, look.over("p95")) == (2, 600, 16, 0.5)
    # 29 of 600 are fewer than one of twenty.
    assert look_at([felt(0.2, 600, slow=29, slow_seconds=9)]).over("p95") == 0.1


def test_a_bound_that_one_pod_lacks_is_known_of_none() -> None:
    other = Felt(8, 20, PERIOD, Reading({200: 100}, {0.1: 0, inf: 100}, busy_ms=90_000))
    assert look_at([felt(0.9), other]).over("p95") == 0.1


@pytest.mark.parametrize(
    "answers",
    [
        [],
        [Felt(9, None, 0.0)],
        [felt(9.0, requests=0)],
        [felt(9.0, requests=39)],
        [Felt(9, 20, PERIOD, Reading({200: 300}, {}, busy_ms=900_000))],
    ],
)
def test_without_enough_requests_there_is_no_opinion(answers: list[Felt]) -> None:
    # 0 and not a missing answer: that would keep pods that nobody needs.
    assert Guard(LIMIT).value(answers, 0) == 0


@pytest.mark.parametrize(("seconds", "in_flight"), [(0.49, 8), (0.3, 8), (0.3, 0.1), (0.003, 8)])
def test_within_the_limit_it_says_nothing_and_keeps_no_pod(seconds: float, in_flight: float) -> None:
    # Any value above 0 keeps a pod or more: an autoscaler rounds up.
    assert Guard(LIMIT).value([felt(seconds, in_flight=in_flight)] * 5, 0) == 0


@pytest.mark.parametrize(
    ("quantile", "each", "slow", "looks"),
    [("p50", 10, 6, 2), ("p95", 20, 2, 2), ("p95", 40, 3, 1), ("p99", 60, 1, 4), ("p99", 100, 2, 2)],
)
def test_looks_with_few_requests_are_added_up(quantile: str, each: int, slow: int, looks: int) -> None:
    guard = Guard(Limit(quantile, 0.5))
    told = [
        guard.value([felt(0.2, each, slow=slow, slow_seconds=0.9)], PERIOD * look) > 0
        for look in range(looks)
    ]
    assert told == [False] * (looks - 1) + [True]


def test_of_looks_long_ago_nothing_is_added() -> None:
    guard = Guard(LIMIT)
    assert [guard.value([felt(0.9, 20)], at) for at in (0, 301, 602)] == [0, 0, 0]
    assert guard.value([felt(0.9, 20)], 617) > 0


def test_one_slow_request_is_no_verdict() -> None:
    guard = Guard(Limit("p99", 0.5))
    for look in range(40):
        # One of 300 in all.
        answers = [felt(0.2, 60, slow=look % 5 == 0, slow_seconds=0.9)]
        assert guard.value(answers, PERIOD * look) == 0


@pytest.mark.parametrize("pods", [1, 2, 3, 4, 7, 20, 100])
@pytest.mark.parametrize(("seconds", "step"), [(0.6, 1.5), (0.9, 1.5), (1.5, 2), (30, 2)])
@pytest.mark.parametrize("limit", [LIMIT, Limit("p99", 0.5), Limit("p50", 0.5)])
def test_over_the_limit_it_asks_for_half_as_many_again_up_to_twice_as_many(
    pods: int, seconds: float, step: float, limit: Limit
) -> None:
    told = Guard(limit).value([felt(seconds) for _ in range(pods)], 0)
    assert wanted(told, pods, limit) == ceil(step * pods)


def test_a_limit_between_two_buckets_counts_as_the_upper_one() -> None:
    limit = Limit("p95", 0.3)
    assert Guard(limit).value([felt(0.4)], 0) == 0
    assert wanted(Guard(limit).value([felt(0.6)], 0), 1, limit) == 2


@pytest.mark.parametrize("in_flight", [0.1, 0.9, 1.0])
def test_no_pod_is_added_where_no_request_waits_for_another(in_flight: float) -> None:
    assert Guard(LIMIT).value([felt(3.0, in_flight=in_flight) for _ in range(4)], 0) == 0


def test_there_are_never_more_pods_than_requests_in_flight() -> None:
    assert wanted(Guard(LIMIT).value([felt(3.0, in_flight=1.2) for _ in range(10)], 0), 10) == 12


def test_two_questions_in_a_moment_get_one_answer() -> None:
    guard = Guard(LIMIT)
    answers = [felt(0.9) for _ in range(4)]
    assert len({guard.value(answers, at) for at in (0, 0.2, 3)}) == 1


# -- what an autoscaler makes of it --


@dataclass
class Model:
    """Pods under a load, and an autoscaler that asks every 15 s and has another metric beside the guard.

    `took` says how long requests take with so many in flight in each pod; new pods answer after `start`.
    """

    in_flight: float
    took: Callable[[float], float]
    pods: int = 4
    other: int = 4
    most: int = 100
    start: float = 45.0
    now: float = 0.0
    guard: Guard = field(default_factory=lambda: Guard(LIMIT))
    coming: list[float] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    over: int = 0
    chance: random.Random | None = None

    def felt(self, took: float, rate: int, each: float) -> Felt:
        """Return what one pod felt; with `chance` each request takes another time."""
        if self.chance is None:
            return felt(took, rate, in_flight=each)
        spans = [
            self.chance.expovariate(1 / took) for _ in range(self.chance.randint(rate // 2, 3 * rate // 2))
        ]
        within = {bound: sum(span <= bound for span in spans) for bound in (*DEFAULT_BUCKETS, inf)}
        reading = Reading({200: len(spans)}, within, busy_ms=round(1000 * sum(spans)))
        return Felt(self.chance.uniform(0, 2 * each), len(spans) / PERIOD, PERIOD, reading)

    def play(self, seconds: float) -> int:
        """Let time pass; return the pods at its end."""
        until = self.now + seconds
        while self.now < until:
            self.now += PERIOD
            ready = [at for at in self.coming if at <= self.now]
            self.pods += len(ready)
            self.coming = [at for at in self.coming if at > self.now]
            each = self.in_flight / self.pods
            took = self.took(each)
            rate = max(round(each / took * PERIOD), 0) if took else 0
            self.over += took > LIMIT.seconds
            value = self.guard.value([self.felt(took, rate, each) for _ in range(self.pods)], self.now)
            size = self.pods + len(self.coming)
            ratio = round(1000 * value) / 500
            by_guard = size if abs(ratio - 1) <= 0.1 else ceil(ratio * self.pods)
            self.asked = [*self.asked[-19:], min(max(by_guard, self.other), self.most)]
            # More pods when it has been so for 30 s, fewer when it has been so for 300 s.
            more, fewer = min(self.asked[-3:]), max(self.asked)
            if more > size:
                self.coming += [self.now + self.start] * (more - size)
            elif fewer < size:
                self.pods, self.coming = min(self.pods, fewer), self.coming[: max(fewer - self.pods, 0)]
            self.sizes.append(self.pods + len(self.coming))
        return self.pods


def shared(seconds: float) -> Callable[[float], float]:
    """Requests that wait for each other: one at a time is served."""
    return lambda each: seconds * max(each, 1.0)


@pytest.mark.parametrize("start", [15.0, 45.0, 240.0])
def test_requests_that_wait_get_pods_until_they_are_quick_enough(start: float) -> None:
    # 40 in flight, 100 ms each: with 8 pods or more each takes 500 ms at most. From 4 it tries 6, then 9.
    model = Model(40, shared(0.1), start=start)
    assert model.play(1500) == 9
    assert max(model.sizes) == 9
    # The other metric, which would have 4 back, gets them seldom: what was learnt is kept for a while.
    # It takes two trials to learn it again, and each takes as long as a pod's start.
    model.over = 0
    model.play(6 * 3600)
    assert model.over * PERIOD < (0.2 if start < 60 else 0.25) * 6 * 3600


def test_what_was_learnt_is_kept_and_follows_the_load_down() -> None:
    model = Model(40, shared(0.1))
    assert model.play(1200) == 9
    model.in_flight = 30
    assert model.play(500) == 7
    model.in_flight = 4
    assert model.play(500) == 4


@pytest.mark.parametrize("start", [15.0, 45.0, 240.0])
def test_pods_that_do_not_help_are_tried_once_and_go_again(start: float) -> None:
    model = Model(40, lambda _: 2.0, start=start)
    model.play(2000)
    assert max(model.sizes) == 8
    assert model.play(2000) == 4
    # Nothing is tried again for two hours while the load is the same.
    assert set(model.sizes[-100:]) == {4}
    model.play(GIVEN_UP_SECONDS)
    assert max(model.sizes[-400:]) == 8


def test_a_moment_of_more_load_is_no_other_case_than_the_one_that_was_given_up() -> None:
    model = Model(40, lambda _: 2.0)
    assert model.play(1500) == 4
    model.sizes.clear()
    for in_flight in (60, 40, 60, 40, 55, 40) * 10:
        model.in_flight = in_flight
        model.play(PERIOD)
    assert set(model.sizes) == {4}


@dataclass
class Alone:
    """Requests of which a share is slow by itself, 60 in a look, whatever the pods; 9 are in flight."""

    share: float
    chance: random.Random

    def felt(self, pods: int) -> list[Felt]:
        """Return what each pod felt."""
        made = []
        for pod in range(pods):
            each = [
                self.chance.uniform(2.6, 4.5) if self.chance.random() < self.share else 2.0
                for _ in range(pod, 60, pods)
            ]
            within = {bound: sum(took <= bound for took in each) for bound in (*DEFAULT_BUCKETS, inf)}
            reading = Reading({200: len(each)}, within, busy_ms=round(1000 * sum(each)))
            made.append(Felt(sum(each) / PERIOD, len(each) / PERIOD, PERIOD, reading))
        return made


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("share", [0.08, 0.1, 0.12])
def test_a_model_that_is_slow_by_itself_near_the_limit_is_tried_and_left_alone(
    share: float, seed: int
) -> None:
    # Every third look or so is within the limit, by chance.
    limit, alone = Limit("p95", 2.5), Alone(share, random.Random(seed))
    guard, pods, asked, sizes = Guard(limit), 2, [2], []
    for look in range(4 * 240):
        value = guard.value(alone.felt(pods), PERIOD * look)
        asked = [*asked[-19:], max(wanted(value, pods, limit), 2)]
        pods = max(min(asked[-3:]), min(pods, max(asked)))
        sizes.append(pods)
    assert max(sizes) <= 4
    # Two trials in four hours.
    assert sum(size > 2 for size in sizes) < 0.1 * len(sizes)


def test_a_trial_without_a_pod_has_helped_nobody() -> None:
    guard = Guard(LIMIT)
    assert guard.value([felt(0.9)] * 4, 0) > 0.5
    told = [guard.value([felt(0.3)] * 4, PERIOD * look) for look in range(1, 40)]
    assert set(told) == {0}


def test_a_look_within_the_limit_ends_no_trial_and_keeps_its_pods_until_they_are_judged() -> None:
    guard = Guard(LIMIT)
    guard.value([felt(0.9)] * 4, 0)
    told = [guard.value([felt(0.45, in_flight=5)] * 6, 15 * look) for look in (1, 2)]
    assert [wanted(value, 6) for value in told] == [6, 6]
    # They helped: they stay for half an hour.
    assert wanted(guard.value([felt(0.45, in_flight=5)] * 6, 45), 6) == 6
    assert wanted(guard.value([felt(0.45, in_flight=5)] * 6, 45 + KEPT_SECONDS), 6) == 6
    assert guard.value([felt(0.45, in_flight=5)] * 6, 46 + KEPT_SECONDS) == 0


@pytest.mark.parametrize(("seconds", "again"), [(LASTING_SECONDS - PERIOD, False), (LASTING_SECONDS, True)])
def test_what_was_given_up_is_tried_again_once_it_was_lastingly_within(seconds: float, again: bool) -> None:
    model = Model(40, lambda _: 2.0)
    assert model.play(1500) == 4
    model.took = lambda _: 0.2
    model.play(seconds + PERIOD)
    model.took = lambda _: 2.0
    model.sizes.clear()
    model.play(300)
    assert (max(model.sizes) > 4) is again


async def test_pods_that_are_being_deleted_are_none_of_those_that_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def pod(name: str, **about: str) -> Manifest:
        return trim_pod({"metadata": {"name": name, "uid": name, **about}, "status": {"podIP": "10.0.0.1"}})

    async def answers(*_: object) -> Felt:
        return felt(0.9)

    found = [pod("stays"), pod("goes", deletionTimestamp="2026-11-28T07:00:00Z")]
    pods = Pods(cast(Client, None))
    monkeypatch.setattr(pods, "_of_model", lambda *_: found)
    monkeypatch.setattr(pods, "_felt", answers)
    assert [answer.pod for answer in await pods.ask("shop", "")] == ["stays"]


def test_a_pods_load_is_its_mean_and_for_long_requests_the_gauge() -> None:
    chance = Felt(9, 20, PERIOD, served(300, 0.1))
    assert look_at([chance]).in_flight == 2
    long = Felt(9, 0.2, PERIOD, served(3, 20.0))
    assert look_at([long, Felt(3, None, 0.0)]).in_flight == 12


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("in_flight", [6, 60])
def test_chance_is_no_help(seed: int, in_flight: float) -> None:
    # 0.6 s each, whatever the load: 150 or 1500 requests in a look, whose times are as uneven as a queue's.
    model = Model(in_flight, lambda _: 0.6, chance=random.Random(seed))
    model.play(5400)
    assert max(model.sizes) <= 12
    assert model.pods == 4


@pytest.mark.parametrize("seed", range(8))
def test_chance_is_no_hindrance(seed: int) -> None:
    # 5 requests in a pod wait for each other: 95 of 100 within 500 ms takes 1.7 in each.
    model = Model(20, shared(0.1), chance=random.Random(seed))
    model.play(1500)
    assert 12 <= model.pods <= 20


def test_where_the_pods_do_not_all_come_those_that_did_are_judged() -> None:
    model = Model(40, lambda _: 2.0, most=6)
    model.play(250)
    assert model.pods == 6
    model.play(1500)
    assert model.pods == 4


def test_more_load_than_it_gave_up_at_is_another_case() -> None:
    def took(each: float) -> float:
        return 2.0 if each < 20 else 0.2 * each

    model = Model(40, took)
    model.play(3000)
    assert model.pods == 4
    model.in_flight = 200
    model.play(600)
    assert max(model.sizes) >= 8


def test_the_guard_goes_on_trying_while_the_load_grows_as_fast_as_the_pods() -> None:
    model = Model(20, shared(0.4))
    for in_flight in (20, 40, 80, 160):
        model.in_flight = in_flight
        model.play(150)
    assert model.pods >= 16


def test_it_takes_away_nothing_that_the_other_metric_keeps() -> None:
    model = Model(1, shared(0.01), pods=9, other=9)
    assert model.play(1200) == 9
    assert set(model.sizes) == {9}


# -- the readings, the questions --


def test_durations_count_from_one_reading_that_had_them_to_the_next() -> None:
    load = PodLoad(90)
    assert load.look(Reading({200: 1000}, {}), 0).served is None
    # The first page with durations tells of all since the process started: that is no window.
    assert load.look(served(1300, 3.0), 15).served is None
    assert load.look(served(1700, 3.0), 30).served == Reading(
        {200: 400},
        {
            **dict.fromkeys(DEFAULT_BUCKETS, 0),
            **dict.fromkeys((5.0, 10.0, 30.0, 60.0, 120.0, 180.0, inf), 400),
        },
        1_200_000,
    )


def test_each_question_has_a_guard_of_its_own_for_a_while() -> None:
    now = [0.0]
    guards = Guards(clock=lambda: now[0])
    over, within = [felt(0.9, in_flight=8)], [felt(0.2)]
    assert guards.value("a", LIMIT, over) == guards.value("b", LIMIT, over) > 0.5
    assert guards.value("a", Limit("p95", 1.0), over) == 0
    now[0] = FORGOTTEN_AFTER + 1
    assert guards.value("b", LIMIT, within) < 0.5
    assert len(guards._guards) == 1


def test_the_limit_is_in_the_question() -> None:
    assert limit_of("limit=500ms,quantile=p95") == LIMIT
    assert limit_of("limit==500ms,quantile in (p95)") == LIMIT


@pytest.mark.parametrize(
    "selector",
    [
        "limit!=500ms,quantile=p95",
        "limit=500ms,quantile notin (p95)",
        "limit in (500ms,1s),quantile=p95",
        "limit=500ms,quantile=p95,!other",
        "limit=500ms,quantile=p95,other",
    ],
)
def test_a_question_that_excludes_or_leaves_a_choice_is_refused(selector: str) -> None:
    with pytest.raises(ValueError, match=r"must have one value"):
        limit_of(selector)


@pytest.mark.parametrize(
    "selector", ["", "limit=500ms", "quantile=p95", "limit=5,quantile=p95", "limit=0s,quantile=p95", "a b"]
)
def test_a_question_without_its_limit_is_refused(selector: str) -> None:
    with pytest.raises(ValueError, match=r"needs quantile|duration|above zero|selector"):
        limit_of(selector)
