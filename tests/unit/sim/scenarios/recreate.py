"""Recreate: one revision goes before the other comes; and the way back."""

from __future__ import annotations

from typing import Any

from ekiben.api.status import Stage
from ekiben.core.snapshot import Ref
from unit.sim.scenario import Play, expect, register, scenario, serve
from unit.sim.world import World, gateway_spec, service_spec

RECREATE: dict[str, Any] = {"strategy": "Recreate", "progressDeadline": "2m"}


def recreate_spec(**parts: Any) -> dict[str, Any]:
    """Return a spec behind a Gateway that is rolled out by Recreate."""
    return gateway_spec(**{"rollout": RECREATE, **parts})


def in_autoscaler(world: World, tag: str) -> bool:
    """Tell whether a version has an autoscaler."""
    return Ref("HorizontalPodAutoscaler", world.revision_child(tag)) in world.server.objects


@scenario(recreate_spec(), loses=True)
def recreate_takes_down_then_brings_up(world: World) -> None:
    """v1's pods end, then v2's come, and v2 serves; between nobody does, which the status says."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.DRAINING)
    world.until(lambda: world.pods("v1") == (0, 0))
    world.until(lambda: world.condition("Ready") == "False/Recreating", within=5)
    assert world.status.phase == "Progressing"
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[], weights="100/0", services=("v2", "v2"))
    assert world.pods("v2") == (4, 4)


@scenario(service_spec(rollout=RECREATE), loses=True)
def recreate_without_a_gateway(world: World) -> None:
    """The Service selects v1 until v2 is ready, and never both."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.REPLACING)
    assert world.selects("iris") == "v1"
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", services=("v2", "v2"))


@scenario(recreate_spec(), loses=True)
def recreate_brings_the_old_back_when_the_new_is_never_ready(world: World) -> None:
    """v2 is not ready within progressDeadline: its pods go first, then v1 comes back as large as it was."""
    serve(world)
    world.behave("v2", never_ready=True)
    world.release("v2")
    world.until_stage(Stage.CLEARING, within=200)
    world.until_stage(Stage.RESTORING)
    assert world.nodes.of("v2") == []
    world.until_settled()
    expect(world, stable="v1", outcome="RolledBack", failed=[("v2", "NeverReady")], services=("v1", "v1"))
    assert world.pods("v1") == (4, 4)


@scenario(recreate_spec(), loses=True)
def recreate_brings_the_old_back_when_the_new_crashes(world: World) -> None:
    """v2 crashes again and again: v1 is back long before the deadline."""
    serve(world)
    world.behave("v2", crash_loop=True)
    world.release("v2")
    world.until_settled(within=110)
    expect(world, stable="v1", outcome="RolledBack", failed=[("v2", "CrashLoop")], services=("v1", "v1"))


@scenario(recreate_spec(), loses=True)
def recreate_does_not_wait_for_an_image_while_nobody_serves(world: World) -> None:
    """v2's image can't be pulled, which is not its fault; but v1 comes back, and v2 is not tried again."""
    serve(world)
    world.behave("v2", pullable=False)
    world.release("v2")
    world.until_settled(within=200)
    expect(world, stable="v1", outcome="RolledBack", failed=[("v2", "ImagePull")], services=("v1", "v1"))
    world.behave("v2", pullable=True)
    world.run(600)
    world.edit("rollout.retry", world.status.failed_revisions[0].rollout)
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])


@scenario(recreate_spec(), loses=True)
def recreate_goes_back_when_an_old_pod_does_not_end(world: World) -> None:
    """A pod of v1 refuses to die: after the deadline v1 gets its other pods back, and v2 never had one."""
    serve(world)
    world.nodes.behaviour("v1").ends = False
    world.release("v2")
    world.until_stage(Stage.RESTORING, within=200)
    assert not any(pod.tag == "v2" for pod in world.nodes.pods.values())
    world.until_settled()
    expect(world, stable="v1", outcome="RolledBack", failed=[("v2", "NotDrained")], services=("v1", "v1"))


@scenario(recreate_spec(), loses=True)
def recreate_gives_up_on_a_new_pod_that_does_not_end(world: World) -> None:
    """A pod of v2, which crashes, refuses to die: after the deadline v1 comes back all the same."""
    serve(world)
    world.behave("v2", crash_loop=True, ends=False)
    world.release("v2")
    world.until_stage(Stage.RESTORING, within=300)
    world.until(lambda: world.pods("v1") == (4, 4), within=30)
    world.behave("v2", ends=True)
    world.until_settled()
    expect(world, stable="v1", outcome="RolledBack", failed=[("v2", "CrashLoop")])


@scenario(recreate_spec())
def recreate_waits_while_paused(world: World) -> None:
    """Paused: nothing is touched; promote goes all the way."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.PREPARING)
    world.edit("rollout.paused", True)
    world.run(300)
    assert (world.rollout.stage, world.pods("v1"), world.replicas("v2")) == (Stage.PREPARING, (4, 4), 0)
    assert world.status.phase == "Paused"
    world.edit("rollout.paused", None)
    world.traffic.rate = 0.0
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")


FROZEN = RECREATE | {"freeze": [{"cron": "0 0 1 1 *", "duration": "24h", "timeZone": "UTC"}]}


@scenario(recreate_spec(rollout=FROZEN), loses=True)
def recreate_is_frozen_before_it_begins(world: World) -> None:
    """All day is frozen: v1 serves on, until somebody says promote."""
    serve(world)
    world.release("v2")
    world.run(300)
    assert (world.condition("Reconciling"), world.pods("v1")) == ("True/Frozen", (4, 4))
    world.command("promote")
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")
    assert [item.result for item in world.status.commands] == ["Honoured"]


@scenario(recreate_spec(autoscaling={"minReplicas": 2, "maxReplicas": 6}), loses=True)
def recreate_with_autoscaling_keeps_the_size(world: World) -> None:
    """v1 has 5 pods for its load: v2, which crashes, is tried with 5, and v1 comes back with 5."""
    world.autoscalers.requests_per_pod = 20.0
    serve(world)
    world.until(lambda: world.pods("v1") == (5, 5), within=120)
    world.behave("v2", crash_loop=True)
    world.release("v2")
    world.until_stage(Stage.REPLACING)
    assert not in_autoscaler(world, "v1")
    world.until(lambda: world.replicas("v2") == 5, within=5)
    assert not in_autoscaler(world, "v2")
    world.until_settled(within=150)
    expect(world, stable="v1", outcome="RolledBack")
    assert world.pods("v1")[0] >= 5
    assert in_autoscaler(world, "v1")


@scenario(recreate_spec(replicas=2), loses=True)
def recreate_and_the_size_in_one_edit(world: World) -> None:
    """v2 is larger and comes as 1 pod: the spec's size is v2's, and v1 would have come back with its 2."""
    serve(world)
    world.edit("replicas", 1)
    world.release("v2")
    world.until_stage(Stage.DRAINING)
    assert world.rollout.stable_replicas == 2
    world.until_settled()
    assert world.pods("v2") == (1, 1)


@scenario(recreate_spec(), loses=True)
def recreate_with_a_lost_status(world: World) -> None:
    """The status is lost while v2 starts: v1 is back first, and then v2 has its turn."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.REPLACING)
    world.until(lambda: world.replicas("v2") == 4, within=5)
    world.lose_status()
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", services=("v2", "v2"))


@scenario(recreate_spec(), loses=True)
def recreate_under_a_refused_spec_ends_what_it_began(world: World) -> None:
    """A spec that can't be followed arrives while nobody serves: v2 comes up all the same."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.DRAINING)
    world.until(lambda: world.replicas("v1") == 0, within=5)
    world.edit("podTemplate.volumes", [{"name": "node", "hostPath": {"path": "/"}}])
    world.until(lambda: not world.in_flight, within=120)
    assert (world.pods("v2"), world.selects("iris")) == ((4, 4), "v2")
    world.edit("podTemplate.volumes", None)
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")


STAGES = {
    "while_draining": Stage.DRAINING,
    "while_replacing": Stage.REPLACING,
}


def _left(stage: Stage, deed: str, **wanted: Any) -> Play:
    def play(world: World) -> None:
        serve(world)
        world.release("v2")
        world.until_stage(stage)
        if deed == "abort":
            world.command("abort")
        else:
            world.release(deed)
        world.until_settled()
        expect(world, **wanted)
        world.until(lambda: world.replicas("v2") == 0, within=60)
        names_ = {pod.tag for pod in world.nodes.pods.values()}
        assert names_ == {wanted["stable"]}, names_

    return play


for _name, _stage in STAGES.items():
    _where = _name.replace("_", " ")
    register(
        f"recreate_aborted_{_name}",
        f"Aborted by hand {_where}: v2's pods go, v1 comes back.",
        recreate_spec(),
        _left(_stage, "abort", stable="v1", outcome="Aborted", failed=[("v2", "Aborted")]),
        loses=True,
    )
    register(
        f"recreate_superseded_{_name}",
        f"v3 is applied {_where}: v1 comes back, then goes for v3.",
        recreate_spec(),
        _left(_stage, "v3", stable="v3", outcome="Promoted", failed=[]),
        loses=True,
    )
    register(
        f"recreate_reverted_{_name}",
        f"The spec goes back to v1 {_where}: v2's pods go, v1 comes back, nothing is remembered as failed.",
        recreate_spec(),
        _left(_stage, "v1", stable="v1", outcome="Reverted", failed=[]),
        loses=True,
    )


@scenario(recreate_spec(rollout=FROZEN))
def recreate_aborted_before_it_begins(world: World) -> None:
    """Aborted while it is frozen: nothing was touched, so all is over at once, and no pod changes."""
    serve(world)
    world.release("v2")
    world.run(30)
    world.command("abort")
    world.until(lambda: not world.in_flight, within=5)
    expect(world, stable="v1", outcome="Aborted", failed=[("v2", "Aborted")])
    assert not any(ref.name == world.revision_child("v2") for ref in world.server.objects)


@scenario(recreate_spec(replicas=1), loses=True)
def recreate_again_after_the_old_is_beyond_repair(world: World) -> None:
    """v2 crashes, and v1 can't be had back: v3, which mends it, does not wait for v1 for ever."""
    serve(world)
    world.behave("v2", crash_loop=True)
    world.release("v2")
    world.until_stage(Stage.CLEARING, within=200)
    world.behave("v1", schedulable=False)
    world.until_stage(Stage.RESTORING)
    world.run(60)
    world.release("v3")
    world.until_settled()
    expect(world, stable="v3", outcome="Promoted", failed=[("v2", "CrashLoop")])


@scenario(recreate_spec(rollout={"strategy": "Recreate", "initial": "Held"}))
def recreate_of_a_held_first_revision(world: World) -> None:
    """There is nothing to take down for a first revision."""
    world.until(lambda: world.condition("Reconciling") == "True/Held", within=60)
    world.command("promote")
    world.until_settled()
    expect(world, stable="v1", outcome="Promoted")
