"""The queue visits every key that was added, one worker at a time, and is fair."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from typing import TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ekiben.kube.workqueue import (
    DEPTH,
    FIRST_RETRY,
    LAST_RETRY,
    SOON_SECONDS,
    QueueClosedError,
    WorkQueue,
)
from unit.kube.virtual_time import run_virtually, virtual_runner

T = TypeVar("T")
KEYS = st.sampled_from("abcd")


class QueueMachine(RuleBasedStateMachine):
    """Compare the queue with what was asked of it, on a virtual clock."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = virtual_runner()
        self.loop = self.runner.get_loop()
        self.queue: WorkQueue[str] = WorkQueue(jitter=self.tick)
        self.waiting: list[str] = []
        self.working: set[str] = set()
        self.dirty: set[str] = set()
        self.timers: dict[str, float] = {}
        self.ticks = 0

    def teardown(self) -> None:
        self.runner.close()

    def now(self) -> float:
        return self.loop.time()

    def call(self, method: Callable[..., T], *arguments: object) -> T:
        """Call a plain method from within the loop."""

        async def main() -> T:
            return method(*arguments)

        return self.loop.run_until_complete(main())

    def tick(self) -> float:
        """Make every time another one: which of two equal timers goes first is nobody's promise."""
        self.ticks += 1
        return self.ticks / 4096

    def added(self, key: str) -> None:
        """What the model says that adding a key does."""
        if key in self.working:
            self.dirty.add(key)
        elif key not in self.waiting:
            self.waiting.append(key)

    def later(self, key: str, seconds: float) -> None:
        due = self.now() + seconds
        self.timers[key] = min(due, self.timers.get(key, due))

    @rule(key=KEYS)
    def add(self, key: str) -> None:
        self.call(self.queue.add, key)
        self.added(key)

    @rule(key=KEYS, seconds=st.sampled_from([0.1, 1.0, 5.0]))
    def add_after(self, key: str, seconds: float) -> None:
        seconds += self.tick()
        self.call(self.queue.add_after, key, seconds)
        self.later(key, seconds)

    @rule(seconds=st.sampled_from([0.05, 0.5, 2.0, 100.0]))
    def wait(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))
        for key, due in sorted(self.timers.items(), key=lambda timer: timer[1]):
            if due <= self.now() + 1e-6:
                del self.timers[key]
                self.added(key)

    @precondition(lambda self: self.waiting)
    @rule()
    def get(self) -> None:
        key = self.loop.run_until_complete(self.queue.get())
        assert key == self.waiting.pop(0), "first come, first served"
        assert key not in self.working, "never at two workers"
        self.working.add(key)

    @precondition(lambda self: self.working)
    @rule(data=st.data(), failed=st.booleans())
    def done(self, data: st.DataObject, failed: bool) -> None:
        key = data.draw(st.sampled_from(sorted(self.working)))
        if failed:
            self.later(key, self.call(self.queue.retry, key))
        else:
            self.queue.forget(key)
        self.call(self.queue.done, key)
        self.working.remove(key)
        if key in self.dirty:
            self.dirty.remove(key)
            self.waiting.append(key)

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        assert len(self.queue) == len(self.waiting)


QueueMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=30)
TestQueue = QueueMachine.TestCase


def test_events_within_a_moment_are_one_visit_and_one_that_begins_meanwhile_will_do() -> None:
    async def main() -> None:
        queue: WorkQueue[str] = WorkQueue()
        for _ in range(3):
            queue.add_soon("a")
        assert len(queue) == 0
        await asyncio.sleep(SOON_SECONDS)
        assert len(queue) == 1
        assert await queue.get() == "a"
        queue.done("a")

        queue.add_soon("a")
        queue.add("a")
        assert await queue.get() == "a"
        queue.done("a")
        await asyncio.sleep(2 * SOON_SECONDS)
        assert len(queue) == 0, "the visit saw what the event told"

    run_virtually(main())


def test_an_event_during_a_visit_is_looked_at_after_it() -> None:
    async def main() -> None:
        queue: WorkQueue[str] = WorkQueue()
        queue.add("a")
        assert await queue.get() == "a"
        queue.add_soon("a")
        await asyncio.sleep(2 * SOON_SECONDS)
        assert len(queue) == 0, "never at two workers"
        queue.done("a")
        assert len(queue) == 1

        queue.add_soon("b")
        queue.shutdown()
        await asyncio.sleep(2 * SOON_SECONDS)
        assert len(queue) == 0

    run_virtually(main())


def test_retries_double_from_a_fifth_of_a_second_to_a_minute_and_start_over_once_forgotten() -> None:
    async def main() -> None:
        queue: WorkQueue[str] = WorkQueue(jitter=lambda: 0.0)
        delays = [queue.retry("a") for _ in range(12)]
        assert delays[0] == FIRST_RETRY
        assert all(later == min(2 * sooner, LAST_RETRY) for sooner, later in pairwise(delays))
        assert delays[-1] == LAST_RETRY
        queue.forget("a")
        assert queue.retry("a") == FIRST_RETRY

    run_virtually(main())


def test_retries_are_spread_and_keep_what_the_server_asked_for() -> None:
    async def main() -> None:
        spread: WorkQueue[int] = WorkQueue()
        assert len({spread.retry(key) for key in range(50)}) > 40
        assert spread.retry(0, retry_after=7.5) == 7.5
        assert 0.8 * LAST_RETRY <= [spread.retry(1) for _ in range(3000)][-1] <= LAST_RETRY

    run_virtually(main())


def test_a_key_that_always_comes_back_keeps_nobody_waiting() -> None:
    async def main() -> None:
        queue: WorkQueue[str] = WorkQueue()
        queue.add("hot")
        visits = []
        for turn in range(30):
            key = await queue.get()
            visits.append(key)
            queue.add("hot")
            queue.done(key)
            if turn % 10 == 0:
                queue.add(f"cold{turn}")
        for turn in (0, 10, 20):
            assert f"cold{turn}" in visits[turn + 1 : turn + 3]

    run_virtually(main())


def test_a_retry_waits_while_other_keys_go_on() -> None:
    async def main() -> list[tuple[str, float]]:
        queue: WorkQueue[str] = WorkQueue()
        loop = asyncio.get_running_loop()
        visits: list[tuple[str, float]] = []
        queue.add("bad")
        queue.add("good")
        for _ in range(4):
            key = await queue.get()
            visits.append((key, loop.time()))
            if key == "bad":
                queue.retry(key, retry_after=10.0)
            queue.done(key)
            queue.add_after("good", 4.0)
        return visits

    visits = run_virtually(main())
    assert [key for key, _ in visits] == ["bad", "good", "good", "good"]
    assert [at for _, at in visits] == [0.0, 0.0, pytest.approx(4.0), pytest.approx(8.0)]


def test_a_worker_that_is_cancelled_as_it_wakes_leaves_the_key_to_another() -> None:
    async def main() -> str:
        queue: WorkQueue[str] = WorkQueue()
        first, second = (asyncio.create_task(queue.get()) for _ in range(2))
        await asyncio.sleep(0)
        queue.add("key")
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert first.cancelled()
        return await second

    assert run_virtually(main()) == "key"


def test_shutdown_wakes_the_workers_and_drops_what_waits() -> None:
    async def main() -> None:
        queue: WorkQueue[str] = WorkQueue()
        workers = [asyncio.create_task(queue.get()) for _ in range(3)]
        queue.add_after("later", 1.0)
        await asyncio.sleep(0)
        queue.shutdown()
        results = await asyncio.gather(*workers, return_exceptions=True)
        assert [type(result) for result in results] == [QueueClosedError] * 3
        queue.add("more")
        queue.add_after("more", 0.1)
        await asyncio.sleep(10.0)
        assert len(queue) == 0
        with pytest.raises(QueueClosedError):
            await queue.get()

    run_virtually(main())


def test_the_depth_is_a_metric() -> None:
    async def main() -> None:
        queue: WorkQueue[str] = WorkQueue()
        for key in "abc":
            queue.add(key)
        assert DEPTH._value.get() == 3
        await queue.get()
        assert DEPTH._value.get() == 2

    run_virtually(main())
