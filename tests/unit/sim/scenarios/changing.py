"""Specs that change while a rollout is in flight: superseded, reverted, edited."""

from __future__ import annotations

from typing import Any

from ekiben.api.status import Stage
from ekiben.core.snapshot import Ref
from unit.sim.scenario import STEPS, Play, canary_spec, expect, register, scenario, serve
from unit.sim.world import World, service_spec

MOMENTS: dict[str, tuple[Stage, int | None]] = {
    "while_preparing": (Stage.PREPARING, None),
    "while_shifting": (Stage.SHIFTING, 1),
    "at_step_1": (Stage.HOLDING, 1),
    "at_step_2": (Stage.HOLDING, 2),
    "while_enlarging": (Stage.ENLARGING, None),
    "while_taking_all": (Stage.TAKING_ALL, None),
}
LATE: dict[str, tuple[Stage, int | None]] = {
    "while_repointing": (Stage.REPOINTING, None),
    "while_returning": (Stage.RETURNING, None),
}


def _superseded(moment: tuple[Stage, int | None], history: list[tuple[str, str]]) -> Play:
    def play(world: World) -> None:
        serve(world)
        world.release("v2")
        world.until_stage(*moment)
        world.release("v3")
        world.until_settled()
        expect(world, stable="v3", outcome="Promoted", failed=[], history=history, services=("v3", "v3"))
        world.until(lambda: world.replicas("v2") == 0, within=60)

    return play


def _reverted(moment: tuple[Stage, int | None]) -> Play:
    def play(world: World) -> None:
        serve(world)
        world.release("v2")
        world.until_stage(*moment)
        world.release("v1")
        world.until_settled()
        expect(world, stable="v1", outcome="Reverted", failed=[], weights="100/0", services=("v1", "v1"))
        assert world.condition("RolledOut") == "True/Promoted"
        world.until(lambda: world.replicas("v2") == 0, within=60)

    return play


for _name, _moment in MOMENTS.items():
    _where = _name.replace("_", " ")
    register(
        f"superseded_{_name}",
        f"v3 is applied {_where} of v2: traffic goes back to stable first, then v3 starts at step 1.",
        canary_spec(),
        _superseded(_moment, [("v3", "Promoted"), ("v2", "Superseded"), ("v1", "Promoted")]),
    )
    register(
        f"reverted_{_name}",
        f"The spec goes back to stable {_where} of v2: traffic goes back, nothing is remembered as failed.",
        canary_spec(),
        _reverted(_moment),
    )
for _name, _moment in LATE.items():
    _where = _name.replace("_", " ")
    register(
        f"superseded_{_name}",
        f"v3 is applied {_where} to v2: the promotion is past its point of no return and ends first.",
        canary_spec(),
        _superseded(_moment, [("v3", "Promoted"), ("v2", "Promoted"), ("v1", "Promoted")]),
    )


@scenario(
    service_spec(
        rollout={"canary": {"steps": [{"weight": 20, "hold": "20s"}, {"weight": 50, "hold": "20s"}]}}
    )
)
def superseded_by_replica_ratio(world: World) -> None:
    """Without a Gateway the Service is narrowed to stable before a third revision may be selected."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 2)
    world.release("v3")
    world.until_settled()
    expect(world, stable="v3", outcome="Promoted", services=("v3", "v3"), failed=[])


@scenario()
def fixed_after_a_failure(world: World) -> None:
    """A failed revision is followed by a fix, which is rolled out as any other."""
    serve(world)
    world.behave("v2", errors=0.5)
    world.release("v2")
    world.until_settled(within=300)
    world.release("v3")
    world.until_settled()
    expect(world, stable="v3", outcome="Promoted", failed=[("v2", "AnalysisFailed")])


@scenario()
def released_twice_in_a_row(world: World) -> None:
    """Two revisions applied within a second: the first never gets a request."""
    serve(world)
    world.release("v2")
    world.run(0.5)
    world.release("v3")
    world.until_settled()
    expect(world, stable="v3", outcome="Promoted")
    assert not any(pod.tag == "v2" for pod in world.nodes.pods.values())


@scenario()
def steps_edited_mid_rollout(world: World) -> None:
    """Edited steps re-enter at the last one whose weight is not above the current one."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 2)
    new = [{"weight": 5, "hold": "20s"}, {"weight": 40, "hold": "20s"}, {"weight": 80, "hold": "20s"}]
    world.edit("rollout.canary.steps", new)
    world.until_stage(Stage.HOLDING, 2)
    world.until(lambda: world.weights() == "60/40", within=10)
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")


@scenario()
def steps_edited_above_the_current_weight(world: World) -> None:
    """Steps that all lie above the current weight: back to none, and up from the first one."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 1)
    world.edit("rollout.canary.steps", [{"weight": 30, "hold": "20s"}, {"weight": 60, "hold": "20s"}])
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")


@scenario()
def replicas_edited_mid_rollout(world: World) -> None:
    """More replicas are had at once; fewer only when the rollout is over."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 1)
    world.edit("replicas", 6)
    world.until(lambda: world.pods("v1") == (6, 6), within=30)
    world.edit("replicas", 2)
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")
    world.until(lambda: world.replicas("v2") == 2, within=60)


@scenario(canary_spec(autoscaling={"minReplicas": 3, "maxReplicas": 6}))
def autoscaling_given_up(world: World) -> None:
    """Without autoscaling any more the autoscaler goes, and the replicas are the spec's."""
    serve(world)
    world.edit("autoscaling", None)
    world.edit("replicas", 5)
    world.until(lambda: world.replicas("v1") == 5, within=30)
    assert not any(ref.kind == "HorizontalPodAutoscaler" for ref in world.server.objects)


@scenario()
def gateway_given_up_mid_rollout(world: World) -> None:
    """The rollout ends with the Gateway it began with; the route goes when it is over."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 1)
    world.edit("traffic", None)
    world.until(lambda: world.rollout is not None and world.rollout.stage is Stage.RETURNING)
    world.traffic.through_gateway = False
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", weights="-", services=("v2", "v2"))


@scenario(canary_spec(rollout={"canary": {"steps": STEPS}, "rollbackWindow": 1}))
def way_back_takes_no_steps(world: World) -> None:
    """v2 serves and is wrong in what no check counts: v1 comes back, and gets everything at once.

    Only once its pods are ready; and v3, which never served, takes its steps.
    """
    serve(world)
    world.release("v2")
    world.until_settled()
    world.release("v1")
    world.until_stage(Stage.ENLARGING)
    assert world.weights() == "100/0"
    world.until_settled()
    expect(world, stable="v1", outcome="Promoted", failed=[], weights="100/0", services=("v1", "v1"))
    world.release("v3")
    world.until_stage(Stage.HOLDING, 1)


def _frozen(cron: str, duration: str) -> dict[str, Any]:
    freeze = {"cron": cron, "duration": duration, "timeZone": "UTC"}
    return canary_spec(rollout={"canary": {"steps": STEPS}, "rollbackWindow": 1, "freeze": [freeze]})


@scenario(_frozen("2 0 1 1 *", "10m"))
def freeze_stops_the_way_up(world: World) -> None:
    """A freeze begins while v2 is at its first step: it goes no further until the freeze is over."""
    serve(world)
    world.run(100 - world.clock.now)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 1)
    world.run(60)
    assert world.condition("Reconciling") == "True/Frozen"
    assert world.status.phase == "Paused"
    world.until_settled()
    assert world.clock.now > 12 * 60
    expect(world, stable="v2", outcome="Promoted", failed=[])


@scenario(_frozen("0 0 1 1 *", "24h"))
def freeze_holds_up_nothing_that_is_urgent(world: World) -> None:
    """All day is frozen: v2 goes all the way by command, v1 comes back at once, and v3 crashes and goes."""
    serve(world)
    world.release("v2")
    world.run(60)
    assert world.condition("Reconciling") == "True/Frozen"
    world.command("promote")
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])
    world.release("v1")
    world.until_settled()
    expect(world, stable="v1", outcome="Promoted", failed=[])
    world.behave("v3", crash_loop=True)
    world.release("v3")
    world.until_settled()
    expect(world, stable="v1", outcome="RolledBack", failed=[("v3", "CrashLoop")])


@scenario(canary_spec(rollout={"canary": {"steps": STEPS}, "revisionHistoryLimit": 1}))
def history_is_kept_short(world: World) -> None:
    """Of the revisions without pods only revisionHistoryLimit are kept."""
    serve(world)
    for tag in ("v2", "v3", "v4"):
        world.release(tag)
        world.until_settled()
    world.run(60)
    kept = {ref.name for ref in world.server.objects if ref.kind == "Deployment"}
    assert len(kept) == 2, kept
    expect(world, stable="v4", outcome="Promoted")


FORBIDDEN = [{"name": "node", "hostPath": {"path": "/"}}]


@scenario(loses=True)
def refused_spec_mid_rollout_is_held(world: World) -> None:
    """A spec that can't be followed stops the rollout where it is; what is lost meanwhile comes back."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 2)
    world.edit("podTemplate.volumes", FORBIDDEN)
    world.run(5)
    assert world.condition("Stalled") == "True/NotAllowed"
    world.kill_pods("v2")
    world.until(lambda: world.weights() == "100/0" or world.pods("v2") == (2, 2), within=2)
    world.until(lambda: world.weights() == "50/50", within=30)
    world.delete_child("Service", "iris-canary")
    world.run(600)
    assert world.selects("iris-canary") == "v2"
    assert Ref("PodDisruptionBudget", world.revision_child("v2")) in world.server.objects
    assert (world.weights(), world.pods("v1"), world.pods("v2")) == ("50/50", (4, 4), (2, 2))
    assert world.status.message.endswith(f"and rollout {world.status.rollout.id} goes no further")
    world.edit("podTemplate.volumes", None)
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])


@scenario()
def bad_canary_under_a_refused_spec_is_rolled_back(world: World) -> None:
    """A canary that turns bad is rolled back also while the spec can't be followed, and its pods go."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 2)
    world.edit("podTemplate.volumes", FORBIDDEN)
    world.run(5)
    world.behave("v2", errors=0.5)
    world.until(lambda: not world.in_flight, within=300)
    assert world.condition("Stalled") == "True/NotAllowed"
    assert (world.weights(), world.pods("v1")) == ("100/0", (4, 4))
    world.until(lambda: world.replicas("v2") == 0, within=120)
    assert [item.reason for item in world.status.failed_revisions] == ["AnalysisFailed"]
    world.edit("podTemplate.volumes", None)
    world.until_settled()
    expect(world, stable="v1", services=("v1", "v1"))


@scenario(loses=True)
def refused_spec_in_steady_state_changes_nothing(world: World) -> None:
    """A spec that can't be followed, and a child deleted meanwhile: it comes back, nothing else happens."""
    serve(world)
    world.edit("podTemplate.volumes", FORBIDDEN)
    world.run(30)
    assert world.condition("Ready") == "True/Serving"
    world.delete_child("Service", "iris")
    world.until(lambda: world.selects("iris") == "v1", within=2)
    world.edit("replicas", 3)
    world.run(60)
    expect(world, stable="v1", services=("v1", "v1"))
    assert (world.weights(), world.pods("v1")) == ("100/0", (4, 4))
