"""The hands on the wheel: pause, resume, promote, abort, retry, and commands that name another rollout."""

from __future__ import annotations

from ekiben.api.status import Stage
from unit.sim.scenario import STEPS, canary_spec, expect, scenario, serve
from unit.sim.world import World

WITH_PAUSE = {"canary": {"steps": [STEPS[0], {"pause": {}}, STEPS[1]]}}


@scenario(canary_spec(rollout=WITH_PAUSE))
def pause_step_and_resume(world: World) -> None:
    """A pause step waits for resume with the id and the step's number, at the weight it has."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.PAUSED, 2)
    world.run(600)
    assert world.weights() == "90/10"
    assert world.condition("Reconciling") == "True/PauseStep"
    world.resume()
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")


@scenario(canary_spec(rollout={"canary": {"steps": [{"weight": 10, "hold": "10m"}, STEPS[1]]}}))
def hold_skipped_by_hand(world: World) -> None:
    """resume with the id and the number of a step that is held ends the hold at once, and no other."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 1)
    world.run(3)
    world.resume()
    world.until_stage(Stage.HOLDING, 2, within=30)
    world.run(5)
    assert world.rollout is not None
    assert (world.rollout.stage, world.rollout.step) == (Stage.HOLDING, 2)
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")
    assert [(item.command, item.result) for item in world.status.commands] == [("resume", "Honoured")]


@scenario(canary_spec(rollout=WITH_PAUSE))
def wrong_command_ids_are_ignored(world: World) -> None:
    """Commands that name another rollout, or another step, do nothing and are reported."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.PAUSED, 2)
    rollout = world.rollout
    assert rollout is not None
    world.edit("rollout.promote", "bbbbbbbbbb.9")
    world.edit("rollout.abort", "bbbbbbbbbb.9")
    world.edit("rollout.resume", f"{rollout.id}/7")
    world.run(60)
    assert world.rollout is not None
    assert (world.rollout.stage, world.weights()) == (Stage.PAUSED, "90/10")
    assert {item.command: item.result for item in world.status.commands} == {
        "promote": "Ignored",
        "abort": "Ignored",
        "resume": "Ignored",
    }
    world.resume()
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")


@scenario()
def promoted_by_hand(world: World) -> None:
    """promote skips what is left of the steps, not the pods that all traffic needs."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 1)
    world.command("promote")
    world.until_settled(within=120)
    expect(world, stable="v2", outcome="Promoted", services=("v2", "v2"))


@scenario()
def aborted_by_hand(world: World) -> None:
    """abort takes the traffic back at once; the line that stays in the spec is no landmine."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 2)
    world.command("abort")
    world.until(lambda: world.weights() == "100/0", within=1)
    world.until_settled(within=120)
    expect(world, stable="v1", outcome="Aborted", failed=[("v2", "Aborted")])
    world.release("v3")
    world.until_settled()
    expect(world, stable="v3", outcome="Promoted")


@scenario()
def failed_revision_is_retried(world: World) -> None:
    """retry with the failed rollout's id releases the revision, which starts from the first step."""
    serve(world)
    world.behave("v2", errors=0.5)
    world.release("v2")
    world.until_settled(within=300)
    expect(world, stable="v1", failed=[("v2", "AnalysisFailed")])
    world.behave("v2", errors=0.0)
    world.edit("rollout.retry", world.status.failed_revisions[0].rollout)
    world.until(lambda: world.in_flight, within=5)
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])


@scenario()
def failed_revision_is_not_retried(world: World) -> None:
    """The same spec again, or an edit that is not about the pod, does not try a failed revision again."""
    serve(world)
    world.behave("v2", errors=0.5)
    world.release("v2")
    world.until_settled(within=300)
    world.edit("replicas", 5)
    world.edit("rollout.retry", "bbbbbbbbbb.9")
    world.release("v1")
    world.run(30)
    expect(world, stable="v1", failed=[("v2", "AnalysisFailed")])
    assert world.condition("RolledOut") == "True/Promoted"
    world.release("v2")
    world.run(120)
    expect(world, stable="v1", weights="100/0", failed=[("v2", "AnalysisFailed")])
    assert world.condition("Stalled") == "True/RolledBack"
    assert world.replicas("v1") == 5


@scenario()
def paused_as_a_level(world: World) -> None:
    """rollout.paused holds the rollout where it is until it is taken away; abort still works."""
    serve(world)
    world.edit("rollout.paused", True)
    world.release("v2")
    world.run(60)
    assert not world.in_flight
    world.edit("rollout.paused", False)
    world.until_stage(Stage.HOLDING, 1)
    world.edit("rollout.paused", True)
    world.run(300)
    assert world.weights() == "90/10"
    assert world.condition("Reconciling") == "True/Paused"
    world.edit("rollout.paused", None)
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")


@scenario()
def aborted_while_paused(world: World) -> None:
    """A paused rollout can be aborted."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 1)
    world.edit("rollout.paused", True)
    world.run(30)
    world.command("abort")
    world.until_settled(within=120)
    expect(world, stable="v1", outcome="Aborted", weights="100/0")
