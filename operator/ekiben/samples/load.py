"""What one pod feels: requests in flight and a second, from one reading of its page to the next. Pure.

Concurrency is the larger of two numbers, since each is blind where the other sees: the time that requests
took all together, by the second, is exact but knows a request only once it is over; the gauge of requests in
flight knows a prediction of 20 s while it runs, but a worker that is killed leaves its requests in it for
good.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ekiben.samples.metrics import Reading

# Two readings closer than this say too little about a rate; the last answer is given again.
SHORTEST_WINDOW = 4.0


@dataclass(frozen=True, slots=True)
class Felt:
    """One answer about a pod; `requests_per_second` None while there is only one reading of it.

    `window` is the seconds that it is about, 0 for what holds at an instant. `served` are the requests of the
    window with their durations, None where those were not read at both its ends.
    """

    concurrency: float
    requests_per_second: float | None
    window: float
    served: Reading | None = None


class PodLoad:
    """One pod's last readings; `patience` is the longest that one request to it can take, in seconds."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._read_at = 0.0
        self._reading: Reading | None = None
        self._felt: Felt | None = None
        self._still: tuple[tuple[int, int], float] | None = None

    def look(self, reading: Reading, at: float) -> Felt:
        """Take a reading made at a monotonic time, and say what the pod feels."""
        gauge = self._alive(reading, at)
        before, window = self._reading, at - self._read_at
        if before is not None and self._felt is not None and window < SHORTEST_WINDOW:
            return replace(self._felt, concurrency=max(self._felt.concurrency, gauge))
        self._reading, self._read_at = reading, at
        since = reading.since(before) if before is not None else None
        if since is None:
            # The first reading, or a process that began anew.
            self._felt = Felt(gauge, None, 0.0)
        else:
            busy = since.busy_ms / 1000 / window
            timed = since if before is not None and before.within and reading.within else None
            self._felt = Felt(max(busy, gauge), sum(since.codes.values()) / window, window, timed)
        return self._felt

    def _alive(self, reading: Reading, at: float) -> float:
        """Return the gauge, or 0 where it has stood still for longer than a request can take.

        While counters move as well the gauge may be right, and it is believed.
        """
        state = (reading.in_flight, sum(reading.codes.values()))
        if self._still is None or self._still[0] != state:
            self._still = (state, at)
        return 0.0 if at - self._still[1] > self._patience else float(reading.in_flight)
