"""Tracked ConfigMaps: followed while models track them, read when they changed, copied as they were read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

import pytest

from ekiben import following
from ekiben.copies import LostContentError, write_copy
from ekiben.core.plan import Copy
from ekiben.core.render import build_config_copy
from ekiben.core.snapshot import Content, Model
from ekiben.core.tracking import content_digest
from ekiben.following import Following, tracked_names
from ekiben.kube.client import ApiError
from ekiben.kube.kinds import CONFIGMAP, Kind
from unit.fake_client import FakeClient, Manifest
from unit.kube.conftest import eventually

IRIS, ROSE = ("shop", "iris"), ("shop", "rose")
MODEL = Model("shop", "iris", "model-uid", 1, "1")
BLUE: Manifest = {"data": {"colour": "blue"}, "binaryData": {"logo": "AAEC"}}
GREEN: Manifest = {"data": {"colour": "green"}}


class Server(FakeClient):
    """ConfigMaps that are watched by name, as metadata; test_config.py has the real API server for that."""

    def __init__(self) -> None:
        super().__init__()
        self.selected: list[str] = []
        self.streams: dict[str, asyncio.Queue[tuple[str, Manifest]]] = {}

    async def list_pages(
        self, kind: Kind, *_: Any, **narrowed: Any
    ) -> AsyncGenerator[tuple[list[Manifest], str], None]:
        assert narrowed["metadata_only"]
        name = narrowed["field_selector"].removeprefix("metadata.name=")
        self.selected.append(name)
        await self._ask("list", kind, name)
        held = self.objects.get((kind.plural, "shop", name))
        yield [{"metadata": dict(held["metadata"])}] if held else [], str(self._version)

    async def watch(self, *_: Any, **narrowed: Any) -> AsyncGenerator[tuple[str, Manifest], None]:
        name = narrowed["field_selector"].removeprefix("metadata.name=")
        stream = self.streams.setdefault(name, asyncio.Queue())
        while True:
            yield await stream.get()

    def write(self, name: str, held: Manifest, **metadata: Any) -> Manifest:
        """Write a ConfigMap, and tell whoever watches it."""
        about = {"name": name, "namespace": "shop", **metadata}
        written = self.put(CONFIGMAP, {**held, "metadata": about})
        stream = self.streams.setdefault(name, asyncio.Queue())
        stream.put_nowait(("MODIFIED", {"metadata": written["metadata"]}))
        return written

    async def create(self, kind: Kind, namespace: str | None, body: Manifest) -> Manifest:
        await self._ask("create", kind, body["metadata"]["name"])
        if (kind.plural, namespace, body["metadata"]["name"]) in self.objects:
            raise ApiError(409, "AlreadyExists", "there is one")
        return self.put(kind, body)


@pytest.fixture
async def server() -> Server:
    return Server()


@pytest.fixture
async def followed(server: Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Following]:
    """Follow with no pause between two reads."""
    monkeypatch.setattr(following, "SHORTEST", 0.01)
    monkeypatch.setattr(following, "AGAIN_SECONDS", 0.01)
    woken: list[tuple[str, str]] = []
    made = Following(server, woken.append)
    made.woken = woken  # type: ignore[attr-defined]
    yield made
    await made.stop()


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    await eventually(condition, "what the test waits for")


def reads(server: Server) -> int:
    """Count the reads of content."""
    return server.asked.count(("get", "configmaps", "flags"))


async def test_a_config_map_is_read_once_and_again_only_when_it_was_written(
    server: Server, followed: Following
) -> None:
    server.put(CONFIGMAP, {**BLUE, "metadata": {"name": "flags", "namespace": "shop"}})
    followed.ensure(IRIS, ["flags"])
    assert not followed.is_read(IRIS)
    await until(lambda: followed.is_read(IRIS))
    assert followed.contents(IRIS) == {"flags": Content(content_digest(BLUE))}
    await asyncio.sleep(0.05)
    assert (reads(server), server.selected) == (1, ["flags"])

    server.write("flags", GREEN)
    await until(lambda: followed.contents(IRIS) == {"flags": Content(content_digest(GREEN))})
    await asyncio.sleep(0.05)
    assert reads(server) == 2
    woken = followed.woken  # type: ignore[attr-defined]
    assert woken == [IRIS, IRIS]
    server.write("flags", GREEN, labels={"team": "a"})
    await until(lambda: reads(server) == 3)
    await asyncio.sleep(0.05)
    assert woken == [IRIS, IRIS], "labels are no content"


async def test_one_watch_serves_every_model_and_ends_with_the_last(
    server: Server, followed: Following
) -> None:
    followed.ensure(IRIS, ["flags"])
    followed.ensure(ROSE, ["flags", "rules"])
    await until(lambda: followed.is_read(IRIS) and followed.is_read(ROSE))
    assert sorted(server.selected) == ["flags", "rules"]
    assert followed.contents(ROSE) == {"flags": Content(), "rules": Content()}
    followed.ensure(IRIS, ())
    server.write("flags", BLUE)
    await until(lambda: followed.contents(ROSE)["flags"].digest is not None)
    followed.ensure(ROSE, ())
    assert followed.contents(ROSE) == {}
    assert followed.is_read(ROSE)
    before = len(server.asked)
    server.write("flags", GREEN)
    await asyncio.sleep(0.05)
    assert len(server.asked) == before


async def test_what_can_not_be_read_is_said_and_what_was_read_counts_on(
    server: Server, followed: Following
) -> None:
    server.put(CONFIGMAP, {**BLUE, "metadata": {"name": "flags", "namespace": "shop"}})
    server.fail("get", CONFIGMAP, ApiError(403, "Forbidden", "no"))
    followed.ensure(IRIS, ["flags"])
    await until(lambda: followed.is_read(IRIS))
    assert "Forbidden" in followed.contents(IRIS)["flags"].problem
    await until(lambda: followed.contents(IRIS) == {"flags": Content(content_digest(BLUE))})
    server.fail("get", CONFIGMAP, ApiError(503, "Unavailable", "away"), ApiError(0, "Network", "away"))
    server.write("flags", GREEN)
    seen = set()

    def is_green() -> bool:
        seen.add(followed.contents(IRIS)["flags"])
        return Content(content_digest(GREEN)) in seen

    await until(is_green)
    assert seen == {Content(content_digest(BLUE)), Content(content_digest(GREEN))}


@pytest.mark.parametrize(
    ("bento", "names"),
    [
        ({"trackedConfig": [{"configMap": "a"}, {"secret": "b"}, {"configMap": "c"}]}, {"a", "c"}),
        ({"trackedConfig": [7, {"configMap": 7}, None]}, set()),
        ({"trackedConfig": None}, set()),
        ("iris:1", set()),
        (None, set()),
    ],
)
def test_names_are_read_from_whatever_a_spec_holds(bento: Any, names: set[str]) -> None:
    assert tracked_names({"spec": {"bento": bento}}) == names
    assert tracked_names({}) == frozenset()


COPY = Copy("flags", content_digest(BLUE), build_config_copy(MODEL, "k7c4f9xw2p", "flags"))
NAME = COPY.manifest["metadata"]["name"]


async def test_a_copy_has_exactly_what_was_read_and_its_name_is_taken_from_nobody(server: Server) -> None:
    server.write("flags", BLUE)
    made = await write_copy(server, MODEL, COPY)
    assert made is not None
    assert {key: made[key] for key in ("data", "binaryData", "immutable")} == {**BLUE, "immutable": True}
    assert await write_copy(server, MODEL, COPY) == made, "one that is there already is the copy"


@pytest.mark.parametrize("held", [None, GREEN])
async def test_nothing_else_is_copied_than_what_the_revision_was_born_with(
    server: Server, held: Manifest | None
) -> None:
    if held:
        server.write("flags", held)
    with pytest.raises(LostContentError, match="put the old content back"):
        await write_copy(server, MODEL, COPY)
    assert server.writes() == []


async def test_somebody_elses_config_map_of_that_name_is_left_alone(server: Server) -> None:
    server.write("flags", BLUE)
    server.write(NAME, GREEN)
    assert await write_copy(server, MODEL, COPY) is None
    assert ("delete", "configmaps", NAME) not in server.asked


@pytest.mark.parametrize("wrong", [{**GREEN, "immutable": True}, BLUE])
async def test_a_copy_of_ours_that_is_wrong_is_made_again(server: Server, wrong: Manifest) -> None:
    server.write("flags", BLUE)
    server.write(NAME, wrong, ownerReferences=COPY.manifest["metadata"]["ownerReferences"])
    with pytest.raises(ApiError, match="Conflict"):
        await write_copy(server, MODEL, COPY)
    made = await write_copy(server, MODEL, COPY)
    assert made is not None
    assert content_digest(made) == COPY.digest


async def test_what_others_made_in_a_copys_place_is_looked_at_and_kept_only_if_it_is_the_copy(
    server: Server,
) -> None:
    owned = {"ownerReferences": COPY.manifest["metadata"]["ownerReferences"]}
    server.write("flags", GREEN)
    held = server.write(NAME, {**BLUE, "immutable": True}, **owned)
    kept = await write_copy(server, MODEL, COPY, doubtful=True)
    assert kept is not None
    assert kept["metadata"]["uid"] == held["metadata"]["uid"], "it is right, though the ConfigMap has changed"
    assert server.writes() == []

    server.write(NAME, {**GREEN, "immutable": True}, **owned)
    with pytest.raises(ApiError, match="Conflict"):
        await write_copy(server, MODEL, COPY, doubtful=True)
    assert server.writes() == [("delete", "configmaps", NAME)]
    with pytest.raises(LostContentError, match="put the old content back"):
        await write_copy(server, MODEL, COPY)
