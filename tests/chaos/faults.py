"""Which fault strikes what: every decision follows from the seed and from how often its like was asked.

So a run can be played again: the nth request of a verb and resource, and the nth event of a watch, meet the
same fault under the same seed, however the requests of different kinds interleave.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

WRITES = frozenset({"create", "update", "patch", "delete"})

# What happens to a request, by chance. `lost answer` reaches the server, `lost request` does not.
ANY_REQUEST: Mapping[str, float] = {
    "500": 0.03,
    "503": 0.03,
    "429": 0.03,
    "401": 0.01,
    "slow": 0.15,
    "lost request": 0.03,
    "lost answer": 0.05,
}
ONLY_WRITES: Mapping[str, float] = {"409": 0.06}
ONLY_PAGES: Mapping[str, float] = {"410": 0.10}
WATCH_BEGINS: Mapping[str, float] = {"503": 0.05, "410": 0.05, "401": 0.01, "lost request": 0.05}
WATCH_EVENT: Mapping[str, float] = {
    "duplicated": 0.40,
    "reordered": 0.06,
    "late": 0.15,
    "stalled": 0.004,
    "dropped": 0.01,
    "ended": 0.01,
    "torn": 0.005,
    "gone": 0.005,
}
SLOW_SECONDS = (0.05, 1.0)
LATE_SECONDS = (0.02, 0.3)
STALL_SECONDS = (1.0, 4.0)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request is about: RBAC verb, resource, namespace ("" for all), whether it asks for pages."""

    verb: str
    resource: str
    namespace: str = ""
    paged: bool = False

    @classmethod
    def of(cls, method: str, path: str, *, watch: bool = False, paged: bool = False) -> Asked:
        """Read it from a request line."""
        parts = [part for part in path.split("/") if part]
        rest = parts[2:] if parts[:1] == ["api"] else parts[3:]
        namespace = ""
        if rest[:1] == ["namespaces"] and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        if not rest:
            return cls("get", "discovery")
        resource = f"{rest[0]}/{rest[2]}" if len(rest) > 2 else rest[0]
        verb = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}.get(method, "get")
        if verb == "get" and len(rest) == 1:
            verb = "watch" if watch else "list"
        return cls(verb, resource, namespace, paged)


@dataclass(frozen=True, slots=True)
class Strike:
    """One fault and how long it takes, in seconds, where it takes time."""

    kind: str
    seconds: float = 0.0


@dataclass(slots=True)
class Faults:
    """Decides by a seed; `counts` holds every fault that really struck. Nothing strikes unless `active`."""

    seed: str
    counts: Counter[str] = field(default_factory=Counter)
    active: bool = False
    scale: float = 1.0
    refusing: dict[str, str] = field(default_factory=dict)
    _asked: defaultdict[str, Iterator[int]] = field(default_factory=lambda: defaultdict(itertools.count))

    @property
    def total(self) -> int:
        """How many faults have struck."""
        return sum(self.counts.values())

    def of_request(self, asked: Asked) -> Strike | None:
        """Decide what happens to a request; `refusing` holds resources ("" for all) that get one answer."""
        always = self.refusing.get(asked.resource) or self.refusing.get("")
        # Only what goes on from an old version can be too late: a watch, or the next page of a list.
        if always is not None and (always != "410" or asked.verb == "watch"):
            return self._struck(Strike(always), asked.verb)
        if asked.verb == "watch":
            table = WATCH_BEGINS
        else:
            table = {
                **ANY_REQUEST,
                **(ONLY_WRITES if asked.verb in WRITES else {}),
                **(ONLY_PAGES if asked.paged else {}),
            }
        return self._draw(f"{asked.verb} {asked.resource}", table, SLOW_SECONDS, asked.verb)

    def of_event(self, asked: Asked) -> Strike | None:
        """Decide what happens to one event of a watch."""
        strike = self._draw(f"event {asked.resource}", WATCH_EVENT, LATE_SECONDS, "watch event")
        if strike is not None and strike.kind == "stalled":
            return Strike("stalled", STALL_SECONDS[0] + strike.seconds * 10)
        return strike

    def _draw(
        self, what: str, table: Mapping[str, float], bounds: tuple[float, float], label: str
    ) -> Strike | None:
        if not self.active:
            return None
        chance = random.Random(f"{self.seed}/{what}/{next(self._asked[what])}")
        point, seconds = chance.random(), chance.uniform(*bounds)
        for kind, share in table.items():
            point -= share * self.scale
            if point < 0:
                return self._struck(Strike(kind, seconds), label)
        return None

    def _struck(self, strike: Strike, label: str) -> Strike:
        self.counts[f"{label}: {strike.kind}"] += 1
        return strike

    def table(self) -> str:
        """Write every fault with its count, as lines."""
        width = max((len(name) for name in self.counts), default=0)
        return "\n".join(f"  {name:<{width}} {count:>6}" for name, count in sorted(self.counts.items()))
