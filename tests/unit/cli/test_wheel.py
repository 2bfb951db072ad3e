"""What each hand on the wheel writes, and when it says that it can't be done."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from ekiben.api.v1alpha1 import parse_spec
from ekiben.cli import wheel
from ekiben.cli.exits import CommandError, Exit
from ekiben.cli.facts import Facts
from ekiben.cli.history import records_of
from ekiben.cli.patches import (
    LAST_APPLIED,
    LAST_MANIFEST,
    last_applied,
    leaves,
    merge_patch,
    merged,
    three_way,
    writers,
)
from ekiben.cli.steering import remarks, to_commit
from ekiben.core.revision import revision_of
from sample_specs import RAW
from unit.cli import world
from unit.cli.world import NOW, V1, V2, V3, Json, golden, in_flight, rolled_back, serving

ID = f"{V2}.2"
PAUSED = {"rollout": {"canary": {"steps": []}, "paused": True}}
STARTING = world.rollout("v1", "Preparing", 0, 1)
FIRST = world.model(
    world.spec("v1"), {"stable": world.side("v1", 2, 0), "rollout": STARTING, "message": "starts"}
)
HELD = world.model(world.spec("v1"), {"rollout": STARTING, "message": "held"})
ABORTING = in_flight("Aborting", 1)
FINISHING = in_flight("Repointing", 3, stable=world.side("v2"))
BAKING = world.baking()


def paused(facts: Facts) -> Facts:
    """Return the same model with rollout.paused."""
    raw = {**facts.raw, "spec": {**facts.raw["spec"], **PAUSED}}
    return world.facts_of(raw)


@pytest.mark.parametrize(
    ("command", "facts", "patch"),
    [
        (wheel.promote, in_flight(), {"rollout": {"promote": ID}}),
        (wheel.promote, HELD, {"rollout": {"promote": f"{V1}.1"}}),
        (wheel.promote, in_flight("Enlarging", 3), {}),
        (wheel.promote, BAKING, {"rollout": {"promote": ID}}),
        (wheel.abort, BAKING, {"rollout": {"abort": ID}}),
        (wheel.abort, in_flight("Recalling", 3, stable=world.side("v2")), {}),
        (wheel.abort, in_flight(), {"rollout": {"abort": ID}}),
        (wheel.abort, ABORTING, {}),
        (wheel.pause, serving(), {"rollout": {"paused": True}}),
        (wheel.pause, paused(in_flight()), {}),
        (wheel.resume, in_flight("Paused", 2), {"rollout": {"resume": f"{ID}/2"}}),
        (wheel.resume, paused(in_flight()), {"rollout": {"paused": False}}),
        (wheel.resume, paused(in_flight("Paused", 2)), {"rollout": {"paused": False, "resume": f"{ID}/2"}}),
        (wheel.skip, in_flight("Holding", 2), {"rollout": {"resume": f"{ID}/2"}}),
        (wheel.skip, in_flight("Paused", 2), {"rollout": {"resume": f"{ID}/2"}}),
        (wheel.retry, rolled_back(), {"rollout": {"retry": ID}}),
    ],
)
def test_a_command_names_the_rollout_that_it_means(
    command: Callable[[Facts], wheel.Change], facts: Facts, patch: dict[str, Any]
) -> None:
    change = command(facts)
    assert change.patch == patch
    assert change.said
    parse_spec(merged(facts.raw["spec"], change.patch))


@pytest.mark.parametrize(
    ("command", "facts", "says"),
    [
        (wheel.promote, serving(), "nothing to promote, no rollout is in flight"),
        (wheel.promote, FIRST, "is the first revision: it serves as soon as"),
        (wheel.promote, ABORTING, "is being aborted"),
        (wheel.abort, rolled_back(), "nothing to abort"),
        (wheel.abort, FINISHING, "is stable already: go back by kubectl ekiben undo iris"),
        (wheel.abort, FIRST, "there is nothing to go back to"),
        (wheel.abort, HELD, "there is nothing to go back to"),
        (wheel.resume, in_flight(), "iris is not paused"),
        (wheel.skip, serving(), "nothing to skip, no rollout is in flight"),
        (wheel.skip, in_flight("Shifting", 2), "step 2 has not begun yet"),
        (wheel.skip, in_flight("Enlarging", 3), "is at no step"),
        (wheel.retry, serving(), f"{V2}, which the spec asks for, has not failed"),
        (wheel.retry, in_flight(), "is in flight"),
    ],
)
def test_what_can_not_be_done_is_said_with_the_reason(
    command: Callable[[Facts], wheel.Change], facts: Facts, says: str
) -> None:
    with pytest.raises(CommandError, match=says):
        command(facts)


def test_a_restart_is_a_new_revision_of_the_same_content() -> None:
    change = wheel.restart(serving(), NOW)
    spec = merged(serving().raw["spec"], change.patch)
    revision = revision_of(parse_spec(spec)).revision
    assert revision != V2
    assert revision in change.said
    later = wheel.restart(serving(), NOW.replace(minute=1))
    assert later.patch != change.patch
    for busy in (in_flight(), rolled_back()):
        with pytest.raises(CommandError):
            wheel.restart(busy, NOW)


@pytest.mark.parametrize("name", sorted(RAW))
def test_undo_restores_what_a_revision_was_and_nothing_else(name: str) -> None:
    """Whatever is written now, and whatever the revision had that is gone since."""
    record = revision_of(parse_spec(RAW[name]))
    now = world.spec("v9", env=[{"name": "NEW", "value": "1"}], runtime={"workers": 2}, replicas=7)
    facts = serving()
    facts = world.facts_of({**facts.raw, "spec": now})
    after = merged(now, wheel.undo(facts, record).patch)
    assert revision_of(parse_spec(after)).revision == record.revision
    assert {key: after[key] for key in ("replicas", "rollout", "analysis")} == {
        key: now[key] for key in ("replicas", "rollout", "analysis")
    }


def test_undo_restores_a_block_that_was_part_of_the_revision_and_canaries_none_that_was_not() -> None:
    block = {"maxReplicas": 4, "canary": True, "metrics": [{"cpu": "70%"}]}
    now = world.spec("v9", autoscaling=block | {"minReplicas": 2})
    facts = world.facts_of({**serving().raw, "spec": now})
    for was in (world.spec("v1", autoscaling=block), world.spec("v1"), world.spec("v9")):
        record = revision_of(parse_spec(was))
        after = merged(now, wheel.undo(facts, record).patch)
        assert revision_of(parse_spec(after)).revision == record.revision
        assert after["autoscaling"].get("minReplicas") == (None if "autoscaling" in was else 2)


def test_undo_goes_back_to_stable_first_and_else_to_what_served_before() -> None:
    records = records_of([world.record("v1", 1), world.record("v2", 2), world.record("v3", 3, "failed")])
    assert wheel.before(in_flight(), records).revision == V1
    assert wheel.before(rolled_back(), records).revision == V1
    assert wheel.before(serving(), records).revision == V1
    with pytest.raises(CommandError, match="name one by --to") as refused:
        wheel.before(serving(), {V2: records[V2], V3: records[V3]})
    assert refused.value.code is Exit.NOT_FOUND
    with pytest.raises(CommandError, match=f"asks for {V2} already"):
        wheel.undo(serving(), records[V2])


def test_undo_to_what_failed_says_that_it_needs_a_retry() -> None:
    facts = rolled_back()
    back = world.facts_of({**facts.raw, "spec": world.spec("v3")})
    (note,) = wheel.undo(back, records_of([world.record("v2", 2)])[V2]).notes
    assert "kubectl ekiben retry iris is needed too" in note


def test_what_is_to_be_committed_is_printed_and_who_would_set_it_back_is_named() -> None:
    facts = serving()
    fields = {"f:spec": {"f:bento": {"f:image": {}}, "f:runtime": {"f:workers": {}}}}
    managed = [
        {"manager": "argocd-controller", "operation": "Apply", "fieldsV1": fields},
        {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": fields},
        {"manager": "hpa", "operation": "Update", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
    ]
    raw = {**facts.raw, "spec": world.spec("v2", runtime={"workers": 2})}
    raw["metadata"] = {**raw["metadata"], "managedFields": managed}
    facts = world.facts_of(raw)
    change = wheel.undo(facts, records_of([world.record("v1", 1)])[V1])
    golden("undo", [*remarks(facts, change), to_commit(facts, change.patch)])
    restart = wheel.restart(serving(), NOW)
    golden("restart", [*remarks(serving(), restart), to_commit(serving(), restart.patch)])


@pytest.mark.parametrize(
    ("patch", "found"),
    [
        ({"rollout": {"abort": "x.1"}}, {}),
        ({"rollout": {"paused": True}}, {"flux": ["spec.rollout.paused"]}),
        ({"env": []}, {"flux": ["spec.env"]}),
        ({"rollout": None}, {"flux": ["spec.rollout"]}),
        ({"replicas": 3}, {"helm": ["spec.replicas"]}),
        (
            {"bento": {"image": "x", "service": None}},
            {LAST_MANIFEST: ["spec.bento.image"]},
        ),
    ],
)
def test_only_those_who_will_write_a_field_again_are_named(patch: Json, found: dict[str, list[str]]) -> None:
    applied = {"f:spec": {"f:rollout": {"f:paused": {}}, "f:env": {'k:{"name":"A"}': {}}}}
    by_hand = {"f:spec": {"f:rollout": {"f:paused": {}, "f:abort": {}}, "f:bento": {"f:image": {}}}}
    entries = [
        {"manager": "flux", "operation": "Apply", "fieldsV1": applied},
        {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": by_hand},
        {"manager": "helm", "operation": "Update", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
    ]
    annotations = {LAST_APPLIED: json.dumps({"spec": {"bento": {"image": "registry.example.com/iris:1"}}})}
    assert writers({"metadata": {"managedFields": entries, "annotations": annotations}}, patch) == found


@pytest.mark.parametrize("text", ["", "[", "[]", '{"spec": 3}'])
def test_a_damaged_note_of_what_was_applied_says_nothing(text: str) -> None:
    assert last_applied({"metadata": {"annotations": {LAST_APPLIED: text}}}) == {}


@pytest.mark.parametrize("old", sorted(RAW))
@pytest.mark.parametrize("new", sorted(RAW))
def test_a_merge_patch_makes_the_new_of_the_old(old: str, new: str) -> None:
    assert merged(RAW[old], merge_patch(RAW[old], RAW[new])) == RAW[new]


def test_three_ways_keep_what_somebody_else_wrote_and_drop_what_the_file_dropped() -> None:
    last = {"replicas": 2, "env": [1], "rollout": {"paused": True}}
    live = {"replicas": 2, "env": [1], "rollout": {"paused": True, "abort": "x.1"}, "analysis": {}}
    patch = three_way(last, live, {"replicas": 3, "rollout": {}})
    assert patch == {"replicas": 3, "env": None, "rollout": {"paused": None}}
    assert three_way(last, live, last) == {}


def test_paths_keep_a_key_with_dots_apart() -> None:
    patch = {"podTemplate": {"annotations": {"ekiben.dev/restarted-at": "x"}}, "env": None}
    found = [("spec.podTemplate.annotations[ekiben.dev/restarted-at]", "x"), ("spec.env", None)]
    assert list(leaves(patch)) == found


def test_resume_passes_by_a_gate_whose_time_is_over() -> None:
    held = world.rollout("v2", "Holding", 1, reason="GateTimeout")
    change = wheel.resume(in_flight(rollout=held))
    assert change.patch == {"rollout": {"resume": f"{held['id']}/1"}}
