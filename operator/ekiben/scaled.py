"""KEDA's objects, watched only while a model uses KEDA and the chart allows it.

Theory of operation. A cluster without KEDA, and one where no model needs it, cost nothing. From the first
model that does, ScaledObjects and TriggerAuthentications of ours are listed and watched; where their kinds do
not exist, the informers look again about once a minute, so KEDA may come and go. With the last such model the
watches end. No trouble with them makes anything else stale.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ekiben.core import names
from ekiben.core.snapshot import Keda
from ekiben.kube.client import Client
from ekiben.kube.informer import Informer, Store
from ekiben.kube.kinds import SCALEDOBJECT, TRIGGERAUTHENTICATION, Kind
from ekiben.kube.store import Key, OnChange
from ekiben.trims import trim_scaled_object

KINDS = (SCALEDOBJECT, TRIGGERAUTHENTICATION)
_OURS = f"{names.MANAGED_BY}={names.MANAGER}"
# How often it is looked whether KEDA has come or gone, in seconds; no request is made for that.
LOOK_SECONDS = 1.0


class ScaledObjects:
    """Watches KEDA's objects for the models that use it; `wake` is called when it comes, goes or is known."""

    def __init__(
        self,
        client: Client,
        namespaces: tuple[str, ...],
        allowed: bool,
        wake: Callable[[Key], None],
        on_change: OnChange,
    ) -> None:
        self._client = client
        self._namespaces = namespaces
        self._allowed = allowed
        self._wake = wake
        self._on_change = on_change
        self._users: set[Key] = set()
        self._informers: dict[tuple[str, str], Informer] = {}
        self._task: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()

    def ensure(self, key: Key, wanted: bool) -> None:
        """Watch for a model from now on, or no longer."""
        if not wanted:
            self._users.discard(key)
            if not self._users and self._task is not None:
                self._end()
            return
        self._users.add(key)
        if self._allowed and self._task is None:
            self._informers = {
                (kind.plural, namespace): self._informer(kind, namespace)
                for kind in KINDS
                for namespace in self._namespaces
            }
            for informer in self._informers.values():
                informer.start()
            self._task = asyncio.create_task(self._follow(), name="KEDA")

    def is_known(self, key: Key) -> bool:
        """Tell whether what a model may need of KEDA was listed, or could not be."""
        return key not in self._users or self._state() is not None

    def state(self) -> Keda:
        """Tell whether ScaledObjects can be had."""
        return self._state() or "absent"

    def store(self, kind: Kind, namespace: str) -> Store | None:
        """Return the store that holds a kind's objects of a namespace; None while nobody uses KEDA."""
        named = self._informers.get((kind.plural, namespace)) or self._informers.get((kind.plural, ""))
        return named.store if named else None

    async def stop(self) -> None:
        """End every watch."""
        self._users.clear()
        if self._task is not None:
            self._end()
        await asyncio.gather(*self._ending, return_exceptions=True)

    def _informer(self, kind: Kind, namespace: str) -> Informer:
        return Informer(
            self._client,
            kind,
            namespace or None,
            _OURS,
            trim=trim_scaled_object,
            on_change=self._on_change,
        )

    def _state(self) -> Keda | None:
        """Return the same; None while that is not known yet."""
        if not self._allowed:
            return "disabled"
        if not self._informers:
            return "absent"
        informers = self._informers.values()
        if any(not informer.synced.is_set() and informer.problem for informer in informers):
            return "unreadable"
        if not all(informer.synced.is_set() for informer in informers):
            return None
        return "installed" if all(informer.present for informer in informers) else "absent"

    async def _follow(self) -> None:
        """Wake the users whenever the state is another."""
        told: Keda | None = None
        while True:
            if (now := self._state()) is not None and now != told:
                told = now
                for key in self._users:
                    self._wake(key)
            await asyncio.sleep(LOOK_SECONDS)

    def _end(self) -> None:
        task, informers = self._task, tuple(self._informers.values())
        self._task, self._informers = None, {}
        if task is not None:
            task.cancel()
        for informer in informers:
            ending = asyncio.create_task(informer.stop())
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)
