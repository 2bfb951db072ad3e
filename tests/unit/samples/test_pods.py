"""What the sampler counts: every request at most once, whatever pods and windows do."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from aiohttp import web

from ekiben.api.measured import Counters, Totals
from ekiben.samples.pods import Key
from unit.samples.bento import Bento
from unit.samples.world import CANARY, IRIS, STABLE, World


async def test_the_first_reading_is_the_baseline_and_later_requests_are_counted(world: World) -> None:
    pod = await world.pod()
    pod.bento.serve(100)
    first = await world.canary(pod)
    pod.bento.serve(7)
    assert (first.requests, (await world.canary(pod)).requests) == (0, 7)


async def test_each_kind_of_answer_is_counted_as_what_it_is(world: World) -> None:
    pod = await world.pod()
    await world.canary(pod)
    for code, count in {200: 10, 404: 1, 429: 2, 500: 3, 503: 4, 504: 5}.items():
        pod.bento.serve(count, code=code)
    pod.bento.serve(6, took=0.4)
    pod.bento.serve(50, endpoint="/readyz")
    assert await world.canary(pod) == Counters(
        requests=31, errors=12, sheds=6, sheds_5xx=4, slow={"300ms": 6}
    )


async def test_pods_are_summed_per_revision(world: World) -> None:
    stable, one, two = await world.pod(), await world.pod(), await world.pod()
    targets = {STABLE: (stable.target,), CANARY: (one.target, two.target)}
    await world.look(targets=targets)
    stable.bento.serve(90)
    one.bento.serve(4)
    two.bento.serve(6, code=500)
    seen = await world.look()
    assert {name: (c.requests, c.errors) for name, c in seen.counters.items()} == {
        STABLE: (90, 0),
        CANARY: (10, 6),
    }
    assert {name: s.pods_read for name, s in seen.scrapes.items()} == {STABLE: 1, CANARY: 2}
    assert (seen.window, seen.at) == ("iris.1/1", world.now)


async def test_a_pod_that_joins_brings_only_what_it_serves_from_then_on(world: World) -> None:
    old, new = await world.pod(), await world.pod()
    await world.canary(old)
    old.bento.serve(5)
    new.bento.serve(1000)
    await world.canary(old, new)
    new.bento.serve(2)
    assert (await world.canary(old, new)).requests == 7


async def test_a_pod_that_goes_leaves_its_requests_and_is_new_if_it_comes_back(world: World) -> None:
    staying, going = await world.pod(), await world.pod()
    await world.canary(staying, going)
    going.bento.serve(5)
    await world.canary(staying, going)
    going.bento.serve(100)
    assert (await world.canary(staying)).requests == 5
    assert (await world.canary(staying, going)).requests == 5
    going.bento.serve(1)
    assert (await world.canary(staying, going)).requests == 6


async def test_a_counter_that_falls_back_is_a_reset_and_a_new_baseline(world: World) -> None:
    pod = await world.pod()
    await world.canary(pod)
    pod.bento.serve(10)
    await world.canary(pod)
    pod.bento.restart()
    pod.bento.serve(3)
    fallen = await world.look()
    pod.bento.serve(4, code=500)
    seen = await world.look()
    assert (fallen.counters[CANARY].requests, fallen.resets[CANARY]) == (10, 1)
    assert (seen.counters[CANARY].requests, seen.counters[CANARY].errors, seen.resets[CANARY]) == (14, 4, 1)


async def test_a_reset_shows_although_the_sum_of_all_requests_grew(world: World) -> None:
    pod = await world.pod()
    pod.bento.serve(10, code=500)
    await world.canary(pod)
    pod.bento.restart()
    pod.bento.serve(500)
    assert (await world.look()).resets[CANARY] == 1


async def test_a_new_window_starts_at_zero_and_misses_nothing_since_the_last_look(world: World) -> None:
    pod = await world.pod()
    await world.canary(pod)
    pod.bento.serve(10)
    await world.canary(pod)
    pod.bento.serve(3)
    seen = await world.look(window="iris.1/2")
    assert (seen.window, seen.counters[CANARY].requests) == ("iris.1/2", 3)


async def test_a_new_window_is_looked_at_at_once(world: World) -> None:
    pod = await world.pod()
    await world.canary(pod)
    seen = await world.look(window="iris.1/2", interval=world.sampling.interval)
    assert (seen.window, pod.hits) == ("iris.1/2", 2)


async def test_a_pod_that_joins_is_looked_at_at_once(world: World) -> None:
    old, new = await world.pod(), await world.pod()
    await world.canary(old)
    await world.canary(old, new, interval=world.sampling.interval)
    assert (old.hits, new.hits) == (2, 1)


async def test_nothing_new_to_read_asks_for_no_look(world: World) -> None:
    pod = await world.pod()
    await world.canary(pod)
    for _ in range(3):
        world.ensure(interval=world.sampling.interval)
        await asyncio.sleep(0.02)
    assert pod.hits == 1


BASE = Totals(
    window="iris.1/1",
    stable=Counters(requests=900, errors=9, slow={"300ms": 1}),
    canary=Counters(requests=100, errors=5, sheds=4, sheds_5xx=3, slow={"300ms": 2}),
    resets=2,
)


async def test_what_the_status_counted_before_a_restart_is_counted_on(world: World) -> None:
    pod = await world.pod()
    await world.canary(pod, base=BASE)
    pod.bento.serve(10, code=503, took=0.4)
    seen = await world.look()
    assert seen.counters[CANARY] == Counters(
        requests=110, errors=15, sheds=14, sheds_5xx=13, slow={"300ms": 12}
    )
    assert seen.counters[STABLE] == BASE.stable
    assert seen.resets[CANARY] == 2


async def test_a_base_is_taken_once_so_a_status_that_lags_or_catches_up_changes_nothing(world: World) -> None:
    pod = await world.pod()
    await world.canary(pod)
    pod.bento.serve(10)
    written = Totals(window="iris.1/1", canary=await world.canary(pod))
    pod.bento.serve(5)
    assert (await world.canary(pod)).requests == 15
    assert (await world.canary(pod, base=written)).requests == 15


async def test_after_a_restart_what_the_status_did_not_learn_is_missed_and_nothing_is_doubled(
    world: World,
) -> None:
    pod = await world.pod()
    await world.canary(pod)
    pod.bento.serve(10)
    written = Totals(window="iris.1/1", canary=await world.canary(pod))
    pod.bento.serve(1000)
    await world.restart()
    assert (await world.canary(pod, base=written)).requests == 10
    pod.bento.serve(1)
    assert (await world.canary(pod)).requests == 11


async def test_a_base_of_another_window_counts_for_nothing(world: World) -> None:
    pod = await world.pod()
    assert (await world.canary(pod, base=BASE, window="iris.1/2")).requests == 0


async def test_a_window_may_start_from_the_base_of_its_own_name(world: World) -> None:
    pod = await world.pod()
    await world.canary(pod)
    pod.bento.serve(10)
    base = BASE.model_copy(update={"window": "iris.1/2"})
    assert (await world.canary(pod, window="iris.1/2", base=base)).requests == 110


async def test_a_bound_that_is_no_bucket_is_left_out_and_one_that_one_pod_lacks_too(world: World) -> None:
    old, new = await world.pod(bento=Bento(buckets=(0.1, 1.0))), await world.pod()
    bounds = {"300ms": 0.3, "7s": 7.0, "1s": 1.0}
    assert (await world.canary(new, bounds=bounds)).slow == {"300ms": 0, "1s": 0}
    assert (await world.canary(old, new)).slow == {"1s": 0}


async def test_a_bound_that_the_base_did_not_count_is_left_out(world: World) -> None:
    pod = await world.pod()
    base = Totals(window="iris.1/1", canary=Counters(requests=10, slow={"1s": 1}))
    assert (await world.canary(pod, base=base, bounds={"300ms": 0.3, "1s": 1.0})).slow == {"1s": 1}


async def test_another_service_name_takes_a_new_baseline(world: World) -> None:
    pod, other = await world.pod(), Bento("Other")

    async def both(request: web.Request) -> web.StreamResponse:
        return web.Response(body=pod.bento.page() + other.page())

    pod.answer = both
    other.serve(50)
    await world.canary(pod)
    assert (await world.canary(pod, service=None)).requests == 0
    other.serve(2)
    assert (await world.canary(pod)).requests == 2


async def test_another_bound_takes_a_new_baseline(world: World) -> None:
    pod = await world.pod()
    await world.canary(pod, bounds={})
    pod.bento.serve(50, took=2.0)
    counted = await world.canary(pod, bounds={"1s": 1.0})
    assert (counted.requests, counted.slow) == (0, {"1s": 0})
    pod.bento.serve(2, took=2.0)
    counted = await world.canary(pod, bounds={"1s": 1.0})
    assert (counted.requests, counted.slow) == (2, {"1s": 2})


async def test_quiet_since_is_the_last_time_that_counters_moved(world: World) -> None:
    pod = await world.pod()
    quiet = [(await world.look(targets={CANARY: (pod.target,)})).scrapes[CANARY].quiet_since]
    first = world.now
    for served in (0, 0, 5, 0, 0):
        pod.bento.serve(served)
        pod.bento.serve(3, endpoint="/readyz")
        quiet.append((await world.look()).scrapes[CANARY].quiet_since)
    moved = first + timedelta(seconds=30)
    assert quiet == [None, first, first, None, moved, moved]


async def test_a_revision_is_not_quiet_while_one_of_its_pods_cannot_be_read(world: World) -> None:
    pod, dead = await world.pod(), await world.pod()
    await world.canary(pod, dead)
    first = world.now
    assert (await world.look()).scrapes[CANARY].quiet_since == first
    await dead.stop()
    assert (await world.look()).scrapes[CANARY].quiet_since is None


async def test_a_look_under_way_when_the_window_changes_counts_for_the_new_one(world: World) -> None:
    pod = await world.pod()
    await world.canary(pod)
    pod.bento.serve(5)
    page, reached, go_on = pod.bento.page(), asyncio.Event(), asyncio.Event()

    async def slowly(request: web.Request) -> web.StreamResponse:
        reached.set()
        await go_on.wait()
        return web.Response(body=page)

    pod.answer = slowly
    world.ensure()
    await reached.wait()
    pod.answer = None
    pod.bento.serve(2)
    asyncio.get_running_loop().call_later(0.05, go_on.set)
    seen = await world.look(window="iris.1/2")
    assert (seen.window, seen.counters[CANARY].requests) == ("iris.1/2", 7)


async def test_each_key_has_a_window_of_its_own(world: World) -> None:
    pod, other = await world.pod(), ("models", "other")
    await world.canary(pod)
    await world.look(other)
    pod.bento.serve(3)
    assert (await world.look(other, window="other.1/1")).counters[CANARY].requests == 3
    mine = world.sampler.observation(IRIS)
    assert mine is not None
    assert (mine.window, mine.counters[CANARY].requests) == ("iris.1/1", 0)


async def test_a_key_that_is_let_go_is_forgotten_and_its_pods_are_left_alone(world: World) -> None:
    pod = await world.pod()
    await world.canary(pod, interval=0.02)
    world.sampler.ensure(IRIS, None)
    world.sampler.ensure(IRIS, None)
    await asyncio.sleep(0.05)  # What was asked for before may still arrive.
    hits = pod.hits
    await asyncio.sleep(0.1)
    assert (pod.hits, world.sampler.observation(IRIS)) == (hits, None)
    pod.bento.serve(1000)
    assert (await world.canary(pod)).requests == 0


async def test_it_looks_again_by_itself_every_interval(world: World) -> None:
    pod, enough = await world.pod(), asyncio.Event()

    async def counted(request: web.Request) -> web.StreamResponse:
        if pod.hits == 4:
            enough.set()
        return web.Response(body=pod.bento.page())

    def take_in(key: Key) -> None:
        world.sampler.observation(key)

    pod.answer = counted
    await world.restart(on_observation=take_in)
    world.ensure(targets={CANARY: (pod.target,)}, interval=0.02)
    async with asyncio.timeout(10):
        await enough.wait()


async def test_what_nobody_takes_in_is_not_looked_at_again_until_what_is_read_changes(world: World) -> None:
    pod = await world.pod()
    await world.restart(on_observation=lambda key: None)
    world.ensure(targets={CANARY: (pod.target,)}, interval=0.02)

    async def hits() -> int:
        await asyncio.sleep(0.3)
        return pod.hits

    assert await hits() == 1
    assert world.sampler.observation(IRIS) is not None
    assert await hits() == 2
    world.ensure(interval=0.02, window="iris.1/2")
    assert await hits() == 3


async def test_closing_leaves_no_task_and_no_connection(world: World) -> None:
    pod = await world.pod()
    before = asyncio.all_tasks()
    for number in range(5):
        await world.look(("models", f"m{number}"), targets={CANARY: (pod.target,)}, interval=0.02)
    await world.sampler.close()
    names = {task.get_name() for task in asyncio.all_tasks() - before}
    assert not [name for name in names if name.startswith("sample ")]
    await asyncio.sleep(0.05)  # What was asked for before may still arrive.
    hits = pod.hits
    await asyncio.sleep(0.1)
    assert pod.hits == hits


async def test_a_listener_that_breaks_does_not_end_the_reading(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    pod, twice, calls = await world.pod(), asyncio.Event(), []

    def listen(key: Key) -> None:
        calls.append(key)
        if len(calls) == 2:
            twice.set()
        raise RuntimeError("broken listener")

    await world.restart(on_observation=listen)
    world.ensure(targets={CANARY: (pod.target,)}, interval=0.02)
    async with asyncio.timeout(10):
        await twice.wait()
    assert "a look at the pods of models/iris failed" in caplog.text


async def test_a_pod_that_is_not_to_be_measured_any_more_is_left_out_of_the_look_under_way(
    world: World,
) -> None:
    asked, go = asyncio.Event(), asyncio.Event()

    async def late(request: web.Request) -> web.StreamResponse:
        asked.set()
        await go.wait()
        return web.Response(body=pod.bento.page())

    pod, other = await world.pod(), await world.pod()
    await world.canary(pod, other)
    pod.answer = late
    targets = {CANARY: (pod.target, other.target)}
    looking = asyncio.create_task(world.look(targets=targets))
    await asked.wait()
    world.sampler.ensure(IRIS, replace(world.sampling, targets={CANARY: (other.target,)}))
    pod.bento.serve(40)
    go.set()
    assert (await looking).counters[CANARY].requests == 0
