"""Steps other than weights, against the real API: what it stores of them, and what the route becomes."""

from __future__ import annotations

import pytest

from ekiben.kube.kinds import HTTPROUTE
from integration.site import THROUGH_GATEWAY, Site, is_at, is_settled

pytestmark = pytest.mark.apiserver

TESTERS = {"headers": [{"name": "X-Canary", "value": "always"}]}
RULE = "x-canary: always"


async def test_testers_go_first_by_header_and_the_routes_shape_stays(site: Site) -> None:
    await site.running()
    steps = [TESTERS, {"replicas": 2}, {"pause": {}}, {"weight": 50, "hold": "1s"}]
    await site.serve("v1", traffic=THROUGH_GATEWAY, rollout={"canary": {"steps": steps}})
    before = (await site.get(HTTPROUTE, "iris"))["spec"]["rules"]
    assert len(before) == 2
    assert site.gateway.by_header("iris") == {RULE: 0}

    await site.release("v2")
    status = await site.until(is_at("Paused", 3), "the rollout pauses")
    assert status["rollout"]["headers"] == [RULE]
    assert status["rollout"]["weight"] == 0
    assert status["canary"]["readyReplicas"] == 2
    assert (site.gateway.weight("iris"), site.gateway.by_header("iris")) == (0, {RULE: 100})

    await site.command("resume", f"{status['rollout']['id']}/3")
    await site.promoted("v2")
    assert site.gateway.weights["iris"] == [0, 50, 100, 0]
    assert site.gateway.by_header("iris") == {RULE: 0}
    assert (await site.get(HTTPROUTE, "iris"))["spec"]["rules"] == before

    await site.release("v3")
    status = await site.until(is_at("Paused", 3), "v3 pauses")
    await site.command("abort", status["rollout"]["id"])
    await site.until(is_settled("Aborted"), "the rollout is aborted")
    assert site.gateway.by_header("iris") == {RULE: 0}
    assert site.traffic.lost == []
