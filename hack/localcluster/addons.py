"""Install what makes a bare Kubernetes a place to serve models: the Gateway API, with Traefik behind it."""

from __future__ import annotations

import string
import urllib.error
import urllib.request
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from localcluster.client import Kubectl
from localcluster.paths import PACKAGE, local_dir
from localcluster.progress import step
from localcluster.tools import command_path, gateway_api_crds

WAIT = "--timeout=120s"
METRICS_API = "apiservice/v1beta1.metrics.k8s.io"


def render(manifest: str, values: Mapping[str, object]) -> str:
    """Return a file of manifests/ with its ${placeholders} filled; a missing value raises KeyError."""
    return string.Template((PACKAGE / "manifests" / manifest).read_text()).substitute(values)


def install_gateway(kubectl: Kubectl, values: Mapping[str, object]) -> None:
    """Install the Gateway API's standard channel, Traefik, GatewayClass `traefik` and Gateway `models`."""
    # Traefik's pod starts while the API server digests the CRDs, which takes it 2 s.
    with step("Gateway API and Traefik, applied"), ThreadPoolExecutor() as threads:
        pod = threads.submit(kubectl.apply, text=render("traefik.yaml", values))
        kubectl.apply(files=gateway_api_crds())
        pod.result()
        crds = [
            f"crd/{kind}.gateway.networking.k8s.io" for kind in ("gatewayclasses", "gateways", "httproutes")
        ]
        kubectl.run("wait", "--for=condition=Established", WAIT, *crds)
        kubectl.apply(text=render("gateway.yaml", values))


def wait_for_gateway(kubectl: Kubectl) -> None:
    """Return when Traefik runs and has programmed the Gateway."""
    kubectl.run("rollout", "status", "--namespace=infra", WAIT, "deployment/traefik")
    kubectl.run("wait", "--namespace=infra", "--for=condition=Programmed", WAIT, "gateway/models")


def http_answers(url: str) -> bool:
    """Say whether anything speaks HTTP there; 404 is what a gateway without routes says."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=2):
            return True
    except urllib.error.HTTPError:
        return True
    except (OSError, urllib.error.URLError):
        return False


def write_kubectl(kubeconfig: Path) -> None:
    """Write .local/bin/kubectl, which uses this kubeconfig unless KUBECONFIG says otherwise."""
    script = local_dir() / "bin" / "kubectl"
    script.parent.mkdir(exist_ok=True)
    command = command_path("kubectl")
    script.write_text(f'#!/bin/sh\nKUBECONFIG="${{KUBECONFIG:-{kubeconfig}}}" exec "{command}" "$@"\n')
    script.chmod(0o755)
