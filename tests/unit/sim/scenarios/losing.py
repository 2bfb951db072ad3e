"""The status is lost in the middle of something: the children tell how it goes on, not what failed."""

from __future__ import annotations

from collections.abc import Callable

from ekiben.api.status import Stage
from unit.sim.scenario import canary_spec, expect, register, scenario, serve
from unit.sim.scenarios.baking import BAKE, BY_RATIO, in_bake
from unit.sim.scenarios.shrinking import RAMP, shrinking
from unit.sim.world import World, service_spec

Moment = Callable[[World], bool]


def _selects(tag: str) -> Moment:
    return lambda world: world.selects("iris") == tag


def _sends(weights: str) -> Moment:
    return lambda world: world.weights() == weights


def _both(one: Moment, other: Moment) -> Moment:
    return lambda world: one(world) and other(world)


def _in(stage: Stage) -> Moment:
    return lambda world: world.rollout is not None and world.rollout.stage is stage


def _promoting(moment: Moment) -> Callable[[World], None]:
    def play(world: World) -> None:
        serve(world)
        world.release("v2")
        world.until(lambda: moment(world))
        world.lose_status()
        world.until_settled()
        expect(world, stable="v2", services=("v2", "v2"), weights="100/0", failed=[])
        assert world.pods("v2") == (4, 4)

    return play


_SHRINKING = shrinking("100%", trafficRamp=RAMP)
for _where, _moment in (
    ("while_repointing", _in(Stage.REPOINTING)),
    ("when_the_service_was_repointed", _selects("v2")),
    ("while_returning", _in(Stage.RETURNING)),
):
    for _how, _spec in (("", canary_spec()), ("_to_a_stable_that_shrank", _SHRINKING)):
        register(
            f"status_lost_{_where}{_how}",
            f"The status is lost {_where.replace('_', ' ')}: the children tell who carries everything.",
            _spec,
            _promoting(_moment),
        )


def _giving_back(moment: Moment, reason: str = "RolledBack") -> Callable[[World], None]:
    def play(world: World) -> None:
        in_bake(world)
        world.run(30)
        world.behave("v2", errors=0.5)
        world.until(lambda: moment(world), within=120)
        world.lose_status()
        world.until_settled()
        expect(world, stable="v1", services=("v1", "v1"), failed=[("v2", reason)])
        assert world.condition("Stalled") == "True/RolledBack"
        world.until(lambda: world.replicas("v2") == 0, within=120)

    return play


for _where, _moment in (
    ("when_everything_goes_to_the_old_one", _both(_in(Stage.RECALLING), _sends("0/100"))),
    ("while_reinstating", _in(Stage.REINSTATING)),
    ("when_the_service_selects_the_old_one", _both(_in(Stage.REINSTATING), _selects("v1"))),
    ("while_aborting_from_a_bake", _in(Stage.ABORTING)),
):
    register(
        f"status_lost_{_where}",
        f"v2 failed in its bake and the status is lost {_where.replace('_', ' ')}: it stays a failure.",
        canary_spec(**BAKE),
        _giving_back(_moment),
    )
register(
    "status_lost_while_recalling",
    "The status is lost before anything tells that v2 failed: its bake begins anew, and it fails again.",
    canary_spec(**BAKE),
    _giving_back(_in(Stage.RECALLING), "AnalysisFailed"),
)
register(
    "status_lost_while_reinstating_without_a_gateway",
    "v2 failed in its bake and the status is lost when the Service selects v1 again: it stays a failure.",
    service_spec(**BY_RATIO, **BAKE),
    _giving_back(_both(_in(Stage.REINSTATING), _selects("v1"))),
)


@scenario()
def status_lost_while_a_failure_is_rolled_back(world: World) -> None:
    """v2 failed at 50% and the status is lost before it is over: it is no fresh candidate afterwards."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 2)
    world.behave("v2", errors=0.5)
    world.until_stage(Stage.ABORTING, within=120)
    world.run(0.1)
    world.lose_status()
    world.until_settled()
    expect(world, stable="v1", outcome="RolledBack", failed=[("v2", "RolledBack")])


@scenario(canary_spec(**BAKE))
def status_lost_on_the_way_to_a_bake(world: World) -> None:
    """v2 carries everything and the status is lost: it bakes all the same, and goes back when it fails."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.RETURNING)
    world.lose_status()
    world.until_stage(Stage.BAKING, within=10)
    assert (world.pods("v1"), world.selects("iris-canary")) == ((4, 4), "v2")
    world.behave("v2", errors=0.5)
    world.until_settled()
    expect(world, stable="v1", outcome="RolledBack", failed=[("v2", "AnalysisFailed")])
