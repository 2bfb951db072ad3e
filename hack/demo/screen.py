"""What the demo prints: acts, rows as `kubectl get mdep -w` prints them, and the account at the end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ekiben.kube.client import Manifest
from rig.models import COLUMNS, row

WIDTHS = (12, 11, 11, 7, 5, 6)


class Screen:
    """The terminal; every line carries the time since the demo began."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._start = time.monotonic()
        self._last: tuple[str, ...] = ()

    def act(self, title: str) -> None:
        """Begin an act."""
        self._console.print(f"\n[bold]== {title}[/bold]  [dim]{self._clock()}[/dim]")
        self._last = ()

    def say(self, text: str) -> None:
        """Print one line."""
        self._console.print(f"[dim]{self._clock()}[/dim] {text}", markup=True)

    def row(self, model: Manifest) -> None:
        """Print the model's row when it changed."""
        cells = row(model)
        if cells == self._last:
            return
        if not self._last:
            self._console.print(f"[dim]{self._clock()}[/dim] [bold]{_aligned(COLUMNS)}[/bold]")
        self._last = cells
        self._console.print(f"[dim]{self._clock()}[/dim] {_aligned(cells)}", soft_wrap=True, markup=True)

    def account(self, times: Mapping[str, float], sent: int, by_v3: int, lost: int) -> None:
        """Print what was sent, what was lost, and how long each act took."""
        table = Table(title="What happened", title_justify="left", show_header=False)
        table.add_row("requests sent", f"{sent:,}")
        table.add_row("failed by v3 itself, each one matched by its request id", f"{by_v3:,}")
        table.add_row("lost otherwise", f"[{'green' if lost == 0 else 'red'}]{lost:,}[/]")
        for title, seconds in times.items():
            table.add_row(title, f"{seconds:.1f} s")
        table.add_row("all", f"{time.monotonic() - self._start:.1f} s")
        self._console.print()
        self._console.print(table)

    def goodbye(self, namespace: str, model: str, picture: Path) -> None:
        """Say how to look around and how to tear down."""
        self._console.print(
            f"\nPicture:      {picture} (who answered when)\n"
            "Look around:  .local/bin/kubectl get mdep -A\n"
            f"              .local/bin/kubectl -n {namespace} describe mdep {model}\n"
            "Tear down:    make cluster-down"
        )

    def _clock(self) -> str:
        return f"{time.monotonic() - self._start:6.1f}s"


def _aligned(cells: tuple[str, ...]) -> str:
    fixed = [cell.ljust(width) for cell, width in zip(cells[:-1], WIDTHS, strict=True)]
    return " ".join((*fixed, cells[-1]))
