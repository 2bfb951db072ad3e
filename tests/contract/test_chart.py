"""The chart: what it renders, what it refuses, and that it grants what the operator needs and no more."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from ekiben.core import names

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/ekiben"


def template(helm: Path, *options: str) -> list[dict[str, Any]]:
    """Render the chart; raises CalledProcessError with helm's words in stderr."""
    command = [str(helm), "template", "prod", str(CHART), "--namespace", "ekiben-system", *options]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    return [item for item in yaml.safe_load_all(done.stdout) if item]


def of_kind(objects: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Return the objects of one kind."""
    return [item for item in objects if item["kind"] == kind]


def granted(role: dict[str, Any]) -> set[tuple[str, str, str]]:
    """Return every (group, resource, verb) that a role grants."""
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_the_chart_passes_helm_lint(helm: Path) -> None:
    done = subprocess.run(
        [str(helm), "lint", "--strict", str(CHART)], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_crds_of_the_chart_are_the_generated_ones_and_are_kept_on_uninstall(helm: Path) -> None:
    crds = of_kind(template(helm), "CustomResourceDefinition")
    assert [crd["metadata"]["name"] for crd in crds] == [
        "modeldeployments.ekiben.dev",
        "modelanalyses.ekiben.dev",
    ]
    for crd in crds:
        generated = yaml.safe_load((ROOT / f"crds/{crd['spec']['names']['plural']}.yaml").read_text())
        assert crd["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
        assert crd == generated


def test_without_crds_install_no_crd_is_rendered(helm: Path) -> None:
    assert not of_kind(template(helm, "--set", "crds.install=false"), "CustomResourceDefinition")


def test_the_pod_is_hardened_and_never_two_at_once(helm: Path) -> None:
    (deployment,) = of_kind(template(helm), "Deployment")
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    pod = deployment["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"startupProbe", "livenessProbe", "readinessProbe"} <= container.keys()


def test_without_adapter_enabled_the_api_for_custom_metrics_is_left_to_others(helm: Path) -> None:
    assert not of_kind(template(helm), "APIService")


def test_the_adapter_may_ask_who_may_and_watch_pods_and_nothing_else(helm: Path) -> None:
    objects = template(helm, "--set", "adapter.enabled=true", "--set", "namespaces[0]=team-a")
    (role,) = (item for item in of_kind(objects, "ClusterRole") if "adapter" in item["metadata"]["name"])
    assert granted(role) == {("authorization.k8s.io", "subjectaccessreviews", "create")}
    (in_team,) = (
        item
        for item in of_kind(objects, "Role")
        if item["metadata"]["name"].endswith("adapter") and item["metadata"]["namespace"] == "team-a"
    )
    assert granted(in_team) == {("", "pods", "list"), ("", "pods", "watch")}


def test_the_adapter_is_hardened_like_the_operator_and_no_selector_mixes_them(helm: Path) -> None:
    objects = template(helm, "--set", "adapter.enabled=true")
    by_name = {item["metadata"]["name"]: item for item in of_kind(objects, "Deployment")}
    operator, adapter = by_name["prod-ekiben"], by_name["prod-ekiben-adapter"]
    for item in (operator, adapter):
        pod = item["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True
    labels = adapter["spec"]["template"]["metadata"]["labels"]
    assert not operator["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_a_certificate_for_the_adapter_is_verified_by_its_ca(helm: Path) -> None:
    plain, given = (
        of_kind(template(helm, "--set", "adapter.enabled=true", *more), "APIService")[0]["spec"]
        for more in ((), ("--set", "adapter.tls.secretName=tls", "--set", "adapter.tls.caBundle=PEM"))
    )
    assert plain["insecureSkipTLSVerify"] is True
    assert (given["caBundle"], given.get("insecureSkipTLSVerify")) == ("UEVN", None)


def test_the_activator_reads_models_and_pods_and_writes_nothing(helm: Path) -> None:
    reads = {("ekiben.dev", "modeldeployments"), ("", "pods")}
    wanted = {(*what, verb) for what in reads for verb in ("list", "watch")}
    everywhere = template(helm, "--set", "activator.enabled=true")
    (role,) = (item for item in of_kind(everywhere, "ClusterRole") if "activator" in item["metadata"]["name"])
    assert granted(role) == wanted
    listed = template(helm, "--set", "activator.enabled=true", "--set", "namespaces[0]=team-a")
    roles = {
        item["metadata"]["namespace"]: granted(item)
        for item in of_kind(listed, "Role")
        if "activator" in item["metadata"]["name"]
    }
    slices = {("discovery.k8s.io", "endpointslices", verb) for verb in ("list", "watch")}
    # The operator finds the activator's pods there.
    assert roles == {"team-a": wanted, "ekiben-system": slices}
    assert not [item for item in of_kind(listed, "ClusterRole") if "activator" in item["metadata"]["name"]]


def test_the_operator_is_told_of_the_activator_where_there_is_one(helm: Path) -> None:
    def told(*options: str) -> Any:
        deployments = {
            item["metadata"]["name"]: item for item in of_kind(template(helm, *options), "Deployment")
        }
        environment = deployments["prod-ekiben"]["spec"]["template"]["spec"]["containers"][0]["env"]
        return {item["name"]: item.get("value") for item in environment}.get("EKIBEN_ACTIVATOR")

    assert told() is None
    assert told("--set", "activator.enabled=true") == "ekiben-system/prod-ekiben-activator"
    services = of_kind(template(helm, "--set", "activator.enabled=true"), "Service")
    assert "prod-ekiben-activator" in {item["metadata"]["name"] for item in services}


def test_the_activator_is_hardened_and_has_time_to_answer_what_it_holds(helm: Path) -> None:
    objects = template(helm, "--set", "activator.enabled=true", "--set", "activator.graceSeconds=600")
    by_name = {item["metadata"]["name"]: item for item in of_kind(objects, "Deployment")}
    operator, activator = by_name["prod-ekiben"], by_name["prod-ekiben-activator"]
    pod = activator["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True
    assert pod["terminationGracePeriodSeconds"] == 615
    assert "--grace=600" in pod["containers"][0]["args"]
    assert activator["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    labels = activator["spec"]["template"]["metadata"]["labels"]
    assert not operator["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_listed_namespaces_get_roles_and_nothing_else_is_granted_everywhere(helm: Path) -> None:
    objects = template(helm, "--set", "namespaces[0]=team-a", "--set", "namespaces[1]=team-b")
    (cluster_role,) = of_kind(objects, "ClusterRole")
    assert {verb for _, _, verb in granted(cluster_role)} == {"get", "list", "watch"}
    served = {role["metadata"]["namespace"] for role in of_kind(objects, "Role")}
    assert served == {"team-a", "team-b", "ekiben-system"}


def test_no_secret_no_wildcard_and_no_escalation_is_granted(helm: Path) -> None:
    objects = template(helm)
    everything = set().union(
        *(granted(r) for kind in ("Role", "ClusterRole") for r in of_kind(objects, kind))
    )
    assert not {grant for grant in everything if "*" in grant}
    resources = {resource for _, resource, _ in everything}
    assert not resources & {"secrets", "roles", "rolebindings", "clusterroles", "pods/exec", "nodes"}
    assert not {verb for _, _, verb in everything} & {"escalate", "bind", "impersonate"}


def test_secrets_are_read_by_name_in_the_listed_namespaces_only(helm: Path) -> None:
    objects = template(
        helm, "--set", "secrets.namespaces={shop}", "--set", "calls.hosts={a.svc:9090,*.team.svc}"
    )
    (role,) = [item for item in of_kind(objects, "Role") if item["metadata"]["name"].endswith("-secrets")]
    assert role["metadata"]["namespace"] == "shop"
    assert granted(role) == {("", "secrets", "get")}
    (cluster_role,) = of_kind(objects, "ClusterRole")
    assert "secrets" not in {resource for _, resource, _ in granted(cluster_role)}
    (deployment,) = of_kind(objects, "Deployment")
    environment = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    told = {item["name"]: item.get("value") for item in environment}
    assert told["EKIBEN_CALL_HOSTS"] == "a.svc:9090,*.team.svc"
    assert told["EKIBEN_SECRET_NAMESPACES"] == "shop"


def rights_to_look(helm: Path, where: str) -> set[tuple[str, str, str]]:
    """Return what a value of preflight grants beyond none."""
    (plain,) = of_kind(template(helm), "ClusterRole")
    (role,) = of_kind(objects := template(helm, "--set", f"preflight={where}"), "ClusterRole")
    (deployment,) = of_kind(objects, "Deployment")
    environment = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {item["name"]: item.get("value") for item in environment}["EKIBEN_PREFLIGHT"] == where
    return granted(role) - granted(plain)


def test_looking_for_room_is_granted_as_far_as_the_value_says(helm: Path) -> None:
    quotas = {("", "resourcequotas", "list")}
    assert rights_to_look(helm, "none") == set()
    assert rights_to_look(helm, "quotas") == quotas
    assert rights_to_look(helm, "nodes") == quotas | {
        ("", "nodes", "list"),
        ("scheduling.k8s.io", "priorityclasses", "list"),
        ("resource.k8s.io", "deviceclasses", "list"),
    }
    (everywhere,) = of_kind(template(helm, "--set", "preflight=nodes,namespaces={shop}"), "ClusterRole")
    assert ("", "pods", "list") in granted(everywhere)
    assert ("", "resourcequotas", "list") not in granted(everywhere)


def test_keda_is_granted_where_the_value_says_so_and_nowhere_else(helm: Path) -> None:
    (plain,) = of_kind(template(helm), "ClusterRole")
    assert "keda.sh" not in {group for group, _, _ in granted(plain)}
    objects = template(helm, "--set", "keda.enabled=true,namespaces={shop},keda.triggers={kafka,redis}")
    (everywhere,), (there,) = (
        of_kind(objects, "ClusterRole"),
        [role for role in of_kind(objects, "Role") if role["metadata"]["namespace"] == "shop"],
    )
    assert "keda.sh" not in {group for group, _, _ in granted(everywhere)}
    assert {(kind, verb) for group, kind, verb in granted(there) if group == "keda.sh"} == {
        (kind, verb)
        for kind in ("scaledobjects", "triggerauthentications")
        for verb in ("get", "list", "watch", "create", "patch", "delete")
    }
    (deployment,) = of_kind(objects, "Deployment")
    environment = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    told = {item["name"]: item.get("value") for item in environment}
    assert (told["EKIBEN_KEDA"], told["EKIBEN_KEDA_TRIGGERS"]) == ("true", "kafka,redis")


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ("keda.enabled=maybe", "enabled"),
        ("keda.triggers={Rabbit MQ}", "triggers"),
        ("image.tag=latest", "tag"),
        ("workers=0", "workers"),
        ("maxConcurrentRollouts=-1", "maxConcurrentRollouts"),
        ("maxConcurrentRolloutsPerNamespace=x", "maxConcurrentRolloutsPerNamespace"),
        ("replicas=0", "replicas"),
        ("log.level=loud", "level"),
        ("settings.OTHER=1", "OTHER"),
        ("typo=1", "typo"),
        ("podPolicy.allow={hostNetwork}", "allow"),
        ("podPolicy.serviceAccounts={Not_A_Name}", "serviceAccounts"),
        ("networkPolicy.metricsFrom=monitoring", "metricsFrom"),
        ("preflight=all", "preflight"),
        ("activator.replicas=0", "replicas"),
        ("activator.mostHeld=0", "mostHeld"),
        ("calls.hosts={http://a.svc}", "hosts"),
        ("secrets.namespaces={Shop}", "namespaces"),
    ],
)
def test_a_bad_value_is_refused_by_name(helm: Path, option: str, named: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        template(helm, "--set", option)
    assert named in refused.value.stderr


def ingress(policy: dict[str, Any]) -> list[tuple[Any, list[Any]]]:
    """Return who may connect to which ports by a NetworkPolicy; nobody is no line, everybody is None."""
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    return [
        (rule.get("from"), [port["port"] for port in rule["ports"]]) for rule in policy["spec"]["ingress"]
    ]


def test_nobody_may_connect_to_the_operator_but_who_is_listed(helm: Path) -> None:
    (closed,) = of_kind(template(helm), "NetworkPolicy")
    (deployment,) = of_kind(template(helm), "Deployment")
    assert closed["spec"]["podSelector"]["matchLabels"] == deployment["spec"]["selector"]["matchLabels"]
    assert ingress(closed) == []
    peer = "networkPolicy.metricsFrom[0].namespaceSelector.matchLabels.team=monitoring"
    (opened,) = of_kind(template(helm, "--set", peer), "NetworkPolicy")
    monitoring = {"namespaceSelector": {"matchLabels": {"team": "monitoring"}}}
    assert ingress(opened) == [([monitoring], ["metrics"])]


def test_models_answer_at_their_entry_services_port_only(helm: Path) -> None:
    served = ("--set", "namespaces={team-a,team-b}")
    _, *models = of_kind(template(helm, *served), "NetworkPolicy")
    assert [policy["metadata"]["namespace"] for policy in models] == ["team-a", "team-b"]
    for policy in models:
        selector = policy["spec"]["podSelector"]["matchExpressions"]
        assert selector == [{"key": names.MODEL, "operator": "Exists"}]
        assert ingress(policy) == [(None, [names.PORT])]


def test_models_answer_whom_the_chart_lists_and_the_operator(helm: Path) -> None:
    peer = "networkPolicy.modelsFrom[0].namespaceSelector.matchLabels.team=gateways"
    operator, policy = of_kind(template(helm, "--set", f"namespaces={{team-a}},{peer}"), "NetworkPolicy")
    ours = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ekiben-system"}},
        "podSelector": operator["spec"]["podSelector"],
    }
    gateways = {"namespaceSelector": {"matchLabels": {"team": "gateways"}}}
    assert ingress(policy) == [([ours, gateways], [names.PORT])]


def test_policies_can_be_left_to_somebody_else(helm: Path) -> None:
    off = template(helm, "--set", "networkPolicy.enabled=false,podPolicy.admission=false")
    kinds = {item["kind"] for item in off}
    assert not kinds & {"NetworkPolicy", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}


def test_replicas_are_spread_and_replaced_one_by_one_and_the_selector_reaches_them(helm: Path) -> None:
    objects = template(helm, "--set", "replicas=2", "--set", "selector=shard in (a\\,b)")
    (deployment,) = of_kind(objects, "Deployment")
    assert deployment["spec"]["replicas"] == 2
    assert deployment["spec"]["strategy"]["type"] == "RollingUpdate"
    pod = deployment["spec"]["template"]["spec"]
    (spread,) = pod["topologySpreadConstraints"]
    assert spread["labelSelector"] == deployment["spec"]["selector"]
    environment = {item["name"]: item.get("value") for item in pod["containers"][0]["env"]}
    assert environment["EKIBEN_SELECTOR"] == "shard in (a,b)"
    assert environment["EKIBEN_LEADER_ELECTION"] == "true"


def test_replicas_without_an_election_are_refused_with_the_remedy(helm: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        template(helm, "--set", "replicas=2", "--set", "leaderElection=false")
    assert "leaderElection: set it to true, or replicas to 1" in refused.value.stderr
