"""The chart's roles: an operator that lives through all that it can do uses every right, and no other."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from ekiben.core import names, sleeping
from ekiben.kube.kinds import (
    CONFIGMAP,
    CONTROLLERREVISION,
    DEPLOYMENT,
    ENDPOINTSLICE,
    HPA,
    HTTPROUTE,
    LEASE,
    MODELDEPLOYMENT,
    PDB,
)
from ekiben.settings import Settings
from integration.lab import used
from integration.operators import Manifest, Operator
from integration.site import THROUGH_GATEWAY, Site, image, is_at
from integration.test_sleeping import activator_slice, fall_asleep

pytestmark = pytest.mark.apiserver

# The pause is told of in the same words for each revision: the second time the Event's count is raised.
STEPS = [{"pause": {}}, {"weight": 50, "hold": "1s"}]
AUTOSCALING = {"minReplicas": 2, "maxReplicas": 4}


async def test_the_chart_grants_exactly_what_a_whole_life_uses(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Settings.from_environ(site.lab.operator_environment())
    await without_lease(site, told)
    begun = site.lab.audit.mark()
    operator = site.operator()
    # Two operators of one machine can't listen at the chart's ports.
    listening = {name: getattr(operator.settings, name) for name in ("metrics_address", "probes_address")}
    # The roles of the operator are the same with an activator.
    operator.settings = replace(told, **listening, activator=f"{site.namespace}/activator")
    monkeypatch.setattr(sleeping, "SETTLE", timedelta(seconds=1))
    await operator.start()
    assert told.leader_election
    assert told.namespaces == ()

    rollout = {"canary": {"steps": STEPS}, "revisionHistoryLimit": 0}
    flags = {"metadata": {"name": "flags"}, "data": {"colour": "blue"}}
    await site.client.create(CONFIGMAP, site.namespace, flags)
    bento = {"image": image("v1"), "service": "Iris", "trackedConfig": [{"configMap": "flags"}]}
    checks = [{"metric": "error-rate", "max": "50%"}, {"name": "golden", "job": {"image": "golden:1"}}]
    judged = {"analysis": {"checks": checks}}
    first = await site.serve(
        "v1", bento=bento, traffic=THROUGH_GATEWAY, autoscaling=AUTOSCALING, rollout=rollout, **judged
    )
    await be_late(site, operator)
    for tag in ("v2", "v3"):
        await site.release(tag)
        paused = await site.until(is_at("Paused"), f"{tag} pauses")
        rollout_id = paused["rollout"]["id"]
        # A step that is held gets its Job, and the next rollout removes it.
        if tag == "v2":
            await site.command("resume", f"{rollout_id}/{paused['rollout']['step']}")
        else:
            await site.command("promote", rollout_id)
        last = (await site.promoted(tag))["stable"]["revision"]
    for kind in (DEPLOYMENT, CONTROLLERREVISION, HPA, PDB):
        await names_become(site, kind, {f"iris-{last}"})
    await site.wait(lambda: not site.pods(first), "the first revision's pods go")

    site.traffic.stop("iris")
    await site.client.create(ENDPOINTSLICE, site.namespace, activator_slice("10.9.0.1"))
    await site.change(autoscaling={"minReplicas": 0, "idleAfter": "10s"})
    await fall_asleep(site)

    await site.change(traffic=None, autoscaling=None, podDisruptionBudget={"enabled": False})
    for kind in (HTTPROUTE, HPA, PDB):
        await names_become(site, kind, set())
    await site.wait(lambda: len(site.pods(last)) == 2, "the model is awake")
    await site.eventually(lambda: has_no_slice(site), lambda: "the activator is out of the path")
    await operator.stop()

    # The log may be a moment behind the answers.
    await site.at_rest()
    requests = site.lab.audit.since(begun)
    assert [str(item) for item in requests if item.code == 403] == []
    assert used(requests) == site.lab.granted()
    assert "secrets" not in {item.resource for item in requests}


async def has_no_slice(site: Site) -> bool:
    """Tell whether no slice leads the model's Service to the activator."""
    return await site.client.get(ENDPOINTSLICE, site.namespace, names.activator_slice("iris")) is None


async def without_lease(site: Site, told: Settings) -> None:
    """Remove the lease that other tests' operators left, so that this one makes its own."""
    left = await site.client.get(LEASE, told.lease_namespace, told.lease_name)
    if left is not None:
        await site.client.delete(LEASE, told.lease_namespace, told.lease_name, left["metadata"]["uid"])


async def be_late(site: Site, operator: Operator) -> None:
    """Let somebody else edit the model right before the operator's next status write."""
    assert operator.client is not None
    write = operator.client.patch_status

    async def late(*given: Any, **named: Any) -> Manifest:
        operator.client.patch_status = write  # type: ignore[union-attr,method-assign]
        edit = {"metadata": {"labels": {"edited": "by-hand"}}}
        await site.client.patch_merge(MODELDEPLOYMENT, site.namespace, "iris", edit)
        return await write(*given, **named)

    operator.client.patch_status = late  # type: ignore[method-assign]


async def names_become(site: Site, kind: Any, wanted: set[str]) -> None:
    """Wait until these are the objects of a kind."""
    found: set[str] = set()

    async def look() -> bool:
        nonlocal found
        found = await site.names(kind)
        return found == wanted

    await site.eventually(look, lambda: f"{kind.plural} are {wanted}, not {found}")
