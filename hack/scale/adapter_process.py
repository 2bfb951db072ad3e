"""The metrics adapter as a process of its own, behind the API server, under the chart's rights."""

from __future__ import annotations

import os
import signal
import sys
import urllib.request
from typing import Any

import yaml

from ekiben.adapter.access import GROUP
from ekiben.adapter.api import VERSION
from ekiben.core import names
from localcluster.child import Child, free_ports, wait_until
from scale.operator_process import NOT_PASSED_ON
from scale.process import cpu_ms, resident_mib
from scale.world import RELEASE, RIGHTS, SYSTEM_NAMESPACE, World, render_chart

ACCOUNT = f"{RELEASE}-adapter"
# Of the pods' network, where every address is local, and the last that a pod would get.
ADDRESS = "10.191.255.254"
READS = f"http://127.0.0.1:{names.PORT}/reads"


class Adapter:
    """One adapter, which the API server asks for custom.metrics.k8s.io while the block runs."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._child: Child | None = None

    def __enter__(self) -> Adapter:
        (port,) = free_ports(1)
        self._install(port)
        options = (f"--host={ADDRESS}", f"--port={port}", "--log-format=text")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(NOT_PASSED_ON)}
        variables = {**kept, "KUBECONFIG": str(self._account())}
        words = [f"{name}={value}" for name, value in variables.items()]
        module = [sys.executable, "-m", "ekiben.adapter", *options]
        command = ["env", "--ignore-environment", *words, *module]
        self._child = Child("adapter", command, self._world.folder / "log" / "adapter.log")
        wait_until("the adapter's API", self._is_available, 60, [self._child])
        return self

    def __exit__(self, *_: object) -> None:
        if self._child is not None:
            self._child.stop(signal.SIGTERM)

    def cpu_ms(self) -> float:
        """Return the CPU time that it has used, in ms."""
        return cpu_ms(self._running.pid)

    def resident(self) -> float:
        """Return the memory that it has resident now, in MiB."""
        return resident_mib(self._running.pid)

    @property
    def _running(self) -> Child:
        assert self._child is not None
        self._child.check()
        return self._child

    def _install(self, port: int) -> None:
        """Give it its rights, and the API server its address: no pod has it, so no selector finds it."""
        rendered = render_chart("adapter.enabled=true")
        wanted = (*RIGHTS, "Service", "APIService")
        chart = [item for item in rendered if item["kind"] in wanted and _is_of_the_adapter(item)]
        (service,) = (item for item in chart if item["kind"] == "Service")
        del service["spec"]["selector"]
        slices = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": ACCOUNT,
                "namespace": SYSTEM_NAMESPACE,
                "labels": {"kubernetes.io/service-name": service["metadata"]["name"]},
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": [ADDRESS], "conditions": {"ready": True}}],
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        }
        self._world.kubectl(
            "apply", "--server-side", "--filename=-", said=yaml.safe_dump_all([*chart, slices])
        )

    def _account(self) -> Any:
        token = self._world.kubectl(
            "create", "token", ACCOUNT, f"--namespace={SYSTEM_NAMESPACE}", "--duration=6h"
        )
        config = yaml.safe_load(self._world.plane.kubeconfig.read_text())
        config["users"][0]["user"] = {"token": token.strip()}
        path = self._world.folder / "adapter.kubeconfig"
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(config))
        return path

    def _is_available(self) -> bool:
        said = self._world.kubectl(
            *("get", "apiservice", f"{VERSION}.{GROUP}"),
            "--output=jsonpath={.status.conditions[?(@.type=='Available')].status}",
        )
        return said == "True"


def pages_read() -> int:
    """Return how many pages of pods were read so far."""
    with urllib.request.urlopen(READS, timeout=30) as answer:
        return int(answer.read())


def _is_of_the_adapter(item: dict[str, Any]) -> bool:
    name = str(item["metadata"]["name"])
    return item["kind"] == "APIService" or name == ACCOUNT
