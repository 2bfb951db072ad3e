"""A real API with its controllers, where operators run under the account and the rights that the chart gives.

etcd, kube-apiserver and kube-controller-manager are real. What every operator asks of the API is in an audit
log, so that tests count requests that were really made, kopf's included.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from ekiben.kube.kinds import CRD
from localcluster.controlplane import ControlPlane
from localcluster.tools import command_path, keda_crds
from rig.gateway_api import gateway_api_definitions

Manifest = dict[str, Any]

CHART = Path(__file__).parents[2] / "charts/ekiben"
SYSTEM_NAMESPACE = "ekiben-system"
RELEASE = "ekiben"
USER = f"system:serviceaccount:{SYSTEM_NAMESPACE}:{RELEASE}"
COMMANDS = ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl", "helm")
RIGHTS = ("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata", "users": [USER]}, {"level": "None"}],
}

TOKEN_ID = "authentication.kubernetes.io/credential-id"

Right = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Request:
    """One request of an operator; `resource` is empty for a request about kinds, not objects.

    `token` tells processes apart that were each given a token of their own; `at` is when it came in.
    """

    verb: str
    group: str
    resource: str
    namespace: str
    name: str
    code: int
    token: str
    at: datetime

    def __str__(self) -> str:
        return f"{self.verb} {self.resource} {self.name}: {self.code}"


class AuditLog:
    """What operators asked of the API server, in order."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def mark(self) -> int:
        """Return where the log ends now."""
        return len(self._whole_lines(0)) if self._path.exists() else 0

    def since(self, mark: int, namespace: str | None = None) -> list[Request]:
        """Return the requests after a mark, with `namespace` those about its objects only."""
        found = [_request(json.loads(line)) for line in self._whole_lines(mark).splitlines()]
        return [item for item in found if namespace in (None, item.namespace)]

    def writes_since(self, mark: int, namespace: str) -> list[Request]:
        """Return the writes of a namespace after a mark, refused ones included."""
        return [item for item in self.since(mark, namespace) if item.verb in WRITES]

    def reads_since(self, mark: int, namespace: str) -> list[Request]:
        """Return the reads of a namespace after a mark that are no watches."""
        return [item for item in self.since(mark, namespace) if item.verb in ("get", "list")]

    def _whole_lines(self, mark: int) -> bytes:
        """Return what was written after a mark, but for a line that is being written at this moment."""
        with self._path.open("rb") as log:
            log.seek(mark)
            text = log.read()
        return text[: text.rfind(b"\n") + 1]


def _request(entry: Manifest) -> Request:
    about = entry.get("objectRef") or {}
    resource = about.get("resource", "")
    return Request(
        verb=entry["verb"],
        group=about.get("apiGroup", ""),
        resource=f"{resource}/{about['subresource']}" if about.get("subresource") else resource,
        namespace=about.get("namespace", ""),
        name=about.get("name", ""),
        code=entry.get("responseStatus", {}).get("code", 0),
        token=((entry["user"].get("extra") or {}).get(TOKEN_ID) or [""])[0],
        at=datetime.fromisoformat(entry["requestReceivedTimestamp"]),
    )


class Lab:
    """The API, what is installed in it, and how to be the operator there."""

    def __init__(self, plane: ControlPlane, audit: AuditLog) -> None:
        self.plane = plane
        self.audit = audit
        self.chart = render_chart()
        self.operator_kubeconfig = plane.directory / "operator.kubeconfig"
        self._install()

    @classmethod
    def start(cls, directory: Path) -> Lab:
        """Start the API with its audit log and install CRDs and the chart's rights; in the main thread."""
        directory.mkdir(parents=True, exist_ok=True)
        policy, log = directory / "audit-policy.yaml", directory / "audit.log"
        policy.write_text(yaml.safe_dump(POLICY))
        plane = ControlPlane.start(
            directory / "plane",
            controller_manager=True,
            hpa_sync_period="1s",
            extra_apiserver_args=(f"--audit-policy-file={policy}", f"--audit-log-path={log}"),
        )
        try:
            return cls(plane, AuditLog(log))
        except BaseException:
            plane.stop()
            raise

    def stop(self) -> None:
        """End every process."""
        self.plane.stop()

    def operator_environment(self) -> dict[str, str]:
        """Return the environment that the chart gives the operator's container, as a kubelet fills it in."""
        (deployment,) = (item for item in self.chart if item["kind"] == "Deployment")
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        fields = {"metadata.namespace": SYSTEM_NAMESPACE, "metadata.name": "operator-0"}
        return {
            item["name"]: item["value"]
            if "value" in item
            else fields[item["valueFrom"]["fieldRef"]["fieldPath"]]
            for item in container["env"]
        }

    def write_account(self, kubeconfig: Path, account: str = RELEASE) -> None:
        """Write a kubeconfig for an account, by default the operator's, with a token of its own."""
        token = self._kubectl("create", "token", account, f"--namespace={SYSTEM_NAMESPACE}", "--duration=3h")
        config = yaml.safe_load(self.plane.kubeconfig.read_text())
        config["users"][0]["user"] = {"token": token.strip()}
        kubeconfig.touch(mode=0o600)
        kubeconfig.write_text(yaml.safe_dump(config))

    def account_of(self, part: str) -> Path:
        """Return a kubeconfig with the account and the rights that the chart gives one of its parts."""
        account = f"{RELEASE}-{part}"
        rights = [item for item in render_chart(f"{part}.enabled=true") if item["kind"] in RIGHTS]
        self._apply(item for item in rights if item["metadata"]["name"].startswith(account))
        kubeconfig = self.plane.directory / f"{part}.kubeconfig"
        self.write_account(kubeconfig, account)
        return kubeconfig

    @contextlib.contextmanager
    def granting(self, *values: str) -> Iterator[set[Right]]:
        """Give the operator what the chart grants with these values; yields what is more than by default."""
        chart = render_chart(*values)
        (role,) = (item for item in chart if item["kind"] == "ClusterRole")
        (binding,) = (item for item in chart if item["kind"] == "ClusterRoleBinding")
        for item in (role, binding):
            item["metadata"]["name"] += "-more"
        binding["roleRef"]["name"] = role["metadata"]["name"]
        self._apply([role, binding])
        try:
            may = f"--as={USER}"
            for group, resource, verb in (more := granted_by(chart) - self.granted()):
                self._until_may(verb, f"{resource}.{group}" if group else resource, may)
            yield more
        finally:
            self._kubectl("delete", "clusterrolebinding,clusterrole", role["metadata"]["name"])

    @contextlib.contextmanager
    def keda(self) -> Iterator[None]:
        """Install KEDA's kinds, without KEDA."""
        definitions = [yaml.safe_load(path.read_text()) for path in keda_crds()]
        names = [item["metadata"]["name"] for item in definitions]
        self._apply(definitions)
        try:
            self._kubectl("wait", "--for=condition=Established", "crd", *names, "--timeout=30s")
            self._kubectl("get", "scaledobjects,triggerauthentications", "--all-namespaces")
            yield
        finally:
            self._kubectl("delete", "crd", *names)

    def _until_may(self, verb: str, resource: str, may: str) -> None:
        """Wait until the API server knows of a right."""
        for _ in range(50):
            command = [str(command_path("kubectl")), f"--kubeconfig={self.plane.kubeconfig}"]
            command += ["auth", "can-i", verb, resource, may, "--all-namespaces", "--quiet"]
            if subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0:
                return
            time.sleep(0.1)
        raise AssertionError(f"{USER} may never {verb} {resource}")

    def granted(self) -> set[Right]:
        """Return every (group, resource, verb) that the chart grants."""
        return granted_by(self.chart)

    def _install(self) -> None:
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM_NAMESPACE}}
        ours = [item for item in self.chart if item["kind"] in (CRD.kind, *RIGHTS)]
        self._apply([namespace, *gateway_api_definitions(), *ours])
        self._kubectl("wait", "--for=condition=Established", "--all", "crd", "--timeout=30s")
        # Established comes before the storage is ready; kubectl tries again while it is not.
        self._kubectl("get", "modeldeployments,httproutes,gateways,gatewayclasses", "--all-namespaces")
        self.write_account(self.operator_kubeconfig)

    def _apply(self, manifests: Iterable[Manifest]) -> None:
        text = yaml.safe_dump_all(manifests)
        self._kubectl("apply", "--server-side", "--filename=-", said=text)

    def _kubectl(self, *words: str, said: str | None = None) -> str:
        command = [str(command_path("kubectl")), f"--kubeconfig={self.plane.kubeconfig}", *words]
        done = subprocess.run(command, input=said, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout


def granted_by(chart: Iterable[Manifest]) -> set[Right]:
    """Return every (group, resource, verb) that a rendered chart grants."""
    return {
        (group, resource, verb)
        for role in chart
        if role["kind"] in ("Role", "ClusterRole")
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def used(requests: Iterable[Request]) -> set[Right]:
    """Return the rights that requests needed: an apply that makes its object needs `create` as well."""
    rights = {(item.group, item.resource, item.verb) for item in requests if item.resource}
    made = {
        (item.group, item.resource, "create")
        for item in requests
        if item.verb == "patch" and item.code == 201
    }
    return rights | made


def render_chart(*values: str) -> list[Manifest]:
    """Render the chart as `helm install` would send it; `values` are written as `--set` takes them."""
    command = [str(command_path("helm")), "template", RELEASE, str(CHART), "--namespace", SYSTEM_NAMESPACE]
    command += [word for value in values for word in ("--set", value)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return [item for item in yaml.safe_load_all(done.stdout) if item]
