"""Rollouts that look for room before they touch anything."""

from __future__ import annotations

from fractions import Fraction

from ekiben.api.status import Stage
from ekiben.asking.asker import UnansweredError
from ekiben.core.capacity import Capacity, NodeRoom, Room
from ekiben.core.quotas import QuotaRoom
from unit.sim.scenario import STEPS, canary_spec, expect, scenario, serve
from unit.sim.world import World, gateway_spec

GPU = "nvidia.com/gpu"
FALLBACK = {"canary": {"steps": STEPS}, "preflight": {"fallback": "Recreate"}}


def on_nodes(fits: int) -> Room:
    """Return room for so many pods of one GPU each, on three nodes."""
    return Room({GPU: Fraction(1)}, (), NodeRoom(5, 3, fits, {GPU: Fraction(fits)}, {GPU: fits}))


def has_room(world: World, beside: int, instead: int = 4) -> None:
    """Let there be room for so many pods beside stable's, and in their place, from now on."""
    world.cluster.preflight = "nodes"
    world.say(f"room for {beside} pods beside stable's, {instead} in their place")
    world.answer(Capacity, lambda question: on_nodes(instead if question.leaves else beside))


def untouched(world: World, tag: str) -> bool:
    """Tell whether a version never got a Deployment."""
    return not any(ref.name == world.revision_child(tag) for ref in world.server.objects)


@scenario()
def preflight_waits_for_room_and_goes_on(world: World) -> None:
    """There is room for 2 of 4 pods of v2: no pod is made, the numbers are told; then room is made."""
    has_room(world, 4)
    serve(world)
    has_room(world, 2)
    world.release("v2")
    world.until(lambda: world.condition("Reconciling") == "True/InsufficientCapacity", within=30)
    assert "needs 4 x nvidia.com/gpu, 2 free on 3 matching nodes" in world.status.message
    world.run(300)
    assert untouched(world, "v2")
    assert world.condition("Ready") == "True/Serving"
    has_room(world, 4)
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[], weights="100/0")


@scenario(canary_spec(rollout=FALLBACK), loses=True)
def preflight_falls_back_to_recreate(world: World) -> None:
    """There is room for one version only, and the user allowed Recreate: soon it takes that way."""
    has_room(world, 4)
    serve(world)
    has_room(world, 0)
    world.release("v2")
    world.until_stage(Stage.PREFLIGHT)
    world.run(20)
    assert world.rollout.stage is Stage.PREFLIGHT
    world.until_stage(Stage.DRAINING, within=60)
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[], weights="100/0")


@scenario(canary_spec(rollout=FALLBACK))
def preflight_falls_back_only_where_that_helps(world: World) -> None:
    """v2 would not fit even in v1's place: v1 serves on."""
    has_room(world, 4)
    serve(world)
    has_room(world, 0, instead=3)
    world.release("v2")
    world.run(600)
    assert world.rollout.stage is Stage.PREFLIGHT
    assert world.pods("v1") == (4, 4)


@scenario(canary_spec(rollout=FALLBACK))
def preflight_keeps_to_canary_where_room_comes_soon(world: World) -> None:
    """Room lacks for a moment only, for old pods are still ending: no reason to stop serving."""
    has_room(world, 4)
    serve(world)
    has_room(world, 0)
    world.release("v2")
    world.until_stage(Stage.PREFLIGHT)
    world.run(15)
    has_room(world, 4)
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])


@scenario()
def preflight_of_a_first_revision(world: World) -> None:
    """A first revision waits while there is room for no pod at all, and takes what it gets then."""
    has_room(world, 0)
    world.until(lambda: world.condition("Reconciling") == "True/InsufficientCapacity", within=30)
    world.run(60)
    assert untouched(world, "v1")
    assert world.status.phase == "Pending"
    has_room(world, 1)
    world.until_settled()
    expect(world, stable="v1", outcome="Promoted")


@scenario()
def preflight_can_be_overruled(world: World) -> None:
    """Whoever knows better says promote: v2 gets its pods, and everything."""
    has_room(world, 4)
    serve(world)
    has_room(world, 0)
    world.release("v2")
    world.run(60)
    world.command("promote")
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])


@scenario()
def preflight_is_left_at_once(world: World) -> None:
    """v2 waits for room, v3 is applied, then v3 is aborted: nothing was touched, so each is over at once."""
    has_room(world, 4)
    serve(world)
    has_room(world, 0)
    world.release("v2")
    world.run(30)
    world.release("v3")
    world.run(30)
    assert world.tag(world.rollout.revision) == "v3"
    world.command("abort")
    world.until_settled()
    expect(world, stable="v1", outcome="Aborted", failed=[("v3", "Aborted")])
    assert untouched(world, "v2")
    assert untouched(world, "v3")


@scenario()
def preflight_that_may_not_look_hinders_nobody(world: World) -> None:
    """Nodes may not be read, then nothing is answered at all: rollouts go on, and say what was not seen."""
    world.cluster.preflight = "nodes"
    world.answer(Capacity, lambda question: Room({}, unseen=("nodes were not looked at: forbidden",)))
    serve(world)
    world.release("v2")
    world.until_settled()

    def silent(question: Capacity) -> Room:
        raise UnansweredError("there was no answer", "TimedOut")

    world.answer(Capacity, silent)
    world.release("v3")
    world.until_settled()
    expect(world, stable="v3", outcome="Promoted", failed=[])


@scenario(canary_spec(rollout={"canary": {"steps": STEPS}, "preflight": {"enabled": False}}))
def preflight_can_be_left_out(world: World) -> None:
    """The spec wants no preflight: nothing is asked, and v2 begins at once."""
    has_room(world, 0)
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 1)
    assert not world.operator.asker.answers


@scenario(gateway_spec(rollout={"strategy": "Recreate"}), loses=True)
def recreate_looks_for_room_before_it_takes_anything_down(world: World) -> None:
    """v2 wants more than there is even without v1: v1 serves on until there is room for v2 in its place."""
    has_room(world, 1)
    serve(world)
    has_room(world, 0, instead=3)
    world.release("v2")
    world.run(300)
    assert world.condition("Reconciling") == "True/InsufficientCapacity"
    assert world.pods("v1") == (4, 4)
    has_room(world, 0, instead=4)
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")


@scenario()
def preflight_names_the_quota(world: World) -> None:
    """A quota is used up: it is named with what it has left."""
    has_room(world, 4)
    serve(world)
    left = QuotaRoom("gpu-team", f"requests.{GPU}", Fraction(1), Fraction(0), Fraction(4))
    world.answer(Capacity, lambda question: Room({GPU: Fraction(1)}, (left,)))
    world.release("v2")
    world.run(30)
    assert "quota gpu-team has 0 of 4 requests.nvidia.com/gpu left, 4 needed" in world.status.message
    world.answer(Capacity, lambda question: Room({GPU: Fraction(1)}, ()))
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")
