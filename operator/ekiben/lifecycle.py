"""The life of one operator process: listen, lead, check the CRD, work, stop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from ekiben import handlers, metrics
from ekiben.act import Sampler
from ekiben.controller import Controller
from ekiben.core.plan import Plan
from ekiben.core.reconcile import decide
from ekiben.core.snapshot import Snapshot
from ekiben.endpoints import Health, serving
from ekiben.kube.client import Client
from ekiben.kube.lease import Lease
from ekiben.preflight import current_crd
from ekiben.settings import Settings

logger = logging.getLogger(__name__)


class DeafError(Exception):
    """The watch on models is dead without knowing it: the process must end."""


async def run_operator(
    settings: Settings,
    *,
    client: Client | None = None,
    stop: asyncio.Event,
    ready: asyncio.Event,
    decide: Callable[[Snapshot], Plan] = decide,
    sampler: Sampler | None = None,
) -> None:
    """Run one operator until `stop` is set or SIGTERM comes; `ready` is set once it works.

    A client that is given stays open. Cancelled, it ends at once, as if killed. Raises SettingsError,
    ApiError("Config"), LeaseLostError, DeafError, and what kopf gives up on.
    """
    connected = client or await Client.connect()
    try:
        await _Operator(settings, connected, stop, ready, decide, sampler).run()
    finally:
        if client is None:
            await connected.close()


class _Operator:
    """One operator and what it can say about itself."""

    def __init__(
        self,
        settings: Settings,
        client: Client,
        stop: asyncio.Event,
        ready: asyncio.Event,
        decide: Callable[[Snapshot], Plan],
        sampler: Sampler | None,
    ) -> None:
        self._settings = settings
        self._client = client
        self._stop = stop
        self._ready = ready
        self._decide = decide
        self._sampler = sampler
        self._leading = False
        self._crd_problem = ""
        self._controller: Controller | None = None

    async def run(self) -> None:
        """Serve the probes, wait for the lease where one is asked for, and work."""
        health = Health(self._broken, self._unready, self._errors)
        async with serving(self._settings, health) as (metrics_at, probes_at):
            logger.info("metrics on %s, probes on %s", metrics_at, probes_at)
            metrics.LEADING.set(0)
            if not self._settings.leader_election:
                await self._lead()
                return
            settings = self._settings
            # A renewal that waits behind a fleet's writes comes too late.
            urgent = self._client.apart()
            await self._contend(
                Lease(urgent, settings.lease_namespace, settings.lease_name, settings.identity)
            )

    async def _contend(self, lease: Lease) -> None:
        """Work while holding the lease; a stop while waiting for it has nothing to finish."""
        work = asyncio.create_task(lease.run(self._lead), name="lease")
        stopping = asyncio.create_task(self._stop.wait(), name="stop")
        try:
            await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if self._leading:
                await asyncio.wait({work})
        finally:
            stopping.cancel()
            work.cancel()
            await asyncio.wait({work, stopping})
        if not work.cancelled():
            work.result()

    async def _lead(self) -> None:
        """Work until stopped, and finish what was begun; cancelled, drop it."""
        self._leading = True
        metrics.LEADING.set(1)
        try:
            if await self._unless_stopped(current_crd(self._client, self._note_crd_problem)):
                await self._work()
        finally:
            metrics.LEADING.set(0)

    async def _work(self) -> None:
        controller = Controller(self._client, self._settings, decide=self._decide, sampler=self._sampler)
        self._controller, watching = controller, asyncio.Event()
        controller.start()
        grace = 0.0
        shell = asyncio.create_task(
            handlers.run(controller, self._client, self._settings.namespaces, watching), name="kopf"
        )
        begun = asyncio.create_task(self._begun(controller, watching), name="readiness")
        try:
            await self._unless_stopped(_until_useless(shell, controller))
            grace = self._settings.stop_grace
        finally:
            begun.cancel()
            await controller.stop(grace)
            shell.cancel()
            await asyncio.wait({shell, begun})
        if not shell.cancelled():
            shell.result()
        if controller.deaf.is_set():
            raise DeafError("the watch on ModelDeployments tells nothing any more: a new process begins anew")

    async def _begun(self, controller: Controller, watching: asyncio.Event) -> None:
        await watching.wait()
        await controller.running.wait()
        self._ready.set()

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> bool:
        """Do some work; False where the stop came first, and the work was dropped."""
        task = asyncio.create_task(work)
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            if not task.done():
                task.cancel()
            await asyncio.wait({task, stopping})
        if task.cancelled():
            return False
        task.result()
        return True

    def _note_crd_problem(self, sentence: str) -> None:
        self._crd_problem = sentence

    def _broken(self) -> list[str]:
        return self._controller.stuck() if self._controller else []

    def _unready(self) -> list[str]:
        if not self._leading:
            # A standby is as it should be; what it waits for is in the metrics.
            return []
        if self._controller is None:
            return [self._crd_problem or "starting"]
        return self._controller.unready()

    def _errors(self) -> list[str]:
        return list(self._controller.errors) if self._controller else []


async def _until_useless(shell: asyncio.Task[None], controller: Controller) -> None:
    """Wait until the shell has ended, well or not, or is deaf."""
    deaf = asyncio.create_task(controller.deaf.wait())
    try:
        await asyncio.wait({shell, deaf}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        deaf.cancel()
