"""Checks that a ModelAnalysis holds: taken over when a rollout starts, and waited for where it is missing."""

from __future__ import annotations

from typing import Any

from ekiben.core.measuring import Measure, Measured
from unit.sim.scenario import canary_spec, expect, scenario, serve
from unit.sim.world import World

USES = canary_spec(
    analysis={
        "checks": [{"metric": "error-rate", "max": "1%"}],
        "templates": [{"name": "quality", "args": [{"name": "team", "value": "flowers"}]}],
    }
)


def quality(least: str = "0.9") -> dict[str, Any]:
    """Return a ModelAnalysis that asks a team's server."""
    web = {"url": "http://judge.{{args.team}}/{{model.name}}/{{args.set}}", "jsonPath": "$.score"}
    checks = [{"name": "score", "min": least, "web": web}]
    args = [{"name": "team"}, {"name": "set", "default": "golden"}]
    return {"metadata": {"name": "quality", "namespace": "shop"}, "spec": {"args": args, "checks": checks}}


@scenario(USES)
def promoted_by_a_template(world: World) -> None:
    """A template's checks count like the spec's own, with its arguments and their defaults filled in."""
    asked: set[str] = set()

    def answer(question: Measure) -> Measured:
        asked.add(question.url)
        return Measured(0.95, 0.95)

    world.answer(Measure, answer)
    world.cluster.templates["quality"] = quality()
    serve(world)
    world.release("v2")
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])
    assert asked == {"http://judge.flowers/iris/golden"}


@scenario(USES)
def a_missing_template_waits(world: World) -> None:
    """Without its template a rollout does not start and says why; serving goes on, and it starts itself."""
    world.answer(Measure, lambda question: Measured(0.95, 0.95))
    serve(world)
    world.release("v2")
    world.run(300)
    assert world.condition("Stalled") == "True/TemplateUnusable"
    assert "ModelAnalysis quality, which does not exist" in world.status.message
    assert not world.in_flight
    expect(world, stable="v1", failed=[])
    world.say("user creates the ModelAnalysis")
    world.cluster.templates["quality"] = quality()
    world.operator.wake()
    world.until(lambda: world.in_flight, within=60)
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])
    assert world.condition("Stalled") == "False/Idle"


@scenario(USES)
def a_template_that_changes_disturbs_no_rollout(world: World) -> None:
    """What a template holds is taken over at the start: edited or deleted later, it counts next time."""
    world.answer(Measure, lambda question: Measured(0.95, 0.95))
    world.cluster.templates["quality"] = quality()
    serve(world)
    world.release("v2")
    world.until(lambda: world.rollout is not None and world.rollout.step == 1)
    world.say("user edits the ModelAnalysis")
    world.cluster.templates["quality"] = quality(least="0.99")
    world.operator.wake()
    world.run(10)
    world.say("user deletes the ModelAnalysis")
    world.cluster.templates.clear()
    world.operator.wake()
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])
    world.cluster.templates["quality"] = quality(least="0.99")
    world.release("v3")
    world.until_settled()
    expect(world, stable="v2", outcome="RolledBack", failed=[("v3", "AnalysisFailed")])
