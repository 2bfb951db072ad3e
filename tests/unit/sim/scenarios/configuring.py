"""Config that is part of the revision: changed, changed back, missing, deleted, and Secrets."""

from __future__ import annotations

from typing import Any

from ekiben.api.status import Stage
from ekiben.asking.asker import UnansweredError
from ekiben.core import names
from ekiben.core.configuring import SecretLook
from unit.sim.scenario import STEPS, canary_spec, expect, scenario, serve
from unit.sim.world import IMAGE, MODEL, World

BENTO = {"image": f"{IMAGE}:v1", "service": "Iris", "trackedConfig": [{"configMap": "flags"}]}
ENV = [{"name": "COLOUR", "valueFrom": {"configMapKeyRef": {"name": "flags", "key": "colour"}}}]


def tracking(**parts: Any) -> dict[str, Any]:
    """Return a spec whose pods read a tracked ConfigMap."""
    return canary_spec(**{"bento": BENTO, "env": ENV, **parts})


def change(world: World, colour: str) -> None:
    """Write another content and wait for all that comes of it: the spec's generation tells nothing of it."""
    world.configure("flags", colour=colour)
    world.until(lambda: world.in_flight)
    world.until_settled()


def begin(world: World) -> None:
    """Let the first revision serve with blue."""
    world.configure("flags", colour="blue")
    serve(world)


@scenario(tracking(), loses=True)
def config_changed(world: World) -> None:
    """Another content starts a rollout; new pods of stable read what stable was born with."""
    begin(world)
    world.configure("flags", colour="green")
    world.until_stage(Stage.HOLDING, 1)
    world.kill_pods("v1", count=2)
    world.run(15)
    assert world.reads("v1+blue") == {"blue"}, world.reads("v1+blue")
    assert world.reads("v1+green") == {"green"}
    world.until_settled()
    expect(world, stable="v1+green", outcome="Promoted", services=("v1+green", "v1+green"))


@scenario(tracking(), loses=True)
def config_changed_and_aborted(world: World) -> None:
    """After an abort stable goes on with its own copy, though the ConfigMap holds something else."""
    begin(world)
    world.configure("flags", colour="green")
    world.until_stage(Stage.HOLDING, 2)
    world.command("abort")
    world.until_settled()
    world.kill_pods("v1")
    world.run(20)
    assert world.reads("v1+blue") == {"blue"}
    expect(world, stable="v1+blue", failed=[("v1+green", "Aborted")])


@scenario(tracking())
def config_changed_back(world: World) -> None:
    """The old content again, in the middle of a rollout: the spec is stable's again."""
    begin(world)
    world.configure("flags", colour="green")
    world.until_stage(Stage.HOLDING, 1)
    world.configure("flags", colour="blue")
    world.until_settled()
    expect(world, stable="v1+blue", outcome="Reverted", failed=[])


@scenario(tracking())
def config_changed_twice(world: World) -> None:
    """Another change in the middle of a rollout supersedes it."""
    begin(world)
    world.configure("flags", colour="green")
    world.until_stage(Stage.HOLDING, 1)
    world.configure("flags", colour="red")
    world.until_settled()
    expect(world, stable="v1+red", outcome="Promoted", failed=[])
    assert world.reads("v1+red") == {"red"}


@scenario(tracking(rollout={"canary": {"steps": STEPS}, "rollbackWindow": 1}))
def config_gone_back_to(world: World) -> None:
    """The content that served before is the revision that served before, and rollbackWindow holds for it."""
    begin(world)
    change(world, "green")
    change(world, "blue")
    expect(world, stable="v1+blue", outcome="Promoted")
    assert world.status.history[0].revision == world.status.history[2].revision


@scenario(tracking())
def config_missing_at_first(world: World) -> None:
    """A first revision whose ConfigMap is missing waits for it and then comes up by itself."""
    world.run(30)
    assert world.condition("Reconciling") == "True/MissingConfig"
    assert "ConfigMap flags" in world.status.message
    assert not world.nodes.pods
    begin(world)
    expect(world, stable="v1+blue", outcome="Promoted")


@scenario(tracking())
def config_deleted_while_stable_serves(world: World) -> None:
    """Stable keeps its copy; a release waits until the ConfigMap is there again."""
    begin(world)
    world.configure("flags")
    world.until(lambda: world.condition("RolledOut") == "Unknown/InProgress")
    assert world.condition("Ready") == "True/Serving"
    world.release("v2")
    world.run(30)
    assert not world.in_flight
    assert world.condition("Reconciling") == "True/MissingConfig"
    world.configure("flags", colour="blue")
    world.until_settled()
    expect(world, stable="v2+blue", outcome="Promoted")


@scenario(tracking())
def config_deleted_in_mid_rollout(world: World) -> None:
    """A rollout takes no step while its spec can't be told, and goes on once the ConfigMap is back."""
    begin(world)
    world.configure("flags", colour="green")
    world.until_stage(Stage.HOLDING, 1)
    world.configure("flags")
    world.run(90)
    assert (world.rollout and world.rollout.step) == 1
    assert world.condition("Reconciling") == "True/MissingConfig"
    world.configure("flags", colour="green")
    world.until_settled()
    expect(world, stable="v1+green", outcome="Promoted")


@scenario(tracking(), loses=True)
def config_copy_deleted_by_hand(world: World) -> None:
    """A copy comes back while its ConfigMap holds the same; else it is said, and new pods wait for it."""
    begin(world)
    copy = names.config_copy(MODEL, world.status.stable.revision if world.status.stable else "", "flags")
    world.delete_child("ConfigMap", copy)
    world.until(lambda: any(ref.name == copy for ref in world.server.objects))
    world.edit("rollout.paused", True)
    world.configure("flags", colour="green")
    world.delete_child("ConfigMap", copy)
    world.kill_pods("v1", count=1)
    world.run(30)
    assert world.condition("Reconciling") == "True/ConfigNotCopied"
    assert world.pods("v1+blue") == (3, 4)
    world.configure("flags", colour="blue")
    world.run(30)
    assert world.pods("v1+blue") == (4, 4)
    expect(world, stable="v1+blue")


@scenario(tracking(rollout={"canary": {"steps": STEPS}, "revisionHistoryLimit": 0}))
def config_copies_go_with_their_revision(world: World) -> None:
    """Of a revision that the history does not keep no copy stays."""
    begin(world)
    change(world, "green")
    world.until(lambda: len(world.copies()) == 1, within=60)
    expect(world, stable="v1+green")


@scenario(tracking())
def tracking_given_up(world: World) -> None:
    """Without trackedConfig the next revision names the ConfigMap itself, as any pod does."""
    begin(world)
    world.edit("bento.trackedConfig", None)
    world.until_settled()
    expect(world, stable="v1", outcome="Promoted")
    world.configure("flags", colour="green")
    world.run(30)
    assert not world.in_flight


@scenario(canary_spec())
def secret_to_be_made_immutable(world: World) -> None:
    """A tracked Secret that may change keeps its revision from beginning; what serves goes on."""
    immutable = False

    def oracle(question: SecretLook) -> bool:
        if not immutable:
            raise UnansweredError(f"Secret {question.name} is not immutable", "SecretNotImmutable")
        return True

    world.answer(SecretLook, oracle)
    serve(world)
    world.edit("bento.trackedConfig", [{"secret": "api-key-v2"}])
    world.run(90)
    assert not world.in_flight
    assert world.condition("Stalled") == "True/SecretNotImmutable"
    assert world.condition("Ready") == "True/Serving"
    assert world.condition("RolledOut") == "False/SecretNotImmutable"
    immutable = True
    world.say("the Secret is immutable from now on")
    world.run(65)
    world.until_settled()
    expect(world, outcome="Promoted", failed=[])
    assert world.condition("Stalled") == "False/Idle"
