"""A freeze covers the moments that its schedule says, on the clock of its time zone."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from ekiben.api.freeze import Freeze
from ekiben.core.freezing import frozen_until

WEEKEND = Freeze(cron="0 18 * * 5", duration="60h", time_zone="Europe/Berlin")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2026-11-20 16:59:59", None),  # a Friday, one second before six in the evening in Berlin
        ("2026-11-20 17:00:00", "2026-11-23 05:00"),
        ("2026-11-22 23:00:00", "2026-11-23 05:00"),
        ("2026-11-23 04:59:59", "2026-11-23 05:00"),
        ("2026-11-23 05:00:00", None),
        ("2026-07-03 15:59:59", None),  # in summer six comes an hour earlier
        ("2026-07-03 16:00:00", "2026-07-06 04:00"),
    ],
)
def test_it_begins_and_ends_by_its_own_clock(now: str, until: str | None) -> None:
    assert frozen_until([WEEKEND], at(now)) == (at(until) if until else None)


def test_sixty_hours_are_sixty_hours_when_the_clocks_change() -> None:
    assert frozen_until([WEEKEND], at("2026-10-24 12:00")) == at("2026-10-26 04:00")


def test_of_several_the_last_end_counts() -> None:
    hourly = Freeze(cron="0 * * * *", duration="30m")
    assert frozen_until([hourly, WEEKEND], at("2026-11-20 17:10")) == at("2026-11-23 05:00")
    assert frozen_until([hourly], at("2026-11-20 17:10")) == at("2026-11-20 17:30")
    assert frozen_until([], at("2026-11-20 17:10")) is None


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"cron": "0 18 * *"}, "five fields|match pattern"),
        ({"cron": "99 18 * * 5"}, "must be a cron schedule of five fields, such as 0 18 \\* \\* 5"),
        ({"cron": "0 0 31 2 *"}, "never comes"),
        ({"time_zone": "Europe/Atlantis"}, "must be an IANA time zone, such as Europe/Berlin"),
        ({"duration": "two days"}, "match pattern"),
    ],
)
def test_what_is_no_freeze_is_refused_with_a_sentence(fields: dict[str, str], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        Freeze.model_validate({"cron": "0 18 * * 5", "duration": "60h"} | fields)
