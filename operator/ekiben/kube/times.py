"""Time as Kubernetes writes it."""

from __future__ import annotations

from datetime import UTC, datetime


def microtime_now() -> str:
    """Write the present moment as a MicroTime, which Events and Leases carry."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
