"""Three places to run a cluster behind one interface, so that every end-to-end test runs on any of them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from localcluster import cluster
from localcluster.addons import METRICS_API, WAIT, install_gateway, render, wait_for_gateway, write_kubectl
from localcluster.client import Kubectl, condition
from localcluster.errors import LocalClusterError
from localcluster.images import metrics_server_image, traefik_image
from localcluster.nodefiles import METRICS_PORT
from localcluster.oci import image_names
from localcluster.paths import PACKAGE, local_dir
from localcluster.progress import say, step
from localcluster.registry import push
from localcluster.state import default_name
from localcluster.tools import KIND, KUBERNETES, ensure

# Where hack/kind.yaml maps Traefik's node port to.
KIND_NODE_PORT, KIND_HOST_PORT = 30080, 8080


class Backend(Protocol):
    """A cluster with a Gateway `models` in namespace `infra`, and a way to get images into it."""

    def up(self) -> None:
        """Bring the cluster up, or check that it is up. Raises LocalClusterError with the remedy."""

    def down(self) -> None:
        """Take away what up() made."""

    def load(self, archives: Sequence[Path]) -> dict[str, str]:
        """Load image archives; return each image's name -> the name that pods must use."""

    def kubeconfig(self) -> Path:
        """Return the kubeconfig of the running cluster."""

    def gateway(self) -> str:
        """Return the gateway's URL as this machine reaches it."""


class Local:
    """The boxed node on this very machine."""

    def __init__(self, name: str, subnet: str | None = None) -> None:
        """Choose the cluster by name; `subnet` is its /16 when it is made."""
        self._name = name
        self._subnet = subnet

    def up(self) -> None:
        """Bring the cluster up, or find it up."""
        cluster.up(self._name, self._subnet)

    def down(self) -> None:
        """Take the cluster away; loaded images stay on the machine."""
        if not cluster.down(self._name):
            say(f"there is no cluster {self._name}")

    def load(self, archives: Sequence[Path]) -> dict[str, str]:
        """Import archives into the cluster; names stay as they are."""
        return {name: name for archive in archives for name in cluster.load(self._name, archive)}

    def kubeconfig(self) -> Path:
        """Return the kubeconfig in the work tree's ignored folder."""
        return Path(cluster.running(self._name).kubeconfig)

    def gateway(self) -> str:
        """Return the URL of the gateway's Service, to which this machine has a route."""
        return f"http://{cluster.network_of(cluster.running(self._name)).gateway}"


class Kind:
    """kind: a node in a Docker container, where a Docker engine answers."""

    def __init__(self, name: str) -> None:
        """Choose the cluster by name."""
        self._name = name

    def up(self) -> None:
        """Create the cluster from hack/kind.yaml, and install the gateway and metrics-server."""
        _check_docker()
        kubectl = Kubectl(local_dir() / f"{self._name}.kind.kubeconfig")
        if self._name not in self._kind("get", "clusters").split():
            with step("kind create cluster"):
                config = PACKAGE.parent / "kind.yaml"
                self._kind("create", "cluster", f"--config={config}", "--wait=120s", named=True)
        ensure(KUBERNETES)
        traefik, metrics = traefik_image(), metrics_server_image()
        self.load([traefik.archive, metrics.archive])
        service = {"service_address": "type: NodePort", "node_port": f", nodePort: {KIND_NODE_PORT}"}
        values = {"gateway": "127.0.0.1", "traefik_image": traefik.name}
        images = {"metrics_server_image": metrics.name, "metrics_port": METRICS_PORT}
        kubectl.apply(text=render("metrics-server.yaml", images))
        install_gateway(kubectl, values | service)
        with step("Traefik and the metrics API"):
            wait_for_gateway(kubectl)
            kubectl.run("wait", "--for=condition=Available", WAIT, METRICS_API)
        if self._name == default_name():
            write_kubectl(kubectl.kubeconfig)

    def down(self) -> None:
        """Delete the cluster, its images with it."""
        _check_docker()
        self._kind("delete", "cluster", named=True)

    def load(self, archives: Sequence[Path]) -> dict[str, str]:
        """Load archives with `kind load image-archive`; names stay as they are."""
        _check_docker()
        loaded = {}
        for archive in archives:
            names = image_names(archive)
            with step(f"loading {', '.join(names)}"):
                self._kind("load", "image-archive", str(archive), named=True)
            loaded.update({name: name for name in names})
        return loaded

    def kubeconfig(self) -> Path:
        """Return the kubeconfig that kind wrote."""
        path = local_dir() / f"{self._name}.kind.kubeconfig"
        if not path.exists():
            raise LocalClusterError(
                f"kind cluster {self._name} is not up: run `make cluster-up BACKEND=kind`."
            )
        return path

    def gateway(self) -> str:
        """Return the URL that hack/kind.yaml maps to Traefik."""
        return f"http://127.0.0.1:{KIND_HOST_PORT}"

    def _kind(self, *arguments: str, named: bool = False) -> str:
        command = [str(ensure(KIND) / "kind"), *arguments]
        if named:
            command.append(f"--name={self._name}")
        environment = os.environ | {"KUBECONFIG": str(local_dir() / f"{self._name}.kind.kubeconfig")}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if done.returncode != 0:
            raise LocalClusterError(f"`kind {' '.join(arguments)}` failed: {done.stderr.strip()}")
        return done.stdout


class Existing:
    """Any cluster that has a Gateway `models` in `infra`, and a registry that its nodes pull from."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Read KUBECONFIG, EKIBEN_REGISTRY, EKIBEN_REGISTRY_INSECURE and EKIBEN_GATEWAY."""
        self._kubeconfig = environment.get("KUBECONFIG", "")
        self._registry = environment.get("EKIBEN_REGISTRY", "")
        self._insecure = environment.get("EKIBEN_REGISTRY_INSECURE", "") not in {"", "0"}
        self._gateway = environment.get("EKIBEN_GATEWAY", "")

    def up(self) -> None:
        """Check that the cluster has what the tests need; nothing is installed into a cluster of yours."""
        kubectl = Kubectl(self.kubeconfig())
        kubectl.run("get", "--raw=/readyz")
        if condition(kubectl.get("--namespace=infra", "gateway", "models"), "Programmed") != "True":
            raise LocalClusterError(
                "the cluster has no programmed Gateway `models` in namespace infra: create it "
                "(hack/localcluster/manifests/gateway.yaml is one)."
            )
        if condition(kubectl.get(METRICS_API), "Available") != "True":
            raise LocalClusterError("the cluster has no metrics API: install metrics-server.")

    def down(self) -> None:
        """Do nothing: the cluster is yours."""
        say("an existing cluster is left as it is")

    def load(self, archives: Sequence[Path]) -> dict[str, str]:
        """Push the images to the registry; their names there are what pods must use."""
        if not self._registry:
            raise LocalClusterError(
                "set EKIBEN_REGISTRY to where images go, such as registry.example.com/ekiben."
            )
        pushed: dict[str, str] = {}
        for archive in archives:
            pushed |= push(archive, self._registry, insecure=self._insecure)
        return pushed

    def kubeconfig(self) -> Path:
        """Return KUBECONFIG."""
        if not self._kubeconfig or not Path(self._kubeconfig).is_file():
            raise LocalClusterError("set KUBECONFIG to the kubeconfig file of the existing cluster.")
        return Path(self._kubeconfig)

    def gateway(self) -> str:
        """Return EKIBEN_GATEWAY, or the address that the Gateway's status shows."""
        if self._gateway:
            return self._gateway.rstrip("/")
        gateway = Kubectl(self.kubeconfig()).get("--namespace=infra", "gateway", "models")
        addresses = ((gateway or {}).get("status") or {}).get("addresses") or []
        if not addresses:
            raise LocalClusterError("Gateway `models` shows no address: set EKIBEN_GATEWAY to its URL.")
        return f"http://{addresses[0]['value']}"


def _check_docker() -> None:
    if shutil.which("docker") is not None:
        command = ["docker", "info", "--format={{json .ServerVersion}}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        # A client without an engine is common, and some versions exit 0 all the same.
        if done.returncode == 0 and json.loads(done.stdout or '""'):
            return
    raise LocalClusterError(
        "the kind backend needs a Docker engine, and `docker info` does not answer: start it."
    )


def choose(
    backend: str,
    name: str | None = None,
    subnet: str | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Backend:
    """Return the backend called local, kind or existing."""
    cluster_name = name or default_name()
    if backend == "local":
        return Local(cluster_name, subnet)
    if backend == "kind":
        return Kind(cluster_name)
    if backend == "existing":
        return Existing(environment)
    raise LocalClusterError(f"there is no backend {backend!r}: choose local, kind or existing.")
