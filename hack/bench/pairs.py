"""Measure two ways of doing the same in turns, so that a busy machine disturbs both alike."""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable

from bench.figures import Figure, Result
from bench.setting import Bench

PAIRS = 5
Trial = Callable[[int], Awaitable[float]]


async def compare(bench: Bench, figure: Figure, ours: Trial, floor: Trial) -> Result:
    """Run interleaved pairs in both orders; the medians are reported, each pair is told."""
    took: dict[Trial, list[float]] = {ours: [], floor: []}
    details = []
    for number in range(bench.times(PAIRS)):
        order = (ours, floor) if number % 2 == 0 else (floor, ours)
        for trial in order:
            took[trial].append(await trial(number))
        first = "operator" if order[0] is ours else "hand"
        details.append(
            f"pair {number + 1}: operator {took[ours][-1]:.2f} s, by hand {took[floor][-1]:.2f} s, "
            f"{took[ours][-1] / took[floor][-1]:.2f} x ({first} first)"
        )
        bench.say(details[-1])
    ratios = [mine / theirs for mine, theirs in zip(took[ours], took[floor], strict=True)]
    details.append(f"median of the pairs' ratios {statistics.median(ratios):.2f} x")
    # The judged ratio is the median pair's; the floor shown is what makes it so.
    value = statistics.median(took[ours])
    return Result(figure, value, value / statistics.median(ratios), tuple(details))
