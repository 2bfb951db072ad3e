"""Events are counted, limited, bounded and never in the way."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ekiben.core.plan import Event
from ekiben.kube.client import ApiError, Client
from ekiben.kube.kinds import EVENT, Kind
from ekiben.kube.recorder import BURST, LONGEST_NOTE, REFILL_SECONDS, WINDOW, Recorder, shorten

Manifest = dict[str, Any]
IRIS = {"apiVersion": "ekiben.dev/v1alpha1", "kind": "ModelDeployment", "namespace": "ns", "name": "iris"}


class Events(Client):
    """A client that keeps Events in memory, and fails or waits on request."""

    def __init__(self) -> None:
        self.stored: dict[str, Manifest] = {}
        self.problem: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.requests = 0

    async def create(self, kind: Kind, namespace: str | None, body: Manifest) -> Manifest:
        await self._pass()
        assert kind is EVENT
        assert body["metadata"]["namespace"] == namespace
        self.stored[body["metadata"]["name"]] = body
        return body

    async def patch_merge(
        self, kind: Kind, namespace: str | None, name: str, body: Manifest, subresource: str | None = None
    ) -> Manifest:
        await self._pass()
        if name not in self.stored:
            raise ApiError(404, "NotFound", name)
        self.stored[name].update(body)
        return self.stored[name]

    async def _pass(self) -> None:
        self.requests += 1
        await self.gate.wait()
        if self.problem:
            raise self.problem

    def counts(self) -> list[tuple[str, int]]:
        """What is said, and how often."""
        return sorted(
            (event["note"], event.get("series", {}).get("count", 1)) for event in self.stored.values()
        )


class Clock:
    """A clock to turn."""

    now = 5000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def recorder(events: Events, clock: Clock) -> Recorder:
    return Recorder(events, "ekiben.dev/operator", "ekiben-0", clock)


async def say(recorder: Recorder, note: str, uid: str = "u1") -> None:
    await recorder.event(IRIS | {"uid": uid}, "Normal", "Stepped", "Step", note)


async def test_repeats_are_counted_and_others_are_events_of_their_own(
    recorder: Recorder, events: Events
) -> None:
    for note in ("5%", "25%", "5%", "5%"):
        await say(recorder, note)
    await say(recorder, "5%", uid="u2")
    assert events.counts() == [("25%", 1), ("5%", 1), ("5%", 3)]


async def test_what_is_told_is_sent_while_the_caller_goes_on(recorder: Recorder, events: Events) -> None:
    events.gate.clear()
    for note in ("5%", "25%"):
        recorder.tell(IRIS | {"uid": "u1"}, Event("Normal", "Stepped", "Step", note))
    assert events.counts() == []
    events.gate.set()
    await recorder.close(grace=10)
    assert events.counts() == [("25%", 1), ("5%", 1)]


async def test_the_end_does_not_wait_for_a_server_that_does_not_answer(
    recorder: Recorder, events: Events
) -> None:
    events.gate.clear()
    recorder.tell(IRIS | {"uid": "u1"}, Event("Normal", "Stepped", "Step", "5%"))
    await recorder.close(grace=0.01)
    events.gate.set()
    await asyncio.sleep(0)
    assert (events.requests, events.counts()) == (1, [])


async def test_after_the_window_the_same_is_news_again(
    recorder: Recorder, events: Events, clock: Clock
) -> None:
    await say(recorder, "5%")
    clock.now += WINDOW - 1
    await say(recorder, "5%")
    clock.now += 1
    await say(recorder, "5%")
    assert events.counts() == [("5%", 1), ("5%", 2)]


async def test_an_object_has_an_allowance_and_others_have_theirs(
    recorder: Recorder, events: Events, clock: Clock
) -> None:
    for number in range(30):
        await say(recorder, f"noise {number}")
    assert len(events.stored) == BURST
    await say(recorder, "quiet", uid="u2")
    assert len(events.stored) == BURST + 1
    clock.now += REFILL_SECONDS
    await say(recorder, "later")
    await say(recorder, "too soon")
    assert ("later", 1) in events.counts()
    assert ("too soon", 1) not in events.counts()


async def test_a_count_that_was_limited_goes_out_with_the_next_repeat(
    recorder: Recorder, events: Events, clock: Clock
) -> None:
    for _ in range(20):
        await say(recorder, "again")
    assert events.counts() == [("again", BURST)]
    clock.now += REFILL_SECONDS
    await say(recorder, "again")
    assert events.counts() == [("again", 21)]


async def test_an_event_that_has_expired_is_written_anew(recorder: Recorder, events: Events) -> None:
    await say(recorder, "again")
    events.stored.clear()
    await say(recorder, "again")
    assert events.counts() == [("again", 2)]


async def test_an_event_that_failed_is_written_with_the_next_repeat(
    recorder: Recorder, events: Events
) -> None:
    events.problem = ApiError(503, "ServiceUnavailable", "away")
    await say(recorder, "again")
    events.problem = ValueError("a bug")
    await say(recorder, "again")
    events.problem = None
    await say(recorder, "again")
    assert events.counts() == [("again", 3)]


async def test_repeats_while_the_first_is_on_its_way_make_no_second_event(
    recorder: Recorder, events: Events
) -> None:
    events.gate.clear()
    first = asyncio.create_task(say(recorder, "again"))
    await asyncio.sleep(0)
    await say(recorder, "again")
    events.gate.set()
    await first
    await say(recorder, "again")
    assert events.counts() == [("again", 3)]


async def test_a_worker_that_is_stopped_is_not_held(recorder: Recorder, events: Events) -> None:
    events.gate.clear()
    saying = asyncio.create_task(say(recorder, "again"))
    await asyncio.sleep(0)
    saying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await saying
    events.gate.set()
    await say(recorder, "again")
    assert events.counts() == [("again", 2)]


async def test_memory_is_bounded(recorder: Recorder, events: Events) -> None:
    for number in range(10_000):
        await say(recorder, "hello", uid=f"u{number}")
    assert len(events.stored) == 10_000
    assert len(recorder._series) < 5000
    assert len(recorder._allowances) < 5000


async def test_names_and_notes_fit_whatever_is_said(recorder: Recorder, events: Events) -> None:
    regarding = IRIS | {"uid": "u", "name": "n" * 253}
    await recorder.event(regarding, "Warning", "Failed", "Roll", "\N{SNOWMAN}" * 5000 + "\ud800")
    ((name, event),) = events.stored.items()
    assert len(name) <= 253
    assert len(event["note"].encode()) <= LONGEST_NOTE


@pytest.mark.parametrize("text", ["", "short", "é" * 10, "x" * 11, "\N{SNOWMAN}" * 9])
def test_a_text_is_cut_between_characters(text: str) -> None:
    cut = shorten(text, 20)
    assert len(cut.encode()) <= 20
    assert cut == text or (cut.endswith("…") and text.startswith(cut[:-1]))
