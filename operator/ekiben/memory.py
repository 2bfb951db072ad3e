"""What the operator remembers of each model since it started; losing it costs requests, never correctness."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from ekiben.core.snapshot import Applied, Record, Ref, Settled
from ekiben.kube.store import Key
from ekiben.observe import Readings

Attempt = tuple[str, Ref]


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the server said to a write, and until when the same write isn't tried again."""

    message: str
    intent: str
    generation: int
    retry_at: float

    def holds(self, intent: str) -> bool:
        """Tell whether it is too early to try this intent again."""
        return self.intent == intent and time.monotonic() < self.retry_at


@dataclass(slots=True)
class Memory:
    """What is remembered of the model with this uid.

    `refusals` are by verb and child; `taken` holds the names of children that others have, with the moment of
    the next look-up; `scaled` is each Deployment's resourceVersion after our last scaling; `conflicts` counts
    those in a row; `not_before` is when a server that was asked too much lets us ask again; `records` are
    what each revision was when last seen; `settled` are the children that needed no write, `readings` what
    the objects read as; `checked` are the uids of copies that others made and that hold what they should.
    """

    uid: str
    ledger: dict[Ref, Applied] = field(default_factory=dict)
    refusals: dict[Attempt, Refusal] = field(default_factory=dict)
    taken: dict[Ref, float] = field(default_factory=dict)
    checked: set[str] = field(default_factory=set)
    scaled: dict[str, int] = field(default_factory=dict)
    conflicts: int = 0
    not_before: float = 0.0
    records: Mapping[str, Record] = field(default_factory=dict)
    settled: Mapping[Ref, Settled] = field(default_factory=dict)
    readings: Readings = field(default_factory=Readings)

    def rejections(self, generation: int) -> dict[Ref, str]:
        """Return what the server said to the children, forgetting what it said to older specs."""
        self.refusals = {key: held for key, held in self.refusals.items() if held.generation == generation}
        return {ref: held.message for (_, ref), held in self.refusals.items()}

    def forget_refusals(self, asked: set[Attempt]) -> bool:
        """Drop what is due for another try and no longer asked for; tell whether there was any."""
        now = time.monotonic()
        over = [key for key, held in self.refusals.items() if key not in asked and now >= held.retry_at]
        for key in over:
            del self.refusals[key]
        return bool(over)

    def next_try(self) -> float | None:
        """Return the seconds until something refused or taken is tried again; None for nothing."""
        due = [held.retry_at for held in self.refusals.values()] + list(self.taken.values())
        return max(min(due) - time.monotonic(), 0.0) if due else None


class Echoes:
    """Status writes of ours that the watch on models has not shown yet: proof that it is alive, or not."""

    def __init__(self) -> None:
        self._expected: dict[Key, deque[tuple[int, float]]] = {}
        self._heard: dict[Key, int] = {}

    def expect(self, key: Key, version: int) -> None:
        """Take note that our write made this resourceVersion; its event may have come before its answer."""
        if version <= self._heard.get(key, 0):
            return
        self._expected.setdefault(key, deque()).append((version, time.monotonic()))

    def heard(self, key: Key, version: int) -> None:
        """Take note that the watch has shown a model as of this resourceVersion."""
        self._heard[key] = max(version, self._heard.get(key, 0))
        expected = self._expected.get(key)
        while expected and expected[0][0] <= version:
            expected.popleft()
        if not expected:
            self._expected.pop(key, None)

    def forget(self, key: Key) -> None:
        """Expect nothing more of a model that is gone."""
        self._expected.pop(key, None)
        self._heard.pop(key, None)

    def age(self) -> float:
        """Return for how many seconds the watch has owed us a write; 0 when it owes none."""
        since = min((expected[0][1] for expected in self._expected.values()), default=None)
        return 0.0 if since is None else time.monotonic() - since
