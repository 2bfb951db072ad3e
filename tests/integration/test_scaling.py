"""Who scales, against a real API server that has KEDA's kinds or not; KEDA itself does not run."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from ekiben.core import growing, unreadable
from ekiben.kube.kinds import DEPLOYMENT, HPA, MODELDEPLOYMENT, SCALEDOBJECT, TRIGGERAUTHENTICATION
from integration.lab import Lab, used
from integration.operators import Manifest, condition_of
from integration.site import THROUGH_GATEWAY, Site, Status, is_at, is_settled

pytestmark = pytest.mark.apiserver

SECRET = {"name": "prometheus", "key": "token"}
QUERY = {
    "prometheus": {
        "address": "http://prometheus:9090",
        "query": 'sum(load{revision="{{revision}}"})',
        "threshold": "8",
        "bearer": SECRET,
    }
}
HOURS = {"schedule": {"start": "0 8 * * 1-5", "end": "0 20 * * 1-5", "replicas": 3}}
QUEUE = {
    "name": "waiting",
    "trigger": {
        "type": "rabbitmq",
        "metadata": {"queueName": "{{model.name}}", "mode": "QueueLength", "value": "10"},
        "authenticationRef": {"name": "rabbitmq"},
        "metricType": "Value",
    },
}
BY_KEDA = {"minReplicas": 2, "maxReplicas": 5, "metrics": [QUERY, HOURS]}
FINALIZER = "finalizer.keda.sh"


@pytest.fixture
def more(lab: Lab) -> Iterator[set[Any]]:
    """The rights of the chart's keda.enabled."""
    with contextlib.ExitStack() as stack:
        # `kubectl auth can-i` knows a kind only while it is served.
        with lab.keda():
            rights = stack.enter_context(lab.granting("keda.enabled=true"))
        yield rights


def scaling_is(status: str, reason: str) -> Any:
    """Return whether the condition Scaling says so."""

    def said(found: Status) -> bool:
        held = [item for item in found.get("conditions", ()) if item["type"] == "Scaling"]
        return bool(held) and (held[0]["status"], held[0]["reason"]) == (status, reason)

    return said


async def replicas(site: Site, revision: str) -> int:
    """Return what a revision's Deployment asks for."""
    return int((await site.get(DEPLOYMENT, f"iris-{revision}"))["spec"]["replicas"])


async def become(site: Site, kind: Any, wanted: set[str]) -> None:
    """Wait until these are the objects of a kind."""

    async def look() -> bool:
        return await site.names(kind) == wanted

    await site.eventually(look, lambda: f"{kind.plural} are {wanted}")


async def test_a_scaled_object_is_made_handed_over_and_every_right_for_it_is_used(
    site: Site, more: set[Any]
) -> None:
    begun = site.lab.audit.mark()
    with site.lab.keda():
        await site.running(keda=True)
        revision = await site.serve("v1", traffic=THROUGH_GATEWAY, autoscaling=BY_KEDA)
        name = f"iris-{revision}"
        await site.until(scaling_is("True", "KEDA"), "KEDA scales")
        await become(site, SCALEDOBJECT, {name})
        await become(site, TRIGGERAUTHENTICATION, {f"{name}-0"})
        assert await site.names(HPA) == set()
        assert (await site.status())["scaling"]["engine"] == "keda"
        # As KEDA does; then nobody lets it go, for KEDA does not run.
        held = {"metadata": {"finalizers": [FINALIZER]}}
        await site.client.patch_merge(SCALEDOBJECT, site.namespace, name, held)
        await site.change(autoscaling={"maxReplicas": 4})
        await site.until(lambda s: s["observedGeneration"] == 2, "the edit is seen")
        await site.client.scale(site.namespace, name, 4)
        await site.change(autoscaling={"engine": "hpa", "metrics": [{"cpu": "70%"}]})
        await site.until(scaling_is("Unknown", "HandingOver"), "the ScaledObject is waited for")
        assert await site.names(HPA) == set()
        assert await replicas(site, revision) == 4
        released: Manifest = {"metadata": {"finalizers": None}}
        await site.client.patch_merge(SCALEDOBJECT, site.namespace, name, released)
        await become(site, HPA, {name})
        await become(site, SCALEDOBJECT, set())
        await become(site, TRIGGERAUTHENTICATION, set())
        await site.until(scaling_is("True", "HPA"), "an HPA scales")
        assert await replicas(site, revision) == 4
        await site.at_rest()
        asked = used(site.lab.audit.since(begun))
    assert more == {
        ("keda.sh", kind.plural, verb)
        for kind in (SCALEDOBJECT, TRIGGERAUTHENTICATION)
        for verb in ("get", "list", "watch", "create", "patch", "delete")
    }
    assert more <= asked


async def test_a_trigger_is_passed_on_with_a_formula_and_only_of_a_type_that_the_chart_allows(
    site: Site, more: set[Any]
) -> None:
    assert more
    with site.lab.keda():
        await site.running(keda=True, keda_triggers=("rabbitmq",))
        formula = {"expression": "max([waiting, work * 2])", "target": "10"}
        block = {"minReplicas": 2, "maxReplicas": 5, "metrics": [QUEUE, QUERY | {"name": "work"}]}
        revision = await site.serve("v1", traffic=THROUGH_GATEWAY, autoscaling=block | {"formula": formula})
        name = f"iris-{revision}"
        await site.until(scaling_is("True", "KEDA"), "KEDA scales")
        await become(site, SCALEDOBJECT, {name})
        await become(site, TRIGGERAUTHENTICATION, {f"{name}-1"})
        spec = (await site.get(SCALEDOBJECT, name))["spec"]
        queue, query = spec["triggers"]
        assert queue == QUEUE["trigger"] | {
            "name": "waiting",
            "metadata": {"queueName": "iris", "mode": "QueueLength", "value": "10"},
        }
        assert (query["name"], query["type"]) == ("work", "prometheus")
        assert spec["advanced"]["scalingModifiers"] == {
            "formula": "max([waiting, work * 2])",
            "target": "10",
            "metricType": "AverageValue",
        }
        await site.at_rest()
        await site.client.scale(site.namespace, name, 4)
        kafka = {"type": "kafka", "metadata": {"topic": "jobs", "lagThreshold": "10"}}
        await site.change(autoscaling={"metrics": [QUEUE | {"trigger": kafka}, QUERY | {"name": "work"}]})
        status = await site.until(scaling_is("False", "TriggerForbidden"), "the type is refused")
        said = condition_of(status, "Scaling")["message"]
        assert "type kafka" in said
        assert "chart value keda.triggers" in said
        # As a formula lacks one of its numbers there is none; the pods stay.
        await become(site, SCALEDOBJECT, set())
        await site.at_rest()
        assert await replicas(site, revision) == 4
        # KEDA's own watch says what it can't do with a formula, in several lines.
        await site.change(autoscaling={"metrics": [QUEUE, QUERY | {"name": "work"}]})
        await become(site, SCALEDOBJECT, {name})
        message = "failed: error validating formula in ScalingModifiers\nunknown name work (1:5)\n | ...^"
        ready = {"type": "Ready", "status": "False", "reason": "ScaledObjectCheckFailed", "message": message}
        await site.client.patch_merge(
            SCALEDOBJECT, site.namespace, name, {"status": {"conditions": [ready]}}, subresource="status"
        )
        status = await site.until(scaling_is("False", "KEDANotReady"), "KEDA's words are said")
        assert "ScalingModifiers unknown name work (1:5) |" in condition_of(status, "Scaling")["message"]


async def test_without_kedas_kinds_capacity_is_held_and_the_remedy_is_said(
    site: Site, more: set[Any]
) -> None:
    assert more
    await site.running(keda=True)
    revision = await site.serve("v1", autoscaling=BY_KEDA)
    status = await site.until(scaling_is("False", "KEDAMissing"), "KEDA is missed")
    assert "install KEDA" in condition_of(status, "Scaling")["message"]
    assert condition_of(status, "Ready")["status"] == "True"
    assert await site.names(HPA) == set()
    assert await replicas(site, revision) == 2


async def test_a_model_without_keda_asks_nothing_of_it(site: Site, more: set[Any]) -> None:
    assert more
    begun = site.lab.audit.mark()
    await site.running(keda=True)
    await site.serve("v1", autoscaling={"minReplicas": 2, "maxReplicas": 4})
    await site.at_rest()
    assert [str(item) for item in site.lab.audit.since(begun) if item.group == "keda.sh"] == []


async def test_a_foreign_autoscaler_is_named_and_not_fought(site: Site) -> None:
    await site.running()
    revision = await site.serve(
        "v1", traffic=THROUGH_GATEWAY, autoscaling={"minReplicas": 2, "maxReplicas": 4}
    )
    name = f"iris-{revision}"
    await become(site, HPA, {name})
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    spec = {"scaleTargetRef": target, "minReplicas": 3, "maxReplicas": 5}
    theirs = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "theirs"},
    }
    made = await site.client.create(HPA, site.namespace, theirs | {"spec": spec})
    status = await site.until(scaling_is("False", "ForeignScaler"), "it is named")
    assert f"{site.namespace}/theirs scales Deployment {name}" in condition_of(status, "Scaling")["message"]
    await become(site, HPA, {"theirs"})

    async def raised() -> bool:
        return await replicas(site, revision) == 3

    await site.eventually(raised, lambda: "the other's minimum is reached")
    await site.client.delete(HPA, site.namespace, "theirs", made["metadata"]["uid"])
    await site.until(scaling_is("True", "HPA"), "ours is back")
    await become(site, HPA, {name})


@pytest.mark.parametrize(
    ("metric", "reason", "remedy"),
    [
        ({"concurrency": "8"}, "FailedGetPodsMetric", "adapter.enabled=true"),
        ({"cpu": "70%"}, "FailedGetContainerResourceMetric", "install metrics-server"),
    ],
)
async def test_metrics_that_nobody_serves_are_said_once_and_pods_stay(
    site: Site, monkeypatch: pytest.MonkeyPatch, metric: Manifest, reason: str, remedy: str
) -> None:
    monkeypatch.setattr(unreadable, "LASTS", timedelta(seconds=8))
    await site.running()
    block = {"minReplicas": 2, "maxReplicas": 4, "metrics": [metric]}
    revision = await site.serve("v1", traffic=THROUGH_GATEWAY, autoscaling=block)
    await site.client.scale(site.namespace, f"iris-{revision}", 3)

    async def fails() -> bool:
        live = await site.get(HPA, f"iris-{revision}")
        told = (live.get("status") or {}).get("conditions") or ()
        return any((item["type"], item.get("reason")) == ("ScalingActive", reason) for item in told)

    await site.eventually(fails, lambda: f"the autoscaler says {reason}")
    assert scaling_is("True", "HPA")(await site.status())
    said = await site.until(scaling_is("False", "MetricsUnreadable"), "the remedy is said")
    assert remedy in condition_of(said, "Scaling")["message"]
    assert condition_of(said, "Ready")["status"] == "True"
    # The autoscaler goes on to fail every second: that costs no write.
    version = (await site.get(MODELDEPLOYMENT, "iris"))["metadata"]["resourceVersion"]
    await asyncio.sleep(4)
    assert (await site.get(MODELDEPLOYMENT, "iris"))["metadata"]["resourceVersion"] == version
    assert await replicas(site, revision) == 3
    await site.change(autoscaling={"engine": "none"})
    await site.until(scaling_is("True", "Fixed"), "nobody scales")


async def test_a_changed_block_is_rolled_out_and_stable_keeps_its_own_until_then(site: Site) -> None:
    await site.running()
    block = {"minReplicas": 2, "maxReplicas": 4, "canary": True, "metrics": [{"cpu": "70%"}]}
    old = await site.serve("v1", traffic=THROUGH_GATEWAY, autoscaling=block)
    await become(site, HPA, {f"iris-{old}"})
    await site.change(autoscaling={"maxReplicas": 6, "metrics": [{"concurrency": "8"}]})
    status = await site.until(is_at("Holding", 1), "the new block is on trial")
    new = status["rollout"]["revision"]
    seen = {name: (await site.get(HPA, f"iris-{name}"))["spec"] for name in (old, new)}
    assert (seen[old]["maxReplicas"], seen[old]["metrics"][0]["type"]) == (4, "ContainerResource")
    assert (seen[new]["maxReplicas"], seen[new]["metrics"][0]["type"]) == (6, "Pods")
    status = await site.until(lambda s: s["stable"]["revision"] == new, "it is promoted")
    await become(site, HPA, {f"iris-{new}"})
    assert (await site.get(HPA, f"iris-{new}"))["spec"]["minReplicas"] == 2


@pytest.mark.parametrize(("slow", "outcome"), [(0.0, "Promoted"), (0.5, "RolledBack")])
async def test_what_is_slow_until_the_pods_are_there_is_set_aside_over_a_restart(
    site: Site, monkeypatch: pytest.MonkeyPatch, slow: float, outcome: str
) -> None:
    """The test is the autoscaler; `slow` is what v2 is with all its pods, and half of it is before."""
    monkeypatch.setattr(growing, "SETTLES_WITHIN", timedelta(seconds=3))
    operator = await site.running()
    rollout = {"canary": {"steps": [{"weight": 50, "hold": "1s"}]}}
    checks = [{"metric": "slow-requests", "over": "300ms", "max": "5%"}]
    block = {"minReplicas": 2, "maxReplicas": 3, "metrics": [{"concurrency": "8"}]}
    old = await site.serve(
        "v1", traffic=THROUGH_GATEWAY, autoscaling=block, rollout=rollout, analysis={"checks": checks}
    )
    behaviour = site.behaviour("v2")
    behaviour.slow = 0.5
    await site.release("v2")

    def excused(status: Status) -> bool:
        held = is_at("Holding", 1)(status) and status["rollout"].get("checks")
        return bool(held and held[0].get("excused"))

    status = await site.until(excused, "it is not held against v2 that it is slow")
    new = status["rollout"]["revision"]
    behaviour.startup = 4.0
    await site.client.scale(site.namespace, f"iris-{new}", 3)
    status = await site.until(lambda s: "growingSince" in s["rollout"], "pods are missing")
    assert "failedRevisions" not in status or status["failedRevisions"] == []
    await operator.stop()
    await operator.start()
    await site.until(lambda s: s["canary"]["readyReplicas"] == 3, "all pods are there")
    behaviour.slow = slow
    status = await site.until(is_settled(outcome), outcome)
    assert status["rollout"]["setAside"]["times"] == 1
    assert "growingSince" not in status["rollout"]
    assert status["stable"]["revision"] == (new if outcome == "Promoted" else old)
