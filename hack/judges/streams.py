"""Requests made up by chance: how many each side gets between two looks, and how many of them are bad."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from ekiben.api.measured import Counters, Totals

# Nine looks in ten see a tenth of the requests or less, some see twenty times as many as the mean.
BURSTINESS = 0.1
CHUNK = 16

Kind = Literal["steady", "bursts", "stable's bursts"]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Traffic:
    """Requests per look to both sides together, on average; "stable's bursts" come from callers inside."""

    per_look: float
    kind: Kind = "steady"


@dataclass(frozen=True)
class Shares:
    """The chance of a bad request on each side."""

    stable: float
    canary: float


def looks(traffic: Traffic, shares: Shares, weight: float, chance: np.random.Generator) -> Iterator[Totals]:
    """Yield both sides' growing counters, look after look, without end; `weight` is a fraction."""
    canary, stable, canary_bad, stable_bad = 0, 0, 0, 0
    while True:
        sides = _arrivals(traffic, weight, chance)
        bad = [
            chance.binomial(count, share)
            for count, share in zip(sides, (shares.canary, shares.stable), strict=True)
        ]
        for new in zip(*(array.tolist() for array in (*sides, *bad)), strict=True):
            canary, stable = canary + new[0], stable + new[1]
            canary_bad, stable_bad = canary_bad + new[2], stable_bad + new[3]
            yield Totals(
                canary=Counters(requests=canary, errors=canary_bad),
                stable=Counters(requests=stable, errors=stable_bad),
            )


def _arrivals(traffic: Traffic, weight: float, chance: np.random.Generator) -> tuple[Ints, Ints]:
    """Draw the next looks' requests to the canary and to stable."""
    outside = traffic.per_look * np.ones(CHUNK)
    if traffic.kind == "bursts":
        outside = _bursts(outside, chance)
    canary = chance.poisson(weight * outside)
    stable = (1 - weight) * outside
    if traffic.kind == "stable's bursts":
        stable = stable + _bursts(stable, chance)
    return canary, chance.poisson(stable)


def _bursts(mean: npt.NDArray[np.float64], chance: np.random.Generator) -> npt.NDArray[np.float64]:
    return chance.gamma(BURSTINESS, mean / BURSTINESS)
