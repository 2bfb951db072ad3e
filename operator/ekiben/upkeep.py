"""Know how fresh our knowledge is, tell it to Prometheus, and make up for what the watches missed."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable

from ekiben import metrics
from ekiben.api.status import Stage
from ekiben.caches import Caches
from ekiben.kube.client import ApiError
from ekiben.kube.kinds import MODELDEPLOYMENT
from ekiben.kube.store import Key
from ekiben.memory import Echoes

logger = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
# The first resync comes soon: a watch that never began would otherwise go unnoticed for long.
FIRST_RESYNC_SECONDS = 60.0


class Upkeep:
    """Watches over the caches; `wake` has a model looked at, `staleness` and `resync` are in seconds.

    `deaf` is set when the watch on models owes us a write for too long, although all other watches are well.
    """

    def __init__(
        self, caches: Caches, echoes: Echoes, wake: Callable[[Key], None], staleness: float, resync: float
    ) -> None:
        self._caches = caches
        self._echoes = echoes
        self._wake = wake
        self._staleness = staleness
        self._resync_seconds = resync
        self._known: tuple[bool, bool] | None = None
        self._counted_at = -1
        self.deaf = asyncio.Event()

    def begin(self) -> None:
        """Take what concerns every model as known: the passes that are made from now on see it."""
        self._known = self._concerning_all()

    def _concerning_all(self) -> tuple[bool, bool]:
        return self._caches.gateway_api(), not self.stale()

    def stale(self) -> list[str]:
        """Say which watches have been silent for too long."""
        limit = self._staleness
        silent = [
            f"the watch on {kind} is silent for {age:.0f} s"
            for kind, age in self._caches.ages().items()
            if age > limit
        ]
        if (age := self._echoes.age()) > limit:
            silent.append(f"the watch on {MODELDEPLOYMENT.plural} has not shown our write of {age:.0f} s ago")
        return silent

    async def look(self) -> None:
        """Keep the gauges current, and wake every model when what concerns them all has changed."""
        while True:
            for kind, age in self._caches.ages().items():
                metrics.WATCH_AGE.labels(kind).set(age)
            metrics.WATCH_AGE.labels(MODELDEPLOYMENT.plural).set(self._echoes.age())
            self._count_models()
            now = self._concerning_all()
            if self._known is not None and now != self._known:
                self._known = now
                for key in self._caches.model_keys():
                    self._wake(key)
            if self._echoes.age() > self._staleness > max(self._caches.ages().values()):
                self.deaf.set()
            await asyncio.sleep(LOOK_SECONDS)

    def _count_models(self) -> None:
        # A fleet at rest costs no more than one model: it is counted again when one of them has changed.
        if self._caches.model_changes == self._counted_at:
            return
        self._counted_at = self._caches.model_changes
        phases: dict[str, int] = {}
        stages = dict.fromkeys((stage.value for stage in Stage if stage is not Stage.OVER), 0)
        for raw in self._caches.models.all():
            status = raw.get("status") or {}
            phase = status.get("phase") or "Pending"
            phases[phase] = phases.get(phase, 0) + 1
            stage = (status.get("rollout") or {}).get("stage")
            if stage in stages:
                stages[stage] += 1
        metrics.MODELS.clear()
        for phase, count in phases.items():
            metrics.MODELS.labels(phase).set(count)
        for name, count in stages.items():
            metrics.IN_FLIGHT.labels(name).set(count)

    async def resync(self) -> None:
        """List the models now and then: a deletion that their watch missed would be worked on for ever."""
        pause = min(self._resync_seconds, FIRST_RESYNC_SECONDS)
        while True:
            await asyncio.sleep(pause * random.uniform(0.9, 1.1))
            pause = self._resync_seconds
            try:
                changes = await self._caches.relist_models()
            except ApiError as error:
                logger.warning("the resync failed: %s", error)
                continue
            metrics.RESYNC_CHANGES.inc(changes)
            if changes:
                logger.warning("a resync found %d changes that the watch had not told of", changes)
