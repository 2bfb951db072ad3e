"""Gates that others keep: opened, shut for too long, down; and who passes by them."""

from __future__ import annotations

import json
from typing import Any

from ekiben.api.status import Stage
from ekiben.asking.asker import UnansweredError
from ekiben.core.calling import HttpAnswer, HttpCall
from unit.sim.scenario import STEPS, canary_spec, expect, scenario, serve
from unit.sim.world import World

URL = "http://gate.platform.svc/"


def gated(*whens: str, **fields: Any) -> dict[str, Any]:
    """Return a rollout with a gate for each moment."""
    gates = [{"name": when.lower(), "url": URL, "when": when, **fields} for when in whens]
    return {"canary": {"steps": STEPS}, "gates": gates}


class Gates:
    """Answers for every gate, and remembers what was asked."""

    def __init__(self, world: World, status: int = 409, body: bytes = b"ticket missing") -> None:
        self.world, self.status, self.body, self.down = world, status, body, False
        self.asked: list[dict[str, Any]] = []
        world.answer(HttpCall, self)

    def __call__(self, call: HttpCall) -> HttpAnswer:
        self.asked.append(json.loads(call.body))
        if self.down:
            raise UnansweredError("http://gate.platform.svc can't be asked: Connect call failed")
        return HttpAnswer(self.status, self.body)

    def open(self) -> None:
        """Open every gate."""
        self.world.say("the gates are opened")
        self.status, self.body, self.down = 200, b"", False

    def moments(self) -> set[tuple[str, int, int | None]]:
        """Return what was asked about: the moment, the step, and the next weight."""
        return {(item["when"], item["step"], item["nextWeight"]) for item in self.asked}


@scenario(canary_spec(rollout=gated("BeforeRollout", "BeforeStep", "BeforePromotion")))
def gates_are_asked_before_each_move(world: World) -> None:
    """Each gate is asked in its moment, and the rollout goes on when it opens."""
    gates = Gates(world)
    serve(world)
    world.release("v2")
    world.run(120)
    assert (world.condition("Reconciling"), world.weights()) == ("True/GateShut", "100/0")
    gates.open()
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")
    assert gates.moments() == {
        ("BeforeRollout", 0, 10),
        ("BeforeStep", 0, 10),
        ("BeforeStep", 1, 50),
        ("BeforePromotion", 2, 100),
    }


@scenario(canary_spec(rollout=gated("BeforePromotion")))
def gate_that_is_down_waits(world: World) -> None:
    """A gate that can't be asked is an error that waits, and no verdict about the revision."""
    gates = Gates(world)
    gates.down = True
    serve(world)
    world.release("v2")
    world.run(900)
    assert (world.condition("Reconciling"), world.weights()) == ("True/GateShut", "50/50")
    gates.open()
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")


@scenario(canary_spec(rollout=gated("BeforeStep", maxWait="2m", onTimeout="fail")))
def gate_that_stays_shut_rolls_back(world: World) -> None:
    """With onTimeout fail the rollout goes back, and the revision is not tried again by itself."""
    Gates(world)
    serve(world)
    world.release("v2")
    world.until_settled(within=300)
    expect(world, stable="v1", outcome="RolledBack", failed=[("v2", "GateTimeout")], weights="100/0")


@scenario(canary_spec(rollout=gated("BeforeStep", maxWait="2m", onTimeout="pass")))
def gate_that_stays_shut_is_passed(world: World) -> None:
    """With onTimeout pass the rollout goes on without it."""
    Gates(world)
    serve(world)
    world.release("v2")
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")


@scenario(canary_spec(rollout=gated("BeforeStep", maxWait="2m")))
def gate_that_stays_shut_pauses(world: World) -> None:
    """By default the rollout pauses, until the gate opens or a hand lets it pass by."""
    gates = Gates(world)
    serve(world)
    world.release("v2")
    world.run(300)
    assert world.condition("Reconciling") == "True/GateTimeout"
    assert world.status.phase == "Paused"
    world.resume()
    world.until_stage(Stage.HOLDING, 1, within=60)
    assert [item.result for item in world.status.commands] == ["Honoured"]
    world.run(300)
    assert (world.condition("Reconciling"), world.weights()) == ("True/GateTimeout", "90/10")
    gates.open()
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")


@scenario(canary_spec(rollout=gated("BeforeRollout")))
def promoted_past_a_gate(world: World) -> None:
    """promote is the hand that answers for it: no gate holds it up."""
    Gates(world)
    serve(world)
    world.release("v2")
    world.run(60)
    world.command("promote")
    world.until_settled(within=120)
    expect(world, stable="v2", outcome="Promoted")


@scenario(canary_spec(rollout=gated("BeforeStep", maxWait="10m")))
def aborted_while_a_gate_is_shut(world: World) -> None:
    """An abort asks nobody, and afterwards nobody is asked."""
    gates = Gates(world, 200, b"")
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 1)
    gates.status = 503
    world.run(90)
    assert world.condition("Reconciling") == "True/GateShut"
    world.command("abort")
    world.until(lambda: world.weights() == "100/0", within=1)
    world.until_settled(within=120)
    expect(world, stable="v1", outcome="Aborted")
    asked = len(gates.asked)
    world.run(120)
    assert len(gates.asked) == asked


@scenario(canary_spec(rollout={**gated("BeforeRollout", "BeforePromotion"), "rollbackWindow": 3}))
def way_back_asks_nobody(world: World) -> None:
    """Going back to a revision that served asks no gate."""
    gates = Gates(world, 200, b"")
    serve(world)
    world.release("v2")
    world.until_settled()
    gates.status, asked = 409, len(gates.asked)
    world.release("v1")
    world.until_settled(within=300)
    expect(world, stable="v1", outcome="Promoted")
    assert len(gates.asked) == asked


@scenario(
    canary_spec(rollout={**gated("BeforeRollout", "BeforePromotion"), "strategy": "BlueGreen", "canary": {}})
)
def gates_before_the_switch(world: World) -> None:
    """BlueGreen asks before it judges the preview, and again before it switches."""
    gates = Gates(world)
    serve(world)
    world.release("v2")
    world.run(120)
    assert (world.condition("Reconciling"), world.weights()) == ("True/GateShut", "100/0")
    gates.open()
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")
    assert gates.moments() == {("BeforeRollout", 0, None), ("BeforePromotion", 1, 100)}


TWO = [
    {"name": "asked-in-vain", "url": URL, "when": "BeforeStep", "maxWait": "1m", "onTimeout": "pause"},
    {"name": "decides", "url": URL, "when": "BeforeStep", "maxWait": "3m", "onTimeout": "fail"},
]


@scenario(canary_spec(rollout={"canary": {"steps": STEPS}, "gates": TWO}))
def one_gate_pauses_and_the_other_fails(world: World) -> None:
    """Each gate has a time of its own: one that fails the rollout does so while another only pauses it."""
    Gates(world)
    serve(world)
    world.release("v2")
    world.run(120)
    assert world.condition("Reconciling") == "True/GateTimeout"
    world.until_settled(within=180)
    expect(world, stable="v1", outcome="RolledBack", failed=[("v2", "GateTimeout")])


@scenario(
    canary_spec(rollout={**gated("BeforeRollout", "BeforePromotion"), "strategy": "Recreate", "canary": {}}),
    loses=True,
)
def gates_before_anything_is_taken_down(world: World) -> None:
    """Recreate asks both before the old revision goes."""
    gates = Gates(world)
    serve(world)
    world.release("v2")
    world.run(120)
    assert (world.condition("Reconciling"), world.pods("v1")) == ("True/GateShut", (4, 4))
    gates.open()
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")
    assert gates.moments() == {("BeforeRollout", 0, 100), ("BeforePromotion", 0, 100)}
