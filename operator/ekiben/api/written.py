"""Values of a status that are read again, and so must be what this operator could have written."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema


def _sane_time(value: datetime) -> datetime:
    """Read a time without zone as UTC; refuse one so far off that adding to it or subtracting overflows."""
    aware = value if value.tzinfo else value.replace(tzinfo=UTC)
    if not 1970 <= aware.year <= 9000:
        raise ValueError("is no time that this operator wrote")
    return aware


def _rollout_id(value: str) -> str:
    """Refuse what is no rollout's ID: its number is counted on from."""
    if not re.fullmatch(r"[^.]+[.][0-9]{1,9}", value, re.ASCII):
        raise ValueError("is no rollout's ID, such as k7c4f9xw2p.1")
    return value


# A status that another version or a tool wrote may hold anything of the right type. What these refuse makes
# it count as lost, and a status that is lost is rebuilt.
Time = Annotated[
    datetime, AfterValidator(_sane_time), WithJsonSchema({"type": "string", "format": "date-time"})
]
WrittenId = Annotated[str, AfterValidator(_rollout_id)]
