"""KEDA and a Prometheus in a running cluster: an add-on for those who ask for it.

KEDA runs by its own manifests, out of its Go module, as three pods: operator, metrics adapter, admission
webhooks. They differ from what it ships in their images, in their probes' patience and in their certificate,
which is made here instead of by KEDA itself; and what its webhooks can't be asked about is refused.
"""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import yaml

from localcluster.addons import WAIT, render
from localcluster.client import Kubectl
from localcluster.images import (
    SystemImage,
    keda_adapter_image,
    keda_operator_image,
    keda_webhooks_image,
    prometheus_image,
)
from localcluster.pki import Authority
from localcluster.progress import step
from localcluster.tools import keda_config

NAMESPACE = "keda"
EXTERNAL_METRICS = "v1beta1.external.metrics.k8s.io"
# What pods ask; from the machine the Service's address answers as well.
PROMETHEUS_URL = "http://prometheus.monitoring.svc:9090"
SECRET = "kedaorg-certs"
_SERVICES = ("keda-operator", "keda-metrics-apiserver", "keda-admission-webhooks")
_DEPLOYMENTS = ("keda-operator", "keda-metrics-apiserver", "keda-admission")
# The webhooks last: until they run, whatever they are to be asked about is refused.
_FOLDERS = ("service_account", "rbac", "manager", "metrics-server", "webhooks")
_CRDS = ("crd/scaledobjects.keda.sh", "crd/triggerauthentications.keda.sh")
# There is one of each, and its certificate is made here.
_INSTEAD = {
    "--leader-elect": "--leader-elect=false",
    "--enable-cert-rotation=true": "--enable-cert-rotation=false",
}

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Images:
    """What KEDA's three pods run."""

    operator: SystemImage
    adapter: SystemImage
    webhooks: SystemImage

    @classmethod
    def built(cls) -> Images:
        """Build what is not there yet."""
        return cls(keda_operator_image(), keda_adapter_image(), keda_webhooks_image())

    def of(self, deployment: str) -> SystemImage:
        """Return the image of one of KEDA's Deployments."""
        return {
            "keda-operator": self.operator,
            "keda-metrics-apiserver": self.adapter,
            "keda-admission": self.webhooks,
        }[deployment]


class Cluster(Protocol):
    """A backend, as far as it is used here."""

    def load(self, archives: list[Path]) -> dict[str, str]:
        """Load image archives."""

    def kubeconfig(self) -> Path:
        """Return the kubeconfig of the running cluster."""


def install_keda(cluster: Cluster) -> str:
    """Install KEDA and Prometheus, or find them there; return Prometheus' URL as pods see it.

    It returns when the external metrics API, the webhooks and Prometheus answer. Builds all of them on first
    use: minutes.
    """
    images, prometheus = Images.built(), prometheus_image()
    cluster.load([image.archive for image in (images.operator, images.adapter, images.webhooks, prometheus)])
    kubectl = Kubectl(cluster.kubeconfig())
    config = keda_config()
    with step("KEDA and Prometheus"):
        kubectl.apply(
            files=[config / "general" / "namespace.yaml", *sorted((config / "crd" / "bases").glob("*.yaml"))]
        )
        kubectl.run("wait", "--for=condition=Established", WAIT, *_CRDS)
        if kubectl.get("--namespace", NAMESPACE, "secret", SECRET) is None:
            kubectl.apply(text=yaml.safe_dump(_certificate()))
        authority = kubectl.run(
            "get", "--namespace", NAMESPACE, "secret", SECRET, r"--output=jsonpath={.data.ca\.crt}"
        )
        kubectl.apply(text=yaml.safe_dump_all(manifests(config, images, authority)))
        kubectl.apply(text=render("prometheus.yaml", {"prometheus_image": prometheus.name}))
        for deployment in _DEPLOYMENTS:
            kubectl.run("rollout", "status", "--namespace", NAMESPACE, WAIT, f"deployment/{deployment}")
        kubectl.run("wait", "--for=condition=Available", WAIT, f"apiservice/{EXTERNAL_METRICS}")
        kubectl.run("rollout", "status", "--namespace=monitoring", WAIT, "deployment/prometheus")
    return PROMETHEUS_URL


def remove_keda(kubectl: Kubectl) -> None:
    """Take all of it away: KEDA's kinds first, while it is there to let their objects go."""
    gone = ("--ignore-not-found", WAIT)
    config, nothing = keda_config(), SystemImage("none", Path())
    images = Images(nothing, nothing, nothing)
    with step("taking KEDA and Prometheus away"):
        for file in sorted((config / "crd" / "bases").glob("*.yaml")):
            kubectl.run("delete", *gone, "--filename", str(file))
        made = yaml.safe_dump_all(manifests(config, images, ""))
        for text in (made, render("prometheus.yaml", {"prometheus_image": nothing.name})):
            kubectl.run("delete", *gone, "--filename", "-", stdin=text)
        kubectl.run("delete", *gone, "namespace", NAMESPACE)


def manifests(config: Path, images: Images, authority: str) -> Iterator[Manifest]:
    """Yield KEDA's manifests from its folder config/, made to run here; `authority` is a CA in base64."""
    for folder in _FOLDERS:
        for file in sorted((config / folder).glob("*.yaml")):
            for manifest in yaml.safe_load_all(file.read_text()):
                kind = manifest["kind"]
                if kind == "Kustomization":
                    continue
                if kind == "APIService":
                    manifest["spec"]["caBundle"] = authority
                if kind == "ValidatingWebhookConfiguration":
                    _ask_always(manifest, authority)
                if kind == "Deployment":
                    _run(manifest, images.of(manifest["metadata"]["name"]))
                yield manifest


def _ask_always(configuration: Manifest, authority: str) -> None:
    """Have the webhooks be asked without fail: what KEDA ships lets pass what it can't ask about."""
    for webhook in configuration["webhooks"]:
        webhook["failurePolicy"] = "Fail"
        webhook["clientConfig"]["caBundle"] = authority


def _run(deployment: Manifest, image: SystemImage) -> None:
    """Have a Deployment run an image of ours, and be ready as soon as it is."""
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    container |= {"image": image.name, "imagePullPolicy": "IfNotPresent"}
    # The image's own entry point.
    del container["command"]
    container["args"] = [_INSTEAD.get(word, word) for word in container["args"]]
    container["readinessProbe"] |= {"initialDelaySeconds": 1, "periodSeconds": 1}


def _certificate() -> Manifest:
    """Return the Secret by which KEDA's parts and the API server know one another."""
    names = [f"{service}.{NAMESPACE}.svc" for service in _SERVICES]
    with tempfile.TemporaryDirectory(prefix="ekiben-keda-") as folder:
        made = Authority(Path(folder))
        made.both("tls", [*names, *(f"{name}.cluster.local" for name in names)])
        files = {
            "ca.crt": made.pki.crt("ca"),
            "tls.crt": made.pki.crt("tls"),
            "tls.key": made.pki.key("tls"),
        }
        data = {name: base64.b64encode(path.read_bytes()).decode() for name, path in files.items()}
    about = {"name": SECRET, "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": about, "data": data}
