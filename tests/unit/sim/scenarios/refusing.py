"""A spec that can't be followed meets a rollout on its way: what was begun is kept to, not forgotten."""

from __future__ import annotations

from ekiben.api.status import Stage
from unit.sim.scenario import Play, canary_spec, expect, scenario, serve
from unit.sim.scenarios.baking import BAKE
from unit.sim.scenarios.changing import FORBIDDEN
from unit.sim.scenarios.warming import WARMED, Calls
from unit.sim.world import World


def _refused_in(stage: Stage) -> Play:
    def play(world: World) -> None:
        serve(world)
        world.release("v2")
        world.until_stage(stage)
        world.edit("podTemplate.volumes", FORBIDDEN)
        world.run(1)
        assert "goes no further" not in world.status.message
        world.until_stage(Stage.BAKING, within=60)
        world.run(300)
        assert world.rollout is not None
        assert f"rollout {world.rollout.id} stays in its bake" in world.status.message
        assert (world.pods("v1"), world.selects("iris-canary")) == ((4, 4), "v1")
        world.behave("v2", errors=0.5)
        world.until(lambda: not world.in_flight, within=120)
        world.edit("podTemplate.volumes", None)
        world.until_settled()
        expect(world, stable="v1", outcome="RolledBack", failed=[("v2", "AnalysisFailed")])

    return play


for _stage in (Stage.ENLARGING, Stage.TAKING_ALL, Stage.REPOINTING, Stage.RETURNING):
    _play = _refused_in(_stage)
    _play.__name__ = f"refused_while_{_stage.lower()}_and_baked_all_the_same"
    _play.__doc__ = f"A spec is refused while {_stage.lower()}: v2 bakes as the last good one said."
    scenario(canary_spec(**BAKE))(_play)


@scenario(canary_spec(**BAKE))
def promoted_by_hand_then_refused_takes_no_bake(world: World) -> None:
    """promote goes all the way: a spec that is refused on that way does not bring the bake back."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 1)
    world.command("promote")
    world.until_stage(Stage.ENLARGING)
    world.edit("podTemplate.volumes", FORBIDDEN)
    world.until(lambda: not world.in_flight, within=60)
    expect(world, stable="v2", outcome="Promoted")
    world.edit("podTemplate.volumes", None)
    world.until_settled()


@scenario(canary_spec(rollout=WARMED))
def refused_while_pods_are_warmed(world: World) -> None:
    """Pods of the second step are cold when a spec is refused: they get no weight before they are warm."""
    cold: list[tuple[str, str]] = []
    Calls(world, lambda: cold[0] if cold else None)
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 1)
    cold.append(("can't be called", "Unanswered"))
    world.until_stage(Stage.SHIFTING, 2)
    world.edit("podTemplate.volumes", FORBIDDEN)
    world.run(120)
    assert (world.weights(), world.pods("v2")[0]) == ("90/10", 2)
    cold.clear()
    world.say("v2 can be called")
    world.until(lambda: world.weights() == "50/50", within=60)
    world.edit("podTemplate.volumes", None)
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])
