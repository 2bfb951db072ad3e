"""Ways up that are not by weight alone: BlueGreen, and steps that judge in place."""

from __future__ import annotations

from typing import Any

from ekiben.api.status import Stage
from ekiben.core.snapshot import Ref
from unit.sim.scenario import Play, canary_spec, expect, scenario, serve
from unit.sim.scenarios.changing import FORBIDDEN
from unit.sim.world import World, gateway_spec, service_spec

PREVIEW = Ref("HTTPRoute", "iris-preview")


def blue_green(tag: str = "v1", *, gateway: bool = True, **block: Any) -> dict[str, Any]:
    """Return a spec that switches once, after 30 s unless `block` says otherwise."""
    rollout = {"strategy": "BlueGreen", "blueGreen": {"autoPromotionDelay": "30s", **block}}
    return (gateway_spec if gateway else service_spec)(tag, rollout=rollout)


@scenario(blue_green(previewHostnames=["preview.example.com"]), calm=True)
def blue_green_switches_at_once(world: World) -> None:
    """v2 gets all its pods beside v1's, is judged at its preview, and then gets everything in one go."""
    serve(world)
    assert world.server.objects[PREVIEW]["spec"]["hostnames"] == ["preview.example.com"]
    world.release("v2")
    world.until_stage(Stage.HOLDING, 1)
    assert (world.pods("v1"), world.pods("v2"), world.weights()) == ((4, 4), (4, 4), "100/0")
    assert world.selects("iris-canary") == "v2"
    shape = world.server.objects[PREVIEW]["spec"]
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", weights="100/0", services=("v2", "v2"))
    assert world.server.objects[PREVIEW]["spec"] == shape
    world.until(lambda: world.replicas("v1") == 0, within=60)


@scenario(gateway_spec(rollout={"strategy": "BlueGreen"}))
def blue_green_without_a_delay(world: World) -> None:
    """By default nothing is waited for but the pods, and a first look at their metrics."""
    serve(world)
    world.release("v2")
    world.until_settled(within=60)
    expect(world, stable="v2", outcome="Promoted", services=("v2", "v2"))


@scenario(blue_green(gateway=False))
def blue_green_by_one_write_of_the_service(world: World) -> None:
    """Without a Gateway the Service never selects both: it is pointed at v2 once v2 has all its pods."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.ENLARGING)
    assert (world.pods("v1"), world.pods("v2"), world.selects("iris")) == ((4, 4), (4, 4), "v1")
    seen: set[str] = set()
    world.until(lambda: bool(seen.add(world.selects("iris"))) or not world.in_flight)
    assert seen <= {"v1", "v2"}
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", services=("v2", "v2"))


@scenario(blue_green(autoPromotion=False))
def blue_green_waits_for_a_hand(world: World) -> None:
    """autoPromotion false: after the analysis it waits for resume, and a crash fails it all the while."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.PAUSED, 2)
    world.run(3600)
    assert (world.weights(), world.condition("Reconciling")) == ("100/0", "True/PauseStep")
    world.resume()
    world.until_settled(within=60)
    expect(world, stable="v2", outcome="Promoted")
    world.release("v3")
    world.until_stage(Stage.PAUSED, 2)
    world.restart_pods("v3")
    world.until_settled(within=60)
    expect(world, stable="v2", outcome="RolledBack", failed=[("v3", "Restarted")], services=("v2", "v2"))


@scenario(blue_green(autoPromotion=False))
def blue_green_promoted_by_hand(world: World) -> None:
    """promote goes all the way, from the analysis as from the pause."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 1)
    world.command("promote")
    world.until_settled(within=60)
    expect(world, stable="v2", outcome="Promoted")


@scenario(blue_green())
def blue_green_bad_before_the_switch(world: World) -> None:
    """v2 crashes at its preview: no user has seen it, and its pods stay for a look."""
    serve(world)
    world.behave("v2", crash_loop=True)
    world.release("v2")
    world.until_settled()
    expect(world, stable="v1", outcome="RolledBack", failed=[("v2", "CrashLoop")], services=("v1", "v1"))
    assert world.traffic.served_by[world.revision_child("v2")] == 0


@scenario(blue_green())
def blue_green_loses_readiness_before_the_switch(world: World) -> None:
    """A pod of v2 that was ready and is not any more fails it, though nothing goes to it."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 1)
    world.lose_readiness("v2")
    world.until_settled()
    expect(world, stable="v1", outcome="RolledBack", failed=[("v2", "ReadinessLost")])


@scenario(blue_green() | {"autoscaling": {"minReplicas": 2, "maxReplicas": 8}})
def blue_green_has_as_many_pods_as_stable_needs_now(world: World) -> None:
    """Stable was scaled from 2 to 5 by load: v2 has 5 pods before the switch, and keeps them through it."""
    world.autoscalers.requests_per_pod = 25.0
    serve(world, rate=120.0)
    world.until(lambda: world.pods("v1") == (5, 5), within=120)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 1)
    assert world.pods("v2") == (5, 5)
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")
    assert world.pods("v2") == (5, 5)


@scenario(blue_green())
def blue_green_pods_lost_before_the_switch(world: World) -> None:
    """Pods of v2 are lost in the analysis: everything goes over only once they are back."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 1)
    world.run(29)
    world.kill_pods("v2", 2)
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")


@scenario(blue_green(previewHostnames=["preview.example.com"]))
def preview_goes_with_its_field(world: World) -> None:
    """Another host is taken over while v2 is judged; without hosts the preview's route is deleted."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 1)
    world.edit("rollout.blueGreen.previewHostnames", ["look.example.com"])
    world.until(lambda: world.server.objects[PREVIEW]["spec"]["hostnames"] == ["look.example.com"], within=5)
    world.edit("rollout.blueGreen.previewHostnames", None)
    world.until(lambda: PREVIEW not in world.server.objects, within=5)
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")


@scenario(blue_green())
def preview_name_taken(world: World) -> None:
    """Somebody's route has the preview's name: nothing while no preview is asked for, then it is named."""
    other = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute"}
    spec = {"parentRefs": [], "rules": [{"backendRefs": []}]}
    world.server.create({**other, "metadata": {"name": PREVIEW.name, "namespace": "models"}, "spec": spec})
    serve(world)
    assert world.condition("Stalled") == "False/Idle"
    world.edit("rollout.blueGreen.previewHostnames", ["preview.example.com"])
    world.run(30)
    assert world.condition("Stalled") == "True/ChildConflict"
    world.server.delete(PREVIEW)
    world.until(lambda: PREVIEW in world.server.objects, within=60)
    assert world.server.objects[PREVIEW]["spec"]["hostnames"] == ["preview.example.com"]


@scenario(blue_green())
def blue_green_becomes_canary_on_the_way(world: World) -> None:
    """The strategy is edited while v2 is judged: the rollout goes on by the new way's steps."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 1)
    world.edit("rollout", {"canary": {"steps": [{"weight": 50, "hold": "20s"}]}})
    world.until_stage(Stage.HOLDING, 1)
    world.until(lambda: world.weights() == "50/50", within=60)
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")


@scenario(canary_spec())
def canary_becomes_blue_green_on_the_way(world: World) -> None:
    """At 50% the strategy is edited: traffic goes back to stable, and v2 waits for all its pods."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 2)
    world.edit("rollout", {"strategy": "BlueGreen", "blueGreen": {"autoPromotionDelay": "20s"}})
    world.until_stage(Stage.HOLDING, 1)
    world.until(lambda: world.weights() == "100/0", within=5)
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")


@scenario(blue_green())
def blue_green_held_by_a_refused_spec(world: World) -> None:
    """A spec that can't be understood leaves the rollout where it is, in the analysis it was in."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 1)
    world.edit("podTemplate.volumes", FORBIDDEN)
    world.run(120)
    rollout = world.rollout
    assert rollout is not None
    assert (rollout.stage, rollout.step, world.pods("v2")) == (Stage.HOLDING, 1, (4, 4))
    world.edit("podTemplate.volumes", None)
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")


MOMENTS: dict[str, tuple[Stage, int | None]] = {
    "while_preparing": (Stage.PREPARING, None),
    "in_the_analysis": (Stage.HOLDING, 1),
    "at_the_pause": (Stage.PAUSED, 2),
    "while_enlarging": (Stage.ENLARGING, None),
    "while_taking_all": (Stage.TAKING_ALL, None),
}


def _ended(moment: tuple[Stage, int | None], how: str) -> Play:
    wanted: dict[str, dict[str, Any]] = {
        "aborted": {"stable": "v1", "outcome": "Aborted", "failed": [("v2", "Aborted")]},
        "reverted": {"stable": "v1", "outcome": "Reverted", "failed": []},
        "superseded": {"stable": "v3", "outcome": "Promoted", "failed": []},
    }

    def play(world: World) -> None:
        serve(world)
        world.release("v2")
        if moment[0] not in (Stage.PREPARING, Stage.HOLDING):
            world.until_stage(Stage.PAUSED, 2)
            if moment[0] is not Stage.PAUSED:
                world.resume()
        world.until_stage(*moment)
        if how == "aborted":
            world.command("abort")
        else:
            world.release("v1" if how == "reverted" else "v3")
        if how == "superseded":
            world.until(lambda: world.selects("iris-canary") == "v3")
            world.until_stage(Stage.PAUSED, 2)
            world.resume()
        world.until_settled()
        stable = wanted[how]["stable"]
        expect(world, **wanted[how], weights=world.weights(), services=(stable, stable))
        world.until(lambda: world.replicas("v2") == 0, within=120)

    return play


for _name, _moment in MOMENTS.items():
    for _how, _story in {
        "aborted": "abort",
        "reverted": "The spec goes back to v1",
        "superseded": "v3 is applied",
    }.items():
        _play = _ended(_moment, _how)
        _play.__name__ = f"blue_green_{_how}_{_name}"
        _play.__doc__ = f"{_story} {_name.replace('_', ' ')} of v2's BlueGreen."
        scenario(blue_green(autoPromotion=False))(_play)


IN_PLACE = [
    {"analysis": {"hold": "30s"}},
    {"weight": 10, "hold": "20s"},
    {"analysis": {"hold": "40s"}},
    {"weight": 50, "hold": "20s"},
]


@scenario(canary_spec(rollout={"canary": {"steps": IN_PLACE}}), calm=True)
def analysis_in_place(world: World) -> None:
    """A step of its own judges before the first weight, and once more at 10%: the weight stays."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 1)
    world.run(20)
    assert (world.weights(), world.pods("v2")) == ("100/0", (1, 1))
    world.until_stage(Stage.HOLDING, 3)
    world.run(30)
    assert world.weights() == "90/10"
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")


@scenario(canary_spec(rollout={"canary": {"steps": IN_PLACE}}))
def analysis_in_place_finds_what_turned_bad(world: World) -> None:
    """v2 was good at 10%, and turns bad while it is judged once more: rolled back from there."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 3)
    world.behave("v2", errors=0.5)
    world.until_settled(within=300)
    expect(world, stable="v1", outcome="RolledBack", failed=[("v2", "AnalysisFailed")], weights="100/0")


@scenario(canary_spec(rollout={"canary": {"steps": [{"analysis": {"hold": "30s"}}, {"weight": 50}]}}))
def analysis_before_any_weight_sees_crashes(world: World) -> None:
    """Judged at 0%: no requests to count, but a restart fails v2 before a user meets it."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 1)
    world.restart_pods("v2")
    world.until_settled(within=300)
    expect(world, stable="v1", outcome="RolledBack", failed=[("v2", "Restarted")])
    assert world.traffic.served_by[world.revision_child("v2")] == 0
