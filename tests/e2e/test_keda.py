"""Autoscaling by KEDA, on queries to a Prometheus and other sources: all run for real, pods and requests too.

With `pytest -s` they say how long everything took.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from e2e.guarded import KEYS, address_of, build_guard, build_secret
from e2e.test_autoscaling import SLOW, stable_pods
from e2e.test_strategies import ANALYSIS, routed
from e2e.test_zero import PATIENT, all_answered, until_asleep
from e2e.watching import Clock, watched
from ekiben.kube.client import Client
from ekiben.kube.kinds import HPA, SCALEDOBJECT
from localcluster import backends
from localcluster.client import Kubectl
from localcluster.keda import install_keda, remove_keda
from rig.models import condition, follow, is_awake, is_serving, is_settled
from rig.site import Site, SiteError, apply, install_operator, kubectl
from rig.traffic import traffic

pytestmark = pytest.mark.cluster

# SLOW takes 400 ms more for 30 % of its requests: of so many a second 2.4 are in flight on any machine, and
# with 0.8 for each pod that is three pods; of FEW a second one pod's.
MANY, FEW = 20, 4
THRESHOLD, MOST = "0.8", 3
QUERY = (
    'sum(rate(bentoml_service_request_duration_seconds_sum{namespace="{{model.namespace}}",'
    'revision="{{revision}}",endpoint!~"/(readyz|livez|healthz|metrics)?"}[12s])) or vector(0)'
)
# Counts pods, also those that no node takes: such pods are the messages of a queue that costs nothing.
SOURCE = "kubernetes-workload"
AT_ONCE = {"scaleUp": {"stabilizationWindowSeconds": 0}, "scaleDown": {"stabilizationWindowSeconds": 0}}


@pytest.fixture(scope="module")
def prometheus(site: Site) -> Iterator[str]:
    """KEDA, a Prometheus whose address this is, and an operator that may use KEDA."""
    backend = os.environ.get("EKIBEN_BACKEND") or "local"
    if backend == "existing":
        pytest.skip("KEDA was not tried: nothing is installed into a cluster of yours")
    address = install_keda(backends.choose(backend))
    chosen = ("keda.enabled=true", "activator.enabled=true", f"keda.triggers={{{SOURCE}}}")
    asyncio.run(install_operator(site, tuple(word for value in chosen for word in ("--set", value))))
    yield address
    remove_keda(Kubectl(site.kubeconfig))


@pytest.fixture
async def namespace(site: Site, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """A namespace of the test's own; nobody waits for its pods to have drained."""
    name = request.node.name.removeprefix("test_").replace("_", "-")[:40].strip("-")
    await kubectl(site, "create", "namespace", name)
    yield name
    await kubectl(site, "delete", "namespace", name, "--wait=false")


def by_query(address: str, **more: Any) -> dict[str, Any]:
    """Return a block that scales from 1 to MOST by the work that a revision's pods do."""
    metric = {"prometheus": {"address": address, "query": QUERY, "threshold": THRESHOLD}}
    block = {"engine": "keda", "minReplicas": 1, "maxReplicas": MOST, "metrics": [metric]}
    return block | {"behavior": AT_ONCE} | more


def slow(site: Site, namespace: str, address: str, *, edition: int = 1, **scaling: Any) -> dict[str, Any]:
    """Return the slow model; each edition is a revision of its own."""
    return routed(
        site,
        namespace,
        SLOW,
        autoscaling=by_query(address, **scaling),
        analysis=ANALYSIS,
        env=[{"name": "EDITION", "value": str(edition)}],
    )


def scaling_says(found: dict[str, Any], status: str, reason: str) -> bool:
    """Tell whether the condition Scaling says so."""
    said = condition(found, "Scaling")
    return (said.get("status"), said.get("reason")) == (status, reason)


async def prometheus_runs(site: Site, pods: int) -> None:
    """Have so many pods of Prometheus, and wait for them."""
    where = ("--namespace=monitoring", "deployment/prometheus")
    await kubectl(site, "scale", *where, f"--replicas={pods}")
    await kubectl(site, "rollout", "status", *where, "--timeout=60s")


async def test_a_model_scales_by_a_query_out_and_back_and_an_outage_takes_no_pod(
    site: Site, client: Client, namespace: str, prometheus: str
) -> None:
    async def until(done: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        return await follow(client, namespace, "iris", done, 150)

    await apply(site, namespace, slow(site, namespace, prometheus, fallbackReplicas=2))
    await until(is_serving)
    target = site.target(f"{namespace}.example.com")
    async with watched(client, namespace) as pods:
        async with traffic(target, MANY, site.prefix) as seen:
            clock = Clock("load")
            await pods.until(lambda asked: asked > 1)
            clock.tell("more pods are asked for")
            found = await until(lambda m: stable_pods(m) == MOST)
            clock.tell(f"{MOST} pods are ready")
            assert scaling_says(found, "True", "KEDA")
            assert found["status"]["scaling"]["engine"] == "keda"
        all_answered(seen)

        async with traffic(target, FEW, site.prefix) as seen:
            clock = Clock("less load")
            await pods.until(lambda asked: asked == 1)
            clock.tell("one pod is asked for")
            await until(lambda m: stable_pods(m) == 1)

            clock = Clock("outage")
            await prometheus_runs(site, 0)
            await until(lambda m: scaling_says(m, "False", "Fallback"))
            clock.tell("Scaling is False (Fallback)")
            await until(lambda m: stable_pods(m) == 2)
            clock.tell("fallbackReplicas are ready")

            clock = Clock("Prometheus is back")
            await prometheus_runs(site, 1)
            await until(lambda m: scaling_says(m, "True", "KEDA"))
            clock.tell("Scaling is True")
            await until(lambda m: stable_pods(m) == 1)
            clock.tell("one pod is left")
        all_answered(seen)


async def test_from_engine_to_engine_no_pod_and_no_request_is_lost(
    site: Site, client: Client, namespace: str, prometheus: str
) -> None:
    async def kinds() -> tuple[int, int]:
        autoscalers = (await client.list(HPA, namespace))[0]
        return len(autoscalers), len((await client.list(SCALEDOBJECT, namespace))[0])

    def unrefused(found: dict[str, Any]) -> None:
        # KEDA's webhook refuses a ScaledObject for pods that an autoscaler has.
        assert condition(found, "Reconciling").get("reason") != "ChildRejected", found["status"]["message"]

    by_hpa = slow(site, namespace, prometheus, engine="hpa", minReplicas=2, metrics=[{"cpu": "400%"}])
    await apply(site, namespace, by_hpa)
    await follow(client, namespace, "iris", lambda m: is_serving(m) and stable_pods(m) == 2, 120)
    assert await kinds() == (1, 0)
    target = site.target(f"{namespace}.example.com")
    async with watched(client, namespace) as pods, traffic(target, MANY, site.prefix) as seen:
        await apply(site, namespace, slow(site, namespace, prometheus, minReplicas=2))
        await follow(
            client,
            namespace,
            "iris",
            lambda m: scaling_says(m, "True", "KEDA") and stable_pods(m) == MOST,
            150,
            unrefused,
        )
        # KEDA's own beside ours.
        assert await kinds() == (1, 1)
        scaled_out = len(pods.ready)
        by_hand = slow(site, namespace, prometheus, engine="none")
        by_hand["spec"]["replicas"] = MOST
        await apply(site, namespace, by_hand)
        await follow(client, namespace, "iris", lambda m: scaling_says(m, "True", "Fixed"), 150)
        await asyncio.sleep(6)
        assert await kinds() == (0, 0)
    all_answered(seen)
    assert min(pods.ready) >= 2
    assert min(pods.ready[scaled_out:]) == MOST
    assert min(pods.asked[scaled_out:]) == MOST


async def test_rollouts_amid_scaling_up_and_down_lose_no_request(
    site: Site, client: Client, namespace: str, prometheus: str
) -> None:
    await apply(site, namespace, slow(site, namespace, prometheus))
    first = await follow(client, namespace, "iris", is_serving, 120)
    target = site.target(f"{namespace}.example.com")
    async with watched(client, namespace) as pods, traffic(target, MANY, site.prefix) as seen:
        await pods.until(lambda asked: asked > 1)
        assert pods.ready[-1] == 1
        await apply(site, namespace, slow(site, namespace, prometheus, edition=2))
        second = await follow(client, namespace, "iris", lambda m: is_settled(m, "Promoted"), 180)
        await follow(client, namespace, "iris", lambda m: stable_pods(m) == MOST, 150)
        await pods.until(lambda asked: asked == MOST)
    all_answered(seen)

    async with watched(client, namespace) as pods, traffic(target, FEW, site.prefix) as seen:
        await pods.until(lambda asked: asked < MOST)
        await apply(site, namespace, slow(site, namespace, prometheus, edition=3))
        third = await follow(client, namespace, "iris", lambda m: is_settled(m, "Promoted"), 180)
    all_answered(seen)
    assert len({found["status"]["stable"]["revision"] for found in (first, second, third)}) == 3


async def test_by_keda_a_model_goes_to_zero_and_comes_back(
    site: Site, client: Client, namespace: str, prometheus: str
) -> None:
    zero: dict[str, Any] = {"minReplicas": 0, "idleAfter": "10s", "activation": {"wakeTimeout": "2m"}}
    await apply(site, namespace, slow(site, namespace, prometheus, **zero))
    await follow(client, namespace, "iris", is_serving, 120)
    await until_asleep(site, client, namespace)
    assert (await client.list(SCALEDOBJECT, namespace))[0] == []
    target = replace(site.target(f"{namespace}.example.com"), timeout=PATIENT)
    async with traffic(target, MANY, site.prefix) as seen:
        await follow(client, namespace, "iris", is_awake, 120)
        await follow(client, namespace, "iris", lambda m: stable_pods(m) == MOST, 150)
    all_answered(seen)
    held = max(answer.seconds for answer in seen.answers)
    assert held > 1, "nothing was held: it was not asleep"
    print(f"first request to a sleeping model -> its answer: {held:.1f} s")
    assert len((await client.list(SCALEDOBJECT, namespace))[0]) == 1


async def test_a_query_that_needs_a_secret_is_asked_with_it_and_no_pod_goes_while_it_is_wrong(
    site: Site, client: Client, namespace: str, prometheus: str
) -> None:
    async def until(status: str, reason: str, pods: int) -> dict[str, Any]:
        return await follow(
            client,
            namespace,
            "iris",
            lambda m: scaling_says(m, status, reason) and stable_pods(m) == pods,
            120,
        )

    await apply(site, namespace, *build_guard(site, prometheus))
    metrics = [
        {
            "prometheus": {
                "address": address_of(namespace, way),
                "query": QUERY,
                "threshold": THRESHOLD,
                way: keys,
            }
        }
        for way, keys in KEYS.items()
    ]
    await apply(site, namespace, slow(site, namespace, prometheus, metrics=metrics))
    await follow(client, namespace, "iris", is_serving, 120)
    clock = Clock("no Secret")
    found = await until("False", "KEDANotReady", 1)
    clock.tell("Scaling is False (KEDANotReady)")
    print(condition(found, "Scaling")["message"])
    await kubectl(site, "wait", "--namespace", namespace, "--for=condition=Available", "deployment/guard")
    async with (
        watched(client, namespace) as pods,
        traffic(site.target(f"{namespace}.example.com"), MANY, site.prefix) as seen,
    ):
        await apply(site, namespace, build_secret("wrong", "wrong"))
        clock = Clock("a wrong Secret")
        found = await until("False", "Fallback", 1)
        clock.tell("Scaling is False (Fallback)")
        print(condition(found, "Scaling")["message"])
        assert set(pods.asked) == {1}
        await apply(site, namespace, build_secret())
        clock = Clock("the right Secret")
        await until("True", "KEDA", MOST)
        clock.tell(f"Scaling is True, {MOST} pods are ready")
    all_answered(seen)
    (made,) = (await client.list(HPA, namespace))[0]
    told = [metric["external"]["current"]["averageValue"] for metric in made["status"]["currentMetrics"]]
    assert len(told) == len(metrics)


def around(hour: int, replicas: int) -> dict[str, Any]:
    """Return a schedule from an hour before one of the clock to two hours after it, in UTC."""
    start, end = (f"0 {(hour + by) % 24} * * *" for by in (-1, 2))
    return {"schedule": {"start": start, "end": end, "replicas": replicas}}


def beside(scaled: dict[str, Any]) -> dict[str, Any]:
    """Return somebody else's ScaledObject for the same pods."""
    kept = {key: scaled[key] for key in ("apiVersion", "kind", "spec")}
    return kept | {"metadata": {"name": "theirs"}}


async def until_read(client: Client, namespace: str, resources: set[str]) -> dict[str, dict[str, Any]]:
    """Wait until the autoscaler has read these resources of its pods; return what it read."""
    async with asyncio.timeout(60):
        while True:
            read = {
                told["name"]: told["current"]
                for autoscaler in (await client.list(HPA, namespace))[0]
                for metric in (autoscaler.get("status") or {}).get("currentMetrics") or ()
                if (told := metric.get("containerResource"))
            }
            if resources <= set(read):
                return read
            await asyncio.sleep(0.5)


async def test_a_schedule_brings_its_pods_and_cpu_and_memory_are_read(
    site: Site, client: Client, namespace: str, prometheus: str
) -> None:
    def scheduled(hour: int) -> dict[str, Any]:
        # No pod of this model has as much of either: the schedule alone asks for pods.
        metrics = [around(hour, MOST), {"cpu": "4"}, {"memory": "400%"}]
        return slow(site, namespace, prometheus, metrics=metrics)

    now = datetime.now(UTC).hour
    await apply(site, namespace, scheduled(now))
    await follow(client, namespace, "iris", is_serving, 120)
    clock = Clock("in the window")
    found = await follow(client, namespace, "iris", lambda m: stable_pods(m) == MOST, 120)
    clock.tell(f"{MOST} pods are ready")
    assert scaling_says(found, "True", "KEDA")
    read = await until_read(client, namespace, {"cpu", "memory"})
    clock.tell("cpu and memory are read")
    print(read)
    assert read["memory"]["averageUtilization"] > 0
    await apply(site, namespace, scheduled(now + 12))
    clock = Clock("no window")
    await follow(client, namespace, "iris", lambda m: stable_pods(m) == 1, 120)
    clock.tell("one pod is left")
    with pytest.raises(SiteError, match="is already managed by the"):
        await apply(site, namespace, beside((await client.list(SCALEDOBJECT, namespace))[0][0]))


async def messages_wait(site: Site, namespace: str, count: int) -> None:
    """Have so many messages wait in the queue."""
    labels = {"queue": "jobs"}
    pod = {
        "nodeSelector": {"kubernetes.io/hostname": "none-of-these"},
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "message", "image": "registry.invalid/message:1"}],
    }
    queue = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "jobs"},
        "spec": {
            "replicas": count,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }
    await apply(site, namespace, queue)


async def test_a_model_scales_by_another_source_of_keda_and_by_a_formula_over_two(
    site: Site, client: Client, namespace: str, prometheus: str
) -> None:
    async def until(done: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        return await follow(client, namespace, "iris", done, 150)

    def by(**scaling: Any) -> dict[str, Any]:
        return slow(site, namespace, prometheus, fallbackReplicas=1, **scaling)

    metadata = {"podSelector": "queue=jobs", "value": "2"}
    jobs = {"name": "jobs", "trigger": {"type": SOURCE, "metadata": metadata}}
    # 0: nobody asks the model.
    work = {
        "name": "work",
        "prometheus": {"address": prometheus, "query": QUERY, "threshold": THRESHOLD},
    }
    await messages_wait(site, namespace, 3)
    clock = Clock("a model and 3 messages")
    await apply(site, namespace, by(metrics=[jobs]))
    found = await until(lambda m: is_serving(m) and stable_pods(m) == 2)
    clock.tell("2 pods are ready")
    assert scaling_says(found, "True", "KEDA")

    formula = {"expression": "max([jobs / 5, work])", "target": "1"}
    clock = Clock("a formula over messages and a query")
    await apply(site, namespace, by(metrics=[jobs, work], formula=formula))
    await until(lambda m: stable_pods(m) == 1)
    clock.tell("one pod is left")
    clock = Clock("10 messages")
    await messages_wait(site, namespace, 10)
    await until(lambda m: stable_pods(m) == 2)
    clock.tell("2 pods are ready")

    clock = Clock("a query that nobody answers")
    away = {**work, "prometheus": {**work["prometheus"], "address": "http://nobody.invalid:9090"}}
    await apply(site, namespace, by(metrics=[jobs, away], formula=formula))
    await messages_wait(site, namespace, 1)
    await until(lambda m: scaling_says(m, "False", "Fallback"))
    clock.tell("Scaling is False (Fallback)")

    clock = Clock("a formula that makes no sense")
    wrong = {"expression": "jobs + work + nobody", "target": "1"}
    await apply(site, namespace, by(metrics=[jobs, away], formula=wrong))
    # By KEDA's webhooks where they run, else by KEDA itself.
    found = await until(lambda m: "unknown name nobody" in condition(m, "Scaling").get("message", ""))
    clock.tell(f"Scaling is False ({condition(found, 'Scaling')['reason']})")
    assert condition(found, "Scaling")["status"] == "False"
    assert stable_pods(found) == 2
