"""A running cluster with the operator on it: where to apply, where to send requests."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ekiben.core import names
from ekiben.kube.client import Manifest
from images.names import operator_image
from load.client import Target
from localcluster import backends, cluster
from localcluster.state import default_name
from localcluster.tools import command_path

ROOT = Path(__file__).resolve().parents[2]
ARCHIVES = ROOT / "build" / "images"
CHART = ROOT / "charts" / "ekiben"
OPERATOR_NAMESPACE = "ekiben-system"
METRICS_API = "apiservice/v1beta2.custom.metrics.k8s.io"
FLOWERS = '{"flowers": [[5.9, 3.0, 5.1, 1.8]]}'


class SiteError(RuntimeError):
    """Something outside could not be brought up; the message says what to do."""


@dataclass(frozen=True)
class Site:
    """One cluster: its kubeconfig, its gateway's URL, what enters its network, its images' names there."""

    kubeconfig: Path
    gateway: str
    prefix: tuple[str, ...]
    images: Mapping[str, str]

    def target(self, host: str, path: str = "/predict") -> Target:
        """Return where predictions of a model behind the gateway go."""
        return Target(url=f"{self.gateway}{path}", host=host, body=FLOWERS)

    def image(self, version: str) -> str:
        """Return the name that a version of the example model's image has in the cluster."""
        return next(there for here, there in self.images.items() if here.endswith(f"/iris:{version}"))


def open_site(environment: Mapping[str, str] = os.environ) -> Site:
    """Bring the cluster of $EKIBEN_BACKEND (default: local) up, with the images that `make images` built."""
    name = environment.get("EKIBEN_BACKEND") or "local"
    backend = backends.choose(name)
    archives = sorted(ARCHIVES.glob("*.tar"))
    if not archives:
        raise SiteError("no image archives in build/images: run `make images` first")
    backend.up()
    prefix: tuple[str, ...] = ()
    if name == "local":
        # Load stays inside the cluster's own network namespace: the machine's routes are for people.
        state = cluster.running(default_name())
        prefix = ("nsenter", f"--target={state.processes[1].pid}", "--net", "--")
    return Site(backend.kubeconfig(), backend.gateway(), prefix, backend.load(archives))


async def install_operator(site: Site, options: Sequence[str] = ()) -> None:
    """Install or upgrade the chart, and wait until the operator is ready."""
    repository, _, tag = site.images[operator_image()].rpartition(":")
    await run(
        str(command_path("helm")),
        *("upgrade", "--install", "ekiben", str(CHART)),
        *("--namespace", OPERATOR_NAMESPACE, "--create-namespace"),
        *("--set", f"image.repository={repository}", "--set", f"image.tag={tag}"),
        *options,
        kubeconfig=site.kubeconfig,
    )
    # The tag stays while the operator is worked on: pods must run the image that was just loaded.
    # helm itself doesn't wait: it would wait for pods of the image before, which may never be ready.
    await restart(site, OPERATOR_NAMESPACE, "ekiben")


async def install_activator(site: Site) -> None:
    """Install the operator with the activator, and wait until both are ready."""
    await install_operator(site, ("--set", "activator.enabled=true"))
    await restart(site, OPERATOR_NAMESPACE, "ekiben-activator")


async def install_adapter(site: Site) -> None:
    """Install the operator with the metrics adapter, and wait until autoscalers can ask that."""
    await install_operator(site, ("--set", "adapter.enabled=true"))
    await restart(site, OPERATOR_NAMESPACE, "ekiben-adapter")
    await kubectl(site, "wait", METRICS_API, "--for=condition=Available", "--timeout=120s")


async def restart(site: Site, namespace: str, deployment: str) -> None:
    """Start the pods of a Deployment anew, and wait until they are ready."""
    for words in (("restart",), ("status", "--timeout=120s")):
        verb, *more = words
        await kubectl(site, "--namespace", namespace, "rollout", verb, f"deployment/{deployment}", *more)


async def inside(site: Site, namespace: str, body: str = FLOWERS) -> Target:
    """Return where predictions of the model go from inside the cluster: to its Service, past any gateway."""
    where = ("service", "iris", "--namespace", namespace, "--output=jsonpath={.spec.clusterIP}")
    address = await kubectl(site, "get", *where)
    return Target(f"http://{address}:{names.PORT}/predict", f"iris.{namespace}:{names.PORT}", body)


async def run(*command: str, kubeconfig: Path, stdin: str = "") -> str:
    """Run a command on the cluster without holding the event loop up; raises SiteError with its words."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env=os.environ | {"KUBECONFIG": str(kubeconfig)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(stdin.encode())
    if process.returncode != 0:
        raise SiteError(f"`{' '.join(command[:4])} ...` failed: {err.decode().strip()}")
    return out.decode()


async def apply(site: Site, namespace: str, *manifests: Manifest) -> None:
    """Apply manifests with one kubectl, as a user would."""
    everything = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)})
    await kubectl(site, "apply", "--namespace", namespace, "--filename", "-", stdin=everything)


async def failures_logged(site: Site, namespace: str, revision: str) -> set[str]:
    """Follow the logs of a revision's pods to their end; return the ids of the requests that they failed."""
    text = await kubectl(
        site,
        *("logs", "--namespace", namespace, "--selector", f"ekiben.dev/revision={revision}"),
        *("--container", "bento", "--follow", "--tail", "-1", "--prefix=false", "--max-log-requests", "10"),
    )
    lines = (json.loads(line) for line in text.splitlines() if '"request_failed"' in line)
    return {str(line["request_id"]) for line in lines}


async def kubectl(site: Site, *arguments: str, stdin: str = "") -> str:
    """Run kubectl on the cluster."""
    return await run(str(command_path("kubectl")), *arguments, kubeconfig=site.kubeconfig, stdin=stdin)
