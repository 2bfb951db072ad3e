"""Times as Kubernetes writes them."""

from __future__ import annotations

from datetime import datetime


def parse_time(text: object) -> datetime | None:
    """Read a Kubernetes time; None for what is none, as one without a zone."""
    try:
        found = datetime.fromisoformat(str(text)) if text else None
    except ValueError:
        return None
    return found if found is not None and found.tzinfo is not None else None
