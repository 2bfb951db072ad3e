"""Steps by headers, and steps that set the canary's size apart from its weight."""

from __future__ import annotations

from typing import Any

from ekiben.api.status import Stage
from unit.sim.scenario import STEPS, canary_spec, expect, scenario, serve
from unit.sim.world import World, service_spec

TESTERS = {"headers": [{"name": "X-Canary", "value": "always"}]}
ALWAYS = frozenset({("x-canary", "always")})
RULE = "x-canary: always"


def stepped(*steps: dict[str, Any], **parts: Any) -> dict[str, Any]:
    """Return a spec behind a Gateway with these steps."""
    return canary_spec(rollout={"canary": {"steps": [*steps]}, **parts.pop("rollout", {})}, **parts)


BY_HEADER = stepped(TESTERS, {"pause": {}}, *STEPS)


def serve_testers(world: World) -> None:
    """Let the first revision serve everybody, testers included."""
    serve(world)
    world.traffic.with_headers = {ALWAYS: 5.0}
    assert world.by_header() == {RULE: 0}


@scenario(BY_HEADER)
def testers_go_first_by_header(world: World) -> None:
    """Requests with a header go to v2 before anybody else does, and all along until it is stable."""
    serve_testers(world)
    world.release("v2")
    world.until_stage(Stage.PAUSED, 2)
    assert (world.weights(), world.by_header(), world.pods("v2")) == ("100/0", {RULE: 100}, (1, 1))
    assert world.rollout is not None
    assert (world.rollout.weight, world.rollout.headers) == (0, (RULE,))
    assert "0% and requests with x-canary: always to" in world.status.message
    world.resume()
    world.until_stage(Stage.HOLDING, 4)
    assert (world.weights(), world.by_header()) == ("50/50", {RULE: 100})
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", weights="100/0", failed=[])
    assert world.by_header() == {RULE: 0}


@scenario(BY_HEADER)
def aborted_while_testers_are_on_it(world: World) -> None:
    """abort takes the requests with the header back as it takes a weight back: at once."""
    serve_testers(world)
    world.release("v2")
    world.until_stage(Stage.PAUSED, 2)
    world.command("abort")
    world.until(lambda: world.by_header() == {RULE: 0}, within=1)
    world.until_settled(within=120)
    expect(world, stable="v1", outcome="Aborted", weights="100/0", failed=[("v2", "Aborted")])


@scenario(BY_HEADER)
def superseded_while_testers_are_on_it(world: World) -> None:
    """v3 is applied while testers try v2: they go back to v1 first, and then to v3."""
    serve_testers(world)
    world.release("v2")
    world.until_stage(Stage.PAUSED, 2)
    world.release("v3")
    world.until(lambda: world.by_header() == {RULE: 0}, within=2)
    world.until_stage(Stage.PAUSED, 2)
    assert world.selects("iris-canary") == "v3"
    assert world.by_header() == {RULE: 100}
    world.resume()
    world.until_settled()
    expect(world, stable="v3", outcome="Promoted", failed=[])


@scenario(BY_HEADER, loses=True)
def testers_come_back_when_the_canary_has_no_pods(world: World) -> None:
    """The one pod that serves testers dies: they are served by stable until another one is ready."""
    serve_testers(world)
    world.release("v2")
    world.until_stage(Stage.PAUSED, 2)
    world.kill_pods("v2")
    world.until(lambda: world.by_header() == {RULE: 0} or world.pods("v2") == (1, 1), within=1)
    world.until(lambda: world.by_header() == {RULE: 100}, within=30)
    world.resume()
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")


@scenario(BY_HEADER)
def testers_find_the_errors(world: World) -> None:
    """The canary answers testers with errors: it is rolled back before anybody else sees it."""
    serve_testers(world)
    world.behave("v2", errors=0.5)
    world.release("v2")
    world.until_settled(within=300)
    expect(world, stable="v1", outcome="RolledBack", failed=[("v2", "AnalysisFailed")])
    assert world.by_header() == {RULE: 0}


@scenario(BY_HEADER)
def promoted_by_hand_past_a_header(world: World) -> None:
    """promote before the first step: everything goes, requests with the header too, though it was skipped."""
    serve_testers(world)
    world.release("v2")
    world.until_stage(Stage.PREPARING)
    world.command("promote")
    world.until(lambda: world.weights() == "0/100", within=60)
    assert world.by_header() == {RULE: 100}
    world.until_settled(within=120)
    expect(world, stable="v2", outcome="Promoted", weights="100/0")


@scenario()
def a_header_comes_with_the_release(world: World) -> None:
    """A step by header is applied together with v2: the route has its rule before v2 has any traffic."""
    serve(world)
    world.traffic.with_headers = {ALWAYS: 5.0}
    world.edit("rollout.canary.steps", [TESTERS, {"pause": {}}, *STEPS])
    world.release("v2")
    world.until_stage(Stage.PAUSED, 2)
    assert (world.weights(), world.by_header()) == ("100/0", {RULE: 100})
    world.resume()
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")


@scenario()
def a_header_is_added_mid_rollout(world: World) -> None:
    """A step by header is added at 50%: back to none for the route's new rule, and up from the first step."""
    serve(world)
    world.traffic.with_headers = {ALWAYS: 5.0}
    world.release("v2")
    world.until_stage(Stage.HOLDING, 2)
    world.edit("rollout.canary.steps", [STEPS[0], TESTERS, STEPS[1]])
    world.until_stage(Stage.PREPARING)
    world.until_stage(Stage.HOLDING, 3)
    assert (world.weights(), world.by_header()) == ("50/50", {RULE: 100})
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])


BOTH = {"headers": [TESTERS["headers"][0], {"name": "x-team", "value": "ml"}]}


@scenario(stepped(TESTERS, {"pause": {}}, BOTH, {"pause": {}}, *STEPS))
def a_rule_with_more_headers_follows_one_with_fewer(world: World) -> None:
    """A later step wants two headers: whoever sends both is a tester at the first step already."""
    serve(world)
    world.traffic.with_headers = {ALWAYS | {("x-team", "ml")}: 5.0}
    world.release("v2")
    world.until_stage(Stage.PAUSED, 2)
    assert set(world.by_header().values()) == {100}
    world.run(20)
    assert world.traffic.served_by[world.revision_child("v2")] >= 90
    world.command("promote")
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")


@scenario(
    stepped(
        {"replicas": 2},
        {"pause": {}},
        STEPS[0],
        {"replicas": "75%"},
        STEPS[1],
        rollout={"freeze": [{"cron": "0 0 1 1 *", "duration": "3m", "timeZone": "UTC"}]},
    ),
    calm=True,
)
def pods_apart_from_the_weight(world: World) -> None:
    """Two pods without a weight, then three at 10%, and no fewer at 50%; a freeze holds these steps, too."""
    serve(world)
    world.release("v2")
    world.run(60)
    assert world.condition("Reconciling") == "True/Frozen"
    assert (world.weights(), world.pods("v2")) == ("100/0", (2, 2))
    world.until_stage(Stage.PAUSED, 2)
    assert (world.weights(), world.pods("v2")) == ("100/0", (2, 2))
    world.resume()
    world.until_stage(Stage.HOLDING, 3)
    assert (world.weights(), world.pods("v2")) == ("90/10", (2, 2))
    world.until_stage(Stage.HOLDING, 5)
    assert (world.weights(), world.pods("v2")) == ("50/50", (3, 3))
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")


@scenario(stepped({"replicas": 4}, {"pause": {}}, *STEPS, rollout={"maxSurge": "50%"}))
def pods_asked_for_beyond_the_surge(world: World) -> None:
    """Four pods are asked for and maxSurge leaves two: the rollout says so and goes on with two."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.PAUSED, 2)
    assert world.pods("v2") == (2, 2)
    world.command("abort")
    world.until_settled(within=120)
    expect(world, stable="v1", outcome="Aborted", weights="100/0")


@scenario(stepped({"replicas": 3}, *STEPS, autoscaling={"minReplicas": 4, "maxReplicas": 6}))
def pods_asked_for_with_autoscaling(world: World) -> None:
    """With autoscaling the canary's floor is what the step asks for."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 2)
    assert world.pods("v2") == (3, 3)
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")


RATIO = {"canary": {"steps": [{"weight": 10, "hold": "20s"}, {"weight": 80, "hold": "20s"}]}}


@scenario(service_spec(rollout=RATIO))
def a_ratio_that_pods_cannot_make_is_said(world: World) -> None:
    """Without a Gateway 10% of 4 pods becomes 20%, and 80% would take 16: both are said when it begins."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 1)
    assert world.rollout is not None
    assert world.rollout.shortfalls == (
        "step 1: 10% becomes 20%, because pods are whole: 1 beside 4",
        "step 2: 80% needs 16 canary pods, and rollout.maxSurge 100% allows 4, which is 50%:"
        " it would wait with SurgeLimit; write a lower weight, or add traffic.parentRefs",
    )
    assert world.rollout.weight == 20
    world.until(lambda: world.condition("Reconciling") == "True/SurgeLimit", within=120)
    assert "4 of the 16 pods that are needed for 80%, which is 50%" in world.status.message
    world.edit("rollout.canary.steps", [{"weight": 10, "hold": "20s"}, {"weight": 50, "hold": "20s"}])
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])
    assert world.rollout.shortfalls is None
