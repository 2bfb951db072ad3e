"""Let one process lead at a time, by a Lease; a process that loses it ends (crash only).

kubernetes.aio.leaderelection (37.0.2) was tried first and left. It can't create a Lease: its own check
refuses its own call. One dropped connection ends its `run` while the work goes on without a lease. Its
requests may hang for longer than the lease lasts. And it trusts the wall clock, which jumps.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from ekiben.kube.client import ApiError, Client, Manifest
from ekiben.kube.kinds import LEASE
from ekiben.kube.times import microtime_now

__all__ = ["Lease", "LeaseLostError", "LeaseTiming"]

logger = logging.getLogger(__name__)


class LeaseLostError(Exception):
    """Another process may lead: this one has stopped its work, and must end."""


@dataclass(frozen=True, slots=True)
class LeaseTiming:
    """Seconds: how long a lease lasts, when a leader gives up renewing it, how often it is tried.

    What is left of `duration` after `renew` is the time that the work has for ending.
    """

    duration: float = 10.0
    renew: float = 7.0
    retry: float = 2.0


def _now() -> float:
    """Read the event loop's clock, which is monotonic."""
    return asyncio.get_running_loop().time()


def _die() -> None:
    logger.critical("the work outlives the lease: exiting at once")
    os._exit(1)


class Lease:
    """A candidate for leadership called `identity`, which takes a lease of that same identity over at once.

    `die` ends the process where the work does not end in time.
    """

    def __init__(
        self,
        client: Client,
        namespace: str,
        name: str,
        identity: str,
        *,
        timing: LeaseTiming | None = None,
        die: Callable[[], None] = _die,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._timing = timing or LeaseTiming()
        self._die = die
        self._held: Manifest = {}
        self._renewed_at = 0.0
        self._seen: tuple[object, object] | None = None
        self._seen_at = 0.0

    async def run(self, on_lead: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Wait for the lease, work while holding it, and release it when the work has ended.

        Cancelled, it cancels the work and keeps the lease until that has ended. Raises what the work raises,
        or LeaseLostError: let it end the process.
        """
        await self._acquire()
        logger.info("leading as %s", self._identity)
        work = asyncio.create_task(on_lead(), name="leading")
        renewal = asyncio.create_task(self._keep(), name="lease renewal")
        cancelled = False
        try:
            await asyncio.wait({work, renewal}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            cancelled = True
            work.cancel()
            await asyncio.wait({work, renewal}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            reason = renewal.exception()
            await self._abandon(work)
            raise LeaseLostError(f"the lease {self._namespace}/{self._name} is lost: {reason}")
        renewal.cancel()
        await asyncio.gather(renewal, return_exceptions=True)
        await self._release()
        if cancelled:
            raise asyncio.CancelledError
        work.result()

    async def _acquire(self) -> None:
        while True:
            try:
                if await self._attempt(self._take()):
                    return
            except (ApiError, TimeoutError) as problem:
                logger.warning("the lease %s/%s: %s", self._namespace, self._name, str(problem) or "time-out")
            await asyncio.sleep(self._timing.retry)

    async def _keep(self) -> None:
        """Renew the lease for ever; raises LeaseLostError when another holds it, or might from now on."""
        pause = self._timing.retry
        while _now() < (deadline := self._renewed_at + self._timing.renew):
            try:
                async with asyncio.timeout_at(deadline):
                    await asyncio.sleep(pause)
                    pause = self._timing.retry / 4
                    if not await self._attempt(self._renew()):
                        raise LeaseLostError("another process holds it")
                pause = self._timing.retry
            except (ApiError, TimeoutError) as problem:
                logger.warning("the lease was not renewed: %s", str(problem) or "time-out")
        raise LeaseLostError(f"not renewed for {self._timing.renew:g} s")

    async def _attempt(self, request: Coroutine[Any, Any, bool]) -> bool:
        """Try once, for a third of the time there is, so that a dead connection leaves time for another."""
        async with asyncio.timeout(self._timing.renew / 3):
            return await request

    async def _renew(self) -> bool:
        try:
            await self._write({})
        except ApiError as error:
            if not (error.is_conflict or error.is_not_found):
                raise
            # Edited, taken or deleted: what is there now tells.
            return await self._take()
        return True

    async def _take(self) -> bool:
        """Take the lease if it is free, expired, or ours already; False while another holds it."""
        lease = await self._client.get(LEASE, self._namespace, self._name)
        spec: Manifest = (lease or {}).get("spec") or {}
        holder, now = spec.get("holderIdentity"), _now()
        if lease is not None and holder and holder != self._identity:
            # Only our own clock counts: a lease has expired when it has not changed for its duration.
            seen = (holder, spec.get("renewTime"))
            if seen != self._seen:
                self._seen, self._seen_at = seen, now
            if now < self._seen_at + self._timing.duration:
                return False
        self._held = lease or {}
        fresh = {
            "holderIdentity": self._identity,
            "acquireTime": microtime_now(),
            "leaseDurationSeconds": max(1, round(self._timing.duration)),
            "leaseTransitions": int(spec.get("leaseTransitions") or 0) + (lease is not None),
        }
        try:
            await self._write({} if holder == self._identity else fresh)
        except ApiError as error:
            if error.is_conflict:
                return False
            raise
        return True

    async def _write(self, changes: Manifest) -> None:
        """Write the lease that we hold or take, with changes to its spec; 409 if it is not as we know it."""
        started = _now()
        body = self._held or {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.kind,
            "metadata": {"name": self._name, "namespace": self._namespace},
        }
        spec = {**body.get("spec", {}), "renewTime": microtime_now(), **changes}
        send = self._client.replace if self._held else self._client.create
        self._held = await send(LEASE, self._namespace, {**body, "spec": spec})
        self._renewed_at = started

    async def _abandon(self, work: asyncio.Task[None]) -> None:
        """Stop the work before another process can start its own."""
        work.cancel()
        deadline = _now() + self._timing.duration - self._timing.renew
        while not work.done() and (left := deadline - _now()) > 0:
            # Who cancels us now wants what happens anyway, and must not keep it from happening.
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({work}, timeout=left)
        if not work.done():
            self._die()
        elif not work.cancelled() and (problem := work.exception()):
            logger.error("the work ended badly when the lease was lost", exc_info=problem)

    async def _release(self) -> None:
        """Let the next candidate begin at once; without this it would wait for the lease to expire."""
        try:
            async with asyncio.timeout(self._timing.duration - self._timing.renew):
                # Read it first: a renewal that was cut off may have changed it all the same.
                self._held = await self._client.get(LEASE, self._namespace, self._name) or {}
                if self._held.get("spec", {}).get("holderIdentity") == self._identity:
                    await self._write({"holderIdentity": ""})
        except (ApiError, TimeoutError) as problem:
            logger.warning("the lease was not released: %s", str(problem) or "time-out")
