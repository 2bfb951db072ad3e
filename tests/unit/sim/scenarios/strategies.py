"""Ways up that are not step by step."""

from __future__ import annotations

from ekiben.api.status import Stage
from unit.sim.scenario import expect, scenario, serve
from unit.sim.world import World, gateway_spec, service_spec

BLUE_GREEN = {"rollout": {"strategy": "BlueGreen"}}


@scenario(gateway_spec(**BLUE_GREEN))
def blue_green_switches_at_once(world: World) -> None:
    """v2 gets all its pods beside v1's, and then everything, first through the preview's Service."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.ENLARGING)
    assert (world.pods("v1"), world.pods("v2"), world.weights()) == ((4, 4), (4, 4), "100/0")
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", weights="100/0", services=("v2", "v2"))
    world.until(lambda: world.replicas("v1") == 0, within=60)


@scenario(service_spec(**BLUE_GREEN))
def blue_green_by_one_write_of_the_service(world: World) -> None:
    """Without a Gateway the Service never selects both: it is pointed at v2 once v2 has all its pods."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.ENLARGING)
    assert (world.pods("v1"), world.pods("v2"), world.selects("iris")) == ((4, 4), (4, 4), "v1")
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", services=("v2", "v2"))
