"""A story made up by chance: people and the cluster do one thing after the other, then everybody lets go."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from unit.sim.operator import Fault
from unit.sim.scenario import Play, Scenario, canary_spec, serve
from unit.sim.world import World, gateway_spec, service_spec

DEEDS = 12
LONGEST_PAUSE = 40.0
TAGS = ("v1", "v2", "v3", "v4")


SPECS = (
    canary_spec(),
    canary_spec(autoscaling={"minReplicas": 2, "maxReplicas": 6}),
    service_spec(
        rollout={"canary": {"steps": [{"weight": 20, "hold": "20s"}, {"weight": 50, "hold": "20s"}]}}
    ),
)


_RECREATE = {"strategy": "Recreate", "progressDeadline": "2m"}
RECREATE_SPECS = (
    gateway_spec(rollout=_RECREATE),
    gateway_spec(rollout=_RECREATE, autoscaling={"minReplicas": 2, "maxReplicas": 6}),
    service_spec(rollout=_RECREATE),
)


def chaos(seed: int, specs: tuple[dict[str, Any], ...] = SPECS) -> Scenario:
    """Return a scenario of a dozen deeds that follows from the seed and ends in peace."""
    return Scenario(f"chaos-{seed}", __doc__ or "", specs[seed % len(specs)], _story(seed), loses=True)


def _story(seed: int) -> Play:
    def play(world: World) -> None:
        chance = random.Random(seed)
        serve(world)
        for tag in chance.sample(TAGS[1:], 1):
            world.behave(tag, errors=chance.choice([0.05, 0.5]))
        for _ in range(DEEDS):
            chance.choice(DEEDS_OF_PEOPLE if chance.random() < 0.7 else DEEDS_OF_THE_CLUSTER)(world, chance)
            world.run(chance.uniform(0.0, LONGEST_PAUSE) * chance.random())
        _peace(world)
        world.until_settled(within=7200)

    return play


def _peace(world: World) -> None:
    world.say("from here on everybody keeps still")
    world.edit("rollout.paused", None)
    world.traffic.rate = 100.0
    if not world.gateway.present:
        world.gateway.appear()


def _release(world: World, chance: random.Random) -> None:
    world.release(chance.choice(TAGS))


def _command(world: World, chance: random.Random) -> None:
    if world.in_flight:
        world.command(chance.choice(["promote", "abort"]))


def _pause(world: World, chance: random.Random) -> None:
    world.edit("rollout.paused", chance.choice([True, None]))


def _retry(world: World, chance: random.Random) -> None:
    failed = world.status.failed_revisions
    if failed:
        world.edit("rollout.retry", chance.choice(failed).rollout)


def _resize(world: World, chance: random.Random) -> None:
    world.edit("replicas", chance.randint(1, 6))


def _resteps(world: World, chance: random.Random) -> None:
    weights = sorted(chance.sample(range(5, 55, 5), chance.randint(1, 3)))
    world.edit("rollout.canary.steps", [{"weight": weight, "hold": "20s"} for weight in weights])


def _kill(world: World, chance: random.Random) -> None:
    tag = chance.choice(TAGS)
    if world.nodes.of(tag):
        world.kill_pods(tag, count=chance.choice([1, None]))


def _restart(world: World, chance: random.Random) -> None:
    tag = chance.choice(TAGS)
    if world.nodes.of(tag):
        world.restart_pods(tag)


def _delete_child(world: World, chance: random.Random) -> None:
    # A record is the only memory of a lost status: losing both is beyond what can be promised.
    kept = ("Deployment", "ControllerRevision")
    refs = sorted(ref for ref in world.server.objects if ref.kind not in kept)
    world.delete_child(*chance.choice(refs))


def _die(world: World, chance: random.Random) -> None:
    number = world.operator.attempts + chance.randint(1, 6)
    world.operator.fault = Fault(chance.choice(["dies", "answer lost"]), number)


def _jump(world: World, chance: random.Random) -> None:
    world.jump_clock(timedelta(seconds=chance.choice([-30, 30])))


def _lose_status(world: World, chance: random.Random) -> None:
    world.lose_status()


def _gateway(world: World, chance: random.Random) -> None:
    if world.gateway.present:
        world.say("the Gateway's controller stops")
        world.gateway.present = False
    else:
        world.say("the Gateway's controller is back")
        world.gateway.appear()


def _load(world: World, chance: random.Random) -> None:
    world.traffic.rate = chance.choice([5.0, 50.0, 200.0])


Deed = Callable[[World, random.Random], None]
DEEDS_OF_PEOPLE: tuple[Deed, ...] = (
    _release,
    _release,
    _release,
    _command,
    _pause,
    _retry,
    _resize,
    _resteps,
)
DEEDS_OF_THE_CLUSTER: tuple[Deed, ...] = (
    _kill,
    _restart,
    _delete_child,
    _die,
    _jump,
    _gateway,
    _load,
    _lose_status,
)
