"""The line of rollouts: so many at once and never more, in order, for everybody, whatever dies."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest

from ekiben.api.status import Outcome, Stage
from ekiben.kube.store import Key
from unit.sim.clock import START
from unit.sim.line import Line
from unit.sim.operator import Fault
from unit.sim.scenarios.preflight import has_room


def keys(count: int, namespace: str = "shop") -> list[Key]:
    return [(namespace, f"m{number}") for number in range(count)]


def outcomes(line: Line) -> set[str]:
    return {str(world.final()["outcome"]) for world in line.worlds.values()}


def test_no_more_than_the_limit_run_and_all_are_promoted_in_order() -> None:
    line = Line(keys(6), per_operator=2)
    line.serve()
    for name in ("m3", "m0", "m5", "m1", "m4", "m2"):
        line.release(name)
        line.run(1)
    assert sorted(line.in_flight()) == ["m0", "m3"]
    line.settle()
    assert (line.over, outcomes(line)) == ([], {"Promoted"})
    assert line.began == ["m3", "m0", "m5", "m1", "m4", "m2"]


def test_whoever_waits_says_its_place_and_who_runs_and_has_no_pods() -> None:
    line = Line(keys(4), per_operator=1)
    line.serve()
    for name in ("m0", "m1", "m2"):
        line.release(name)
        line.run(1)
    second = line["m2"]
    rollout = second.rollout
    assert rollout is not None
    assert second.status.phase == "Queued"
    assert second.status.message == (
        "queued: place 2 of 2, 1 of 1 rollouts run (shop/m0);"
        f" set rollout.promote to {rollout.id} to go all the way now"
    )
    assert second.condition("Reconciling") == "True/Queued"
    assert second.condition("RolledOut") == "Unknown/InProgress"
    assert second.condition("Ready") == "True/Serving"
    assert second.nodes.of("v2") == []


def test_a_line_that_does_not_move_is_silent_and_one_that_does_writes_little() -> None:
    line = Line(keys(12), per_operator=1, rollout={"canary": {"steps": [{"pause": {}}]}})
    line.serve()
    line.release()
    line.run(130)
    waiting = line.queued()
    assert len(waiting) == 11
    before = [len(line[name].operator.writes) for name in waiting]
    line.run(3600)
    assert [len(line[name].operator.writes) for name in waiting] == before
    (running,) = line.in_flight()
    line[running].resume()
    line.run(200)
    waiting = line.queued()
    assert len(waiting) == 10
    told = [line[name].operator.writes[-1].at for name in waiting]
    writes = sum(write.at > 3800 for name in waiting for write in line[name].operator.writes)
    assert min(told) > 3700
    assert writes <= 2 * len(waiting), "one for each new place, at most once a minute"


def test_the_higher_priority_begins_first_then_who_has_waited_longer() -> None:
    line = Line(keys(5), per_operator=1)
    line.serve()
    for name, priority in (("m1", -5), ("m2", 0), ("m3", 10), ("m4", 10)):
        line[name].edit("rollout.priority", priority)
    line.run(5)
    for name in ("m0", "m1", "m2", "m3", "m4"):
        line.release(name)
        line.run(1)
    line.settle()
    assert line.began == ["m0", "m3", "m4", "m2", "m1"]


def test_a_priority_that_is_raised_in_the_line_counts_at_once() -> None:
    line = Line(keys(4), per_operator=1)
    line.serve()
    for name in ("m0", "m1", "m2", "m3"):
        line.release(name)
        line.run(1)
    line["m3"].edit("rollout.priority", 1)
    line.settle()
    assert line.began == ["m0", "m3", "m1", "m2"]


def test_each_namespace_has_its_own_limit_and_a_full_one_holds_up_nobody_else() -> None:
    line = Line([*keys(4), *[("lab", f"l{number}") for number in range(2)]], per_operator=3, per_namespace=1)
    line.serve()
    line.release("m0", "m1", "m2", "m3")
    line.run(2)
    line.release("l0", "l1")
    line.run(2)
    assert sorted(line.in_flight()) == ["l0", "m0"]
    assert "rollouts run in namespace lab (l0)" in line["l1"].status.message
    assert line["m1"].status.message.startswith("queued: place ")
    assert "of 3, 1 of 1 rollouts run in namespace shop (m0)" in line["m1"].status.message
    line.settle()
    assert (line.over, outcomes(line)) == ([], {"Promoted"})


def test_first_revisions_are_not_queued() -> None:
    line = Line(keys(5), per_operator=1)
    line.run(20)
    assert {world.status.phase for world in line.worlds.values()} == {"Healthy"}
    assert line.began == []


def test_a_paused_rollout_keeps_its_slot() -> None:
    line = Line(keys(2), per_operator=1, rollout={"canary": {"steps": [{"pause": {}}]}})
    line.serve()
    line.release("m0")
    line.run(1)
    line.release("m1")
    line.run(3600)
    assert (line.in_flight(), line.queued()) == (["m0"], ["m1"])
    line["m0"].resume()
    line.until(lambda: line.in_flight() == ["m1"])


def test_promote_goes_past_the_line_and_all_the_way() -> None:
    line = Line(keys(3), per_operator=1, rollout={"canary": {"steps": [{"pause": {}}]}})
    line.serve()
    line.release("m0")
    line.run(1)
    line.release("m1", "m2")
    line.run(1)
    line["m2"].command("promote")
    line.until(line["m2"].is_settled)
    assert line["m2"].final()["outcome"] == "Promoted"
    assert [(item.command, item.result) for item in line["m2"].status.commands] == [("promote", "Honoured")]
    assert line.queued() == ["m1"]


def test_an_abort_in_the_line_ends_it_without_a_pod() -> None:
    line = Line(keys(2), per_operator=1)
    line.serve()
    line.release("m0")
    line.run(1)
    line.release("m1")
    line.run(1)
    line["m1"].command("abort")
    line.until(line["m1"].is_settled)
    final = line["m1"].final()
    assert (final["stable"], final["failed"], final["history"][0]) == (
        "v1",
        [("v2", "Aborted")],
        ("v2", "Aborted"),
    )
    assert [(item.command, item.result) for item in line["m1"].status.commands] == [("abort", "Honoured")]
    line.settle()
    assert line.began == ["m0"]


def test_a_spec_that_is_stables_again_leaves_the_line() -> None:
    line = Line(keys(2), per_operator=1)
    line.serve()
    line.release("m0", "m1")
    line.run(2)
    waiting = line.queued()[0]
    line.release(waiting, tag="v1")
    line.until(line[waiting].is_settled)
    assert line[waiting].final()["outcome"] == "Reverted"
    assert line[waiting].status.phase == "Healthy"


def test_another_release_keeps_the_place_and_takes_another_id() -> None:
    line = Line(keys(4), per_operator=1)
    line.serve()
    for name in ("m0", "m1", "m2", "m3"):
        line.release(name)
        line.run(1)
    first = line["m1"].rollout
    line.release("m1", tag="v3")
    line.run(1)
    second = line["m1"].rollout
    assert first is not None
    assert second is not None
    assert (second.stage, first.stage_started_at) == (Stage.QUEUED, second.stage_started_at)
    assert first.id != second.id
    line.settle()
    assert line.began == ["m0", "m1", "m2", "m3"]
    assert line["m1"].final()["stable"] == "v3"


def test_a_way_back_does_not_wait() -> None:
    line = Line(keys(2), per_operator=1, rollout={"rollbackWindow": 1})
    line.serve()
    line.release("m1")
    line.settle()
    line["m0"].edit("rollout.canary", {"steps": [{"pause": {}}]})
    line.release("m0")
    line.run(5)
    line.release("m1", tag="v1")
    line.until(line["m1"].is_settled)
    assert line["m1"].final()["stable"] == "v1"
    assert line.in_flight() == ["m0"]


def test_an_abort_and_a_rollback_never_wait() -> None:
    line = Line(keys(3), per_operator=1)
    line.serve()
    line["m0"].behave("v2", errors=0.9)
    line.release("m0")
    line.run(1)
    line.release("m1", "m2")
    line.until(line["m0"].is_settled)
    assert line["m0"].final()["outcome"] == "RolledBack"
    line.settle()
    assert line.over == []


@pytest.mark.parametrize("trouble", ["paused", "invalid"])
def test_a_head_that_can_not_begin_blocks_nobody(trouble: str) -> None:
    line = Line(keys(3), per_operator=1)
    line.serve()
    for name in ("m0", "m1", "m2"):
        line.release(name)
        line.run(1)
    if trouble == "paused":
        line["m1"].edit("rollout.paused", True)
    else:
        line["m1"].edit("serviceAccountName", "nobody-allowed-it")
    line.until(line["m2"].is_settled)
    assert line.began == ["m0", "m2"]
    if trouble == "paused":
        line["m1"].edit("rollout.paused", False)
        line.settle()
        assert line.began == ["m0", "m2", "m1"]


@pytest.mark.parametrize("seed", range(8))
def test_the_limit_holds_and_nobody_starves_under_churn_and_restarts(seed: int) -> None:
    """Releases, aborts, priorities and restarts at random moments; then everybody gets their turn."""
    chance = random.Random(seed)
    fault = {("shop", "m1"): Fault("answer lost" if seed % 2 else "dies", 20 + seed)}
    line = Line([*keys(4), ("lab", "l0"), ("lab", "l1")], 2, 1 + seed % 2, seed=seed, faults=fault)
    line.serve()
    names = [key[1] for key in line.worlds]
    for number in range(25):
        name = chance.choice(names)
        match chance.randrange(5):
            case 0 if line[name].rollout is not None and line[name].in_flight:
                line[name].command("abort")
            case 1:
                line[name].edit("rollout.priority", chance.randrange(-3, 4))
            case 2:
                line.restart()
            case _:
                line.release(name, tag=f"v{number + 2}")
        line.run(chance.choice((0.1, 2.0, 15.0)))
    line.settle()
    assert line.over == []
    assert line.queued() == []
    for world in line.worlds.values():
        assert world.final()["outcome"] in {str(item) for item in Outcome} | {None}
        assert world.traffic.lost < 1


def test_a_stream_of_releases_of_one_model_starves_no_other() -> None:
    line = Line(keys(3), per_operator=1)
    line.serve()
    line.release("m0")
    line.run(1)
    line.release("m1", "m2")
    line.run(1)
    for number in range(3, 40):
        line.release("m0", tag=f"v{number}")
        line.run(10)
        if "m1" in line.began and "m2" in line.began:
            break
    assert {"m1", "m2"} <= set(line.began)


def test_a_restart_keeps_every_place() -> None:
    line = Line(keys(4), per_operator=1)
    line.serve()
    for name in ("m0", "m2", "m1", "m3"):
        line.release(name)
        line.run(1)
    line.restart()
    line.settle()
    assert (line.over, line.began) == ([], ["m0", "m2", "m1", "m3"])


def test_a_limit_that_is_taken_away_lets_everybody_begin() -> None:
    line = Line(keys(3), per_operator=1)
    line.serve()
    line.release()
    line.run(2)
    line.limits = (0, 0)
    line.restart()
    line.run(3)
    assert len(line.in_flight()) == 3
    assert line.clock.wall - START < timedelta(hours=1)


def test_who_finds_no_room_gives_its_place_to_the_next_and_has_it_again() -> None:
    line = Line(keys(4), per_operator=1)
    for world in line.worlds.values():
        has_room(world, 4)
    line.serve()
    line["m0"].edit("rollout.priority", 10)
    line.run(2)
    has_room(line["m0"], 0)
    for name in ("m0", "m1", "m2"):
        line.release(name)
        line.run(1)
    line.until(lambda: line.in_flight() == ["m1"], within=120)
    line.run(2)
    first = line["m0"].rollout
    assert first is not None
    assert (first.stage, line["m0"].nodes.of("v2")) == (Stage.QUEUED, [])
    assert (
        "queued: place 2 of 2, 1 of 1 rollouts run (shop/m1); it had its turn and"
        in line["m0"].status.message
    )
    assert "found no room for 1 pod of" in line["m0"].status.message
    line.until(lambda: line.in_flight() == ["m2"])
    line.until(line["m2"].is_settled)
    line.until(lambda: line.in_flight() == ["m0"])
    line.run(120)
    written = len(line["m0"].operator.writes)
    line.run(3600)
    assert line.in_flight() == ["m0"], "nobody else waits"
    assert len(line["m0"].operator.writes) == written
    line.release("m3")
    line.until(line["m3"].is_settled, within=600)
    has_room(line["m0"], 4)
    line.settle()
    last = line["m0"].rollout
    assert last is not None
    assert (last.id, last.outcome, line.over) == (first.id, Outcome.PROMOTED, [])


def test_who_finds_no_room_takes_turns_with_others_and_writes_little() -> None:
    line = Line(keys(5), per_operator=1)
    for world in line.worlds.values():
        has_room(world, 4)
    line.serve()
    for world in line.worlds.values():
        has_room(world, 0)
    line.release()
    line.run(900)
    before = {name: len(line[name].operator.writes) for _, name in line.worlds}
    line.began.clear()
    line.run(3600)
    assert set(line.began) == {"m0", "m1", "m2", "m3", "m4"}
    assert len(line.began) <= 60, "one turn a minute"
    for name, count in before.items():
        # Two statuses and an Event for each turn, and the place once a minute.
        assert len(line[name].operator.writes) - count <= 60 + 3 * (line.began.count(name) + 1)
    for world in line.worlds.values():
        has_room(world, 4)
    line.settle()
    assert (line.over, outcomes(line)) == ([], {"Promoted"})


def test_a_turn_without_room_is_kept_where_whoever_waits_can_not_begin() -> None:
    line = Line(keys(2), per_operator=1)
    for world in line.worlds.values():
        has_room(world, 4)
    line.serve()
    has_room(line["m0"], 0)
    line.release("m0")
    line.run(1)
    line.release("m1")
    line.run(1)
    line["m1"].edit("rollout.paused", True)
    line.until(lambda: line["m1"].rollout is not None and line["m1"].rollout.stage is Stage.QUEUED)
    line.run(600)
    written = len(line["m0"].operator.writes)
    line.run(3600)
    assert len(line["m0"].operator.writes) - written <= 2
    line["m1"].edit("rollout.paused", False)
    line.until(line["m1"].is_settled, within=600)


def test_a_recreate_that_finds_no_room_gives_its_place_too_and_an_abort_in_the_line_ends_it() -> None:
    line = Line(keys(2), per_operator=1, rollout={"strategy": "Recreate", "canary": {}})
    for world in line.worlds.values():
        has_room(world, 4)
    line.serve()
    has_room(line["m0"], 0, instead=0)
    line.release("m0")
    line.run(1)
    line.release("m1")
    line.until(lambda: line.queued() == ["m0"], within=120)
    assert line["m0"].pods("v1") == (1, 1)
    line.until(line["m1"].is_settled, within=600)
    line.until(lambda: line.in_flight() == ["m0"])
    line["m0"].command("abort")
    line.until(line["m0"].is_settled)
    assert line["m0"].final()["failed"] == [("v2", "Aborted")]


def test_a_place_is_given_only_to_somebody_whom_it_helps() -> None:
    line = Line([*keys(2), ("lab", "l0"), ("lab", "l1")], per_namespace=1)
    for world in line.worlds.values():
        has_room(world, 4)
    line.serve()
    line["l0"].edit("rollout.canary", {"steps": [{"pause": {}}]})
    has_room(line["m0"], 0)
    line.release("m0", "l0")
    line.run(2)
    line.release("l1")
    line.run(600)
    assert (sorted(line.in_flight()), line.queued()) == (["l0", "m0"], ["l1"]), "l1 waits for l0 alone"
    line.release("m1")
    line.until(lambda: sorted(line.in_flight()) == ["l0", "m1"], within=60)
    assert sorted(line.queued()) == ["l1", "m0"]
