"""The field of the API that says when nobody wants a rollout to take a step."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, Field, StringConstraints

from ekiben.api.fields import ApiModel, PositiveDuration, Worded

CRON_SENTENCE = "must be a cron schedule of five fields, such as 0 18 * * 5"
ZONE_SENTENCE = "must be an IANA time zone, such as Europe/Berlin"


def _cron(value: str) -> str:
    """Refuse what has five fields and is no schedule all the same, or one that never comes."""
    try:
        next(CronSim(value, datetime(2026, 1, 1, tzinfo=UTC)))
    except (CronSimError, StopIteration):
        raise ValueError(f"{CRON_SENTENCE}; {value!r} never comes") from None
    return value


def zone(value: str) -> str:
    """Refuse a time zone that is not known here."""
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{ZONE_SENTENCE}; {value!r} is not known here") from None
    return value


class Freeze(ApiModel):
    """A span of time that comes again and again, in which a rollout takes no step by itself."""

    cron: Annotated[
        str,
        StringConstraints(pattern=r"^[0-9A-Za-z*,/#-]+( [0-9A-Za-z*,/#-]+){4}$", max_length=100),
        Worded(CRON_SENTENCE),
        AfterValidator(_cron),
        Field(description="When it begins: minute, hour, day of the month, month, day of the week."),
    ]
    duration: Annotated[PositiveDuration, Field(description="How long it lasts.")]
    time_zone: Annotated[
        Annotated[
            str,
            StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_+/-]*$", max_length=64),
            Worded(ZONE_SENTENCE),
            AfterValidator(zone),
        ]
        | None,
        Field(description="Where the clock of `cron` hangs. Default: UTC."),
    ] = None
