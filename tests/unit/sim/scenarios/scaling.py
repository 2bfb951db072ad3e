"""Who scales: engines that come, go and hand over to each other, beside rollouts and beside others."""

from __future__ import annotations

from typing import Any

from ekiben.api.status import Stage
from ekiben.core.snapshot import Ref
from unit.sim.scenario import STEPS, canary_spec, expect, scenario, serve
from unit.sim.world import World, gateway_spec, service_spec

QUERY = {
    "prometheus": {"address": "http://prometheus:9090", "query": 'load{r="{{revision}}"}', "threshold": "8"}
}
SHARED = {"prometheus": {"address": "http://prometheus:9090", "query": "sum(queue)", "threshold": "8"}}
HOURS = {"schedule": {"start": "0 8 * * 1-5", "end": "0 20 * * 1-5", "replicas": 6}}


def scaled(*metrics: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return an autoscaling block."""
    return {"minReplicas": 2, "maxReplicas": 8, "metrics": list(metrics), **more}


def grown(world: World, pods: int) -> None:
    """Serve with so much load that v1 is scaled to `pods`."""
    world.autoscalers.requests_per_pod = 25.0
    serve(world, rate=25.0 * pods)
    world.until(lambda: world.pods("v1") == (pods, pods), within=180)


def held(world: World, pods: int, seconds: float) -> None:
    """Let time pass in which v1 never has fewer pods than these."""
    for _ in range(round(seconds / 0.25)):
        world.run(0.25)
        assert world.replicas("v1") >= pods, world.describe()
        assert world.pods("v1")[0] >= pods, world.describe()


@scenario(canary_spec(autoscaling=scaled(QUERY, HOURS)))
def scaled_by_keda(world: World) -> None:
    """A query and a schedule: auto takes KEDA; pods come with the load, and with the window."""
    world.set_keda("installed")
    grown(world, 4)
    assert world.scaler("v1") == "ScaledObject"
    assert world.status.scaling is not None
    assert (world.status.scaling.engine, world.condition("Scaling")) == ("keda", "True/KEDA")
    world.say("the schedule's window begins")
    world.keda.window = 6
    world.until(lambda: world.pods("v1") == (6, 6), within=60)


@scenario(canary_spec(autoscaling=scaled({"cpu": "70%"})))
def engines_hand_over_without_a_dip(world: World) -> None:
    """HPA, then KEDA, then nobody, under load: the old scaler goes first, and no pod goes with it."""
    world.set_keda("installed")
    grown(world, 5)
    world.edit("autoscaling", scaled(QUERY))
    held(world, 5, 30)
    assert world.scaler("v1") == "ScaledObject"
    world.edit("autoscaling", scaled({"cpu": "70%"}))
    held(world, 5, 30)
    assert world.scaler("v1") == "HPA"
    world.edit("replicas", 6)
    world.edit("autoscaling.engine", "none")
    held(world, 5, 30)
    assert (world.scaler("v1"), world.replicas("v1")) == ("", 6)
    assert world.condition("Scaling") == "True/Fixed"


@scenario(canary_spec(autoscaling=scaled(QUERY)))
def keda_that_does_not_run_lets_nothing_go(world: World) -> None:
    """KEDA is down, so its ScaledObject can't go: no HPA is made beside it until it is back."""
    world.set_keda("installed")
    grown(world, 4)
    world.say("KEDA stops")
    world.keda.runs = False
    world.edit("autoscaling", scaled({"cpu": "70%"}))
    held(world, 4, 60)
    assert world.scaler("v1") == "ScaledObject"
    assert world.condition("Scaling") == "Unknown/HandingOver"
    world.say("KEDA runs again")
    world.keda.runs = True
    world.keda.look_again()
    world.until(lambda: world.scaler("v1") == "HPA", within=30)
    world.until(lambda: world.condition("Scaling") == "True/HPA", within=30)


@scenario(canary_spec(autoscaling=scaled(QUERY)))
def keda_that_the_lost_status_was_last_to_know_of(world: World) -> None:
    """The status is lost as the spec turns to HPA: the ScaledObject that neither knows of goes first."""
    world.set_keda("installed")
    grown(world, 4)
    world.lose_status()
    world.edit("autoscaling", scaled({"cpu": "70%"}))
    held(world, 4, 60)
    assert world.scaler("v1") == "HPA"
    assert world.condition("Scaling") == "True/HPA"


@scenario(canary_spec(autoscaling=scaled(QUERY, {"cpu": "70%"})))
def keda_goes_and_comes(world: World) -> None:
    """KEDA's kinds vanish: an HPA scales on what it can read and takes no pod, until they are back."""
    world.set_keda("installed")
    grown(world, 4)
    world.set_keda("absent")
    world.until(lambda: world.scaler("v1") == "HPA", within=30)
    assert world.condition("Scaling") == "False/KEDAMissing"
    world.traffic.rate = 20.0
    held(world, 4, 400)
    world.set_keda("installed")
    world.until(lambda: world.scaler("v1") == "ScaledObject", within=30)
    assert world.condition("Scaling") == "True/KEDA"
    world.until(lambda: world.replicas("v1") == 2, within=600)


@scenario(canary_spec(autoscaling=scaled(QUERY, HOURS)))
def no_engine_for_any_metric(world: World) -> None:
    """Without KEDA nobody can read these metrics: the model serves with minReplicas, and says what to do."""
    world.set_keda("absent")
    serve(world)
    assert (world.scaler("v1"), world.replicas("v1")) == ("", 2)
    assert world.condition("Scaling") == "False/KEDAMissing"
    assert "not scaled: autoscaling needs KEDA" in world.status.message
    world.set_keda("installed")
    world.until(lambda: world.scaler("v1") == "ScaledObject", within=30)


@scenario(canary_spec(autoscaling=scaled(QUERY)))
def a_metric_outage_takes_no_pod(world: World) -> None:
    """Prometheus can't be reached: KEDA falls back to the pods that there are, and the status says so."""
    world.set_keda("installed")
    grown(world, 5)
    world.say("Prometheus does not answer any more")
    world.keda.outage = True
    world.keda.look_again()
    world.traffic.rate = 30.0
    held(world, 5, 400)
    assert world.condition("Scaling") == "False/Fallback"
    world.say("Prometheus answers again")
    world.keda.outage = False
    world.keda.look_again()
    world.until(lambda: world.replicas("v1") == 2, within=600)
    assert world.condition("Scaling") == "True/KEDA"


@scenario(canary_spec(autoscaling=scaled(QUERY)))
def keda_refuses_the_scaled_object(world: World) -> None:
    """KEDA can't use the ScaledObject: its words are in the status, and the pods stay."""
    world.keda.broken = "error parsing prometheus metadata"
    world.set_keda("installed")
    serve(world)
    world.until(lambda: world.condition("Scaling") == "False/KEDANotReady", within=30)
    assert "error parsing prometheus metadata" in world.status.message


@scenario(canary_spec(autoscaling=scaled({"cpu": "70%"})))
def a_webhook_refuses_the_scaled_object(world: World) -> None:
    """KEDA's webhook wants another spec: no pod goes meanwhile, and what it said is in the condition."""
    world.set_keda("installed")
    grown(world, 4)
    world.server.admit = lambda intent: (
        "the workload has no request" if intent["kind"] == "ScaledObject" else ""
    )
    world.edit("autoscaling", scaled(QUERY, {"cpu": "500m"}))
    held(world, 4, 90)
    assert (world.scaler("v1"), world.condition("Scaling")) == ("", "False/ScalerRejected")
    assert "not scaled: rejected: the workload has no request" in world.status.message
    world.say("the webhook lets it pass")
    world.server.admit = lambda intent: ""
    world.until(lambda: world.condition("Scaling") == "True/KEDA", within=90)
    assert world.scaler("v1") == "ScaledObject"


@scenario(canary_spec(autoscaling=scaled({"cpu": "70%"})))
def a_foreign_autoscaler_is_named_and_not_fought(world: World) -> None:
    """Somebody's HPA targets stable's Deployment: ours makes way, nobody writes replicas, until it goes."""
    grown(world, 4)
    theirs = world.add_autoscaler("theirs", "v1", minReplicas=5)
    world.until(lambda: world.pods("v1") == (5, 5), within=60)
    assert world.scaler("v1") == ""
    assert world.condition("Scaling") == "False/ForeignScaler"
    assert "HorizontalPodAutoscaler shop/theirs scales Deployment" in world.status.message
    world.say("somebody deletes it again")
    world.server.delete(theirs)
    world.until(lambda: world.scaler("v1") == "HPA", within=30)
    assert world.condition("Scaling") == "True/HPA"


@scenario()
def a_foreign_autoscaler_of_fixed_pods_is_not_fought(world: World) -> None:
    """Without autoscaling somebody's HPA targets the Deployment: its size is let be, and that is said."""
    serve(world)
    theirs = world.add_autoscaler("theirs", "v1", minReplicas=6)
    world.until(lambda: world.pods("v1") == (6, 6), within=60)
    held(world, 6, 60)
    assert "have it target ModelDeployment iris" in world.status.message
    world.say("somebody deletes it again")
    world.server.delete(theirs)
    world.until(lambda: world.replicas("v1") == 4, within=30)
    assert world.condition("Scaling") == ""


@scenario(canary_spec(autoscaling={"engine": "external"}, replicas=3))
def scaled_by_others(world: World) -> None:
    """engine external: what others set stays; what `kubectl scale` sets is carried out once."""
    serve(world)
    assert (world.pods("v1"), world.condition("Scaling")) == ((3, 3), "True/External")
    world.say("somebody scales the Deployment to 5")
    world.server.scale(world.revision_child("v1"), 5)
    world.run(60)
    assert world.pods("v1") == (5, 5)
    world.edit("replicas", 2)
    world.until(lambda: world.pods("v1") == (2, 2), within=10)
    world.run(5)
    world.say("somebody scales the Deployment to 4")
    world.server.scale(world.revision_child("v1"), 4)
    world.run(60)
    assert world.pods("v1") == (4, 4)
    world.release("v2")
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")
    assert world.replicas("v2") == 4


@scenario(canary_spec(autoscaling=scaled({"concurrency": "8"})))
def metrics_that_nobody_serves_are_said(world: World) -> None:
    """No adapter: said once it has lasted, by one write, pods held; and once metrics are read for as long."""
    world.autoscalers.fails = "FailedGetPodsMetric"
    serve(world)
    world.until(lambda: world.pods("v1") == (2, 2), within=60)
    held(world, 2, 60)
    assert world.condition("Scaling") == "True/HPA"
    world.until(lambda: world.condition("Scaling") == "False/MetricsUnreadable", within=60)
    assert "install the chart with adapter.enabled=true" in world.status.message
    world.say("the adapter is installed, and answers no more after a moment")
    world.autoscalers.fails = ""
    world.run(40)
    world.autoscalers.fails = "FailedGetPodsMetric"
    world.run(60)
    assert world.condition("Scaling") == "False/MetricsUnreadable"
    world.say("the adapter answers")
    world.autoscalers.fails = ""
    world.until(lambda: world.condition("Scaling") == "True/HPA", within=120)


@scenario(canary_spec(autoscaling=scaled({"cpu": "70%"})))
def a_short_outage_of_the_metrics_is_not_said(world: World) -> None:
    """metrics-server restarts under load: no pod goes, and nothing is told."""
    grown(world, 4)
    world.run(5)
    written = world.server.model["metadata"]["resourceVersion"]
    world.say("metrics-server restarts")
    world.autoscalers.fails = "FailedGetContainerResourceMetric"
    world.traffic.rate = 10.0
    held(world, 4, 70)
    world.autoscalers.fails, world.traffic.rate = "", 100.0
    world.run(30)
    assert world.server.model["metadata"]["resourceVersion"] == written
    assert world.condition("Scaling") == "True/HPA"


@scenario(canary_spec(autoscaling=scaled({"cpu": "70%"}), replicas=2))
def left_to_others_at_the_live_size(world: World) -> None:
    """From HPA to external under load: the pods stay as many as the load had made of them."""
    grown(world, 5)
    world.edit("autoscaling", {"engine": "external"})
    held(world, 5, 30)
    assert (world.scaler("v1"), world.replicas("v1")) == ("", 5)


@scenario(gateway_spec(autoscaling=scaled(QUERY), rollout={"canary": {"steps": STEPS}}))
def a_rollout_with_keda(world: World) -> None:
    """The canary's ScaledObject has the bounds of its weight; stable keeps its own, and its size."""
    world.set_keda("installed")
    grown(world, 5)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 1)
    canary = world.server.objects[Ref("ScaledObject", world.revision_child("v2"))]["spec"]
    assert (canary["minReplicaCount"], world.replicas("v2")) == (1, 1)
    world.until_stage(Stage.HOLDING, 2)
    canary = world.server.objects[Ref("ScaledObject", world.revision_child("v2"))]["spec"]
    assert (canary["minReplicaCount"], world.replicas("v2")) == (3, 3)
    stable = world.server.objects[Ref("ScaledObject", world.revision_child("v1"))]["spec"]
    assert (
        stable["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]["selectPolicy"]
        == "Disabled"
    )
    assert world.replicas("v1") == 5
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")
    assert (world.scaler("v2"), world.scaler("v1"), world.replicas("v2")) == ("ScaledObject", "", 5)


@scenario(gateway_spec(autoscaling=scaled(QUERY), rollout={"canary": {"steps": STEPS}}))
def keda_that_dies_in_a_rollout_is_named(world: World) -> None:
    """KEDA is down when the canary needs more pods: the rollout waits, names it, and goes on with it."""
    world.set_keda("installed")
    grown(world, 4)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 1)
    world.say("KEDA stops")
    world.keda.runs = False
    world.until_stage(Stage.SHIFTING, 2)
    begun = world.clock.now
    world.until(lambda: world.condition("Reconciling") == "True/KEDASilent", within=90)
    assert world.clock.now - begun >= 59
    assert world.condition("Scaling") == "False/KEDASilent"
    name = world.revision_child("v2")
    assert "1 of 2 canary pods are ready: KEDA does not run" in world.status.message
    assert f"it has not taken over 2 to 8 pods from ScaledObject {name}" in world.status.message
    # For longer than progressDeadline: it is not the revision's fault.
    held(world, 4, 660)
    assert world.condition("Reconciling") == "True/KEDASilent"
    world.say("KEDA runs again")
    world.keda.runs = True
    world.keda.look_again()
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")
    world.until(lambda: world.condition("Scaling") == "True/KEDA", within=120)


@scenario(canary_spec(autoscaling=scaled(QUERY)))
def keda_that_does_not_run_is_named_at_rest(world: World) -> None:
    """Nobody answers stable's autoscaler: no pod goes, and KEDA is named, and for new bounds sooner."""
    world.set_keda("installed")
    grown(world, 4)
    world.say("KEDA stops")
    world.keda.runs = False
    held(world, 4, 80)
    assert world.condition("Scaling") == "True/KEDA"
    world.until(lambda: world.condition("Scaling") == "False/MetricsUnreadable", within=60)
    assert "can't read prometheus, so no pod goes: see to KEDA's operator" in world.status.message
    world.edit("autoscaling.minReplicas", 5)
    world.until(lambda: world.condition("Scaling") == "False/KEDASilent", within=70)
    assert "it has not taken over 5 to 8 pods" in world.status.message
    world.say("KEDA runs again")
    world.keda.runs = True
    world.keda.look_again()
    world.until(lambda: world.pods("v1") == (5, 5), within=60)
    world.until(lambda: world.condition("Scaling") == "True/KEDA", within=120)


@scenario(
    gateway_spec(
        autoscaling=scaled({"concurrency": "8"}),
        rollout={"canary": {"steps": [{"weight": 10, "hold": "4m"}, {"weight": 50, "hold": "20s"}]}},
    )
)
def metrics_of_the_canary_that_nobody_serves_are_said(world: World) -> None:
    """The canary's autoscaler alone can't read: that is said of the canary, and goes with the canary."""
    grown(world, 4)
    world.behave("v2", errors=0.0)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 1)
    world.autoscalers.fails = "FailedGetPodsMetric"
    world.autoscalers.fails_of = frozenset({world.revision_child("v2")})
    world.until(lambda: world.condition("Scaling") == "False/MetricsUnreadable", within=120)
    said = next(item.message for item in world.status.conditions if item.type == "Scaling")
    revision = world.rollout.revision if world.rollout else ""
    assert f"the autoscaler of {revision} can't read concurrency" in said
    assert f"kubectl describe hpa {world.revision_child('v2')}" in said
    assert world.rollout is not None
    world.edit("rollout.abort", world.rollout.id)
    world.until_settled()
    expect(world, stable="v1", outcome="Aborted")
    assert world.condition("Scaling") == "True/HPA"


@scenario(gateway_spec(autoscaling=scaled(SHARED, HOURS), rollout={"canary": {"steps": STEPS}}))
def a_query_of_all_revisions_sizes_no_canary(world: World) -> None:
    """A queue that all revisions share, and a clock, are stable's: the canary has the pods of its weight."""
    world.set_keda("installed")
    world.keda.window = 6
    serve(world, rate=50.0)
    world.until(lambda: world.pods("v1") == (6, 6), within=120)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 2)
    assert (world.scaler("v2"), world.replicas("v2"), world.replicas("v1")) == ("", 3, 6)
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")
    assert (world.scaler("v2"), world.replicas("v2")) == ("ScaledObject", 6)


@scenario(canary_spec(autoscaling=scaled({"latency": {"p95": "500ms"}})))
def latency_alone_takes_no_pod(world: World) -> None:
    """Only a guard, as an older CRD lets it pass: it may add pods, none goes, and what is missing is said."""
    grown(world, 4)
    assert world.condition("Scaling") == "False/LatencyAlone"
    world.traffic.rate = 10.0
    held(world, 4, 400)
    world.edit("autoscaling.metrics", [{"latency": {"p95": "500ms"}}, {"concurrency": "8"}])
    world.until(lambda: world.condition("Scaling") == "True/HPA", within=10)
    world.until(lambda: world.replicas("v1") == 2, within=600)


def canaried(most: int, *metrics: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return an autoscaling block whose changes are canaried; a version's name tells its maximum."""
    return scaled(*metrics, canary=True, maxReplicas=most, **more)


def scales(world: World, tag: str) -> tuple[str, int, int]:
    """Return the kind of the first metric of a version's HPA, and its bounds."""
    spec = world.server.objects[Ref("HorizontalPodAutoscaler", world.revision_child(tag))]["spec"]
    return spec["metrics"][0]["type"], spec["minReplicas"], spec["maxReplicas"]


@scenario(gateway_spec(autoscaling=canaried(8, {"cpu": "70%"}), rollout={"canary": {"steps": STEPS}}))
def a_changed_block_is_canaried(world: World) -> None:
    """Another metric and other bounds: the new revision has them, stable its own until that is promoted."""
    world.autoscalers.requests_per_pod = 25.0
    serve(world, rate=100.0)
    world.until(lambda: world.pods("v1/max8") == (4, 4), within=180)
    world.edit("autoscaling", canaried(12, {"concurrency": "8"}, minReplicas=3))
    world.until_stage(Stage.HOLDING, 2)
    assert scales(world, "v1/max8") == ("ContainerResource", 2, 8)
    assert scales(world, "v1/max12") == ("Pods", 2, 12)
    world.until_settled()
    expect(world, stable="v1/max12", outcome="Promoted")
    assert scales(world, "v1/max12") == ("Pods", 3, 12)
    assert (world.scaler("v1/max8"), world.condition("Scaling")) == ("", "True/HPA")
    world.traffic.rate = 10.0
    world.until(lambda: world.replicas("v1/max12") == 3, within=600)


@scenario(gateway_spec(autoscaling=canaried(8, {"cpu": "70%"}), rollout={"canary": {"steps": STEPS}}))
def a_changed_block_that_is_judged_bad_goes_back(world: World) -> None:
    """The version with the new block fails: stable keeps its old one, during the rollout and after it."""
    world.behave("v2", errors=0.2)
    serve(world, rate=100.0)
    world.release("v2")
    world.edit("autoscaling", canaried(3, {"concurrency": "8"}, minReplicas=1))
    world.until_stage(Stage.HOLDING, 1)
    assert scales(world, "v1/max8") == ("ContainerResource", 2, 8)
    world.until_settled()
    expect(world, stable="v1/max8", outcome="RolledBack")
    world.run(60)
    assert scales(world, "v1/max8") == ("ContainerResource", 2, 8)
    assert world.scaler("v2/max3") == ""
    world.edit("autoscaling", canaried(8, {"cpu": "70%"}))
    world.release("v1")
    world.until_settled()
    expect(world, stable="v1/max8")


@scenario(gateway_spec(autoscaling=canaried(8, QUERY), rollout={"canary": {"steps": STEPS}}))
def a_changed_engine_is_canaried(world: World) -> None:
    """From KEDA to an HPA and, when that is aborted, not: each revision has the scaler of its own engine."""
    world.set_keda("installed")
    serve(world, rate=50.0)
    world.until(lambda: world.scaler("v1/max8") == "ScaledObject", within=30)
    world.edit("autoscaling", canaried(9, {"cpu": "70%"}))
    world.until_stage(Stage.HOLDING, 2)
    assert (world.scaler("v1/max8"), world.scaler("v1/max9")) == ("ScaledObject", "HPA")
    assert world.rollout is not None
    world.edit("rollout.abort", world.rollout.id)
    world.until_settled()
    expect(world, stable="v1/max8", outcome="Aborted")
    world.run(60)
    assert (world.scaler("v1/max8"), world.scaler("v1/max9")) == ("ScaledObject", "")
    assert world.status.scaling is not None
    assert world.status.scaling.engine == "keda"
    world.edit("autoscaling", canaried(10, {"cpu": "60%"}))
    world.until_settled()
    expect(world, stable="v1/max10", outcome="Promoted")
    assert world.condition("Scaling") == "True/HPA"
    world.edit("autoscaling", canaried(11, QUERY))
    world.until_stage(Stage.HOLDING, 2)
    assert (world.scaler("v1/max10"), world.scaler("v1/max11")) == ("HPA", "ScaledObject")
    world.until_settled()
    expect(world, stable="v1/max11", outcome="Promoted")
    assert world.condition("Scaling") == "True/KEDA"


@scenario(gateway_spec(autoscaling=scaled({"cpu": "70%"}), rollout={"canary": {"steps": STEPS}}))
def canarying_a_block_is_turned_on_and_off(world: World) -> None:
    """Both are rollouts: with the first the block becomes part of the revision, with the other no more."""
    serve(world, rate=50.0)
    world.edit("autoscaling", canaried(8, {"cpu": "70%"}))
    world.until_settled()
    expect(world, stable="v1/max8", outcome="Promoted")
    world.edit("autoscaling", scaled({"concurrency": "8"}))
    world.until_stage(Stage.HOLDING, 1)
    assert scales(world, "v1/max8")[0] == "ContainerResource"
    world.until_settled()
    expect(world, stable="v1", outcome="Promoted")
    world.edit("autoscaling", scaled({"cpu": "60%"}))
    world.run(10)
    assert scales(world, "v1") == ("ContainerResource", 2, 8)
    assert not world.in_flight


@scenario(
    service_spec(
        resources={"limits": {"nvidia.com/gpu": 1}}, autoscaling={"minReplicas": 2, "maxReplicas": 4}
    )
)
def a_gpu_without_a_metric_stays_as_it_is(world: World) -> None:
    """CPU says nothing about a model on a GPU: without another metric its pods stay, and that is said."""
    serve(world)
    assert (world.scaler("v1"), world.replicas("v1")) == ("", 2)
    assert world.condition("Scaling") == "False/NoMetric"
    world.edit("autoscaling.metrics", [{"concurrency": "4"}])
    world.until(lambda: world.scaler("v1") == "HPA", within=10)
    spec = world.server.objects[Ref("HorizontalPodAutoscaler", world.revision_child("v1"))]["spec"]
    assert spec["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 900
