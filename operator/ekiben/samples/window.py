"""What one window has counted: deltas of pods' readings, summed per revision on top of a base."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from ekiben.api.measured import Counters, Load
from ekiben.core.plan import Extras, Sampling
from ekiben.samples.metrics import Reading, bound
from ekiben.samples.quantiles import latency_of

_SHED_CODES = (429, 503)
NO_EXTRAS = Extras()


class Tally:
    """The requests of one revision in one window, on top of what the status counted before our process."""

    def __init__(self, base: Counters) -> None:
        self._base = base
        self._codes: Counter[int] = Counter()
        self._slower: Counter[float] = Counter()
        self._buckets: frozenset[float] | None = None
        self._load = base.load or Load()
        self._timed = 0

    def see(self, reading: Reading) -> None:
        """Learn which buckets a pod exports; what one pod of the revision lacks, the revision lacks."""
        if reading.within:
            buckets = frozenset(reading.within)
            self._buckets = buckets if self._buckets is None else self._buckets & buckets

    def add(self, delta: Reading, seconds: float = 0.0) -> None:
        """Count what one pod served between two of its readings, which were so many seconds apart."""
        self._codes.update(delta.codes)
        self._timed += delta.timed
        known = self._load
        self._load = Load(
            batches=known.batches + delta.batches,
            batched=known.batched + delta.batched,
            busy_ms=known.busy_ms + delta.busy_ms,
            watched_ms=known.watched_ms + max(round(seconds * 1000), 0),
        )
        self._slower.update({bucket: delta.timed - count for bucket, count in delta.within.items()})

    def counters(self, bounds: Mapping[str, float], extras: Extras = NO_EXTRAS) -> Counters:
        """Return the sums; a bound that is not a bucket of every pod is left out."""
        base, codes = self._base, self._codes
        errors = sum(count for code, count in codes.items() if 500 <= code <= 599)
        return Counters(
            requests=base.requests + codes.total(),
            errors=base.errors + errors,
            sheds=base.sheds + sum(codes[code] for code in _SHED_CODES),
            sheds_5xx=base.sheds_5xx + codes[503],
            slow={
                name: self._slow(name, seconds)
                for name, seconds in bounds.items()
                if self._knows(name, seconds)
            },
            load=self._load if extras.batches or extras.busy else None,
            latency=latency_of(
                {
                    bucket: max(self._slower[bucket], 0)
                    for bucket in map(bound, extras.buckets)
                    if bucket in (self._buckets or ())
                },
                self._timed,
            ),
        )

    def _slow(self, name: str, seconds: float) -> int:
        # BentoML counts a request and its duration one after the other, and a page may fall between the two.
        counted = min(max(0, self._slower[bound(seconds)]), self._codes.total())
        return self._base.slow.get(name, 0) + counted

    def _knows(self, name: str, seconds: float) -> bool:
        in_base = name in self._base.slow
        in_pods = in_base if self._buckets is None else bound(seconds) in self._buckets
        return in_pods and (in_base or not self._base.requests)


class Window:
    """All revisions' tallies of one window. The base is taken here, once, and never again for this window.

    A status write whose answer is lost is counted in both the status and our tallies: taking the status' word
    again would count it twice.
    """

    def __init__(self, sampling: Sampling) -> None:
        self.name = sampling.window
        base = sampling.base if sampling.base.window == sampling.window else None
        self._tallies = {
            sampling.stable: Tally(base.stable if base else Counters()),
            sampling.canary: Tally(base.canary if base else Counters()),
        }
        self._resets = Counter({sampling.canary: base.resets if base else 0})

    def tally(self, revision: str) -> Tally:
        """Return the tally of a revision; one that joins late starts from nothing."""
        return self._tallies.setdefault(revision, Tally(Counters()))

    def reset(self, revision: str) -> None:
        """Remember that a counter of the revision fell back."""
        self._resets[revision] += 1

    def counters(self, bounds: Mapping[str, float], extras: Extras = NO_EXTRAS) -> dict[str, Counters]:
        """Return every revision's counters."""
        return {revision: tally.counters(bounds, extras) for revision, tally in self._tallies.items()}

    def resets(self) -> dict[str, int]:
        """Return how often counters fell back, per revision."""
        return {revision: self._resets[revision] for revision in self._tallies}
