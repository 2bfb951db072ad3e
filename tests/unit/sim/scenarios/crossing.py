"""Where one part of a rollout meets another: each is right alone, and here they are together."""

from __future__ import annotations

from ekiben.api.status import Stage
from ekiben.asking.asker import UnansweredError
from ekiben.core.calling import HttpAnswer, HttpCall
from ekiben.core.measuring import Measure, Measured
from ekiben.core.warming import WARMUP_FAILED, WarmUpCall
from unit.sim.scenario import STEPS, canary_spec, expect, scenario, serve
from unit.sim.scenarios.baking import BAKE, in_bake
from unit.sim.scenarios.changing import FORBIDDEN
from unit.sim.scenarios.gating import Gates, gated
from unit.sim.scenarios.preflight import has_room, untouched
from unit.sim.scenarios.shrinking import STEPS as SHRINKING_STEPS
from unit.sim.scenarios.shrinking import shrinking
from unit.sim.scenarios.warming import WARMUP
from unit.sim.world import World, service_spec

MANY = canary_spec(
    analysis={
        "checks": [{"metric": "error-rate", "max": "1%"}],
        "templates": [{"name": "first"}, {"name": "second"}],
    }
)


@scenario(MANY)
def refused_with_the_checks_of_many_templates(world: World) -> None:
    """With those of templates there are 15 checks, more than a spec may hold: it is held all the same."""
    world.answer(Measure, lambda question: Measured(0.95, 0.95))
    for name, count in (("first", 7), ("second", 7)):
        web = {"url": f"http://judge/{name}", "jsonPath": "$.score"}
        checks = [{"name": f"{name}-{number}", "min": "0.9", "web": web} for number in range(count)]
        world.cluster.templates[name] = {
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"checks": checks},
        }
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 1)
    world.edit("podTemplate.volumes", FORBIDDEN)
    world.run(120)
    assert "goes no further" in world.status.message
    expect(world, weights="90/10")
    world.edit("podTemplate.volumes", None)
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])


SHRINKING = shrinking()
FALLS_BACK = SHRINKING | {"rollout": SHRINKING["rollout"] | {"preflight": {"fallback": "Recreate"}}}


@scenario(FALLS_BACK, loses=True)
def shrinking_falls_back_to_recreate(world: World) -> None:
    """There is no room even for the first step: stable, which was to shrink, goes as a whole; v2 comes."""
    has_room(world, 4)
    serve(world)
    has_room(world, 0)
    world.release("v2")
    world.until_stage(Stage.DRAINING, within=120)
    world.until_stage(Stage.REPLACING, within=60)
    assert world.replicas("v1") == 0
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[], weights="100/0")
    assert world.pods("v2") == (4, 4)


@scenario()
def route_is_edited_while_a_rollout_looks_for_room(world: World) -> None:
    """v2 may wait for room for days; nothing of it is there, so the route takes over another host at once."""
    has_room(world, 4)
    serve(world)
    has_room(world, 0)
    world.release("v2")
    world.until_stage(Stage.PREFLIGHT)
    world.run(30)
    world.edit("traffic.hostnames", ["other.example.com"])
    world.run(10)
    assert untouched(world, "v2")
    route = next(child for ref, child in world.server.objects.items() if ref.kind == "HTTPRoute")
    assert route["spec"]["hostnames"] == ["other.example.com"]
    has_room(world, 4)
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])


@scenario(canary_spec(**BAKE), loses=True)
def bake_without_a_way_back_is_ended_by_hand(world: World) -> None:
    """v2 fails in its bake and v1's pods can't start again: a hand says promote, and that counts."""
    in_bake(world)
    world.behave("v1", pullable=False)
    world.kill_pods("v1")
    world.behave("v2", errors=0.5)
    world.run(120)
    assert world.condition("Reconciling") == "True/NoWayBack"
    world.command("promote")
    world.until(lambda: not world.in_flight, within=5)
    expect(world, stable="v2", outcome="Promoted")


@scenario(SHRINKING | BAKE)
def no_bake_after_shrinking_was_edited_out(world: World) -> None:
    """shrinkStable is taken away in Enlarging: v1 has given up its pods, so there is no bake."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.ENLARGING)
    world.edit("rollout.canary", {"steps": SHRINKING_STEPS})
    world.until(lambda: world.rollout is not None and world.rollout.stage in (Stage.BAKING, Stage.OVER))
    assert not world.in_flight
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])


@scenario(canary_spec(rollout=gated("BeforeRollout", interval="5s")))
def a_gate_that_says_another_word_each_time(world: World) -> None:
    """A gate that is asked every 5 s and never says the same costs no write with each answer."""
    gates = Gates(world)

    def answer(call: HttpCall) -> HttpAnswer:
        gates.body = f"not before {len(gates.asked)}".encode()
        return gates(call)

    world.answer(HttpCall, answer)
    serve(world)
    world.release("v2")
    world.until(lambda: world.condition("Reconciling") == "True/GateShut", within=60)
    world.run(10)
    written = len(world.operator.writes)
    world.run(120)
    assert len(world.operator.writes) == written
    assert len(gates.asked) > 20
    gates.open()
    world.until(lambda: world.weights() == "90/10", within=30)
    world.command("promote")
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])


@scenario(canary_spec(rollout={"canary": {"steps": STEPS}, "warmup": {"path": "/predict", "requests": 3}}))
def a_warmup_that_fails_in_another_way_each_time(world: World) -> None:
    """What a cold pod answers names each request: that is written every 15 s at most."""
    tries: list[str] = []

    def answer(call: WarmUpCall) -> None:
        tries.append(call.uid)
        if len(tries) < 12:
            raise UnansweredError(f"answers 503 to GET /predict ('request {len(tries)}')", WARMUP_FAILED)

    world.answer(WarmUpCall, answer)
    serve(world)
    world.release("v2")
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])


BY_SERVICE = {"url": "http://{{canary.service}}/", "jsonPath": "$"}


@scenario(
    canary_spec(
        analysis={
            **BAKE["analysis"],
            "checks": [
                {"metric": "error-rate", "max": "1%"},
                {
                    "name": "score",
                    "min": "0.9",
                    "web": {"url": "http://{{canary.service}}/", "jsonPath": "$"},
                },
            ],
        }
    )
)
def what_is_asked_in_a_bake_is_the_new_revision(world: World) -> None:
    """{{canary.service}} leads to v2 all the way: in the bake it is iris, for iris-canary has v1."""
    reached: set[tuple[str, str]] = set()

    def answer(question: Measure) -> Measured:
        service = question.url.removeprefix("http://").removesuffix("/")
        reached.add((service, world.selects(service)))
        return Measured(0.95, 0.95)

    world.answer(Measure, answer)
    in_bake(world)
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])
    assert reached == {("iris-canary", "v2"), ("iris", "v2")}


@scenario(service_spec(rollout={"canary": {"steps": [{"weight": 50, "hold": "20s"}]}, "warmup": WARMUP}))
def pods_of_two_revisions_are_warmed_in_turn(world: World) -> None:
    """v3 is applied when v2's four pods have just got warm: no write counts the pods that are warm."""
    world.answer(WarmUpCall, lambda call: None)
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 1)
    world.release("v3")
    world.until_settled()
    expect(world, stable="v3", outcome="Promoted", failed=[])
