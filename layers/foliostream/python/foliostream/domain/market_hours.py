"""When a broker's market trades."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

from msgspec import Struct

INDIA = timezone(timedelta(hours=5, minutes=30))
_FORM = re.compile(r"([1-7])-([1-7])/([0-2]\d):([0-5]\d)-([0-2]\d):([0-5]\d)")
_DAY_MINUTES = 24 * 60


class Hours(Struct, frozen=True):
    """Weekdays from Monday (1), and minutes of the day in India, the last ones excluded."""

    first_day: int
    last_day: int
    opens: int
    closes: int


def parse(raw: str) -> Hours:
    """``1-5/09:15-15:30``; ``ValueError`` for anything else."""
    found = _FORM.fullmatch(raw)
    if not found:
        raise ValueError(f"must be weekdays and times such as 1-5/09:15-15:30, is {raw[:40]!r}")
    first, last, hour, minute, end_hour, end_minute = map(int, found.groups())
    hours = Hours(first, last, 60 * hour + minute, 60 * end_hour + end_minute)
    if first > last or not 0 <= hours.opens < hours.closes <= _DAY_MINUTES:
        raise ValueError(f"must begin before it ends, is {raw[:40]!r}")
    return hours


def is_open(hours: Hours, holidays: frozenset[str], now_ms: int) -> bool:
    """``holidays``: dates of the market."""
    now = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(INDIA)
    if now.date().isoformat() in holidays:
        return False
    return (
        hours.first_day <= now.isoweekday() <= hours.last_day
        and hours.opens <= 60 * now.hour + now.minute < hours.closes
    )
