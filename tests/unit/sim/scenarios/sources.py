"""Canaries that are judged by others than their pods: what those say, and what happens when they don't."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ekiben.api.status import Stage
from ekiben.asking.asker import UnansweredError
from ekiben.core.measuring import Measure, Measured
from unit.sim.scenario import STEPS, canary_spec, expect, scenario, serve
from unit.sim.scenarios.judging import expect_rolled_back
from unit.sim.world import World

PROMETHEUS = {
    "address": "http://prometheus.monitoring:9090",
    "query": 'score{revision="{{canary.revision}}"}',
}
WEB = {"url": "http://judge.shop/{{model.namespace}}/{{model.name}}", "jsonPath": "$.accuracy"}
BY_SCORE = {"name": "score", "prometheus": PROMETHEUS, "min": "0.9"}
BY_WEB = {"name": "accuracy", "web": WEB, "min": "0.9"}
ERRORS = {"metric": "error-rate", "max": "1%"}


def judged_by(*checks: dict[str, Any], **rules: Any) -> dict[str, Any]:
    """Return a spec with these checks."""
    return canary_spec(analysis={"checks": [*checks], **rules})


def one(number: float) -> Callable[[Measure], Measured]:
    """Answer every question with one number."""
    return lambda question: Measured(number, number)


def down(question: Measure) -> Measured:
    """Answer nothing."""
    raise UnansweredError("http://prometheus.monitoring:9090 can't be asked: Connection refused")


@scenario(judged_by(ERRORS, BY_SCORE, BY_WEB), calm=True)
def promoted_by_what_others_say(world: World) -> None:
    """A canary that its pods, a Prometheus and a server find good is promoted; each is asked about it."""
    asked: set[str] = set()

    def answer(question: Measure) -> Measured:
        asked.add(question.url)
        return Measured(0.93, 0.93)

    world.answer(Measure, answer)
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 2)
    assert world.rollout is not None
    revision = world.rollout.revision
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])
    assert asked == {
        f"http://prometheus.monitoring:9090/api/v1/query?query=score%7Brevision%3D%22{revision}%22%7D",
        "http://judge.shop/shop/iris",
    }


@scenario(judged_by(ERRORS, BY_SCORE))
def bad_score_rolled_back(world: World) -> None:
    """A number outside of its limits fails the canary at the first look, with the number in the message."""
    world.answer(Measure, one(0.42))
    serve(world)
    world.release("v2")
    world.until_settled(within=300)
    expect_rolled_back(world, "AnalysisFailed")
    (failed,) = world.status.failed_revisions
    assert failed.message == "score 0.42, limit at least 0.9"


@scenario(judged_by(ERRORS, BY_SCORE, failureLimit=2))
def bad_scores_are_forgiven(world: World) -> None:
    """failureLimit forgives failed looks of any source, each once."""
    world.answer(Measure, one(0.42))
    serve(world)
    world.release("v2")
    world.until(lambda: world.rollout is not None and world.rollout.failed_looks == 2, within=120)
    world.until_settled(within=300)
    expect_rolled_back(world, "AnalysisFailed")


@scenario(judged_by(ERRORS, BY_SCORE))
def prometheus_down_waits(world: World) -> None:
    """A Prometheus that is down is an error and no verdict: the step waits, and goes on by itself."""
    world.answer(Measure, down)
    serve(world)
    world.release("v2")
    world.run(1200)
    assert world.condition("Reconciling") == "True/CheckError"
    assert world.rollout is not None
    assert [item.verdict for item in world.rollout.checks] == ["Pass", "Error"]
    expect(world, failed=[])
    world.answer(Measure, one(0.95))
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])


@scenario(judged_by(ERRORS, BY_SCORE, consecutiveErrorLimit=3))
def prometheus_down_for_too_long_fails(world: World) -> None:
    """With consecutiveErrorLimit so many errors in a row fail the canary, with an answer between not."""
    answers = iter([down, down, down, one(0.95)])

    def answer(question: Measure) -> Measured:
        return next(answers, down)(question)

    world.answer(Measure, answer)
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 2)
    world.until_settled()
    expect_rolled_back(world, "CheckError")


@scenario(judged_by(ERRORS, {**BY_SCORE, "onNoData": "pass"}, maxWait="1m"))
def no_series_passes_when_it_may(world: World) -> None:
    """An empty answer of a Prometheus is no data: the check's onNoData says what follows after maxWait."""
    world.answer(Measure, lambda question: Measured())
    serve(world)
    world.release("v2")
    world.until(lambda: world.condition("Reconciling") == "True/NoSeries", within=300)
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])


@scenario(judged_by(ERRORS, BY_SCORE, maxWait="1m"))
def no_series_pauses(world: World) -> None:
    """Without onNoData no series is what no requests are: a pause for a hand."""
    world.answer(Measure, lambda question: Measured())
    serve(world)
    world.release("v2")
    world.until_stage(Stage.PAUSED)
    assert world.condition("Reconciling") == "True/NoData"
    world.answer(Measure, one(0.95))
    world.resume()
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])


@scenario(judged_by(BY_SCORE))
def judged_without_the_pods_metrics(world: World) -> None:
    """Where others alone judge, pods whose metrics can't be read keep nobody waiting."""
    world.answer(Measure, one(0.95))
    world.behave("v1", scrapable=False)
    world.behave("v2", scrapable=False)
    serve(world)
    world.release("v2")
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])


@scenario(judged_by(ERRORS, {**BY_WEB, "dryRun": True}))
def dry_run_of_a_server_decides_nothing(world: World) -> None:
    """A dry run of another source is told, and the canary that it would fail is promoted."""
    world.answer(Measure, one(0.1))
    serve(world)
    world.release("v2")
    world.until(
        lambda: world.rollout is not None and "Fail" in [item.verdict for item in world.rollout.checks]
    )
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])


@scenario(
    canary_spec(
        rollout={"canary": {"steps": [*STEPS, {"pause": {}}]}},
        analysis={"initialDelay": "10s", "checks": [ERRORS, {**BY_SCORE, "interval": "30s"}]},
    )
)
def others_are_asked_after_the_initial_delay_and_by_their_interval(world: World) -> None:
    """What was before initialDelay does not count for others either; a pause goes on asking, less often."""
    asked: list[tuple[str, float]] = []

    def answer(question: Measure) -> Measured:
        asked.append((question.about, world.clock.now))
        return Measured(0.95, 0.95)

    world.answer(Measure, answer)
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 1)
    began = world.clock.now
    world.run(9)
    assert asked == []
    world.run(2)
    assert [round(at - began) for _, at in asked] == [10]
    world.until_stage(Stage.PAUSED)
    world.run(300)
    times = [at for _, at in asked]
    assert len(times) < 300 / 30 + 8
    assert len({about for about, _ in asked}) == 2
    world.resume()
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])


@scenario(judged_by(ERRORS, {**BY_SCORE, "prometheus": {**PROMETHEUS, "query": "score{{args.none}}"}}))
def unknown_words_are_an_error(world: World) -> None:
    """What nobody can fill in is never asked: the check says so, and waits for an edit."""
    world.answer(Measure, one(0.95))
    serve(world)
    world.release("v2")
    world.until(lambda: world.condition("Reconciling") == "True/CheckError", within=300)
    assert "{{args.none}} is nothing that is known here" in world.status.message
    world.edit("analysis.checks", [ERRORS, BY_SCORE])
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])
