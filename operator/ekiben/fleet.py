"""Which rollouts run, and which one is next: the line of a whole operator, from the models' statuses.

It is told of every change of a model and never reads them all: a change costs a place in a sorted list. What
it knows beyond the statuses is a slot that was given away and is not in a status yet, so that two passes at
once never take the last one, and who had its turn and did not take it, so that nobody blocks the line. Both
may be lost: a new process derives everything else from the statuses.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

from ekiben.api.status import Stage, Status
from ekiben.core.queueing import NO_ROOM
from ekiben.core.snapshot import Line, Manifest
from ekiben.kube.store import Key

NAMED = 3
# Behind every priority that a spec may have.
NO_ROOM_RANK = 10_000
_AT_REST = frozenset({Stage.QUEUED, Stage.OVER})


class Place(NamedTuple):
    """A place in the line: the higher priority first, then who has waited for longer."""

    rank: int
    since: float
    key: Key


class Fleet:
    """The rollouts of one operator; 0 means no limit. `wake` is called with every model whose turn it is."""

    def __init__(self, per_operator: int, per_namespace: int, wake: Callable[[Key], None]) -> None:
        self._most, self._most_each = per_operator, per_namespace
        self._wake = wake
        self._running: set[Key] = set()
        self._given: set[Key] = set()
        self._taken: dict[str, set[Key]] = {}
        self._count = 0
        self._line: list[Place] = []
        self._lines: dict[str, list[Place]] = {}
        self._places: dict[Key, Place] = {}
        self._aside: set[Key] = set()

    @property
    def is_limited(self) -> bool:
        """Tell whether there is a limit at all."""
        return bool(self._most or self._most_each)

    def changed(self, old: Manifest | None, new: Manifest | None) -> None:
        """Take note of one change of a model; None for what was not or is no more."""
        if not self.is_limited or (raw := new or old) is None:
            return
        key = (raw["metadata"].get("namespace", ""), raw["metadata"]["name"])
        if old and new and old["metadata"].get("generation") != new["metadata"].get("generation"):
            self._aside.discard(key)
        if new is None:
            self._aside.discard(key)
            self._given.discard(key)
        left = self._stand(key, _place_of(key, new) if new else None)
        (self._running.add if new and _runs(new) else self._running.discard)(key)
        self._account(key)
        if left:
            self._call(key[0])

    def line(self, key: Key, raw: Manifest) -> Line | None:
        """Say how things stand for one model; None without a limit."""
        if not self.is_limited:
            return None
        place = self._places.get(key) or Place(-_priority(raw), math.inf, key)
        namespace = key[0]
        taken = self._taken.get(namespace, set())
        # The limit that is in the way is told; where both are, the narrower one.
        local = bool(self._most_each) and (not self._most or len(taken) >= self._most_each)
        places = self._lines.get(namespace, []) if local else self._line
        running = taken if local else self._everyone()
        index, known = bisect_left(places, place), key in self._places
        names = (name if local else f"{where}/{name}" for where, name in running if (where, name) != key)
        return Line(
            turn=self._has_turn(place),
            place=index + 1,
            waiting=len(places) + (not known),
            running=len(taken) if local else self._count,
            limit=self._most_each if local else self._most,
            names=tuple(sorted(names)[:NAMED]),
            namespace=namespace if local else "",
            next_waits=_looks_for_room(raw) and self._waits_for(key),
        )

    def decided(self, key: Key, line: Line | None, status: Status | None) -> None:
        """Take note of what was decided on a line: a slot is given away before anything is awaited."""
        if line is None:
            return
        if status is not None and is_running(status):
            self._given.add(key)
            self._account(key)
        elif line.turn and key in self._places:
            self._aside.add(key)
            self._call(key[0])
        else:
            self._aside.discard(key)

    def settled(self, key: Key) -> None:
        """Take note that a pass is over: whether its slot is taken is in the status, or it is free again."""
        if key in self._given:
            self._given.discard(key)
            self._account(key)

    def _account(self, key: Key) -> None:
        """Count a slot that was taken or has become free; whose turn it is then is told."""
        taken = self._taken.setdefault(key[0], set())
        has, had = key in self._running or key in self._given, key in taken
        if has and not had:
            taken.add(key)
            self._count += 1
        elif had and not has:
            taken.discard(key)
            self._count -= 1
            if not taken:
                del self._taken[key[0]]
            self._call(key[0])
        elif not taken:
            del self._taken[key[0]]

    def _stand(self, key: Key, place: Place | None) -> bool:
        """Put a model into its place; tell whether it has left the line."""
        before = self._places.get(key)
        if before == place:
            return False
        if before is not None:
            del self._places[key]
            for line in (self._line, self._lines[key[0]]):
                del line[bisect_left(line, before)]
            if not self._lines[key[0]]:
                del self._lines[key[0]]
        if place is not None:
            self._places[key] = place
            insort(self._line, place)
            insort(self._lines.setdefault(key[0], []), place)
        return place is None

    def _everyone(self) -> Iterator[Key]:
        return (key for taken in self._taken.values() for key in taken)

    def _room(self, namespace: str) -> float:
        if not self._most_each:
            return math.inf
        return self._most_each - len(self._taken.get(namespace, ()))

    def _room_in_all(self) -> float:
        return self._most - self._count if self._most else math.inf

    def _in_turn(self, namespace: str) -> Iterator[Place]:
        """Yield who may begin now, in order; without a limit for all only those of this namespace matter."""
        left, rooms = self._room_in_all(), dict[str, float]()
        for place in self._line if self._most else self._lines.get(namespace, ()):
            if left <= 0:
                return
            where = place.key[0]
            room = rooms.setdefault(where, self._room(where))
            if room <= 0:
                if not self._most:
                    return
                continue
            # Who was given a slot stays in the line until its status says so, and has been counted.
            if place.key not in self._aside and place.key not in self._given:
                rooms[where], left = room - 1, left - 1
                yield place

    def _has_turn(self, place: Place) -> bool:
        namespace = place.key[0]
        if place.key in self._taken.get(namespace, ()):
            return True
        left, room = self._room_in_all(), self._room(namespace)
        if left <= 0 or room <= 0:
            return False
        for other in self._in_turn(namespace):
            if other >= place:
                break
            left -= 1
            room -= other.key[0] == namespace
            if left <= 0 or room <= 0:
                return False
        return True

    def _waits_for(self, key: Key) -> bool:
        """Tell whether somebody in the line could begin if this model gave its slot up, and can't now."""
        room_in_all = self._room_in_all()
        for place in self._line:
            if place.key in self._aside or place.key in self._given:
                continue
            room, own = self._room(place.key[0]), place.key[0] == key[0]
            if room_in_all > 0 and room > 0:
                continue
            if room_in_all + 1 > 0 and room + own > 0:
                return True
        return False

    def _call(self, namespace: str) -> None:
        for place in list(self._in_turn(namespace)):
            self._wake(place.key)


def is_running(status: Status) -> bool:
    """Tell whether a rollout takes a slot: every one that is not a first revision's, until it is over."""
    rollout, stable = status.rollout, status.stable
    if rollout is None or stable is None or rollout.stage in _AT_REST:
        return False
    return rollout.stage is not Stage.PREPARING or rollout.revision != stable.revision


def _runs(raw: Manifest) -> bool:
    rollout, stable = _at(raw, "status", "rollout"), _at(raw, "status", "stable")
    if not isinstance(rollout, dict) or not isinstance(stable, dict):
        return False
    stage = rollout.get("stage")
    if stage is None or stage in _AT_REST:
        return False
    return stage != Stage.PREPARING or rollout.get("revision") != stable.get("revision")


def _looks_for_room(raw: Manifest) -> bool:
    """Tell whether a rollout may have touched nothing yet: what it is to do, a decision knows better."""
    return _at(raw, "status", "rollout", "stage") in (Stage.PREFLIGHT, Stage.PREPARING)


def _place_of(key: Key, raw: Manifest) -> Place | None:
    rollout = _at(raw, "status", "rollout")
    if not isinstance(rollout, dict) or rollout.get("stage") != Stage.QUEUED:
        return None
    try:
        since = datetime.fromisoformat(str(rollout.get("stageStartedAt"))).timestamp()
    except (ValueError, OverflowError):
        since = math.inf
    # Who found no room is behind everybody who has not looked yet, in turn and whatever the priority.
    rank = NO_ROOM_RANK if rollout.get("reason") == NO_ROOM else -_priority(raw)
    return Place(rank, since, key)


def _priority(raw: Manifest) -> int:
    priority = _at(raw, "spec", "rollout", "priority")
    return priority if isinstance(priority, int) else 0


def _at(raw: Any, *path: str) -> Any:
    for name in path:
        raw = raw.get(name) if isinstance(raw, dict) else None
    return raw
