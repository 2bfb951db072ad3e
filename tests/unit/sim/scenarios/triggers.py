"""KEDA's other sources, and a formula over several, beside rollouts and where the chart allows none."""

from __future__ import annotations

from typing import Any

from ekiben.api.status import Stage
from ekiben.core.snapshot import Ref
from unit.sim.scenario import STEPS, canary_spec, expect, scenario, serve
from unit.sim.scenarios.changing import FORBIDDEN
from unit.sim.scenarios.scaling import HOURS, QUERY, held, scaled
from unit.sim.world import World, gateway_spec

ROLLOUT = {"canary": {"steps": STEPS}}


def queue(name: str = "jobs", **more: Any) -> dict[str, Any]:
    """Return a metric: a queue, of which a pod can take ten messages."""
    metadata = {"queueName": name, "mode": "QueueLength", "value": "10"}
    return {"trigger": {"type": "rabbitmq", "metadata": metadata}} | more


OF_EACH = queue("{{model.name}}-{{revision}}")
BOTH = {
    "metrics": [queue(name="waiting"), QUERY | {"name": "work"}],
    "formula": {"expression": "max([waiting, work * 4])", "target": "10"},
}
OF_TWO_QUEUES = {
    "metrics": [queue(name="waiting"), OF_EACH | {"name": "mine"}],
    "formula": {"expression": "waiting + mine", "target": "10"},
}


def allowed(world: World, *types: str) -> None:
    """Let KEDA be there, and the chart allow these types of triggers."""
    world.cluster.triggers = frozenset(types)
    world.set_keda("installed")


def trigger_of(world: World, tag: str) -> dict[str, Any]:
    """Return the first trigger of a version's ScaledObject."""
    spec = world.server.objects[Ref("ScaledObject", world.revision_child(tag))]["spec"]
    found: dict[str, Any] = spec["triggers"][0]
    return found


@scenario(gateway_spec(autoscaling=scaled(queue()), rollout=ROLLOUT))
def a_queue_scales_stable_and_no_canary(world: World) -> None:
    """Pods follow a queue that all revisions share: a canary beside it has the pods of its weight alone."""
    allowed(world, "rabbitmq")
    world.keda.queues["jobs"] = 55
    serve(world, rate=50.0)
    world.until(lambda: world.pods("v1") == (6, 6), within=120)
    assert (world.scaler("v1"), world.condition("Scaling")) == ("ScaledObject", "True/KEDA")
    world.release("v2")
    world.until_stage(Stage.HOLDING, 2)
    assert (world.scaler("v2"), world.replicas("v2"), world.replicas("v1")) == ("", 3, 6)
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")
    assert (world.scaler("v2"), world.replicas("v2")) == ("ScaledObject", 6)
    world.say("the queue is empty")
    world.keda.queues["jobs"] = 0
    world.until(lambda: world.replicas("v2") == 2, within=600)


@scenario(gateway_spec(autoscaling=scaled(OF_EACH), rollout=ROLLOUT))
def each_revision_has_a_queue_of_its_own(world: World) -> None:
    """With {{revision}} in the trigger each revision is scaled by its own, the canary beyond its weight."""
    allowed(world, "*")
    serve(world, rate=50.0)
    world.until(lambda: world.scaler("v1") == "ScaledObject", within=30)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 1)
    mine = trigger_of(world, "v2")["metadata"]["queueName"]
    assert mine == world.revision_child("v2")
    assert trigger_of(world, "v1")["metadata"]["queueName"] == world.revision_child("v1")
    world.say("messages wait for v2")
    world.keda.queues[mine] = 30
    world.until(lambda: world.replicas("v2") == 3, within=60)
    assert world.replicas("v1") == 2
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")


@scenario(gateway_spec(autoscaling=scaled(OF_EACH), rollout=ROLLOUT))
def refused_while_keda_scales_a_bad_canary(world: World) -> None:
    """While a spec is refused KEDA lets go of a canary that failed, too: its pods go and come no more."""
    allowed(world, "rabbitmq")
    serve(world, rate=50.0)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 1)
    assert world.scaler("v2") == "ScaledObject"
    world.edit("podTemplate.volumes", FORBIDDEN)
    world.behave("v2", errors=0.5)
    world.until(lambda: not world.in_flight, within=120)
    world.until(lambda: world.pods("v2") == (0, 0), within=60)
    assert (world.scaler("v1"), world.scaler("v2"), world.pods("v1")) == ("ScaledObject", "", (2, 2))
    world.edit("podTemplate.volumes", None)
    world.until_settled()
    expect(world, stable="v1", outcome="RolledBack")


@scenario(canary_spec(autoscaling=scaled(queue())))
def a_trigger_that_the_chart_does_not_allow(world: World) -> None:
    """Types that the chart does not list are not passed on: said with the remedy, and no pod goes."""
    allowed(world, "rabbitmq")
    world.keda.queues["jobs"] = 40
    serve(world)
    world.until(lambda: world.pods("v1") == (4, 4), within=120)
    world.say("the chart allows kafka alone")
    world.keda.queues["jobs"] = 0
    allowed(world, "kafka")
    held(world, 4, 60)
    assert (world.scaler("v1"), world.condition("Scaling")) == ("", "False/TriggerForbidden")
    assert "list it in the chart value keda.triggers" in world.status.message
    world.edit("autoscaling", scaled(queue(), QUERY))
    held(world, 4, 400)
    assert (world.scaler("v1"), world.condition("Scaling")) == ("ScaledObject", "False/TriggerForbidden")
    assert trigger_of(world, "v1")["type"] == "prometheus"
    allowed(world, "kafka", "rabbitmq")
    world.until(lambda: world.condition("Scaling") == "True/KEDA", within=10)
    world.until(lambda: world.replicas("v1") == 2, within=600)


@scenario(gateway_spec(autoscaling={"minReplicas": 2, "maxReplicas": 8} | BOTH, rollout=ROLLOUT))
def a_formula_over_a_queue_and_a_query(world: World) -> None:
    """A formula with a queue of all revisions is stable's, whole or not at all: an outage takes no pod."""
    allowed(world, "rabbitmq")
    world.keda.computed = 58
    serve(world, rate=50.0)
    world.until(lambda: world.pods("v1") == (6, 6), within=120)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 2)
    assert (world.scaler("v2"), world.replicas("v2"), world.replicas("v1")) == ("", 3, 6)
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")
    world.say("RabbitMQ does not answer any more")
    world.keda.computed = 0
    world.keda.outage = True
    world.keda.look_again()
    world.run(400)
    assert (world.replicas("v2"), world.condition("Scaling")) == (6, "False/Fallback")
    world.say("RabbitMQ answers again")
    world.keda.outage = False
    world.keda.look_again()
    world.until(lambda: world.replicas("v2") == 2, within=600)
    allowed(world)
    world.run(10)
    assert (world.scaler("v2"), world.condition("Scaling")) == ("", "False/TriggerForbidden")


@scenario(canary_spec(autoscaling=scaled(**OF_TWO_QUEUES)))
def a_formula_that_keda_can_not_compile(world: World) -> None:
    """KEDA refuses the formula, in several lines: its words are one line of the status, and no pod goes."""
    world.keda.broken = (
        "error validating formula in ScalingModifiers\nunknown name mine (1:11)\n | ..........^"
    )
    allowed(world, "rabbitmq")
    serve(world)
    world.until(lambda: world.condition("Scaling") == "False/KEDANotReady", within=30)
    assert "ScalingModifiers unknown name mine (1:11) | " in world.status.message
    world.say("the formula is right")
    world.keda.broken = ""
    world.edit("autoscaling.metrics", [queue(name="waiting"), HOURS | {"name": "mine"}])
    world.until(lambda: world.condition("Scaling") == "True/KEDA", within=30)
