"""Two operators at once, as around a failover: what one of them did, the other may not have seen yet."""

from __future__ import annotations

from collections.abc import Callable

from ekiben.api.status import Stage
from ekiben.core.reconcile import decide
from unit.sim.observe import Cache
from unit.sim.operator import Operator
from unit.sim.scenario import canary_spec, serve
from unit.sim.world import World

LATE = 20.0


class Late(Operator):
    """An operator that hears of routes after a while, and that only looks on at first."""

    working = False

    def take_over(self, other: Operator) -> None:
        """Work from now on; the other one is gone."""
        other._life = object()
        other._busy, self.working = True, True
        self.wake()

    def _schedule(self) -> None:
        if self.working:
            super()._schedule()

    def _deliver(self, kind: str, change: Callable[[Cache], bool]) -> None:
        later = LATE if kind == "HTTPRoute" else 0.0
        self.clock.exactly(later, lambda: super(Late, self)._deliver(kind, change))


def test_a_canary_is_torn_down_only_once_its_weight_is_really_gone() -> None:
    world = World(canary_spec())
    serve(world)
    world.release("v2")
    world.until_stage(Stage.PREPARING)
    late = Late(world.clock, world.server, world.nodes, world.cluster, decide)
    world.until(lambda: world.weights() == "90/10")
    found: list[str] = []
    world.server.model_watchers.append(
        lambda: found.append(world.weights()) if world.rollout and not world.in_flight else None
    )
    late.take_over(world.operator)
    world.release("v3")
    world.until(lambda: world.rollout is not None and world.tag(world.rollout.revision) == "v3")
    assert found == ["100/0"]
    world.run(30)
    assert world.traffic.lost < 1
