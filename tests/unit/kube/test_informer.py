"""An informer's store becomes what the server has, whatever happens on the way."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import math
import time
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import pytest

from ekiben.kube.client import ApiError, Client
from ekiben.kube.informer import EVENTS, Informer, Timing
from ekiben.kube.kinds import SERVICE
from unit.fake_client import FakeClient
from unit.kube.conftest import eventually
from unit.kube.list_watch_server import ListWatchServer, Manifest, service

QUICK = Timing(inactivity=0.5, absent=(0.01, 0.02), backoff_first=0.01, backoff_last=0.05)


class Told:
    """The changes that an informer told, in words."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def __call__(self, old: Manifest | None, new: Manifest | None) -> None:
        about = (new or old or {})["metadata"]
        verb = "added" if old is None else "deleted" if new is None else "changed"
        self.words.append(f"{about['name']} {verb}")


@contextlib.asynccontextmanager
async def running(client: Client, told: Told | None = None, **options: Any) -> AsyncIterator[Informer]:
    """An informer that has listed; its store equals the server's objects when it ends well."""
    informer = Informer(client, SERVICE, timing=QUICK, on_change=told, **options)
    informer.start()
    try:
        await asyncio.wait_for(informer.synced.wait(), 15)
        yield informer
    finally:
        await informer.stop()


def versions(items: Iterable[Manifest]) -> dict[str, str]:
    return {item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in items}


def knows(informer: Informer, server: ListWatchServer) -> Callable[[], bool]:
    """Tell whether the store holds what the server holds, at the same versions."""

    def equal() -> bool:
        return versions(informer.store.all()) == versions(server.objects.values())

    return equal


async def watching(server: ListWatchServer, count: int = 1) -> None:
    await eventually(lambda: len(server.watched_from) >= count and bool(server.watches), "a watch")


async def bookmarked(server: ListWatchServer) -> None:
    """Send a bookmark, and wait until it has arrived."""
    received = EVENTS.labels("services", "BOOKMARK")
    before = received._value.get()
    server.bookmark()
    await eventually(lambda: received._value.get() > before, "a bookmark")


async def test_it_lists_page_by_page_and_then_follows(server: ListWatchServer, client: Client) -> None:
    for number in range(1201):
        server.put(service(f"s{number}"))
    told = Told()
    async with running(client, told) as informer:
        assert knows(informer, server)()
        assert len(told.words) == 1201
        server.put(service("s0", changed="yes"))
        server.put(service("new"))
        server.delete("s1")
        await eventually(knows(informer, server), "the changes")
    assert told.words[1201:] == ["s0 changed", "new added", "s1 deleted"]
    assert [request.get("continue") for request in server.lists] == [None, "500", "1000"]
    found = informer.store.get("ns", "s5")
    assert found is not None
    assert (found["apiVersion"], found["kind"]) == ("v1", "Service")


async def test_what_vanished_while_nobody_watched_is_told_as_deleted(
    server: ListWatchServer, client: Client
) -> None:
    for name in ("stays", "changes", "vanishes"):
        server.put(service(name))
    told = Told()
    async with running(client, told) as informer:
        await watching(server)
        server.silent = True
        server.put(service("changes", changed="yes"))
        server.put(service("comes"))
        server.delete("vanishes")
        server.forget_history()
        server.drop_watches()
        server.silent = False
        await eventually(knows(informer, server), "the new list")
        assert len(server.lists) == 2
    assert told.words[3:] == ["vanishes deleted", "changes changed", "comes added"]


async def test_a_connection_that_breaks_is_taken_up_where_it_ended(
    server: ListWatchServer, client: Client
) -> None:
    server.put(service("first"))
    told = Told()
    async with running(client, told) as informer:
        await watching(server)
        server.put(service("second"))
        await eventually(knows(informer, server), "the second object")
        server.silent = True
        server.put(service("third"))
        server.drop_watches()
        server.silent = False
        await eventually(knows(informer, server), "the third object")
    assert server.watched_from[:2] == [101, 102]
    assert len(server.lists) == 1
    assert told.words == ["first added", "second added", "third added"]


async def test_it_goes_on_from_a_bookmark(server: ListWatchServer, client: Client) -> None:
    async with running(client):
        await watching(server)
        server.version = 500
        await bookmarked(server)
        server.drop_watches()
        await watching(server, 2)
    assert server.watched_from[:2] == [100, 500]
    assert len(server.lists) == 1


async def test_a_watch_that_falls_silent_is_replaced(server: ListWatchServer, client: Client) -> None:
    async with running(client) as informer:
        await watching(server)
        await bookmarked(server)
        server.silent = True
        server.put(service("unheard"))
        await watching(server, 2)
        assert len(server.lists) == 1
        server.silent = False
        server.put(service("heard"))
        await eventually(knows(informer, server), "what was not heard")


async def test_a_watch_without_bookmarks_may_be_silent(server: ListWatchServer, client: Client) -> None:
    async with running(client) as informer:
        await watching(server)
        await asyncio.sleep(2.5 * QUICK.inactivity)
        server.put(service("late"))
        await eventually(knows(informer, server), "the late object")
    assert len(server.watched_from) == 1


async def test_a_kind_that_is_missing_counts_as_empty_and_is_looked_for(
    server: ListWatchServer, client: Client
) -> None:
    server.present = False
    told = Told()
    async with running(client, told) as informer:
        assert not informer.present
        assert informer.store.all() == []
        assert informer.age(time.monotonic()) < 10
        server.put(service("first"))
        server.present = True
        await eventually(lambda: informer.present, "the kind is there")
        await eventually(knows(informer, server), "its object")
        await watching(server)
        server.present = False
        server.drop_watches()
        await eventually(lambda: not informer.present, "the kind is gone")
        assert informer.store.all() == []
    assert told.words == ["first added", "first deleted"]


async def test_only_the_asked_for_labels_and_namespace_are_listed_and_watched(
    server: ListWatchServer, client: Client
) -> None:
    async with running(client, namespace="ns", label_selector="app in (a,b)"):
        await watching(server)
    assert [request["labelSelector"] for request in server.requests[:2]] == ["app in (a,b)"] * 2
    assert server.requests[1]["allowWatchBookmarks"] == "true"
    assert 240 <= int(server.requests[1]["timeoutSeconds"]) <= 300


async def test_objects_are_kept_without_managed_fields_and_trimmed(
    server: ListWatchServer, client: Client
) -> None:
    def trim(item: Manifest) -> Manifest:
        return {"metadata": item["metadata"], "ports": item["spec"]["ports"]}

    bulky = service("bulky") | {"spec": {"ports": [1], "other": 2}}
    bulky["metadata"]["managedFields"] = [{"manager": "somebody"}]
    server.put(bulky)
    server.put(service("odd") | {"spec": None})
    async with running(client, trim=trim) as informer:
        kept = informer.store.get("ns", "bulky")
        assert kept is not None
        assert kept["ports"] == [1]
        assert "spec" not in kept
        assert "managedFields" not in kept["metadata"]
        odd = informer.store.get("ns", "odd")
        assert odd is not None
        assert odd["spec"] is None


async def test_a_listener_that_fails_stops_nothing(server: ListWatchServer, client: Client) -> None:
    def fail(old: Manifest | None, new: Manifest | None) -> None:
        raise ValueError("a bug in the listener")

    informer = Informer(client, SERVICE, timing=QUICK, on_change=fail)
    server.put(service("first"))
    informer.start()
    await informer.synced.wait()
    server.put(service("second"))
    await eventually(knows(informer, server), "both objects")
    await informer.stop()
    assert len(server.lists) == 1


def event(kind: object, item: object) -> bytes:
    return json.dumps({"type": kind, "object": item}).encode()


GARBLED = {
    "no JSON": b"<html>502 Bad Gateway</html>",
    "no event": b"[1, 2]",
    "no type": b'{"object": {}}',
    "no object": event("ADDED", None),
    "a type of no kind": event("RENAMED", {"metadata": {"name": "x", "resourceVersion": "500"}}),
    "a type that is no word": event({"a": 1}, {}),
    "no metadata": event("ADDED", {"spec": {}}),
    "metadata that are none": event("MODIFIED", {"metadata": ["name"]}),
    "no version": event("ADDED", {"metadata": {"name": "x"}}),
    "a version that is none": event("ADDED", {"metadata": {"name": "x", "resourceVersion": "now"}}),
    "a version beyond numbers": event("ADDED", {"metadata": {"name": "x", "resourceVersion": "9" * 5000}}),
    "a version of the past": event("ADDED", {"metadata": {"name": "x", "resourceVersion": "7"}}),
    "a bookmark of nothing": event("BOOKMARK", {}),
    "a bookmark of the past": event("BOOKMARK", {"metadata": {"resourceVersion": "7"}}),
    "a deep one": b"[" * 200_000,
    "no text": b"\xff\xfe\x00",
}


@pytest.mark.parametrize("line", GARBLED.values(), ids=GARBLED.keys())
async def test_a_garbled_event_leads_to_a_new_list(
    server: ListWatchServer, client: Client, line: bytes
) -> None:
    server.put(service("known"))
    told = Told()
    async with running(client, told) as informer:
        await watching(server)
        server.say(line)
        await eventually(lambda: len(server.lists) >= 2, "a new list")
        await watching(server, 2)
        server.put(service("later"))
        await eventually(knows(informer, server), "the truth")
    assert told.words == ["known added", "later added"]


HOSTILE = {
    "labels that are a list": {"labels": ["a"]},
    "a label that is a number": {"labels": {"ekiben.dev/model": 7}},
    "owners that are a word": {"ownerReferences": "me"},
    "owners that are nothing": {"ownerReferences": [None, 3]},
    "an owner without uid": {"ownerReferences": [{"controller": True}]},
    "a namespace that is nothing": {"namespace": None},
}


@pytest.mark.parametrize("about", HOSTILE.values(), ids=HOSTILE.keys())
async def test_odd_metadata_is_kept_and_found_by_name(
    server: ListWatchServer, client: Client, about: Manifest
) -> None:
    item = service("odd")
    item["metadata"].update(copy.deepcopy(about))
    server.put(item)
    async with running(client) as informer:
        found = informer.store.get(item["metadata"]["namespace"], "odd")
        assert found is not None
        assert informer.store.by_owner("") == []
        server.put(copy.deepcopy(item))
        server.delete("odd")
        await eventually(lambda: len(informer.store) == 0, "the deletion")


async def test_a_restored_backup_is_believed(server: ListWatchServer, client: Client) -> None:
    server.version = 5000
    server.put(service("kept", value="new"))
    server.put(service("made-since"))
    told = Told()
    async with running(client, told) as informer:
        await watching(server)
        server.silent = True
        server.version = 300
        server.history.clear()
        server.objects.clear()
        server.put(service("kept", value="old"))
        server.silent = False
        server.oldest = 10**6
        server.drop_watches()
        await eventually(lambda: len(server.lists) >= 2, "a new list")
        server.oldest = 0
        await eventually(knows(informer, server), "the older objects")
        found = informer.store.get("ns", "kept")
        assert found is not None
        assert found["metadata"]["labels"] == {"value": "old"}
        await watching(server, 2)
        server.put(service("kept", value="newest"))
        await eventually(knows(informer, server), "what comes after")
    assert told.words[2:4] == ["made-since deleted", "kept changed"]


async def test_a_watch_from_the_future_of_a_restored_backup_ends_in_a_list(
    server: ListWatchServer, client: Client
) -> None:
    server.version = 5000
    server.put(service("lost"))
    async with running(client) as informer:
        await watching(server)
        await bookmarked(server)
        server.version = 300
        server.history.clear()
        server.objects.clear()
        server.put(service("restored"))
        server.drop_watches()
        await eventually(knows(informer, server), "the older objects")
        await eventually(lambda: server.watched_from[-1] == 301, "a watch from the new list")
    # One watch before the loss, and two that fall silent after it.
    assert server.watched_from == [5001, 5001, 5001, 301]


@pytest.mark.parametrize("code", [500, 503, 429, 401, 403, 400])
async def test_refusals_are_outlasted(server: ListWatchServer, client: Client, code: int) -> None:
    server.refusals = [(code, {})] * 3
    server.put(service("first"))
    async with running(client) as informer:
        assert knows(informer, server)()
        await watching(server)
        server.refusals = [(code, {})] * 3
        server.drop_watches()
        await eventually(lambda: not server.refusals, "the refusals")
        server.put(service("second"))
        await eventually(knows(informer, server), "the second object")
        assert informer.problem == ""


async def test_a_list_that_expires_between_two_pages_is_begun_again(
    server: ListWatchServer, client: Client
) -> None:
    for number in range(600):
        server.put(service(f"s{number}"))
    server.expiring_pages = 2
    async with running(client) as informer:
        assert knows(informer, server)()
    assert [request.get("continue") for request in server.lists] == [None, "500"] * 3


def test_a_server_that_asks_for_time_gets_it(client_less: Informer) -> None:
    pause = client_less._after(ApiError(429, "TooManyRequests", "later", retry_after=17.0))
    assert pause == 17.0
    assert client_less.problem.startswith("429")


@pytest.fixture
def client_less() -> Informer:
    """An informer that is not started."""
    return Informer(FakeClient(), SERVICE)


async def test_the_age_is_how_long_ago_the_server_spoke(server: ListWatchServer, client: Client) -> None:
    informer = Informer(client, SERVICE, timing=QUICK)
    assert informer.age(time.monotonic()) == math.inf
    before = time.monotonic()
    informer.start()
    await informer.synced.wait()
    after = time.monotonic()
    assert 1000 <= informer.age(after + 1000) <= 1000 + after - before
    await informer.stop()


async def test_an_informer_may_be_stopped_at_any_time_and_started_once(
    server: ListWatchServer, client: Client
) -> None:
    informer = Informer(client, SERVICE, timing=QUICK)
    await informer.stop()
    informer.start()
    informer.start()
    await informer.synced.wait()
    await watching(server)
    await informer.stop()
    await informer.stop()
    assert len(server.lists) == 1


def test_backoff_doubles_from_one_second_to_thirty_and_is_spread() -> None:
    timing = Timing()
    for failures, longest in enumerate([1, 2, 4, 8, 16, 30, 30, 30]):
        pauses = [timing.backoff(failures) for _ in range(100)]
        assert all(longest / 2 <= pause <= longest for pause in pauses)
        assert len(set(pauses)) > 50
    assert timing.backoff(10**6) <= 30
