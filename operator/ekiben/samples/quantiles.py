"""Quantiles of latency, for people: the bound of the bucket that each falls into, never a number between."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ekiben.api.measured import Latency

# Of the requests, so many take no longer than the quantile.
SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def latency_of(slower: Mapping[float, int], requests: int) -> Latency | None:
    """Say between which bounds the quantiles are; None where nothing was served or no bound is known.

    `slower` counts the requests that took longer than each bound, in seconds, of all `requests`.
    """
    if not requests or not slower:
        return None
    return Latency(**{name: _quantile(slower, requests, share) for name, share in SHARES.items()})


def surely_over(slower: Mapping[float, int], requests: int, share: float) -> float:
    """Return the largest bound, in seconds, that a quantile is over for certain; 0 where it is over none."""
    allowed = _allowed(requests, share)
    return max((bound for bound, count in slower.items() if count > allowed), default=0.0)


def _allowed(requests: int, share: float) -> int:
    """Return how many requests may be slower than a quantile."""
    return requests - math.ceil(round(requests * share, 6))


def _quantile(slower: Mapping[float, int], requests: int, share: float) -> str:
    allowed = _allowed(requests, share)
    bound = next((bound for bound in sorted(slower) if slower[bound] <= allowed), None)
    return f"<= {_written(bound)}" if bound is not None else f"> {_written(max(slower))}"


def _written(seconds: float) -> str:
    return f"{seconds * 1000:g}ms" if seconds < 1 else f"{seconds:g}s"
