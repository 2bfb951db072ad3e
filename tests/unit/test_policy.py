"""What models may ask for, as the operator sees it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ekiben.api.policy import NAMES, RESTRICTED, PodPolicy, refusal
from ekiben.core.snapshot import InvalidSpec
from ekiben.observe import observe_spec
from policy_cases import ACCEPTED, FOREIGN_ACCOUNT, REFUSED, Case, spec

CHART = Path(__file__).parents[2] / "charts/ekiben"


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_what_exceeds_the_restricted_level_is_not_allowed_until_the_chart_says_so(case: Case) -> None:
    seen = observe_spec({"spec": case.spec})
    assert isinstance(seen, InvalidSpec)
    assert seen.reason == "NotAllowed"
    assert case.says in seen.message
    assert f"{case.needs} in the chart value podPolicy.allow" in seen.message
    assert refusal(case.spec, PodPolicy(allow=frozenset(NAMES))) is None
    others = PodPolicy(allow=frozenset(NAMES) - {case.needs})
    assert refusal(case.spec, others) is not None


@pytest.mark.parametrize("accepted", ACCEPTED.values(), ids=ACCEPTED)
def test_what_a_restricted_pod_may_is_allowed(accepted: dict[str, Any]) -> None:
    assert refusal(accepted, RESTRICTED) is None
    assert not isinstance(observe_spec({"spec": accepted}), InvalidSpec)


@pytest.mark.parametrize("listed", ["deployer", "*"])
def test_an_account_is_allowed_only_where_it_is_listed(listed: str) -> None:
    refused = refusal(FOREIGN_ACCOUNT.spec, PodPolicy(service_accounts=frozenset({"other"})))
    assert refused is not None
    assert FOREIGN_ACCOUNT.says in refused
    assert "podPolicy.serviceAccounts" in refused
    assert refusal(FOREIGN_ACCOUNT.spec, PodPolicy(service_accounts=frozenset({listed}))) is None


@pytest.mark.parametrize(
    "template",
    [
        {"sidecars": [{"name": "a", "securityContext": "none"}]},
        {"sidecars": [{"name": "a", "ports": "80", "livenessProbe": [], "lifecycle": 3}]},
        {"sidecars": [{"name": "a", "securityContext": {"capabilities": ["ALL"], "seLinuxOptions": 7}}]},
        {"volumes": [{"name": "a", "hostPath": "/etc"}]},
        {"sidecars": None, "annotations": None},
    ],
)
def test_values_of_a_wrong_type_are_looked_at_without_a_crash(template: dict[str, Any]) -> None:
    assert refusal(spec(template), PodPolicy(allow=frozenset(NAMES))) is None
    refusal(spec(template), RESTRICTED)


def test_the_chart_knows_every_name_that_can_be_allowed() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert tuple(schema["properties"]["podPolicy"]["properties"]["allow"]["items"]["enum"]) == NAMES
    documented = (CHART / "values.yaml").read_text()
    assert ", ".join(NAMES) in documented
