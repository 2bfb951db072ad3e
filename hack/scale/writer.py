"""`python -m scale.writer`: write a fleet's children, and say what CPU that took.

A process of its own, so that its CPU is that of the requests alone: it sends the operator's own children by
the operator's own client, and neither watches nor decides anything.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.figures import BenchError
from ekiben.kube.client import AT_ONCE, Client
from ekiben.kube.kinds import CONTROLLERREVISION, NAMESPACE, kind_of
from rig.site import ROOT
from scale.fleet import Manifest, at_once, renamed


@dataclass(frozen=True)
class Order:
    """Whose children to write where: copies of `children` of the model `pattern` for each of `names`."""

    kubeconfig: str
    namespace: str
    pattern: str
    children: Sequence[Manifest]
    names: Sequence[str]


@dataclass(frozen=True)
class Written:
    """How many requests were sent, and the CPU seconds that they took."""

    requests: int
    cpu: float

    @property
    def request_ms(self) -> float:
        """What one request cost."""
        return self.cpu / self.requests * 1000


class Writer:
    """The process: made ready first, so that its start is in no figure."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it, and wait until it is connected."""
        pipe = subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "scale.writer"), cwd=ROOT / "hack", stdin=pipe, stdout=pipe
        )
        await self._say(json.dumps(asdict(self._order)))
        await self._hear()

    async def write(self) -> Written:
        """Have it write everything, 32 models at a time; return once that is done."""
        await self._say("go")
        written = Written(**json.loads(await self._hear()))
        await self._running.wait()
        return written

    @property
    def _running(self) -> asyncio.subprocess.Process:
        assert self._process is not None
        return self._process

    async def _say(self, line: str) -> None:
        to = self._running.stdin
        assert to is not None
        to.write(line.encode() + b"\n")
        await to.drain()

    async def _hear(self) -> bytes:
        source = self._running.stdout
        assert source is not None
        line = await source.readline()
        if not line:
            await self._running.wait()
            raise BenchError("the process that writes the children by hand has ended")
        return line


async def main() -> None:
    """Take an order, say that it can be carried out, carry it out when told to, and say what it cost."""
    order = Order(**json.loads(await _next_line()))
    client = await Client.connect(Path(order.kubeconfig), user_agent="ekiben-bench")
    # The connections and their TLS are there before anything is counted, as they are in an operator at work.
    await asyncio.gather(*(client.get(NAMESPACE, None, order.namespace) for _ in range(AT_ONCE)))
    manifests = [renamed(order.children, order.pattern, name) for name in order.names]
    _answer("ready")
    await _next_line()
    began = time.process_time()
    await at_once(_write(client, order.namespace, written) for written in manifests)
    _answer(json.dumps({"requests": sum(map(len, manifests)), "cpu": time.process_time() - began}))
    await client.close()


async def _write(client: Client, namespace: str, manifests: Iterable[Manifest]) -> None:
    # A revision's record first, then everything else at once: as the operator does.
    written = list(manifests)
    for records in (True, False):
        await asyncio.gather(
            *(
                client.apply(kind_of(item["apiVersion"], item["kind"]), namespace, item)
                for item in written
                if (item["kind"] == CONTROLLERREVISION.kind) is records
            )
        )


async def _next_line() -> str:
    return await asyncio.to_thread(sys.stdin.readline)


def _answer(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
