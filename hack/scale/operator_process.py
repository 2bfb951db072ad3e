"""The operator as a process of its own, under the chart's rights, measured from outside."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from aiohttp import ClientError, ClientSession

from bench.figures import BenchError
from ekiben.kube.credentials import POD_FOLDER
from localcluster.child import Child, free_ports
from scale import inside
from scale.audit import Requests
from scale.process import cpu_seconds, peak_mib, resident_mib
from scale.world import World

# Somebody who has asked for nothing in this time has nothing to do.
QUIET_SECONDS = 3.0
LONGEST_SECONDS = 900.0
# Like a kubelet: a pod finds its account's files at a place of its own, out of the others' sight.
IN_POD = (
    'mount -t tmpfs tmpfs "$(realpath /var/run)" && mkdir -p "$2" && cp "$1"/* "$2" && shift 2 && exec "$@"'
)
# What the image sets otherwise, or the bench's own environment must not decide.
NOT_PASSED_ON = ("EKIBEN_", "KUBE", "PYTHONDONTWRITEBYTECODE")
# A process that uses less than this share of a CPU over a second is idle.
IDLE_SHARE = 0.1


@dataclass(frozen=True)
class Cost:
    """What a phase cost the operator."""

    cpu: float
    requests: Requests
    peak_mib: float
    work: Counter[str] = field(default_factory=Counter)

    def told(self, objects: int) -> tuple[str, ...]:
        """Say what it cost per object."""
        work = ", ".join(f"{self.work[what] / objects:.1f} {what}" for what in inside.WORK.values())
        return (
            f"operator CPU {self.cpu:.2f} s, peak memory {self.peak_mib:.0f} MiB",
            f"requests per object: {self.requests.told(objects)}",
            f"work per object: {work}",
        )


class Operator:
    """One operator after the other: started, measured, stopped."""

    def __init__(self, world: World, profile: str = "") -> None:
        self._world = world
        self._profile = profile
        self._child: Child | None = None
        self._probes = ""
        self._metrics = ""
        self._mark = 0
        self._cpu = 0.0
        self._work: Counter[str] = Counter()

    @property
    def pid(self) -> int:
        """The running process."""
        assert self._child is not None
        return self._child.pid

    def start(self) -> None:
        """Start it, and measure from here."""
        metrics_port, probes_port = free_ports(2)
        server = urlsplit(self._world.plane.server)
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(NOT_PASSED_ON)},
            **self._world.operator_environment,
            "KUBERNETES_SERVICE_HOST": str(server.hostname),
            "KUBERNETES_SERVICE_PORT": str(server.port),
            # The image's modules are compiled too.
            "PYTHONPYCACHEPREFIX": str(self._world.folder / "bytecode"),
            "EKIBEN_METRICS_ADDRESS": f"127.0.0.1:{metrics_port}",
            "EKIBEN_PROBES_ADDRESS": f"127.0.0.1:{probes_port}",
            # A machine that stalls for longer than a lease lasts must not end a measurement.
            "EKIBEN_LEADER_ELECTION": "false",
        }
        module = [sys.executable, "-m", "ekiben"]
        if self._profile:
            module = [sys.executable, "-m", "scale.profiled", self._profile]
            # The first process is the one that creates and rolls, the second the one that begins anew.
            self._profile += ".restart"
        variables = [f"{name}={value}" for name, value in environment.items()]
        account = [str(self._world.operator_account), str(POD_FOLDER)]
        command = ["unshare", "--mount", "--", "sh", "-c", IN_POD, "sh", *account]
        command += ["env", "--ignore-environment", *variables, *module]
        self._mark, self._cpu, self._work = self._world.audit.mark(), 0.0, Counter()
        self._child = Child("operator", command, self._world.folder / "log" / "operator.log")
        self._probes = f"http://127.0.0.1:{probes_port}"
        self._metrics = f"http://127.0.0.1:{metrics_port}/metrics"

    async def until_ready(self) -> float:
        """Wait until it says that it works; return for how many seconds."""
        began = time.monotonic()
        async with ClientSession() as session:
            while time.monotonic() < began + LONGEST_SECONDS:
                self.check()
                try:
                    async with session.get(f"{self._probes}/readyz") as answer:
                        if answer.status == 200:
                            return time.monotonic() - began
                except ClientError:
                    pass
                await asyncio.sleep(0.05)
        raise BenchError("the operator was not ready in time")

    def check(self) -> None:
        """Raise where it has ended."""
        assert self._child is not None
        self._child.check()

    def begin(self) -> None:
        """Measure from here."""
        self._work = inside.read(self._metrics)
        self._mark, self._cpu = self._world.audit.mark(), cpu_seconds(self.pid)

    def cost(self) -> Cost:
        """Return what was spent since `begin` or `start`."""
        self.check()
        cpu = cpu_seconds(self.pid) - self._cpu
        work = inside.read(self._metrics) - self._work
        return Cost(cpu, self._world.audit.since(self._mark), peak_mib(self.pid), work)

    def resident(self) -> float:
        """Return the memory that it has resident now, in MiB."""
        return resident_mib(self.pid)

    async def until_quiet(self, seconds: float = QUIET_SECONDS) -> None:
        """Wait until it asks the API for nothing any more."""
        end = time.monotonic() + LONGEST_SECONDS
        while time.monotonic() < end:
            mark = self._world.audit.mark()
            await asyncio.sleep(seconds)
            if not self._world.audit.since(mark).counts:
                return
        raise BenchError("the operator did not come to rest")

    async def until_idle(self) -> float:
        """Wait until it uses next to no CPU; return the seconds until then."""
        began = time.monotonic()
        while time.monotonic() < began + LONGEST_SECONDS:
            before, now = cpu_seconds(self.pid), time.monotonic()
            await asyncio.sleep(1.0)
            if cpu_seconds(self.pid) - before < IDLE_SHARE * (time.monotonic() - now):
                return now - began
        raise BenchError("the operator did not come to rest")

    def stop(self) -> None:
        """End it as a node would."""
        if self._child is not None:
            self._child.stop(signal.SIGTERM, timeout=30)
