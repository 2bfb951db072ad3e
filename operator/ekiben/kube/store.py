"""What an informer has seen: the objects of one kind, found by name, by owner and by model."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ekiben.core.names import MODEL

logger = logging.getLogger(__name__)

Manifest = dict[str, Any]
Key = tuple[str, str]
Trim = Callable[[Manifest], Manifest]
OnChange = Callable[[Manifest | None, Manifest | None], None]
Wanted = Callable[[Manifest], bool]

_GONE_REMEMBERED = 4096


@dataclass(slots=True)
class Entry:
    """One object as stored, with what it is found and compared by: a trim may drop those from the object."""

    key: Key
    uid: str
    version: int | None
    owner: str
    model: str
    content: Manifest


class Store:
    """The objects of one kind; whoever gets one must not change it.

    `trim` gives what is kept of an object; `on_change(old, new)` is called for every change, those that we
    noted ourselves included, with None for what was not or is no more. Both may raise: it is logged.
    An object that `wanted` refuses counts as deleted, for as long as it does.
    """

    def __init__(
        self, trim: Trim | None = None, on_change: OnChange | None = None, wanted: Wanted | None = None
    ) -> None:
        self._trim = trim
        self._on_change = on_change
        self._wanted = wanted
        self._entries: dict[Key, Entry] = {}
        self._by_owner: dict[str, set[Key]] = {}
        self._by_model: dict[Key, set[Key]] = {}
        # uid -> the version up to which news of it is old. Without it, the answer to a write of ours that
        # comes in after the event that the object is deleted would put the object back for good.
        self._gone: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, namespace: str | None, name: str) -> Manifest | None:
        """Find one object; the namespace of cluster-scoped objects is None."""
        entry = self._entries.get((namespace or "", name))
        return entry.content if entry else None

    def by_owner(self, uid: str) -> list[Manifest]:
        """Find what the object with this uid controls, sorted by namespace and name."""
        return self._pick(self._by_owner.get(uid, ()))

    def by_model(self, namespace: str, model: str) -> list[Manifest]:
        """Find what carries a model's label, whoever owns it, sorted by name."""
        return self._pick(self._by_model.get((namespace, model), ()))

    def all(self) -> list[Manifest]:
        """Return every object, sorted by namespace and name."""
        return self._pick(self._entries)

    def note_written(self, written: Manifest) -> None:
        """Take over the answer to a write of ours, unless newer is known: the next decision reads it.

        The answer is the store's from then on. A Scale is no Deployment, and must not be noted.
        """
        entry = self.prepare(written)
        if entry is not None:
            self.put(entry)

    def note_deleted(self, namespace: str | None, name: str, uid: str) -> None:
        """Take note that the server has confirmed our deletion of the object with this uid."""
        self._bury(uid, math.inf)
        entry = self._entries.get((namespace or "", name))
        if entry is not None and entry.uid == uid:
            self._remove(entry)

    def prepare(self, item: Manifest) -> Entry | None:
        """Read what an object is found by, and trim it; None for what is no object with a name."""
        about = item.get("metadata")
        if not isinstance(about, dict) or not isinstance(name := about.get("name"), str):
            logger.warning("ignored an object without metadata.name")
            return None
        namespace, labels = about.get("namespace") or "", about.get("labels")
        model = labels.get(MODEL) if isinstance(labels, dict) else None
        return Entry(
            key=(str(namespace), name),
            uid=str(about.get("uid") or ""),
            version=parse_version(about.get("resourceVersion")),
            owner=_controller(about.get("ownerReferences")),
            model=model if isinstance(model, str) else "",
            content=self._trimmed(item, about),
        )

    def wants(self, entry: Entry) -> bool:
        """Tell whether an object belongs here at all."""
        return self._wanted is None or self._wanted(entry.content)

    def put(self, entry: Entry) -> None:
        """Store what a list, an event or a write of ours says, unless newer is known."""
        gone = self._gone.get(entry.uid)
        if gone is not None and (entry.version is None or entry.version <= gone):
            return
        current = self._entries.get(entry.key)
        if current is not None:
            if _is_older(entry.version, current.version):
                return
            if entry.version is not None and (entry.version, entry.uid) == (current.version, current.uid):
                return
            if not self.wants(entry):
                self._remove(current)
                return
            self._unindex(current)
        elif not self.wants(entry):
            return
        self._entries[entry.key] = entry
        if entry.owner:
            self._by_owner.setdefault(entry.owner, set()).add(entry.key)
        if entry.model:
            self._by_model.setdefault((entry.key[0], entry.model), set()).add(entry.key)
        self._notify(current.content if current else None, entry.content)

    def drop(self, entry: Entry) -> None:
        """Remove what an event says is deleted, unless the name has meanwhile gone to a newer object."""
        self._bury(entry.uid, entry.version)
        current = self._entries.get(entry.key)
        if current is not None and not _is_older(entry.version, current.version):
            self._remove(current)

    def replace(self, entries: Iterable[Entry], version: int | None) -> None:
        """Make the store what a list of this resource version says; what it misses counts as deleted.

        What we wrote after the list was made stays: the watch that goes on from the list tells its fate.
        """
        listed = {entry.key: entry for entry in entries}
        for current in list(self._entries.values()):
            if current.key not in listed and not _is_older(version, current.version):
                self._bury(current.uid, version)
                self._remove(current)
        for entry in listed.values():
            self.put(entry)

    def forget_versions(self) -> None:
        """Stop comparing with what is known: the server's history was replaced, as by restoring a backup."""
        self._gone.clear()
        for entry in self._entries.values():
            entry.version = None

    def _pick(self, keys: Iterable[Key]) -> list[Manifest]:
        return [self._entries[key].content for key in sorted(keys)]

    def _trimmed(self, item: Manifest, about: Manifest) -> Manifest:
        kept = item
        try:
            # A trim may read managedFields; nobody keeps them.
            kept = self._trim(item) if self._trim else item
        except Exception:
            logger.exception("an object could not be trimmed, and is kept whole")
        about.pop("managedFields", None)
        return kept

    def _remove(self, entry: Entry) -> None:
        del self._entries[entry.key]
        self._unindex(entry)
        self._notify(entry.content, None)

    def _unindex(self, entry: Entry) -> None:
        places: list[tuple[dict[Any, set[Key]], object]] = [
            (self._by_owner, entry.owner),
            (self._by_model, (entry.key[0], entry.model)),
        ]
        for index, place in places:
            keys = index.get(place)
            if keys is not None:
                keys.discard(entry.key)
                if not keys:
                    del index[place]

    def _bury(self, uid: str, version: float | None) -> None:
        if not uid or version is None:
            return
        self._gone[uid] = max(version, self._gone.pop(uid, version))
        if len(self._gone) > _GONE_REMEMBERED:
            del self._gone[next(iter(self._gone))]

    def _notify(self, old: Manifest | None, new: Manifest | None) -> None:
        if self._on_change is None:
            return
        try:
            self._on_change(old, new)
        except Exception:
            logger.exception("a change could not be handed on")


def parse_version(value: object) -> int | None:
    """Read a resource version, a number since Kubernetes 1.35; None for what is none."""
    try:
        return int(str(value))
    except ValueError:
        return None


def _is_older(version: int | None, than: int | None) -> bool:
    return version is not None and than is not None and version < than


def _controller(references: object) -> str:
    """Find the uid of the owner that controls an object; "" when nobody does."""
    if not isinstance(references, list):
        return ""
    for reference in references:
        if isinstance(reference, dict) and reference.get("controller"):
            return str(reference.get("uid") or "")
    return ""
