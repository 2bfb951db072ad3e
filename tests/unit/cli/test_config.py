"""Tracked config in kubectl ekiben: which keys differ, what a plan waits for, what undo can't bring back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from ekiben.api.v1alpha1 import parse_spec
from ekiben.cli import wheel
from ekiben.cli.cluster import Cluster
from ekiben.cli.diff import config_lines, diff
from ekiben.cli.exits import CommandError
from ekiben.cli.facts import Facts
from ekiben.cli.history import chosen
from ekiben.cli.patches import merged
from ekiben.cli.plan import plan_for
from ekiben.core import names
from ekiben.core.revision import revision_of
from ekiben.core.snapshot import Content, Record
from ekiben.core.tracking import content_digest
from ekiben.kube.client import ApiError, Client
from unit.cli import world
from unit.cli.world import Json

BLUE: Json = {"data": {"colour": "blue", "size": "small"}}
GREEN: Json = {"data": {"colour": "green", "shape": "round"}, "binaryData": {"size": "AAEC"}}


def spec(tag: str = "v2", **more: Any) -> Json:
    """Return a spec that tracks a ConfigMap."""
    raw = world.spec(tag, **more)
    return {**raw, "bento": {**raw["bento"], "trackedConfig": [{"configMap": "flags"}]}}


def born(held: Json, **more: Any) -> Record:
    """Return the revision of that spec with this content."""
    found = revision_of(parse_spec(spec(**more)), config={"flags": Content(content_digest(held))})
    return replace(found, number=1)


def facts(held: Json | None, **more: Any) -> Facts:
    """Return a serving model that tracks flags, which hold this."""
    known = world.facts_of({**world.serving().raw, "spec": spec(**more)})
    return replace(known, config={"flags": Content(content_digest(held) if held else None)})


class Server:
    """ConfigMaps behind a client."""

    def __init__(self, *problems: int, **held: Json) -> None:
        self.held, self.problems = held, list(problems)

    async def get(self, kind: Any, namespace: str, name: str) -> Json | None:
        assert kind.plural == "configmaps"
        if self.problems:
            raise ApiError(self.problems[0], "Forbidden", "no")
        return self.held.get(name)


def cluster(server: Server) -> Cluster:
    return Cluster(cast(Client, server), "shop")


def test_the_spec_asks_for_what_its_config_makes_it() -> None:
    assert facts(BLUE).wanted == born(BLUE).revision
    assert facts(GREEN).wanted == born(GREEN).revision
    assert facts(None).wanted is None
    with pytest.raises(CommandError, match="ConfigMap that it tracks is missing"):
        chosen("spec", facts(None), {})


def test_keys_that_differ_are_named_and_no_value_is_shown() -> None:
    lines = config_lines({"flags": BLUE, "old": BLUE}, {"flags": GREEN, "new": BLUE})
    assert lines == ["ConfigMap flags: shape is new, colour differs, size differs"]
    assert config_lines({"flags": BLUE}, {"flags": BLUE}) == []
    assert "not kept" in config_lines({"flags": None}, {"flags": BLUE})[0]
    told = "\n".join(diff(born(BLUE), born(GREEN)))
    assert content_digest(GREEN) in told
    assert "green" not in told


async def test_what_a_revision_was_born_with_is_its_copy_else_the_original_if_that_still_is_it() -> None:
    record = born(BLUE)
    copy = names.config_copy("iris", record.revision, "flags")
    model = facts(GREEN)
    assert await cluster(Server(**{copy: BLUE, "flags": GREEN})).born_with(model, record) == {"flags": BLUE}
    assert await cluster(Server(flags=BLUE)).born_with(model, record) == {"flags": BLUE}
    assert await cluster(Server(flags=GREEN)).born_with(model, record) == {"flags": None}
    assert await cluster(Server(403)).born_with(model, record) == {"flags": None}


async def test_who_may_not_read_a_config_map_is_told_so() -> None:
    known = await cluster(Server(403)).known(facts(BLUE).raw)
    assert known.config == {"flags": Content(problem="you may not get ConfigMap flags")}
    assert known.wanted is None
    assert (await cluster(Server(flags=GREEN)).known(facts(BLUE).raw)).wanted == born(GREEN).revision


def test_a_plan_says_that_config_is_missing_and_begins_nothing() -> None:
    plan = plan_for(facts(None), world.serving(), {}, world.NOW)
    assert (plan.verdict, plan.revision, plan.steps) == ("Waits", "", ())
    assert "ConfigMap flags" in plan.says
    ready = plan_for(facts(BLUE), world.serving(), {}, world.NOW)
    assert (ready.verdict, ready.revision) == ("NewRevision", born(BLUE).revision)


def test_a_plan_says_that_a_secret_must_be_immutable() -> None:
    raw = spec()
    raw["bento"]["trackedConfig"].append({"secret": "key-v3"})
    new = world.facts_of({**world.serving().raw, "spec": raw})
    plan = plan_for(replace(new, config=facts(BLUE).config), world.serving(), {}, world.NOW)
    assert "it begins once Secret key-v3 is immutable" in plan.notes


def test_undo_writes_what_was_tracked_as_a_spec_has_it() -> None:
    target = born(BLUE, tag="v1")
    change = wheel.undo(facts(BLUE), target)
    assert (
        revision_of(
            parse_spec(merged(facts(BLUE).raw["spec"], change.patch)), config=facts(BLUE).config
        ).revision
        == target.revision
    )
    gone = wheel.undo(facts(BLUE), revision_of(parse_spec(world.spec("v1"))))
    assert gone.patch["bento"]["trackedConfig"] is None


def test_undo_says_what_no_spec_can_bring_back() -> None:
    target = born(BLUE, tag="v1")
    with pytest.raises(CommandError, match=names.config_copy("iris", target.revision, "flags")):
        wheel.undo(facts(GREEN), target)


def test_a_restart_keeps_the_config() -> None:
    model = facts(BLUE)
    served = {**model.raw, "status": {**model.raw["status"], "stable": {"revision": born(BLUE).revision}}}
    change = wheel.restart(replace(world.facts_of(served), config=model.config), world.NOW)
    after = parse_spec(merged(served["spec"], change.patch))
    assert revision_of(after, config=model.config).revision in change.said
