"""Scale to zero with real pods: what comes while there are none is held, wakes the model, and is answered."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from e2e.test_strategies import routed
from ekiben.kube.client import Client
from ekiben.kube.kinds import ENDPOINTSLICE, POD
from rig.models import follow, is_asleep, is_awake, is_serving
from rig.site import Site, apply, inside, install_activator, kubectl
from rig.traffic import Traffic, traffic

pytestmark = pytest.mark.cluster

ZERO = {"minReplicas": 0, "maxReplicas": 2, "idleAfter": "10s", "activation": {"wakeTimeout": "2m"}}
# Longer than a pod takes to get ready on a busy machine: what is held must be answered, not sent again.
PATIENT = 60.0


async def until_asleep(site: Site, client: Client, namespace: str) -> None:
    """Wait until the model is asleep and its pods are gone."""
    await follow(client, namespace, "iris", is_asleep, 180)
    selector = "ekiben.dev/model=iris"
    if (await client.list(POD, namespace, label_selector=selector))[0]:
        await kubectl(
            site,
            *("wait", "pod", "--namespace", namespace, "--selector", selector),
            "--for=delete",
            "--timeout=90s",
        )


def all_answered(seen: Traffic) -> None:
    """Assert that there were requests, and that each was answered 2xx the first time it was sent."""
    assert seen.answers
    assert not seen.lost(), (len(seen.lost()), seen.lost()[:3])


async def test_a_model_goes_to_zero_and_comes_back_and_no_request_is_lost(
    site: Site, client: Client, namespace: str
) -> None:
    await install_activator(site)
    await apply(site, namespace, routed(site, namespace, "1.0.0", autoscaling=ZERO))
    await follow(client, namespace, "iris", is_serving, 120)
    await until_asleep(site, client, namespace)

    through_gateway = replace(site.target(f"{namespace}.example.com"), timeout=PATIENT)
    async with traffic(through_gateway, 20, site.prefix) as seen:
        await follow(client, namespace, "iris", is_awake, 120)
        woken = time.time()
        # All that was held is answered, and then some by the pods alone.
        await seen.until(lambda now: len(now.since(woken + 3)) > 60, 60)
        assert await client.get(ENDPOINTSLICE, namespace, "iris-activator") is None
    all_answered(seen)
    held = max(answer.seconds for answer in seen.answers)
    assert held > 1, "nothing was held: the model was not asleep"

    # And by the Service alone, as callers inside the cluster do.
    await until_asleep(site, client, namespace)
    by_service = replace(await inside(site, namespace), timeout=PATIENT)
    async with traffic(by_service, 20, site.prefix) as seen:
        await follow(client, namespace, "iris", is_awake, 120)
        woken = time.time()
        await seen.until(lambda now: len(now.since(woken + 3)) > 60, 60)
    all_answered(seen)
