"""What is proved, as numbers: shares of simulated rollouts with their bounds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ekiben.api.judging import Check

# One-sided, 99 %.
Z99 = 2.326


@dataclass(frozen=True)
class Found:
    """How many of so many."""

    hits: int
    of: int

    @property
    def share(self) -> float:
        """The share that was seen."""
        return self.hits / self.of

    def bound(self, z: float) -> float:
        """Return the end of the one-sided interval of the true share (Wilson's score)."""
        middle = self.share + z * z / (2 * self.of)
        spread = abs(z) * math.sqrt(self.share * (1 - self.share) / self.of + z * z / (4 * self.of**2))
        return (middle + math.copysign(spread, z)) / (1 + z * z / self.of)

    @property
    def lower(self) -> float:
        """The true share is above this with 99 % confidence."""
        return self.bound(-Z99)


@dataclass(frozen=True)
class Row:
    """One line of a table: what was played, what was seen, what it must be, and whether it holds."""

    cells: tuple[str, ...]
    holds: bool


def percent(share: float) -> str:
    """Write a share with two digits behind the point at most."""
    return f"{100 * share:.2f}".rstrip("0").rstrip(".") + " %"


def limit_of(check: Check) -> str:
    """Write a check's limits as they stand in the object."""
    limits = check.model_dump(by_alias=True, exclude_none=True, exclude={"metric"})
    return ", ".join(f"{name} {value}" for name, value in limits.items())


def table(header: Sequence[str], rows: Iterable[Row]) -> str:
    """Write a Markdown table."""
    lines = [header, ["---"] * len(header), *((*row.cells, "yes" if row.holds else "**no**") for row in rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
