"""By whom a decision is recorded, where the real API server says who wrote which field."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from ekiben.kube.kinds import EVENT, MODELDEPLOYMENT
from integration.operators import iris
from integration.site import THROUGH_GATEWAY, Site, image, is_at, is_settled, spec_of

pytestmark = pytest.mark.apiserver

PAUSING = {"canary": {"steps": [{"weight": 50, "hold": "1s"}, {"pause": {}}]}}


async def merge(site: Site, manager: str, body: dict[str, Any]) -> None:
    """Write to the model as a client of this name does."""
    await site.client.writing_as(manager).patch_merge(MODELDEPLOYMENT, site.namespace, "iris", body)


async def told(site: Site, reason: str) -> list[str]:
    """Return what the Events of a reason say."""
    events, _ = await site.client.list(EVENT, site.namespace)
    return [event["note"] for event in events if event["reason"] == reason]


async def test_a_change_is_recorded_as_that_of_the_field_manager_that_wrote_it(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ekiben.decisions")
    await site.running()
    await site.serve("v1", traffic=THROUGH_GATEWAY, rollout=PAUSING)

    await merge(site, "kubectl-edit", {"spec": {"bento": {"image": image("v2")}}})
    paused = await site.until(is_at("Paused"), "v2 pauses")
    assert paused["rollout"]["by"] == "spec by kubectl-edit"
    await merge(site, "label-bot", {"metadata": {"labels": {"team": "a"}}})
    await merge(site, "ekiben-cli", {"spec": {"rollout": {"abort": paused["rollout"]["id"]}}})
    aborted = (await site.until(is_settled("Aborted"), "v2 is aborted"))["history"][0]
    assert (aborted["startedBy"], aborted["by"]) == ("spec by kubectl-edit", "rollout.abort by ekiben-cli")

    # The same as a whole, applied by a controller of Git's: it owns every field from here on.
    wanted = iris() | {"spec": spec_of("v3", traffic=THROUGH_GATEWAY, rollout=PAUSING)}
    await site.client.writing_as("argocd-controller").apply(MODELDEPLOYMENT, site.namespace, wanted)

    def is_v3(status: dict[str, Any]) -> bool:
        return is_at("Paused")(status) and status["rollout"]["id"] != paused["rollout"]["id"]

    paused = await site.until(is_v3, "v3 pauses")
    assert paused["rollout"]["by"] == "spec by argocd-controller"
    await merge(site, "a-person", {"spec": {"rollout": {"promote": paused["rollout"]["id"]}}})
    status = await site.promoted("v3")
    assert status["history"][0]["startedBy"] == "spec by argocd-controller"
    assert status["history"][0]["by"] == "rollout.promote by a-person"

    lines = [
        (record.__dict__["fields"]["decision"], record.__dict__["fields"]["by"])
        for record in caplog.records
        if record.name == "ekiben.decisions"
    ]
    for line in (
        ("Started", "spec by kubectl-edit"),
        ("Aborting", "rollout.abort by ekiben-cli"),
        ("Started", "spec by argocd-controller"),
        ("Promoting", "rollout.promote by a-person"),
    ):
        assert line in lines
    assert not [by for _, by in lines if "label-bot" in by]
    await site.at_rest()
    for manager in ("kubectl-edit", "argocd-controller"):
        assert [note for note in await told(site, "RolloutStarted") if f"spec by {manager}" in note]
    assert [note for note in await told(site, "Aborted") if "rollout.abort by ekiben-cli" in note]
