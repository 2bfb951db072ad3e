"""The chart's pod policy and the `restricted` Pod Security level, on a real API server."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from contract.server import RefusedError, Server, model
from contract.test_chart import of_kind, template
from ekiben.api.policy import NAMES
from ekiben.api.v1alpha1 import API_VERSION, PLURAL, parse_spec
from ekiben.core.render import build_deployment
from ekiben.core.revision import revision_of
from policy_cases import ACCEPTED, FOREIGN_ACCOUNT, REFUSED, Case, sidecar, spec
from sample_specs import MODEL

Json = dict[str, Any]

STRICT, LENIENT, RESTRICTED = "pods-strict", "pods-lenient", "pods-restricted"
_ADMISSION = "/apis/admissionregistration.k8s.io/v1"
KINDS = {
    "ValidatingAdmissionPolicy": f"{_ADMISSION}/validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": f"{_ADMISSION}/validatingadmissionpolicybindings",
}
ENFORCE = {"pod-security.kubernetes.io/enforce": "restricted"}


def make_namespace(server: Server, name: str, labels: Json | None = None) -> None:
    """Make a namespace with the account that pods run under."""
    about = {"name": name, "labels": labels or {}}
    server.apply("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": about})
    for account in ("default", "deployer"):
        made = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}}
        server.apply(f"/api/v1/namespaces/{name}/serviceaccounts", made)


def install(server: Server, helm: Path, namespace: str, *options: str) -> None:
    """Install the policy of a release that serves one namespace."""
    objects = template(helm, "--set", f"fullnameOverride={namespace},namespaces[0]={namespace}", *options)
    for kind, path in KINDS.items():
        for item in of_kind(objects, kind):
            server.apply(path, item)


def try_model(server: Server, namespace: str, wanted: Json) -> str:
    """Return why a ModelDeployment would be refused; "" where it would be stored."""
    try:
        server.send(
            "POST",
            f"/apis/{API_VERSION}/namespaces/{namespace}/{PLURAL}",
            model(wanted),
            {"dryRun": "All", "fieldValidation": "Strict"},
        )
    except RefusedError as refused:
        return str(refused)
    return ""


@pytest.fixture(scope="module")
def policed(server: Server, helm: Path) -> Server:
    """An API server with two releases: one that allows nothing, one that allows everything."""
    make_namespace(server, "ekiben-system")
    for namespace in (STRICT, LENIENT):
        make_namespace(server, namespace)
    install(server, helm, STRICT)
    everything = f"podPolicy.allow={{{','.join(NAMES)}}},podPolicy.serviceAccounts={{deployer}}"
    install(server, helm, LENIENT, "--set", everything)
    # The server takes a policy up when it has heard of it.
    deadline = time.monotonic() + 60
    while (
        "chart value" not in try_model(server, STRICT, FOREIGN_ACCOUNT.spec)
        or try_model(server, LENIENT, FOREIGN_ACCOUNT.spec)
        or "chart value" not in try_model(server, LENIENT, spec(serviceAccountName="nobody"))
    ):
        assert time.monotonic() < deadline, try_model(server, LENIENT, FOREIGN_ACCOUNT.spec)
        time.sleep(0.1)
    return server


@pytest.mark.parametrize("case", [*REFUSED.values(), FOREIGN_ACCOUNT], ids=[*REFUSED, "foreign account"])
def test_the_policy_refuses_by_field_and_chart_value_what_the_chart_does_not_allow(
    policed: Server, case: Case
) -> None:
    said = try_model(policed, STRICT, case.spec)
    assert case.says in said
    assert "chart value podPolicy." in said
    assert try_model(policed, LENIENT, case.spec) == ""


@pytest.mark.parametrize("accepted", ACCEPTED.values(), ids=ACCEPTED)
def test_the_policy_lets_through_what_a_restricted_pod_may(policed: Server, accepted: Json) -> None:
    assert try_model(policed, STRICT, accepted) == ""


@pytest.mark.parametrize(
    "template",
    [
        {"sidecars": [{"name": "a", "securityContext": "none"}]},
        sidecar(ports="80", livenessProbe=[], lifecycle=3),
        sidecar(securityContext={"capabilities": ["ALL"], "seLinuxOptions": 7, "procMount": []}),
    ],
)
def test_values_of_a_wrong_type_make_no_rule_fail(policed: Server, template: Json) -> None:
    said = try_model(policed, STRICT, spec(template))
    assert "chart value" in said or said == ""
    assert "resulted in error" not in said


def test_the_policy_leaves_other_namespaces_alone(policed: Server) -> None:
    assert try_model(policed, "default", REFUSED["host path"].spec) == ""


@pytest.mark.parametrize("field", ["hostNetwork", "hostPID", "hostIPC", "nodeName"])
def test_what_pod_template_lacks_is_refused_by_name_or_dropped(policed: Server, field: str) -> None:
    value: Any = "node-1" if field == "nodeName" else True
    wanted = spec({field: value})
    assert f'unknown field "spec.podTemplate.{field}"' in try_model(policed, STRICT, wanted)
    path = f"/apis/{API_VERSION}/namespaces/{LENIENT}/{PLURAL}"
    stored = policed.send("POST", path, model(wanted), {"dryRun": "All", "fieldValidation": "Ignore"})
    assert field not in stored["spec"]["podTemplate"]


def pod_of(wanted: Json) -> Json:
    """Build a pod as the Deployment of a spec makes it."""
    rendered = build_deployment(MODEL, revision_of(parse_spec(wanted)))["spec"]["template"]
    about = {"name": "pod", "labels": rendered["metadata"]["labels"]}
    if rendered["metadata"].get("annotations"):
        about["annotations"] = rendered["metadata"]["annotations"]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": rendered["spec"]}


def try_pod(server: Server, pod: Json) -> str:
    """Return why the restricted level would refuse a pod; "" where it would be stored."""
    try:
        server.send("POST", f"/api/v1/namespaces/{RESTRICTED}/pods", pod, {"dryRun": "All"})
    except RefusedError as refused:
        return str(refused)
    return ""


@pytest.fixture(scope="module")
def restricted(server: Server) -> Server:
    """An API server with a namespace that takes restricted pods only."""
    make_namespace(server, RESTRICTED, ENFORCE)
    return server


@pytest.mark.parametrize("accepted", ACCEPTED.values(), ids=ACCEPTED)
def test_what_the_policy_lets_through_is_a_restricted_pod(restricted: Server, accepted: Json) -> None:
    assert try_pod(restricted, pod_of(accepted)) == ""


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_policy_refuses_is_no_restricted_pod(restricted: Server, name: str) -> None:
    said = try_pod(restricted, pod_of(REFUSED[name].spec))
    # These two can't be in any pod of ours, whatever the level: they need hostUsers or hostNetwork beside.
    expected = "is invalid" if name in ("proc", "windows") else 'violates PodSecurity "restricted:latest"'
    assert expected in said


def test_the_operators_pod_is_restricted(restricted: Server, helm: Path) -> None:
    (deployment,) = of_kind(template(helm), "Deployment")
    rendered = deployment["spec"]["template"]
    pod = {"apiVersion": "v1", "kind": "Pod", **rendered}
    pod["metadata"] = {**rendered["metadata"], "name": "operator"}
    pod["spec"] = {**rendered["spec"], "serviceAccountName": "default"}
    assert try_pod(restricted, pod) == ""


def test_the_policy_outlives_an_install_after_an_uninstall_as_it_has_no_parameter(helm: Path) -> None:
    # kubernetes/kubernetes#130887: once no policy names ConfigMaps as parameters, an API server never reads
    # them again.
    (policy,) = of_kind(template(helm), "ValidatingAdmissionPolicy")
    (binding,) = of_kind(template(helm), "ValidatingAdmissionPolicyBinding")
    assert "paramKind" not in policy["spec"]
    assert "paramRef" not in binding["spec"]
