"""The store holds the newest that is known, whoever said it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ekiben.kube.store import Entry, Store

Manifest = dict[str, Any]


def item(version: int, name: str = "iris", uid: str = "u1", **about: Any) -> Manifest:
    """A child at some version."""
    metadata = {"namespace": "ns", "name": name, "uid": uid, "resourceVersion": str(version)}
    return {"metadata": metadata | about, "at": version}


class Recording(Store):
    """A store that remembers what it told, as (version before, version after)."""

    def __init__(self) -> None:
        self.told: list[tuple[int | None, int | None]] = []
        super().__init__(on_change=self.tell)

    def tell(self, old: Manifest | None, new: Manifest | None) -> None:
        self.told.append((old["at"] if old else None, new["at"] if new else None))

    def says(self, written: Manifest) -> Entry:
        """What a list or an event brings."""
        entry = self.prepare(written)
        assert entry is not None
        return entry

    def at(self, name: str = "iris") -> int | None:
        """The version that is held."""
        found = self.get("ns", name)
        return found["at"] if found else None


@pytest.fixture
def store() -> Recording:
    return Recording()


def test_the_answer_to_our_write_is_read_at_once_and_its_event_is_no_change(store: Recording) -> None:
    store.put(store.says(item(5)))
    store.note_written(item(7))
    assert store.at() == 7
    store.put(store.says(item(6)))
    store.put(store.says(item(7)))
    assert store.at() == 7
    store.put(store.says(item(8)))
    assert store.told == [(None, 5), (5, 7), (7, 8)]


def test_the_answer_to_our_write_gives_way_to_what_came_after_it(store: Recording) -> None:
    store.put(store.says(item(9)))
    store.note_written(item(7))
    assert store.at() == 9


def test_an_answer_that_comes_after_the_deletion_does_not_bring_the_object_back(store: Recording) -> None:
    store.put(store.says(item(5)))
    store.drop(store.says(item(8)))
    store.note_written(item(7))
    assert store.at() is None
    store.put(store.says(item(10, uid="u2")))
    assert store.at() == 10


def test_news_from_before_our_deletion_does_not_bring_the_object_back(store: Recording) -> None:
    store.put(store.says(item(5)))
    store.note_deleted("ns", "iris", "u1")
    store.put(store.says(item(6)))
    store.replace([store.says(item(6))], 6)
    assert store.at() is None
    store.drop(store.says(item(7)))
    assert store.told == [(None, 5), (5, None)]


def test_our_deletion_leaves_a_newer_object_of_the_same_name(store: Recording) -> None:
    store.put(store.says(item(9, uid="u2")))
    store.note_deleted("ns", "iris", "u1")
    store.drop(store.says(item(7)))
    assert store.at() == 9


def test_an_object_that_left_the_selection_may_come_back(store: Recording) -> None:
    store.put(store.says(item(5)))
    store.drop(store.says(item(6)))
    store.put(store.says(item(7)))
    assert store.at() == 7


def test_a_list_deletes_what_it_misses_but_not_what_we_wrote_after_it(store: Recording) -> None:
    for version, name in ((5, "old"), (6, "listed"), (30, "ours")):
        store.put(store.says(item(version, name, uid=name)))
    store.replace([store.says(item(6, "listed", uid="listed")), store.says(item(9, "new", uid="new"))], 20)
    assert [found["at"] for found in store.all()] == [6, 9, 30]
    assert store.told[3:] == [(5, None), (None, 9)]


def test_a_list_that_is_older_than_our_write_does_not_undo_it(store: Recording) -> None:
    store.note_written(item(30))
    store.replace([store.says(item(6))], 20)
    assert store.at() == 30


def test_another_history_replaces_everything(store: Recording) -> None:
    store.put(store.says(item(900)))
    store.note_deleted("ns", "gone", "u2")
    store.forget_versions()
    store.replace([store.says(item(6)), store.says(item(7, "gone", uid="u2"))], 20)
    assert (store.at(), store.at("gone")) == (6, 7)


def test_what_is_trimmed_away_is_still_found_by_owner_and_model() -> None:
    store = Store(trim=lambda full: {"kept": full["at"]})
    owner = [{"uid": "guest"}, {"uid": "owner", "controller": True}]
    store.note_written(item(1, labels={"ekiben.dev/model": "iris"}, ownerReferences=owner))
    assert store.by_owner("owner") == store.by_model("ns", "iris") == [{"kept": 1}]
    assert store.by_owner("guest") == store.by_model("other", "iris") == []
    store.note_deleted("ns", "iris", "u1")
    assert store.by_owner("owner") == store.by_model("ns", "iris") == []


def test_a_trim_that_fails_keeps_the_object_whole(caplog: pytest.LogCaptureFixture) -> None:
    def fail(full: Manifest) -> Manifest:
        raise KeyError("spec")

    store = Store(trim=fail)
    store.note_written(item(1))
    assert store.get("ns", "iris") == item(1)
    assert "could not be trimmed" in caplog.text


def test_cluster_wide_objects_have_no_namespace() -> None:
    store = Store()
    store.note_written({"metadata": {"name": "traefik", "uid": "u", "resourceVersion": "3"}})
    assert store.get(None, "traefik") is not None


def test_the_memory_of_deleted_objects_is_bounded() -> None:
    store = Store()
    for number in range(20_000):
        store.note_deleted("ns", "iris", f"u{number}")
    assert len(store._gone) < 10_000


NAMES = st.sampled_from(["a", "b", "c"])
OWNERS = st.sampled_from(["", "o1", "o2"])
MODELS = st.sampled_from(["", "m1", "m2"])
STEPS = st.lists(st.tuples(st.sampled_from(["put", "drop", "list"]), NAMES, OWNERS, MODELS), max_size=40)


@given(STEPS)
def test_indexes_agree_with_the_objects_whatever_happens(steps: list[tuple[str, str, str, str]]) -> None:
    store = Recording()
    versions: Iterator[int] = count(1)
    for step, name, owner, model in steps:
        version = next(versions)
        about: Manifest = {"labels": {"ekiben.dev/model": model} if model else {}}
        about["ownerReferences"] = [{"uid": owner, "controller": True}] if owner else None
        entry = store.says(item(version, name, uid=name, **about))
        if step == "put":
            store.put(entry)
        elif step == "drop":
            store.drop(entry)
        else:
            store.replace([entry], version)
    everything = store.all()
    for owner in ("o1", "o2"):
        expected = [found for found in everything if owner in str(found["metadata"]["ownerReferences"])]
        assert store.by_owner(owner) == expected
    for model in ("m1", "m2"):
        assert store.by_model("ns", model) == [
            found for found in everything if found["metadata"]["labels"].get("ekiben.dev/model") == model
        ]
    assert store._by_owner.keys() <= {"o1", "o2"}
    assert len(everything) == sum((old is None) - (new is None) for old, new in store.told)


def test_an_object_that_is_not_wanted_any_more_counts_as_deleted_until_it_is_again() -> None:
    told: list[tuple[str, ...]] = []

    def note(old: Manifest | None, new: Manifest | None) -> None:
        told.append(
            tuple((item or {}).get("metadata", {}).get("labels", {}).get("shard", "-") for item in (old, new))
        )

    store = Store(on_change=note, wanted=lambda item: item["metadata"]["labels"]["shard"] == "a")
    for version, shard in ((1, "b"), (2, "a"), (3, "b"), (2, "a"), (4, "b"), (5, "a")):
        about = {"name": "iris", "namespace": "lab", "uid": "u", "resourceVersion": str(version)}
        store.note_written({"metadata": {**about, "labels": {"shard": shard}}})
    assert told == [("-", "a"), ("a", "-"), ("-", "a"), ("a", "-"), ("-", "a")]
    assert store.get("lab", "iris") is not None
