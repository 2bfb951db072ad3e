"""A control plane at fleet size: real but for the nodes and pods, which kwok plays."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ekiben.kube.kinds import CRD
from localcluster.child import Child, wait_until
from localcluster.controlplane import ControlPlane
from localcluster.tools import command_path, kwok_stages
from rig.gateway_api import ROUTE_KINDS, gateway_api_definitions
from scale.audit import AuditLog

Manifest = dict[str, Any]

CHART = Path(__file__).resolve().parents[2] / "charts" / "ekiben"
SYSTEM_NAMESPACE, RELEASE = "ekiben-system", "ekiben"
USER = f"system:serviceaccount:{SYSTEM_NAMESPACE}:{RELEASE}"
RIGHTS = ("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
# All of the pods' addresses are local to the bench's network namespace: see __main__.py.
POD_NET = "10.128.0.0/10"
PODS_PER_NODE = 110
FEWEST_NODES = 50
# Kubernetes' own default rate limits would hide what the operator costs.
KCM = ("--kube-api-qps=1000", "--kube-api-burst=2000", "--concurrent-replicaset-syncs=20")
SYNCS = ("--concurrent-deployment-syncs=10",)
SCHEDULER = ("--kube-api-qps=1000", "--kube-api-burst=2000", "--secure-port=0")


@dataclass(frozen=True)
class World:
    """The running control plane, its audit log, and what the operator is given: its account's files."""

    plane: ControlPlane
    audit: AuditLog
    operator_account: Path
    operator_environment: dict[str, str]
    folder: Path

    def kubectl(self, *words: str, said: str | None = None, seconds: float = 300) -> str:
        """Run kubectl as the administrator."""
        command = [str(command_path("kubectl")), f"--kubeconfig={self.plane.kubeconfig}", *words]
        done = subprocess.run(
            command, input=said, capture_output=True, text=True, timeout=seconds, check=False
        )
        if done.returncode:
            raise OSError(f"kubectl {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout


@contextlib.contextmanager
def world(
    folder: Path, models: int, *, hpa_sync_period: str = "5s", only_small_pages: bool = False
) -> Iterator[World]:
    """Start everything but the operator, for this many models; end it all with the block."""
    audit = AuditLog(folder, USER)
    with contextlib.ExitStack() as stack:
        plane = stack.enter_context(
            ControlPlane.start(
                folder / "plane",
                controller_manager=True,
                hpa_sync_period=hpa_sync_period,
                extra_apiserver_args=audit.apiserver_args(),
                extra_controller_manager_args=(*KCM, *SYNCS),
                scheduler_args=SCHEDULER,
            )
        )
        chart = render_chart()
        made = World(plane, audit, folder / "account", _environment(chart), folder)
        _install(made, chart)
        log, small = folder / "log", ("--small",) if only_small_pages else ()
        stages = [f"--config={path}" for path in kwok_stages()]
        kwok = (*stages, "--manage-all-nodes", f"--cidr={POD_NET}", "--node-lease-duration-seconds=40")
        for name, command in {
            "kwok": [str(command_path("kwok")), f"--kubeconfig={plane.kubeconfig}", *kwok],
            "pages": [sys.executable, "-m", "scale.pages", str(plane.kubeconfig), *small],
        }.items():
            child = Child(name, command, log / f"{name}.log")
            stack.callback(child.stop)
        _add_nodes(made, max(FEWEST_NODES, models * 5 // PODS_PER_NODE + 1))
        yield made


def _install(made: World, chart: list[Manifest]) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM_NAMESPACE}}
    ours = [namespace, *(item for item in chart if item["kind"] in (CRD.kind, *RIGHTS))]
    made.kubectl(
        "apply", "--server-side", "--filename=-", said=yaml.safe_dump_all([*ours, *gateway_api_definitions()])
    )
    made.kubectl("wait", "--for=condition=Established", "--all", "crd", "--timeout=30s")
    # Established comes before the storage is ready; kubectl tries again while it is not.
    made.kubectl("get", f"modeldeployments,{','.join(ROUTE_KINDS)}", "--all-namespaces")
    token = made.kubectl("create", "token", RELEASE, f"--namespace={SYSTEM_NAMESPACE}", "--duration=6h")
    made.operator_account.mkdir(mode=0o700)
    (made.operator_account / "token").write_text(token)
    shutil.copy(made.plane.pki.crt("ca"), made.operator_account / "ca.crt")


def _add_nodes(made: World, count: int) -> None:
    size = {"cpu": "1k", "memory": "1Ti", "pods": str(PODS_PER_NODE)}
    nodes = [
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": f"node-{number}", "labels": {"type": "kwok"}},
            "status": {"allocatable": size, "capacity": size},
        }
        for number in range(count)
    ]
    made.kubectl(
        "create", "--filename=-", said=json.dumps({"apiVersion": "v1", "kind": "List", "items": nodes})
    )
    made.kubectl("wait", "--for=condition=Ready", "nodes", "--all", "--timeout=120s")
    wait_until("the default service account", lambda: "default" in made.kubectl("get", "sa", "-oname"), 60)


def render_chart(*values: str) -> list[Manifest]:
    """Render the chart with these values, each KEY=VALUE."""
    command = [str(command_path("helm")), "template", RELEASE, str(CHART), "--namespace", SYSTEM_NAMESPACE]
    command += [word for value in values for word in ("--set", value)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return [item for item in yaml.safe_load_all(done.stdout) if item]


def _environment(chart: list[Manifest]) -> dict[str, str]:
    """Return the environment that the chart gives the operator's container, as a kubelet fills it in."""
    (deployment,) = (item for item in chart if item["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    fields = {"metadata.namespace": SYSTEM_NAMESPACE, "metadata.name": "operator-0"}
    return {
        item["name"]: item["value"] if "value" in item else fields[item["valueFrom"]["fieldRef"]["fieldPath"]]
        for item in container["env"]
    }
