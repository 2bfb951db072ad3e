"""What is written while others write too, and what is read by who may not see everything."""

from __future__ import annotations

from typing import Any, cast

import pytest

from ekiben.cli.cluster import Cluster
from ekiben.cli.exits import CommandError, Exit
from ekiben.cli.steering import steer
from ekiben.cli.why import Surroundings
from ekiben.kube.client import ApiError, Client
from unit.cli import world
from unit.cli.world import Json

CHANGE: Json = {"spec": {"rollout": {"paused": True}}}


class Server:
    """One model behind a client; `meanwhile` happens before each of the next patches arrives."""

    def __init__(self, raw: Json | None, *meanwhile: Json, served: bool = True) -> None:
        self.raw = raw
        self.meanwhile = list(meanwhile)
        self.patches: list[Json] = []
        self.served = served

    async def get(self, kind: Any, namespace: str, name: str) -> Json | None:
        return self.raw

    async def serves(self, kind: Any) -> bool:
        return self.served

    async def list(self, kind: Any, *rest: Any) -> Any:
        raise ApiError(403, "Forbidden", f"{kind.plural} is forbidden")

    async def patch_merge(self, kind: Any, namespace: str, name: str, body: Json) -> Json:
        assert self.raw is not None
        self.patches.append(body)
        if self.meanwhile:
            self.raw = {**self.raw, "metadata": {**self.raw["metadata"], **self.meanwhile.pop(0)}}
        about = self.raw["metadata"]
        if any(about[key] != value for key, value in body["metadata"].items()):
            raise ApiError(409, "Conflict", "the object has been modified")
        return self.raw


def cluster(server: Server) -> Cluster:
    """Return a namespace of that server."""
    return Cluster(cast(Client, server), "shop")


async def test_a_status_written_meanwhile_is_no_reason_to_give_up() -> None:
    facts = world.serving()
    server = Server(facts.raw, {"resourceVersion": "900"}, {"resourceVersion": "901"})
    await cluster(server).patch(facts, CHANGE, guarded=True)
    assert [body["metadata"]["resourceVersion"] for body in server.patches] == ["812", "900", "901"]
    assert all(body["spec"] == CHANGE["spec"] for body in server.patches)


@pytest.mark.parametrize("meanwhile", [{"resourceVersion": "900", "generation": 4}, {"uid": "another"}])
async def test_a_spec_changed_meanwhile_is_looked_at_again(meanwhile: Json) -> None:
    facts = world.serving()
    server = Server(facts.raw, meanwhile)
    with pytest.raises(CommandError, match="was changed at the same time"):
        await cluster(server).patch(facts, CHANGE, guarded=True)


async def test_a_command_that_names_its_rollout_waits_for_nobody() -> None:
    facts = world.in_flight()
    server = Server(facts.raw, {"resourceVersion": "900", "generation": 4})
    options: Any = type("Options", (), {"name": "iris", "verb": "abort", "dry_run": False})
    assert await steer(cluster(server), options) is Exit.OK
    assert [body["metadata"] for body in server.patches] == [{"uid": facts.uid}]


async def test_a_model_of_the_same_name_made_anew_is_not_written_to() -> None:
    facts = world.in_flight()
    server = Server({**facts.raw, "metadata": {**facts.raw["metadata"], "uid": "another"}})
    with pytest.raises(CommandError):
        await cluster(server).patch(facts, CHANGE, guarded=False)


async def test_who_may_not_list_pods_is_told_so_and_gets_the_rest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    facts = world.serving()
    assert await cluster(Server(facts.raw)).around(facts) == Surroundings()
    said = capsys.readouterr().err
    assert "note: you may not list pods in shop: they are left out" in said
    assert "deployments" in said


@pytest.mark.parametrize(
    ("served", "says"),
    [(True, "no ModelDeployment iris in namespace shop"), (False, "install Ekiben's chart")],
)
async def test_what_is_missing_is_told_apart_from_what_is_not_installed(served: bool, says: str) -> None:
    with pytest.raises(CommandError, match=says) as missing:
        await cluster(Server(None, served=served)).model("iris")
    assert missing.value.code is Exit.NOT_FOUND
