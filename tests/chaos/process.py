"""Operators as processes of their own, started again when they end, as a kubelet would."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from asyncio.subprocess import Process
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from ekiben.settings import PREFIX
from localcluster.child import free_ports

ROOT = Path(__file__).parents[2]
BACKOFF_SECONDS = 0.5
# Kopf keeps a worker for each object until its last event is some seconds old.
PASSING, PASSES_WITHIN_SECONDS = "worker for ", 30


class Size(NamedTuple):
    """What one process takes: resident memory in MiB, asyncio tasks, open files, threads, living objects."""

    memory: float
    tasks: int
    files: int
    threads: int
    objects: int


class OperatorProcess:
    """One replica: `exits` counts the statuses that it ended with by itself.

    Without `restarts` a killed one stays dead, as on a node that is lost.
    """

    def __init__(
        self, name: str, directory: Path, variables: dict[str, str], *, restarts: bool = True
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.exits: Counter[int] = Counter()
        self.restarts = restarts
        self.log = directory / f"{name}.log"
        self.clock, self._tasks_file = directory / f"{name}.clock", directory / f"{name}.tasks"
        metrics_port, self.probes_port = free_ports(2)
        kept = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
        self._environment = kept | {
            "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("hack", "tests")),
            "EKIBEN_METRICS_ADDRESS": f"127.0.0.1:{metrics_port}",
            "EKIBEN_PROBES_ADDRESS": f"127.0.0.1:{self.probes_port}",
            "EKIBEN_IDENTITY": name,
            "CHAOS_CLOCK": str(self.clock),
            "CHAOS_TASKS": str(self._tasks_file),
            **variables,
        }
        self.process: Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._wanted = asyncio.Event()

    async def start(self) -> None:
        """Start it, and again whenever it ends by itself, until `stop`."""
        await self._spawn()
        self._wanted.set()
        self._keeper = asyncio.create_task(self._keep(), name=f"kubelet of {self.name}")

    async def kill(self) -> None:
        """Kill it with SIGKILL."""
        self.signal(signal.SIGKILL)

    def signal(self, number: int) -> None:
        """Send a signal to it, if it runs."""
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(number)

    async def stop(self) -> int:
        """End it with SIGTERM and leave it; return its exit status."""
        self._wanted.clear()
        self.signal(signal.SIGTERM)
        if self._keeper is not None:
            try:
                async with asyncio.timeout(40):
                    await asyncio.wait({self._keeper})
            except TimeoutError:
                self.signal(signal.SIGKILL)
                await asyncio.wait({self._keeper})
        assert self.process is not None
        return self.process.returncode or 0

    async def measure(self) -> Size:
        """Measure the process that runs now."""
        assert self.process is not None
        folder = Path(f"/proc/{self.process.pid}")
        told = await self._ask()
        for _ in range(PASSES_WITHIN_SECONDS):
            if not any(name.startswith(PASSING) for name in told["tasks"]):
                break
            await asyncio.sleep(1)
            told = await self._ask()
        status = (folder / "status").read_text()
        numbers = {key: int(value) for key, value in re.findall(r"^(VmRSS|Threads):\s+(\d+)", status, re.M)}
        files = len(list((folder / "fd").iterdir()))
        return Size(numbers["VmRSS"] / 1024, len(told["tasks"]), files, numbers["Threads"], told["objects"])

    async def _ask(self) -> dict[str, Any]:
        """Have it tell of its tasks and objects."""
        self._tasks_file.unlink(missing_ok=True)
        self.signal(signal.SIGUSR1)
        async with asyncio.timeout(30):
            while not self._tasks_file.exists():  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.05)
        told: dict[str, Any] = json.loads(self._tasks_file.read_text())
        return told

    def lines(self) -> list[dict[str, Any]]:
        """Return what it logged; a line that is no JSON is a message of level `raw`."""
        found: list[dict[str, Any]] = []
        for line in self.log.read_text(errors="replace").splitlines() if self.log.exists() else ():
            try:
                found.append(json.loads(line))
            except ValueError:
                found.append({"level": "raw", "message": line})
        return found

    async def _keep(self) -> None:
        while True:
            assert self.process is not None
            code = await self.process.wait()
            if not self._wanted.is_set() or (code == -signal.SIGKILL and not self.restarts):
                return
            if code != -signal.SIGKILL:
                self.exits[code] += 1
            await asyncio.sleep(BACKOFF_SECONDS)
            await self._spawn()

    async def _spawn(self) -> None:
        with self.log.open("ab") as sink:
            self.process = await asyncio.create_subprocess_exec(
                *("setpriv", "--pdeathsig", "KILL", "--", sys.executable, "-m", "chaos.shim"),
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
            )
