"""Informers of many kinds, as one: begun, waited for and ended together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ekiben.kube.client import Client
from ekiben.kube.informer import Informer
from ekiben.kube.kinds import Kind
from ekiben.kube.store import OnChange, Trim


class Watches:
    """Informers by kind and namespace; "" is every namespace."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._informers: dict[tuple[str, str], Informer] = {}
        self._others: list[Informer] = []

    def add(
        self,
        kind: Kind,
        namespaces: Iterable[str],
        selector: str | None,
        *,
        trim: Trim | None = None,
        on_change: OnChange,
        metadata_only: bool = False,
    ) -> None:
        """Have a kind watched in each of these namespaces."""
        for namespace in namespaces:
            self._informers[kind.plural, namespace] = Informer(
                self._client,
                kind,
                namespace or None,
                selector,
                trim=trim,
                on_change=on_change,
                metadata_only=metadata_only,
            )

    def count_in(self, informer: Informer) -> None:
        """Wait for the informer and tell of it too, which somebody else begins and ends."""
        self._others.append(informer)

    def start(self) -> None:
        """Begin to watch."""
        for informer in self._informers.values():
            informer.start()

    async def stop(self) -> None:
        """End every watch."""
        for informer in self._informers.values():
            await informer.stop()

    async def synced(self) -> None:
        """Wait until everything was listed once."""
        for informer in self._all():
            await informer.synced.wait()

    def find(self, kind: Kind, namespace: str) -> Informer:
        """Return who watches a kind in a namespace."""
        found = self._informers.get((kind.plural, namespace)) or self._informers.get((kind.plural, ""))
        # Only a fake or an ambitious test names a namespace that is not served.
        return found or next(item for (plural, _), item in self._informers.items() if plural == kind.plural)

    def ages(self, now: float) -> dict[str, float]:
        """Return for each kind the seconds since its most silent watch was heard, at a monotonic time."""
        ages: dict[str, float] = {}
        for informer in self._all():
            plural = informer.kind.plural
            ages[plural] = max(ages.get(plural, 0.0), informer.age(now))
        return ages

    def problems(self) -> list[str]:
        """Say of each watch that was never whole what is wrong with it."""
        return [
            f"{informer.kind.plural}: not listed yet{': ' + informer.problem if informer.problem else ''}"
            for informer in self._all()
            if not informer.synced.is_set()
        ]

    def _all(self) -> Iterator[Informer]:
        yield from self._informers.values()
        yield from self._others
