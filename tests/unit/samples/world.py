"""Pods on loopback addresses, on one port as in a cluster, and a sampler that looks when a test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

from ekiben.api.measured import Counters, Totals
from ekiben.core.plan import Sampling
from ekiben.core.snapshot import Observation
from ekiben.samples.pods import Key, PodSampler
from localcluster.child import free_ports
from unit.samples.bento import Bento

IRIS: Key = ("models", "iris")
STABLE, CANARY = "stable0001", "canary0002"
# Looks are asked for by a change of the interval, so the clock never starts one by itself.
HOURS = 3600.0
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Pod:
    """One pod: an HTTP server of its own that exports a Bento, or answers what a test tells it to."""

    uid: str
    ip: str
    bento: Bento = field(default_factory=Bento)
    answer: Answer | None = None
    hits: int = 0
    running: int = 0
    most_running: int = 0
    runner: web.AppRunner | None = None

    @property
    def target(self) -> tuple[str, str]:
        """How a Sampling names it."""
        return self.uid, self.ip

    async def start(self, port: int) -> None:
        """Listen."""
        app = web.Application()
        app.router.add_get("/{path:.*}", self._serve)
        self.runner = web.AppRunner(app, shutdown_timeout=0.05)
        await self.runner.setup()
        await web.TCPSite(self.runner, self.ip, port).start()

    async def stop(self) -> None:
        """Stop listening, as a pod that dies does."""
        if self.runner is not None:
            await self.runner.cleanup()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.hits += 1
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            if self.answer is not None:
                return await self.answer(request)
            return web.Response(body=self.bento.page(), content_type="text/plain")
        finally:
            self.running -= 1


class World:
    """The pods of both revisions and one sampler."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.pods: list[Pod] = []
        self.now = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
        self.sampling = Sampling(
            window="iris.1/1",
            interval=HOURS,
            service="Iris",
            targets={},
            bounds={"300ms": 0.3},
            stable=STABLE,
            canary=CANARY,
            base=Totals(),
        )
        self._looked: dict[Key, asyncio.Event] = {}
        self.sampler = self._sampler()

    async def restart(self, **options: Any) -> None:
        """Replace the sampler by one that knows nothing, as a restart of the operator does."""
        await self.sampler.close()
        self.sampler = self._sampler(**options)

    def _sampler(self, **options: Any) -> PodSampler:
        defaults: dict[str, Any] = {
            "on_observation": self._seen,
            "port": self.port,
            "clock": lambda: self.now,
        }
        return PodSampler(**(defaults | options))

    async def pod(self, **fields: Any) -> Pod:
        """Start a pod."""
        number = len(self.pods) + 1
        pod = Pod(**({"uid": f"uid-{number}", "ip": f"127.0.0.{number}"} | fields))
        await pod.start(self.port)
        self.pods.append(pod)
        return pod

    async def look(self, key: Key = IRIS, **changes: Any) -> Observation:
        """Let ten seconds pass, change the sampling as told and return what exactly one look shows."""
        self.now += timedelta(seconds=10)
        looked = self._looked.setdefault(key, asyncio.Event())
        looked.clear()
        self.ensure(key, **changes)
        async with asyncio.timeout(10):
            await looked.wait()
        seen = self.sampler.observation(key)
        assert seen is not None
        return seen

    def ensure(self, key: Key = IRIS, **changes: Any) -> None:
        """Change the sampling, which asks for a look at once."""
        interval = 2 * HOURS if self.sampling.interval == HOURS else HOURS
        self.sampling = replace(self.sampling, **({"interval": interval} | changes))
        self.sampler.ensure(key, self.sampling)

    async def canary(self, *pods: Pod, **changes: Any) -> Counters:
        """Look at canary pods only and return the canary's counters."""
        targets = {CANARY: tuple(pod.target for pod in pods)}
        return (await self.look(targets=targets, **changes)).counters[CANARY]

    async def close(self) -> None:
        """Stop everything."""
        await self.sampler.close()
        await asyncio.gather(*(pod.stop() for pod in self.pods))

    def _seen(self, key: Key) -> None:
        self._looked.setdefault(key, asyncio.Event()).set()


def free_port() -> int:
    """Return a port that nobody listens on right now."""
    return free_ports(1)[0]
