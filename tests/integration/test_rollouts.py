"""Whole rollouts: the operator against the real API and its controllers, with stand-ins for node and gateway.

Every operator here runs under the chart's ServiceAccount and rights.
"""

from __future__ import annotations

import asyncio
import itertools

import pytest

from ekiben.kube.kinds import DEPLOYMENT, HPA, HTTPROUTE, SERVICE
from integration.operators import Manifest, condition_of
from integration.site import THROUGH_GATEWAY, Site, Status, image, is_at, is_settled

pytestmark = pytest.mark.apiserver

AUTOSCALING = {"minReplicas": 2, "maxReplicas": 5, "metrics": [{"cpu": "70%"}]}
COLD_WRITES = 14
# Pods and gateway that answer apart are told apart; the simulator holds the budget to the letter.
TOLD_APART = 2
# Longer than the operator's upkeep takes between two looks.
STEADY_SECONDS = 6


async def test_a_first_revision_costs_few_writes_then_none_and_a_restart_none_either(site: Site) -> None:
    audit = site.lab.audit
    operator = await site.running()
    created = audit.mark()
    await site.serve("v1", traffic=THROUGH_GATEWAY, autoscaling=AUTOSCALING)

    def at_the_gateway(status: Status) -> bool:
        return bool(condition_of(status, "TrafficApplied")["status"] == "True")

    status = await site.until(at_the_gateway, "the gateway serves the route")
    assert (status["phase"], status["ready"]) == ("Healthy", "2/2")
    assert status["stable"]["imageDigest"].startswith("sha256:")
    await site.at_rest()
    writes = audit.writes_since(created, site.namespace)
    assert 7 < len(writes) <= COLD_WRITES + TOLD_APART, "\n".join(str(item) for item in writes)
    looked_up = [(item.resource, item.name) for item in audit.reads_since(created, site.namespace)]
    assert len(looked_up) == len(set(looked_up)), "a child's name is looked up once"

    steady = audit.mark()
    await asyncio.sleep(STEADY_SECONDS)
    assert [str(item) for item in audit.since(steady) if item.verb != "watch"] == []

    await operator.stop()
    restarted = audit.mark()
    await operator.start()
    await site.at_rest(2)
    assert [str(item) for item in audit.writes_since(restarted, site.namespace)] == []
    assert {item.verb for item in audit.since(restarted, site.namespace)} == {"list", "watch"}


async def test_resume_abort_and_promote_name_a_rollout_and_are_obeyed(site: Site) -> None:
    await site.running()
    steps = [{"weight": 20, "hold": "1s"}, {"pause": {}}, {"weight": 50, "hold": "1s"}, {"pause": {}}]
    first = await site.serve("v1", traffic=THROUGH_GATEWAY, rollout={"canary": {"steps": steps}})

    await site.release("v2")
    paused = await site.until(is_at("Paused", 2), "the rollout pauses")
    rollout = paused["rollout"]["id"]
    assert paused["phase"] == "Paused"
    await site.command("resume", f"{first}.1/2")
    ignored = await site.until(lambda status: bool(status.get("commands")), "the command is noticed")
    assert [(said["command"], said["result"]) for said in ignored["commands"]] == [("resume", "Ignored")]
    assert is_at("Paused", 2)(ignored)
    await site.command("resume", f"{rollout}/2")
    await site.until(is_at("Paused", 4), "the rollout goes on to the next pause")
    assert site.gateway.weights["iris"] == [0, 20, 50]

    await site.command("abort", rollout)
    status = await site.until(is_settled("Aborted"), "the rollout is aborted")
    assert site.gateway.weights["iris"] == [0, 20, 50, 0]
    assert status["stable"]["revision"] == first
    assert [failed["reason"] for failed in status["failedRevisions"]] == ["Aborted"]

    await site.release("v3")
    paused = await site.until(is_at("Paused", 2), "v3 pauses")
    await site.command("promote", paused["rollout"]["id"])
    status = await site.promoted("v3")
    assert site.gateway.weights["iris"] == [0, 20, 50, 0, 20, 100, 0]
    assert [entry["outcome"] for entry in status["history"]] == ["Promoted", "Aborted", "Promoted"]
    assert site.traffic.lost == []


async def test_a_canary_is_promoted_through_the_gateway(site: Site) -> None:
    await site.running()
    first = await site.serve("v1", traffic=THROUGH_GATEWAY)
    pods = {pod.uid for pod in site.pods(first)}
    await site.release("v2")
    held = await site.until(is_at("Holding", 2), "step 2 is held")
    assert {pod.uid for pod in site.pods(first)} == pods
    assert held["rollout"]["weight"] == 50
    canaries = {pod.uid for pod in site.pods(held["rollout"]["revision"])}
    status = await site.promoted("v2")
    second = status["stable"]["revision"]
    assert second == held["rollout"]["revision"] != first
    assert site.gateway.weights["iris"] == [0, 20, 50, 100, 0]
    moved = site.gateway.moved_at["iris"]
    assert all(after - before >= 1.0 for before, after in itertools.pairwise(moved[1:4])), "steps are held"
    (check,) = status["rollout"]["checks"]
    assert (check["verdict"], check["metric"]) == ("Pass", "error-rate")
    assert check["samples"] >= 20
    assert canaries <= {pod.uid for pod in site.pods(second)}
    assert not any(pod.restarts for pod in site.pods(second))
    assert (status["phase"], status["ready"]) == ("Healthy", "2/2")
    selector = (await site.get(SERVICE, "iris"))["spec"]["selector"]
    assert selector["ekiben.dev/revision"] == second
    await site.wait(lambda: not site.pods(first), "the old revision's pods go")
    assert site.traffic.sent > 100
    assert site.traffic.lost == []


async def test_without_a_gateway_the_service_splits_the_traffic(site: Site) -> None:
    await site.running()
    steps = [{"weight": 50, "hold": "2s"}]
    first = await site.serve("v1", rollout={"canary": {"steps": steps}})
    await site.release("v2")
    held = await site.until(is_at("Holding"), "the step is held")
    second = held["rollout"]["revision"]
    assert held["rollout"]["weight"] == 50
    selector = (await site.get(SERVICE, "iris"))["spec"]["selector"]
    assert selector == {"ekiben.dev/model": "iris"}
    assert [len(site.pods(revision)) for revision in (first, second)] == [2, 2]
    before = {pod.name: pod.served for pod in site.pods(second)}
    status = await site.promoted("v2")
    assert all(pod.served - before[pod.name] > 20 for pod in site.pods(second))
    selector = (await site.get(SERVICE, "iris"))["spec"]["selector"]
    assert selector["ekiben.dev/revision"] == status["stable"]["revision"] == second
    assert site.traffic.lost == []


async def test_a_bad_canary_is_rolled_back_once_and_tried_again_only_by_its_id(site: Site) -> None:
    await site.running()
    first = await site.serve("v1", traffic=THROUGH_GATEWAY)
    site.behaviour("v2").errors = 0.5
    await site.release("v2")
    status = await site.until(is_settled("RolledBack"), "v2 is rolled back")
    assert site.gateway.weight("iris") == 0
    assert status["stable"]["revision"] == first
    assert condition_of(status, "Ready")["status"] == "True"
    assert condition_of(status, "Stalled")["reason"] == "RolledBack"
    (failed,) = status["failedRevisions"]
    assert failed["reason"] == "AnalysisFailed"

    weights = list(site.gateway.weights["iris"])
    await site.change(rollout={"progressDeadline": "5m"})
    generation = status["observedGeneration"]
    await site.until(lambda now: now["observedGeneration"] > generation, "the edit is seen")
    status = await site.until(is_settled("RolledBack"), "v2 stays rolled back")
    assert status["rollout"]["id"] == failed["rollout"]
    assert site.gateway.weights["iris"] == weights

    site.behaviour("v2").errors = 0.0
    await site.command("retry", failed["rollout"])
    status = await site.promoted("v2")
    assert status["stable"]["revision"] == failed["revision"]
    assert status.get("failedRevisions", []) == []
    assert [entry["outcome"] for entry in status["history"]] == ["Promoted", "RolledBack", "Promoted"]


async def test_a_slow_canary_is_rolled_back(site: Site) -> None:
    await site.running()
    checks = [{"metric": "slow-requests", "over": "300ms", "max": "5%", "maxRatioToStable": "1.5"}]
    site.behaviour("v1").slow = 0.04
    analysis = {"checks": checks}
    await site.serve("v1", traffic=THROUGH_GATEWAY, analysis=analysis)
    site.behaviour("v2").slow = 0.4
    await site.release("v2")
    status = await site.until(is_settled("RolledBack"), "v2 is rolled back")
    (failed,) = status["failedRevisions"]
    assert failed["reason"] == "AnalysisFailed"
    assert failed["message"].startswith("slow-requests over 300ms")
    assert site.gateway.weights["iris"] == [0, 20, 0]


async def test_a_newer_release_and_a_return_to_stable_take_the_canary_out_first(site: Site) -> None:
    await site.running()
    steps = [{"weight": 25, "hold": "1s"}, {"pause": {}}]
    await site.serve("v1", traffic=THROUGH_GATEWAY, rollout={"canary": {"steps": steps}})
    await site.release("v2")
    v2 = (await site.until(is_at("Paused"), "v2 is at 25%"))["rollout"]["revision"]
    await site.release("v3")

    def is_v3(status: Status) -> bool:
        return is_at("Paused")(status) and status["rollout"]["revision"] != v2

    paused = await site.until(is_v3, "v3 is at 25%")
    # Between the two the gateway sent nothing to iris-canary, whose Service changed its pods.
    assert site.gateway.weights["iris"] == [0, 25, 0, 25]
    await site.release("v1")
    status = await site.promoted("v1")
    assert site.gateway.weights["iris"] == [0, 25, 0, 25, 0]
    outcomes = [(entry["outcome"], entry["revision"]) for entry in status["history"]]
    assert outcomes[:2] == [("Reverted", paused["rollout"]["revision"]), ("Superseded", v2)]
    assert status.get("failedRevisions", []) == []
    assert site.traffic.lost == []


async def test_each_revision_has_its_autoscaler_and_the_new_one_starts_at_the_live_size(site: Site) -> None:
    await site.running()
    steps = [{"weight": 20, "hold": "1s"}, {"weight": 50, "hold": "1s"}, {"pause": {}}]
    canary = {"canary": {"steps": steps}}
    first = await site.serve("v1", traffic=THROUGH_GATEWAY, autoscaling=AUTOSCALING, rollout=canary)
    await site.client.patch_merge(
        DEPLOYMENT, site.namespace, f"iris-{first}", {"spec": {"replicas": 4}}, "scale"
    )
    await site.wait(lambda: len(site.kubelet.ready({"ekiben.dev/revision": first})) == 4, "load makes 4 pods")
    await site.release("v2")
    paused = await site.until(is_at("Paused"), "v2 is at 50%")
    second = paused["rollout"]["revision"]
    assert await site.names(HPA) == {f"iris-{first}", f"iris-{second}"}
    for revision, pods in ((first, 4), (second, 2)):
        scaler = (await site.get(HPA, f"iris-{revision}"))["spec"]
        assert scaler["scaleTargetRef"]["name"] == f"iris-{revision}"
        assert scaler["behavior"]["scaleDown"]["selectPolicy"] == "Disabled"
        deployment = await site.deployment(revision)
        assert deployment["spec"]["replicas"] == pods
        assert "f:replicas" not in applied_fields(deployment)["f:spec"]
    assert (await site.get(HPA, f"iris-{second}"))["spec"]["minReplicas"] == 2

    await site.command("promote", paused["rollout"]["id"])
    await site.promoted("v2")
    assert (await site.deployment(second))["spec"]["replicas"] == 4
    assert site.gateway.weights["iris"] == [0, 20, 50, 100, 0]
    await site.wait(lambda: not site.pods(first), "the old revision's pods go")

    async def is_released() -> bool:
        if await site.names(HPA) != {f"iris-{second}"}:
            return False
        scaler = (await site.get(HPA, f"iris-{second}"))["spec"]
        return (scaler["minReplicas"], scaler["behavior"]["scaleDown"]["selectPolicy"]) == (2, "Max")

    await site.eventually(is_released, lambda: "one autoscaler is left, and nothing is held any more")
    assert site.traffic.lost == []


@pytest.mark.parametrize("trouble", ["ImagePull", "MetricsUnreachable"])
async def test_trouble_that_is_not_the_revisions_fault_is_waited_out(site: Site, trouble: str) -> None:
    await site.running()
    first = await site.serve("v1", traffic=THROUGH_GATEWAY)
    behaviour = site.behaviour("v2")
    if trouble == "ImagePull":
        behaviour.pullable.clear()
    behaviour.measured = trouble != "MetricsUnreachable"
    await site.release("v2")

    def waits(status: Status) -> bool:
        return bool(condition_of(status, "Reconciling").get("reason") == trouble)

    status = await site.until(waits, f"it says {trouble}")
    assert ("manifest unknown" if trouble == "ImagePull" else "/metrics") in status["message"]
    assert status["stable"]["readyReplicas"] == 2
    assert status.get("failedRevisions", []) == []
    assert site.gateway.weights["iris"] == [0]
    behaviour.pullable.set()
    behaviour.measured = True
    status = await site.promoted("v2")
    assert status["stable"]["image"] == image("v2")
    assert status["stable"]["revision"] != first


def applied_fields(manifest: Manifest) -> Manifest:
    """Return the fields that server-side apply says the operator owns."""
    (entry,) = (
        entry
        for entry in manifest["metadata"]["managedFields"]
        if (entry["manager"], entry["operation"]) == ("ekiben", "Apply")
    )
    fields: Manifest = entry["fieldsV1"]
    return fields


async def test_blue_green_is_judged_at_its_preview_and_switches_once(site: Site) -> None:
    await site.running()
    block = {"previewHostnames": ["preview.example.com"], "autoPromotion": False}
    rules = {"strategy": "BlueGreen", "blueGreen": block, "canary": {}}
    first = await site.serve("v1", traffic=THROUGH_GATEWAY, rollout=rules)
    preview = (await site.get(HTTPROUTE, "iris-preview"))["spec"]
    assert preview["hostnames"] == ["preview.example.com"]
    assert [item["name"] for item in preview["rules"][0]["backendRefs"]] == ["iris-canary"]

    await site.release("v2")
    paused = await site.until(is_at("Paused", 2), "it waits before the switch")
    second = paused["rollout"]["revision"]
    assert [len(site.pods(revision)) for revision in (first, second)] == [2, 2]
    assert (await site.get(SERVICE, "iris-canary"))["spec"]["selector"]["ekiben.dev/revision"] == second
    assert {pod.served for pod in site.pods(second)} == {0}
    await site.command("resume", f"{paused['rollout']['id']}/2")
    status = await site.promoted("v2")
    assert status["stable"]["revision"] == second
    assert site.gateway.weights["iris"] == [0, 100, 0]
    assert (await site.get(HTTPROUTE, "iris-preview"))["spec"] == preview
    await site.wait(lambda: not site.pods(first), "the old revision's pods go")
    assert site.traffic.lost == []


async def test_blue_green_without_a_gateway_is_one_write_of_the_service(site: Site) -> None:
    await site.running()
    rules = {"strategy": "BlueGreen", "blueGreen": {"autoPromotionDelay": "2s"}, "canary": {}}
    first = await site.serve("v1", rollout=rules)
    await site.release("v2")
    held = await site.until(is_at("Holding", 1), "it is judged before the switch")
    second = held["rollout"]["revision"]
    assert [len(site.pods(revision)) for revision in (first, second)] == [2, 2]
    switched = site.lab.audit.mark()
    status = await site.promoted("v2")
    writes = [item for item in site.lab.audit.writes_since(switched, site.namespace) if item.name == "iris"]
    assert [item.verb for item in writes if item.resource == "services"] == ["patch"]
    assert status["stable"]["revision"] == second
    assert site.traffic.lost == []


@pytest.mark.parametrize("traffic", [THROUGH_GATEWAY, None], ids=["gateway", "service"])
async def test_a_revision_that_turns_bad_in_its_bake_gives_everything_back(
    site: Site, traffic: Manifest | None
) -> None:
    await site.running()
    more = {"traffic": traffic} if traffic else {}
    steps = {"canary": {"steps": [{"weight": 50, "hold": "1s"}]}}
    first = await site.serve("v1", rollout=steps, analysis={"bake": "1h"}, **more)
    kept = {pod.uid for pod in site.pods(first)}
    await site.release("v2")
    baking = await site.until(is_at("Baking"), "v2 bakes")
    second = baking["rollout"]["revision"]
    assert (condition_of(baking, "Settled")["status"], baking["stable"]["revision"]) == ("Unknown", second)
    assert baking["rollout"]["previous"] == first
    site.behaviour("v2").errors = 0.5
    status = await site.until(is_settled("RolledBack"), "v2 is taken back")
    assert status["stable"]["revision"] == first
    assert {pod.uid for pod in site.pods(first)} == kept, "the way back needs no new pod"
    assert [failed["revision"] for failed in status["failedRevisions"]] == [second]
    assert [entry["outcome"] for entry in status["history"]] == ["RolledBack", "Promoted"]
    selector = (await site.get(SERVICE, "iris"))["spec"]["selector"]
    assert selector["ekiben.dev/revision"] == first
    if traffic:
        assert site.gateway.weights["iris"] == [0, 50, 100, 0, 100, 0]
    await site.wait(lambda: not site.pods(second), "the failed revision's pods go")
    assert site.traffic.lost == []


async def test_a_bake_survives_an_operator_that_dies_in_it(site: Site) -> None:
    operator = await site.running()
    steps = {"canary": {"steps": [{"weight": 50, "hold": "1s"}]}}
    first = await site.serve("v1", traffic=THROUGH_GATEWAY, rollout=steps, analysis={"bake": "1h"})
    await site.release("v2")
    baking = await site.until(is_at("Baking"), "v2 bakes")
    await operator.kill()
    site.behaviour("v2").errors = 0.5
    await operator.start()
    status = await site.until(is_settled("RolledBack"), "v2 is taken back")
    assert (status["stable"]["revision"], status["rollout"]["id"]) == (first, baking["rollout"]["id"])
    assert site.traffic.lost == []
