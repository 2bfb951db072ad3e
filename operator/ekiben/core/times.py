"""Times as Kubernetes writes them."""

from __future__ import annotations

from datetime import datetime


def parse_time(text: object) -> datetime | None:
    """Read a Kubernetes time; None for what is none."""
    try:
        return datetime.fromisoformat(str(text)) if text else None
    except ValueError:
        return None
