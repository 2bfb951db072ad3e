"""Faults in the middle of rollouts: nothing is lost, nothing untried is promoted, and the rollout goes on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from ekiben import act
from ekiben.kube.kinds import (
    CONTROLLERREVISION,
    DEPLOYMENT,
    GATEWAY,
    HTTPROUTE,
    MODELDEPLOYMENT,
    PDB,
    SERVICE,
    Kind,
)
from integration.gateway import NAME as GATEWAY_NAME
from integration.operators import Manifest, condition_of
from integration.site import THROUGH_GATEWAY, Site, Status, is_at, is_settled

pytestmark = pytest.mark.apiserver

AWAY_SECONDS = 2
PAUSED_AT_50 = {"canary": {"steps": [{"weight": 50, "hold": "1s"}, {"pause": {}}]}}


async def test_an_operator_killed_at_random_moments_still_promotes(site: Site) -> None:
    operator = await site.running()
    steps: list[Manifest] = [{"weight": weight, "hold": "1s"} for weight in (20, 40, 60, 80)]
    steps.append({"pause": {}})
    await site.serve("v1", traffic=THROUGH_GATEWAY, rollout={"canary": {"steps": steps}})
    await site.release("v2")
    chance = random.Random(4)
    for step in range(len(steps) + 1):
        reached = await site.until(has_reached("2", step), f"step {step} is reached")
        await asyncio.sleep(chance.uniform(0.0, 0.5))
        await operator.kill()
        await operator.start()
    await site.command("promote", reached["rollout"]["id"])
    status = await site.promoted("v2")
    assert [entry["rollout"].rpartition(".")[2] for entry in status["history"]] == ["2", "1"]
    assert site.gateway.weights["iris"] == [0, 20, 40, 60, 80, 100, 0]
    assert site.traffic.lost == []


async def test_an_api_server_that_is_away_in_the_middle_of_a_step_costs_no_request(site: Site) -> None:
    operator = await site.running()
    await site.serve("v1", traffic=THROUGH_GATEWAY)
    await site.release("v2")
    await site.until(is_at("Holding", 1), "step 1 is held")
    sent = site.traffic.sent
    site.lab.plane.pause_apiserver()
    try:
        await asyncio.sleep(AWAY_SECONDS)
        assert (await operator.probe("/healthz"))[0] == 200
    finally:
        site.restart_apiserver()
    assert site.traffic.sent > sent
    status = await site.promoted("v2")
    assert site.gateway.weights["iris"] == [0, 20, 50, 100, 0]
    assert status.get("failedRevisions", []) == []
    assert site.traffic.lost == []


async def test_children_that_are_deleted_or_edited_in_a_step_come_back(site: Site) -> None:
    await site.running()
    first = await site.serve("v1", traffic=THROUGH_GATEWAY, rollout=PAUSED_AT_50)
    await site.release("v2")
    paused = await site.until(is_at("Paused"), "v2 is at 50%")
    second = paused["rollout"]["revision"]
    kinds = (DEPLOYMENT, SERVICE, PDB, CONTROLLERREVISION, HTTPROUTE)
    before = {kind: await specs(site, kind) for kind in kinds}

    rules = deepcopy(before[HTTPROUTE]["iris"]["rules"])
    rules[0]["backendRefs"][0]["weight"], rules[0]["backendRefs"][1]["weight"] = 10, 90
    (canary,) = site.pods(second)
    await edit(site, HTTPROUTE, "iris", {"rules": rules})
    await edit(site, SERVICE, "iris", {"selector": {"ekiben.dev/revision": second}})
    await edit(site, DEPLOYMENT, f"iris-{first}", {"replicas": 1})
    await edit(site, DEPLOYMENT, f"iris-{first}", {"progressDeadlineSeconds": 7})
    await site.remove(SERVICE, "iris-canary")
    await site.remove(PDB, f"iris-{first}")
    await site.remove(CONTROLLERREVISION, f"iris-{first}")
    await site.remove(CONTROLLERREVISION, f"iris-{second}")
    await site.remove(DEPLOYMENT, f"iris-{second}")

    async def is_mended() -> bool:
        same = {kind: await specs(site, kind) for kind in kinds} == before
        ready = site.kubelet.ready({"ekiben.dev/revision": second})
        return same and len(ready) == 1 and ready != [canary] and site.gateway.weight("iris") == 50

    await site.eventually(is_mended, lambda: "all is as it was, and the canary's pod is a new one")
    await site.command("promote", paused["rollout"]["id"])
    status = await site.promoted("v2")
    assert status["stable"]["revision"] == second


async def test_two_operators_at_once_come_to_the_same_end(site: Site) -> None:
    for _ in range(2):
        await site.running()
    await site.serve("v1", traffic=THROUGH_GATEWAY)
    await site.release("v2")
    status = await site.promoted("v2")
    assert [entry["outcome"] for entry in status["history"]] == ["Promoted", "Promoted"]
    assert site.gateway.weights["iris"] == [0, 20, 50, 100, 0]
    assert len(await site.names(DEPLOYMENT)) == 2
    assert await site.names(SERVICE) == {"iris", "iris-canary"}
    assert site.traffic.lost == []


async def test_a_pod_that_dies_in_a_step_takes_its_share_with_it_and_brings_it_back(site: Site) -> None:
    await site.running()
    steps = [{"weight": 50, "hold": "2s"}]
    await site.serve("v1", replicas=4, traffic=THROUGH_GATEWAY, rollout={"canary": {"steps": steps}})
    await site.release("v2")
    held = await site.until(is_at("Holding"), "the step is held")
    dying, staying = site.pods(held["rollout"]["revision"])
    site.behaviour("v2").pullable.clear()
    await site.kubelet.evict(dying)
    await site.wait(lambda: site.gateway.weight("iris") == 25, "its share goes with it")
    site.behaviour("v2").pullable.set()
    status = await site.promoted("v2")
    assert site.gateway.weights["iris"] == [0, 50, 25, 50, 100, 0]
    assert staying in site.pods(status["stable"]["revision"])
    assert site.traffic.lost == []


async def test_a_container_that_restarts_in_a_step_fails_its_revision(site: Site) -> None:
    await site.running()
    first = await site.serve("v1", traffic=THROUGH_GATEWAY, rollout=PAUSED_AT_50)
    await site.release("v2")
    paused = await site.until(is_at("Paused"), "v2 is at 50%")
    (pod,) = site.pods(paused["rollout"]["revision"])
    await site.kubelet.crash(pod)
    status = await site.until(is_settled("RolledBack"), "v2 is rolled back")
    (failed,) = status["failedRevisions"]
    assert failed["reason"] in ("Restarted", "ReadinessLost", "CounterReset")
    assert status["stable"]["revision"] == first
    assert site.gateway.weight("iris") == 0


@pytest.mark.parametrize("traffic", [THROUGH_GATEWAY, None], ids=["gateway", "service"])
async def test_a_status_that_is_wiped_in_a_step_promotes_nothing_untried(site: Site, traffic: Any) -> None:
    await site.running()
    more = {"traffic": traffic} if traffic else {}
    first = await site.serve("v1", rollout=PAUSED_AT_50, **more)
    site.behaviour("v2").errors = 1.0
    await site.release("v2")
    failed = (await site.until(is_settled("RolledBack"), "v2 is rolled back"))["rollout"]["revision"]
    await site.release("v3")
    before = (await site.until(is_at("Paused"), "v3 is at 50%"))["rollout"]
    weights = len(site.gateway.weights.get("iris", []))

    model = await site.get(MODELDEPLOYMENT, "iris")
    version = model["metadata"]["resourceVersion"]
    await site.client.patch_status(MODELDEPLOYMENT, site.namespace, "iris", {}, version)

    def is_tried_again(status: Status) -> bool:
        return is_at("Paused")(status) and status["rollout"]["id"] != before["id"]

    status = await site.until(is_tried_again, "v3 is tried again from the start")
    assert status["stable"]["revision"] == first
    assert status["rollout"]["revision"] == before["revision"]
    assert int(status["rollout"]["id"].rpartition(".")[2]) > int(before["id"].rpartition(".")[2])
    assert [item["revision"] for item in status["failedRevisions"]] == [failed]
    assert 100 not in site.gateway.weights.get("iris", [])[weights:]
    await site.command("promote", status["rollout"]["id"])
    await site.promoted("v3")
    await site.release("v2")
    status = await site.until(is_settled("RolledBack"), "v2 is still known as failed")
    assert status["stable"]["revision"] == before["revision"]
    assert site.traffic.lost == []


async def test_somebody_elses_service_is_a_conflict_until_it_goes(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(act, "TAKEN_SECONDS", 0.5)
    ports = [{"port": 80}]
    about = {"name": "iris-canary"}
    theirs = {"apiVersion": "v1", "kind": "Service", "metadata": about, "spec": {"ports": ports}}
    before = await site.client.create(SERVICE, site.namespace, theirs)
    await site.running()
    await site.create("v1", traffic=THROUGH_GATEWAY)

    def is_conflict(status: Status) -> bool:
        return bool(condition_of(status, "Stalled").get("reason") == "ChildConflict")

    await site.until(is_conflict, "the conflict is said")

    def look_ups() -> int:
        reads = site.lab.audit.reads_since(site.mark, site.namespace)
        return [(item.resource, item.name) for item in reads].count(("services", "iris-canary"))

    await site.wait(lambda: look_ups() > 3, "the name is looked up again and again")
    assert await site.get(SERVICE, "iris-canary") == before
    await site.remove(SERVICE, "iris-canary")
    await site.promoted("v1")
    status = await site.until(lambda status: not is_conflict(status), "the conflict is over")
    assert condition_of(status, "Stalled")["status"] == "False"
    owner = (await site.get(SERVICE, "iris-canary"))["metadata"]["ownerReferences"][0]
    assert owner["kind"] == "ModelDeployment"


async def test_a_gateway_that_comes_late_is_waited_for(site: Site) -> None:
    await site.remove(GATEWAY, GATEWAY_NAME)
    await site.running()
    await site.create("v1", traffic=THROUGH_GATEWAY)
    status = await site.promoted("v1")
    applied = condition_of(status, "TrafficApplied")
    assert (applied["status"], applied["reason"]) == ("False", "GatewayNotFound")
    assert site.gateway.weight("iris") is None
    await site.gateway.install()

    def is_applied(status: Status) -> bool:
        return bool(condition_of(status, "TrafficApplied")["status"] == "True")

    await site.until(is_applied, "the gateway serves the route")
    assert site.gateway.weight("iris") == 0


def has_reached(number: str, step: int) -> Callable[[Status], bool]:
    """Tell whether the rollout with this number is at a step, or beyond it."""

    def check(status: Status) -> bool:
        rollout = status.get("rollout") or {}
        is_it = str(rollout.get("id")).rpartition(".")[2] == number
        return is_it and int(rollout.get("step") or 0) >= step

    return check


async def specs(site: Site, kind: Kind) -> Manifest:
    """Return what the objects of a kind say, by name, without what the API server makes up for each anew."""
    found = (await site.client.list(kind, site.namespace))[0]
    made_up = ("clusterIP", "clusterIPs")
    return {
        item["metadata"]["name"]: {
            key: value
            for key, value in {**item.get("spec", {}), "data": item.get("data")}.items()
            if key not in made_up
        }
        for item in found
    }


async def edit(site: Site, kind: Kind, name: str, spec: Manifest) -> None:
    """Change a child's spec by hand."""
    await site.client.patch_merge(kind, site.namespace, name, {"spec": spec})
