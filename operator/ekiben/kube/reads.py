"""What is asked of the API server where nothing is written: `Client` answers it, and so do stand-ins."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from ekiben.kube.client import Manifest
from ekiben.kube.kinds import Kind


class Lists(Protocol):
    """Whoever lists objects, as `Client` says."""

    def list_pages(self, kind: Kind) -> AsyncIterator[tuple[list[Manifest], str]]:
        """List page by page."""

    async def peek(
        self,
        kind: Kind,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
    ) -> list[Manifest]:
        """List everything at once, as the API server's cache has it."""


class Reads(Lists, Protocol):
    """Whoever reads single objects, too."""

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Manifest | None:
        """Read one object; None when there is none of that name."""
