"""Spans of time in which a rollout takes no step by itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim

from ekiben.api.fields import delta
from ekiben.api.freeze import Freeze


def frozen_until(freezes: Sequence[Freeze], now: datetime) -> datetime | None:
    """Return when the freezes end that cover this moment, the last of them; None where none does."""
    return max((end for freeze in freezes if (end := _end(freeze, now)) and now < end), default=None)


def _end(freeze: Freeze, now: datetime) -> datetime | None:
    """Return when the freeze that began last ends; None where none has begun yet."""
    minute = now.astimezone(ZoneInfo(freeze.time_zone or "UTC")).replace(second=0, microsecond=0)
    # What is looked for comes strictly before, and one that begins in this very minute has begun.
    began = next(CronSim(freeze.cron, minute + timedelta(minutes=1), reverse=True), None)
    return began.astimezone(UTC) + delta(freeze.duration) if began else None
