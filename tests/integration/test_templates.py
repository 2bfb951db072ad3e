"""Checks that a ModelAnalysis holds, on the real API: taken over with arguments, waited for where missing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from ekiben.kube.kinds import MODELANALYSIS
from integration.operators import condition_of
from integration.site import THROUGH_GATEWAY, Site, Status, is_settled
from integration.test_sources import ERRORS, LOOPBACK, serving

pytestmark = pytest.mark.apiserver

FLOWERS = {"name": "quality", "args": [{"name": "team", "value": "flowers"}]}


@dataclass
class Judge:
    """A server that scores models, and what it was asked."""

    url: str = ""
    score: float = 0.95
    asked: set[str] = field(default_factory=set)

    def template(self) -> dict[str, Any]:
        """Return a ModelAnalysis that asks it: a team must be given, and a set may be."""
        url = f"{self.url}/{{{{args.team}}}}/{{{{model.name}}}}/{{{{args.set}}}}"
        checks = [{"name": "score", "min": "0.9", "web": {"url": url, "jsonPath": "$.score"}}]
        args = [{"name": "team"}, {"name": "set", "default": "golden"}]
        about = {"apiVersion": MODELANALYSIS.api_version, "kind": MODELANALYSIS.kind}
        return {**about, "metadata": {"name": "quality"}, "spec": {"args": args, "checks": checks}}


@pytest.fixture
async def judge() -> AsyncIterator[Judge]:
    """A judge on loopback."""
    made = Judge()

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        made.asked.add(request.path)
        return web.json_response({"score": made.score})

    async with serving(answer) as made.url:
        yield made


def stalled(words: str) -> Callable[[Status], bool]:
    """Tell whether a template is what it waits for, in these words."""

    def check(status: Status) -> bool:
        said = condition_of(status, "Stalled")
        return said.get("reason") == "TemplateUnusable" and words in said["message"]

    return check


async def test_a_template_judges_with_its_arguments_filled_in(site: Site, judge: Judge) -> None:
    await site.client.create(MODELANALYSIS, site.namespace, judge.template())
    await site.running(**LOOPBACK)
    first = await site.serve(
        "v1", traffic=THROUGH_GATEWAY, analysis={"checks": [ERRORS], "templates": [FLOWERS]}
    )
    assert judge.asked == set(), "a first revision is not judged"
    await site.release("v2")
    status = await site.promoted("v2")
    assert judge.asked == {"/flowers/iris/golden"}
    checks = {item["metric"]: item for item in status["rollout"]["checks"]}
    assert checks.keys() == {"error-rate", "score"}
    assert (checks["score"]["verdict"], checks["score"]["value"]) == ("Pass", "0.95")

    judge.score = 0.5
    given = [{"name": "team", "value": "trees"}, {"name": "set", "value": "hard"}]
    await site.change(analysis={"templates": [FLOWERS | {"args": given}]})
    await site.release("v3")
    status = await site.until(is_settled("RolledBack"), "v3 is rolled back by the template's check")
    assert status["failedRevisions"][0]["message"] == "score 0.5, limit at least 0.9"
    assert judge.asked == {"/flowers/iris/golden", "/trees/iris/hard"}
    assert status["stable"]["revision"] not in (first, status["failedRevisions"][0]["revision"])
    assert site.traffic.lost == []


async def test_a_template_that_is_missing_or_lacks_an_argument_is_named_and_waited_for(
    site: Site, judge: Judge
) -> None:
    await site.running(**LOOPBACK)
    analysis = {"checks": [ERRORS], "templates": [{"name": "quality"}]}
    first = await site.serve("v1", traffic=THROUGH_GATEWAY, analysis=analysis)
    await site.release("v2")
    status = await site.until(stalled("ModelAnalysis quality, which does not exist"), "it is named")
    assert condition_of(status, "Ready")["status"] == "True"
    assert (status["stable"]["revision"], status.get("canary")) == (first, None)

    await site.client.create(MODELANALYSIS, site.namespace, judge.template())
    status = await site.until(stalled("ModelAnalysis quality needs its argument team"), "what it lacks is")
    assert status["stable"]["revision"] == first
    assert site.gateway.weights["iris"] == [0]

    await site.change(analysis={"templates": [FLOWERS]})
    status = await site.promoted("v2")
    assert condition_of(status, "Stalled")["status"] == "False"
    assert judge.asked == {"/flowers/iris/golden"}
    assert site.traffic.lost == []


async def test_a_rollout_goes_on_by_itself_when_its_template_is_made(site: Site, judge: Judge) -> None:
    await site.running(**LOOPBACK)
    await site.serve("v1", traffic=THROUGH_GATEWAY, analysis={"checks": [ERRORS], "templates": [FLOWERS]})
    await site.release("v2")
    status = await site.until(stalled("create it"), "the missing template is named")
    assert status.get("failedRevisions", []) == []
    await site.client.create(MODELANALYSIS, site.namespace, judge.template())
    await site.promoted("v2")
    assert judge.asked == {"/flowers/iris/golden"}
