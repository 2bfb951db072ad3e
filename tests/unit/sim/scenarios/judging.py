"""How canaries are judged: by their requests, their pods, and what happens without data."""

from __future__ import annotations

from typing import Any

from ekiben.api.status import Stage
from unit.sim.scenario import STEPS, canary_spec, expect, scenario, serve
from unit.sim.world import World, service_spec

SLOW = {"checks": [{"metric": "slow-requests", "over": "300ms", "max": "5%"}]}
ROLLED_BACK = {"stable": "v1", "outcome": "RolledBack", "weights": "100/0", "services": ("v1", "v1")}


def few_samples(on_no_data: str) -> dict[str, Any]:
    """Return a spec whose samples will not come, with a short wait for them."""
    return canary_spec(analysis={"minSamples": 1000000, "maxWait": "1m", "onNoData": on_no_data})


def expect_rolled_back(world: World, reason: str) -> None:
    """Assert that v2 was rolled back for a reason, and that everybody is told."""
    expect(world, **ROLLED_BACK, failed=[("v2", reason)])
    assert world.condition("Ready") == "True/Serving"
    assert world.condition("RolledOut") == "False/RolledBack"
    assert world.condition("Stalled") == "True/RolledBack"
    assert world.condition("Settled") == "True/RolledBack"


@scenario()
def bad_error_rate_rolled_back(world: World) -> None:
    """A canary whose requests fail is rolled back; stable serves on."""
    serve(world)
    world.behave("v2", errors=0.2)
    world.release("v2")
    world.until_settled(within=300)
    expect_rolled_back(world, "AnalysisFailed")
    world.until(lambda: world.replicas("v2") == 0, within=60)


@scenario(service_spec(rollout={"canary": {"steps": [{"weight": 20, "hold": "20s"}]}}))
def bad_error_rate_rolled_back_by_replica_ratio(world: World) -> None:
    """Without a Gateway one write of the Service's selector takes a bad canary out."""
    serve(world)
    world.behave("v2", errors=0.2)
    world.release("v2")
    world.until_settled(within=300)
    expect(world, stable="v1", outcome="RolledBack", services=("v1", "v1"), failed=[("v2", "AnalysisFailed")])


@scenario(canary_spec(analysis=SLOW))
def slow_canary_rolled_back(world: World) -> None:
    """A canary whose requests take too long is rolled back."""
    serve(world)
    world.behave("v2", slow=0.3, slow_takes=1.0)
    world.release("v2")
    world.until_settled(within=300)
    expect_rolled_back(world, "AnalysisFailed")


@scenario()
def canary_turns_bad_in_the_second_step(world: World) -> None:
    """What passed once is judged again in each step."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 2)
    world.behave("v2", errors=0.5)
    world.until_settled(within=300)
    expect_rolled_back(world, "AnalysisFailed")


@scenario()
def crash_loop_rolled_back(world: World) -> None:
    """A canary that crashes again and again never gets a request."""
    serve(world)
    world.behave("v2", crash_loop=True)
    world.release("v2")
    world.until_settled(within=600)
    expect_rolled_back(world, "CrashLoop")


@scenario()
def init_crash_loop_rolled_back(world: World) -> None:
    """A canary whose init container fails again and again is rolled back, with how that one ended."""
    serve(world)
    world.behave("v2", init_crash_loop=True)
    world.release("v2")
    world.until_settled(within=600)
    expect_rolled_back(world, "CrashLoop")
    (failed,) = world.status.failed_revisions
    assert failed.message.endswith("restarted 3 times: container fetch: ended with exit code 1 (Error)")


@scenario(canary_spec(rollout={"canary": {"steps": STEPS}, "progressDeadline": "2m"}))
def never_ready_by_the_deadline(world: World) -> None:
    """A canary that started and is not ready within progressDeadline is rolled back."""
    serve(world)
    world.behave("v2", never_ready=True)
    world.release("v2")
    world.until_settled(within=300)
    expect_rolled_back(world, "NeverReady")


@scenario(loses=True)
def restart_under_traffic_rolled_back(world: World) -> None:
    """A canary whose container restarts while it carries traffic is rolled back."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 1)
    world.run(5)
    world.restart_pods("v2")
    world.until_settled(within=300)
    expect(world, **ROLLED_BACK)


@scenario(loses=True)
def readiness_lost_rolled_back(world: World) -> None:
    """A canary that was ready and is not any more is rolled back, its weight taken away in the same pass."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 1)
    world.run(5)
    world.lose_readiness("v2")
    world.until_settled(within=300)
    expect_rolled_back(world, "ReadinessLost")


@scenario(few_samples("pause"))
def no_data_pauses(world: World) -> None:
    """Too few requests within maxWait: the rollout pauses, and resume goes on."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.PAUSED)
    world.run(300)
    assert world.condition("Reconciling") == "True/NoData"
    world.edit("analysis.minSamples", 10)
    world.resume()
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")


@scenario(few_samples("pass"))
def no_data_passes(world: World) -> None:
    """With onNoData pass the rollout goes on when maxWait is over."""
    serve(world)
    world.release("v2")
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")


@scenario(few_samples("fail"))
def no_data_fails(world: World) -> None:
    """With onNoData fail the canary is rolled back when maxWait is over."""
    serve(world)
    world.release("v2")
    world.until_settled()
    expect_rolled_back(world, "NoData")


@scenario()
def no_traffic_at_all(world: World) -> None:
    """Without a single request nothing is promoted by itself."""
    serve(world, rate=0.0)
    world.release("v2")
    world.until_stage(Stage.PAUSED)
    assert world.condition("Reconciling") == "True/NoData"
    expect(world, stable="v1")


@scenario(canary_spec(analysis={"failureLimit": 2}))
def failed_looks_are_forgiven(world: World) -> None:
    """failureLimit forgives that many failed looks of a step, then the canary is rolled back."""
    serve(world)
    world.behave("v2", errors=0.2)
    world.release("v2")
    world.until(lambda: world.rollout is not None and world.rollout.failed_looks == 2)
    world.until_settled(within=120)
    expect_rolled_back(world, "AnalysisFailed")


@scenario()
def metrics_unreachable_wait(world: World) -> None:
    """Pods whose metrics can't be read get no traffic; nobody is blamed, and it goes on by itself."""
    serve(world)
    world.behave("v2", scrapable=False)
    world.release("v2")
    world.run(900)
    assert world.condition("Reconciling") == "True/MetricsUnreachable"
    assert world.weights() == "100/0"
    world.behave("v2", scrapable=True)
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])


@scenario()
def wrong_service_name_waits(world: World) -> None:
    """A bento.service that the pods don't know is an error that waits; the corrected spec goes on."""
    serve(world)
    world.behave("v2", service="IrisClassifier")
    world.release("v2")
    world.run(120)
    assert world.condition("Reconciling") == "True/ServiceNameMismatch"
    world.behave("v2", service="Iris")
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])


@scenario(canary_spec(analysis={"checks": [{"metric": "error-rate", "maxIncreaseOverStable": "1%"}]}))
def worse_than_stable_rolled_back(world: World) -> None:
    """A check against stable alone: as bad as stable is good enough, clearly worse is not."""
    world.behave("v1", errors=0.05)
    serve(world)
    world.behave("v2", errors=0.05)
    world.release("v2")
    world.until_settled(within=300)
    expect(world, stable="v2", outcome="Promoted")
    world.behave("v3", errors=0.25)
    world.release("v3")
    world.until_settled(within=300)
    expect(world, stable="v2", outcome="RolledBack", failed=[("v3", "AnalysisFailed")])


@scenario(canary_spec(analysis={"maxWait": "1m", "confidence": "99.999%"}))
def uncertain_pauses(world: World) -> None:
    """A canary a little over its limit, with too few requests to be sure: the rollout pauses for a hand."""
    serve(world, rate=20.0)
    world.behave("v2", errors=0.02)
    world.release("v2")
    world.until_stage(Stage.PAUSED)
    assert world.condition("Reconciling") == "True/Inconclusive"
    assert world.status.phase == "Paused"
    assert world.rollout is not None
    assert "not for certain" in world.rollout.message
    world.resume()
    world.behave("v2", errors=0.0)
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")


@scenario(canary_spec(analysis={"maxWait": "1m", "confidence": "99.999%", "onInconclusive": "fail"}))
def uncertain_fails(world: World) -> None:
    """With onInconclusive fail such a canary is rolled back when maxWait is over."""
    serve(world, rate=20.0)
    world.behave("v2", errors=0.02)
    world.release("v2")
    world.until_settled()
    expect_rolled_back(world, "AnalysisFailed")


@scenario(
    canary_spec(
        analysis={
            "checks": [
                {"metric": "error-rate", "max": "1%", "dryRun": True},
                {"metric": "shed-rate", "max": "1%"},
                {"metric": "throughput", "min": "1"},
            ]
        }
    )
)
def dry_run_decides_nothing(world: World) -> None:
    """A dry run is judged and told, and the canary that it would fail is promoted."""
    serve(world)
    world.behave("v2", errors=0.2)
    world.release("v2")
    world.until(
        lambda: world.rollout is not None and "Fail" in [item.verdict for item in world.rollout.checks]
    )
    assert world.rollout is not None
    told = [(item.metric, item.verdict, item.dry_run) for item in world.rollout.checks]
    assert ("error-rate", "Fail", True) in told
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")


@scenario(
    canary_spec(
        analysis={
            "minSamples": 1000000,
            "maxWait": "1m",
            "onNoData": "fail",
            "checks": [
                {"metric": "error-rate", "max": "1%", "onNoData": "pass"},
                {"metric": "shed-rate", "max": "1%", "onNoData": "pause"},
            ],
        }
    )
)
def each_check_says_what_no_data_means(world: World) -> None:
    """A check's own onNoData goes before the analysis': one passes without requests, the other pauses."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.PAUSED)
    assert world.condition("Reconciling") == "True/NoData"
    expect(world, stable="v1", failed=[])


@scenario(
    canary_spec(
        analysis={
            "consecutiveErrorLimit": 3,
            "checks": [{"metric": "slow-requests", "over": "100ms", "maxRatioToStable": "1.5"}],
        },
    )
)
def errors_in_a_row_fail(world: World) -> None:
    """A check that can't be judged is no failure until it was so for consecutiveErrorLimit looks in a row."""
    serve(world)
    world.behave("v2", buckets=False)
    world.release("v2")
    world.until(lambda: world.rollout is not None and world.rollout.checks[:1] != ())
    world.until(lambda: world.rollout is not None and world.rollout.checks[0].verdict == "Error")
    world.until(lambda: world.condition("Reconciling") == "True/CheckError", within=60)
    world.run(5)
    assert world.in_flight
    world.until_settled()
    expect_rolled_back(world, "CheckError")
    world.until(lambda: world.replicas("v2") == 0, within=60)


@scenario(canary_spec(analysis=SLOW | {"maxWait": "1m"}))
def errors_wait_without_haste(world: World) -> None:
    """A check that can't be judged is waited for, beyond maxWait too: a look each interval is enough."""
    serve(world)
    world.behave("v2", buckets=False)
    world.release("v2")
    world.until(lambda: world.condition("Reconciling") == "True/CheckError", within=60)
    world.run(120)
    passes = world.operator.passes
    world.run(60)
    assert world.operator.passes - passes <= 60 / 5
    assert world.condition("Reconciling") == "True/CheckError"


@scenario(
    canary_spec(
        analysis={
            "maxWait": "1m",
            "showLatency": True,
            "checks": [
                {"metric": "error-rate", "max": "1%"},
                {"metric": "mean-batch-size", "min": "3", "maxRatioToStable": "1.5"},
                {"metric": "concurrency", "max": "2"},
            ],
        }
    )
)
def small_batches_pause(world: World) -> None:
    """A mean that is not within its limits never fails a canary: it waits, and then for a hand."""
    serve(world)
    world.behave("v2", batch=1.0)
    world.release("v2")
    world.until_stage(Stage.PAUSED, 1)
    assert world.condition("Reconciling") == "True/Inconclusive"
    assert world.rollout is not None
    assert [check.verdict for check in world.rollout.checks] == ["Pass", "Waiting", "Pass"]
    assert world.rollout.totals is not None
    latency = world.rollout.totals.canary.latency
    assert latency is not None
    assert latency.p99 == "<= 5ms"
    world.behave("v2", batch=4.0)
    world.resume()
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")
