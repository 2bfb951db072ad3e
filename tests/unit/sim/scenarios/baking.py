"""The bake: what becomes of a revision that is promoted, and still watched while the old one has its pods."""

from __future__ import annotations

from ekiben.api.status import Stage
from unit.sim.scenario import STEPS, Play, canary_spec, expect, register, scenario, serve
from unit.sim.scenarios.changing import FORBIDDEN
from unit.sim.scenarios.strategies import blue_green
from unit.sim.world import World, service_spec

BAKE = {"analysis": {"bake": "2m"}}
BY_RATIO = {"rollout": {"canary": {"steps": [{"weight": 50, "hold": "20s"}]}}}


def bake(tag: str = "v2") -> Play:
    """Return the play that brings a version into its bake."""

    def play(world: World) -> None:
        serve(world)
        world.release(tag)
        world.until_stage(Stage.BAKING)

    return play


in_bake = bake()


@scenario(canary_spec(**BAKE), calm=True)
def bake_ends_well(world: World) -> None:
    """v2 serves everything for two minutes, v1 keeps its pods and is at hand behind the canary's Service."""
    in_bake(world)
    world.run(100)
    assert (world.weights(), world.selects("iris"), world.selects("iris-canary")) == ("100/0", "v2", "v1")
    assert (world.pods("v1"), world.pods("v2")) == ((4, 4), (4, 4))
    assert world.rollout is not None
    assert world.rollout.weight == 100
    assert (world.condition("Settled"), world.condition("Reconciling")) == (
        "Unknown/InProgress",
        "True/Baking",
    )
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", services=("v2", "v2"), failed=[])
    world.until(lambda: world.replicas("v1") == 0, within=60)


@scenario(service_spec(**BY_RATIO, **BAKE))
def bake_without_a_gateway_ends_well(world: World) -> None:
    """By replica ratio: the Service selects v2 alone, and v1 keeps its pods until the bake is over."""
    in_bake(world)
    world.run(100)
    assert (world.selects("iris"), world.pods("v1"), world.pods("v2")) == ("v2", (4, 4), (4, 4))
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", services=("v2", "v2"))


def _turns_bad(world: World) -> None:
    in_bake(world)
    world.run(30)
    world.behave("v2", errors=0.5)
    world.until(
        lambda: world.status.stable is not None and world.tag(world.status.stable.revision) == "v1", 60
    )
    world.until_settled()
    expect(world, stable="v1", outcome="RolledBack", failed=[("v2", "AnalysisFailed")], services=("v1", "v1"))
    assert world.condition("Stalled") == "True/RolledBack"
    world.until(lambda: world.replicas("v2") == 0, within=120)


for _name, _story, _spec in (
    ("", "v2 was good in its steps and turns bad in its bake", canary_spec(**BAKE)),
    ("_without_a_gateway", "Without a Gateway v2 turns bad in its bake", service_spec(**BY_RATIO, **BAKE)),
    ("_after_a_switch", "BlueGreen's v2 turns out bad with the first users", blue_green() | BAKE),
    (
        "_after_a_switch_without_a_gateway",
        "BlueGreen's v2 turns out bad with the first users, without a Gateway",
        blue_green(gateway=False) | BAKE,
    ),
):
    register(
        f"bake_goes_back{_name}", f"{_story}: everything goes back to v1's pods by itself.", _spec, _turns_bad
    )


@scenario(canary_spec(**BAKE), loses=True)
def bake_sees_a_restart(world: World) -> None:
    """A container of v2 dies in the bake: back to v1, without waiting for a check."""
    in_bake(world)
    world.run(30)
    world.restart_pods("v2")
    world.until_settled()
    expect(world, stable="v1", outcome="RolledBack", failed=[("v2", "Restarted")], services=("v1", "v1"))


@scenario(canary_spec(**BAKE))
def bake_aborted_by_hand(world: World) -> None:
    """abort in the bake sends everything back at once; the revision is not tried again by itself."""
    in_bake(world)
    world.command("abort")
    world.until(lambda: world.weights() == "0/100", within=1)
    world.until_settled(within=60)
    expect(world, stable="v1", outcome="Aborted", failed=[("v2", "Aborted")], services=("v1", "v1"))


@scenario(canary_spec(**BAKE))
def bake_ended_by_hand(world: World) -> None:
    """promote ends the bake: v2 is promoted, and v1's pods go after their delay."""
    in_bake(world)
    world.run(10)
    world.command("promote")
    world.until(lambda: not world.in_flight, within=1)
    assert [(item.command, item.result) for item in world.status.commands] == [("promote", "Honoured")]
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])


@scenario(canary_spec(**BAKE))
def bake_left_out_by_hand(world: World) -> None:
    """promote before the last step is all the way: no bake follows."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 1)
    world.command("promote")
    world.until_settled(within=60)
    expect(world, stable="v2", outcome="Promoted")


@scenario(canary_spec(**BAKE))
def bake_superseded(world: World) -> None:
    """v3 is applied in v2's bake: v2 has not failed, so it is promoted, and v3 starts beside it."""
    in_bake(world)
    world.run(10)
    world.release("v3")
    world.until_stage(Stage.HOLDING, 1)
    expect(world, stable="v2", services=("v2", "v3"), failed=[])
    world.until_stage(Stage.BAKING)
    world.until_settled()
    history = [("v3", "Promoted"), ("v2", "Promoted"), ("v1", "Promoted")]
    expect(world, stable="v3", outcome="Promoted", history=history, services=("v3", "v3"))


@scenario(canary_spec(**BAKE))
def bake_reverted(world: World) -> None:
    """The spec goes back to v1 in v2's bake: everything goes back at once, by no step, and nothing failed."""
    in_bake(world)
    world.run(10)
    world.release("v1")
    world.until(lambda: world.weights() == "0/100", within=1)
    world.until_settled(within=60)
    expect(world, stable="v1", outcome="Reverted", failed=[], services=("v1", "v1"))


@scenario(canary_spec(**BAKE))
def bake_held_by_paused(world: World) -> None:
    """paused keeps the bake open: v1 keeps its pods for as long, and a failure still goes back."""
    in_bake(world)
    world.edit("rollout.paused", True)
    world.run(600)
    assert (world.pods("v1"), world.condition("Reconciling")) == ((4, 4), "True/Paused")
    world.behave("v2", errors=0.5)
    world.until_settled()
    expect(world, stable="v1", outcome="RolledBack", failed=[("v2", "AnalysisFailed")])


@scenario(canary_spec(**BAKE), loses=True)
def bake_goes_back_as_far_as_pods_can_carry(world: World) -> None:
    """Two of v1's pods are lost when v2 turns bad: half goes back at once, the rest with the pods."""
    in_bake(world)
    world.behave("v1", start=60.0)
    world.kill_pods("v1", 2)
    world.behave("v2", errors=0.5)
    world.until(lambda: world.weights() == "50/50", within=60)
    world.until_stage(Stage.RECALLING, within=60)
    world.until_settled()
    expect(world, stable="v1", outcome="RolledBack", services=("v1", "v1"))


@scenario(canary_spec(**BAKE), loses=True)
def bake_has_no_way_back_for_a_while(world: World) -> None:
    """v1's pods can't start again when v2 turns bad: that is said, nothing is promoted, then it goes back."""
    in_bake(world)
    world.behave("v1", pullable=False)
    world.kill_pods("v1")
    world.behave("v2", errors=0.5)
    world.run(300)
    assert (world.condition("Reconciling"), world.weights()) == ("True/NoWayBack", "100/0")
    world.behave("v1", pullable=True)
    world.until_settled()
    expect(world, stable="v1", outcome="RolledBack", failed=[("v2", "AnalysisFailed")])


@scenario(canary_spec(**BAKE) | {"autoscaling": {"minReplicas": 2, "maxReplicas": 8}})
def bake_keeps_a_way_back_for_the_load_there_is(world: World) -> None:
    """Load grows in the bake: v2 is scaled from 4 pods to 6, and v1 with it, to be able to take all of it."""
    world.autoscalers.requests_per_pod = 25.0
    serve(world, rate=100.0)
    world.until(lambda: world.pods("v1") == (4, 4), within=120)
    world.release("v2")
    world.until_stage(Stage.BAKING)
    world.traffic.rate = 150.0
    world.until(lambda: (world.pods("v1"), world.pods("v2")) == ((6, 6), (6, 6)), within=60)
    world.behave("v2", errors=0.5)
    world.until(lambda: world.weights() == "0/100", within=60)
    world.until_settled()
    expect(world, stable="v1", outcome="RolledBack")


@scenario(
    canary_spec(analysis={"bake": "2m", "checks": [{"metric": "error-rate", "maxRatioToStable": "1.5"}]})
)
def bake_has_no_other_side(world: World) -> None:
    """A check that only compares with stable says that it is not judged in the bake, and decides nothing."""
    in_bake(world)
    world.behave("v2", errors=0.05)
    world.run(60)
    assert world.rollout is not None
    assert "not judged in the bake" in world.rollout.checks[0].message
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])


@scenario(canary_spec(rollout={"canary": {"steps": STEPS}, "rollbackWindow": 1}, **BAKE))
def way_back_takes_no_bake(world: World) -> None:
    """Back to v1, which served before: no steps, and no bake that could end with v2 again."""
    in_bake(world)
    world.until_settled()
    world.release("v1")
    world.until_settled(within=60)
    expect(world, stable="v1", outcome="Promoted", failed=[])


@scenario(canary_spec(**BAKE))
def bake_outlives_a_refused_spec(world: World) -> None:
    """A spec that can't be followed keeps the bake open; a failure still goes back."""
    in_bake(world)
    world.edit("podTemplate.volumes", FORBIDDEN)
    world.run(300)
    assert (world.pods("v1"), world.selects("iris-canary")) == ((4, 4), "v1")
    world.behave("v2", errors=0.5)
    world.until(lambda: not world.in_flight, within=300)
    world.edit("podTemplate.volumes", None)
    world.until_settled()
    expect(world, stable="v1", outcome="RolledBack", failed=[("v2", "AnalysisFailed")])


@scenario(canary_spec(**BAKE))
def status_lost_in_the_bake(world: World) -> None:
    """The records say who served before: the bake begins anew, and still goes back from what turns bad."""
    in_bake(world)
    world.run(30)
    world.lose_status()
    world.until_stage(Stage.BAKING, within=30)
    world.run(100)
    assert world.pods("v1") == (4, 4)
    world.behave("v2", errors=0.5)
    world.until_settled()
    expect(world, stable="v1", outcome="RolledBack", failed=[("v2", "AnalysisFailed")])


def _released_while(stage: Stage) -> Play:
    def play(world: World) -> None:
        in_bake(world)
        world.command("abort")
        world.until_stage(stage)
        world.release("v3")
        world.until_settled()
        history = [("v3", "Promoted"), ("v2", "Aborted"), ("v1", "Promoted")]
        expect(world, stable="v3", outcome="Promoted", history=history, services=("v3", "v3"))

    return play


for _stage in (Stage.RECALLING, Stage.REINSTATING, Stage.ABORTING):
    register(
        f"released_while_{_stage.lower()}_from_a_bake",
        f"v3 is applied while {_stage.lower()} v2: the way back to v1 is gone to its end first.",
        canary_spec(**BAKE),
        _released_while(_stage),
    )


TESTED = [
    {"headers": [{"name": "x-canary", "value": "always"}], "hold": "20s"},
    {"weight": 50, "hold": "20s"},
]


@scenario(canary_spec(rollout={"canary": {"steps": TESTED}}, **BAKE), loses=True)
def testers_leave_a_bake_with_the_first_part(world: World) -> None:
    """Half of v1's pods are lost when v2 turns bad: half goes back at once, and all testers with it."""
    in_bake(world)
    assert set(world.by_header().values()) == {0}
    world.behave("v1", start=60.0)
    world.kill_pods("v1", 2)
    world.behave("v2", errors=0.5)
    world.until(lambda: world.weights() == "50/50", within=60)
    world.run(1)
    assert (set(world.by_header().values()), world.selects("iris-canary")) == ({100}, "v1")
    assert world.rollout is not None
    assert (world.rollout.weight, world.rollout.headers) == (50, None)
    world.until_settled()
    expect(world, stable="v1", outcome="RolledBack", services=("v1", "v1"), weights="100/0")
    assert set(world.by_header().values()) == {0}
