"""Trading hours: weekly sessions in a time zone, and how long a market was open between two times.

The text form, as instruments carry it (``hours``; none means always open)::

    Sun 17:00-Fri 17:00 America/New_York
    Mon-Fri 09:30-16:00 America/New_York
    Sun 18:00-Mon 17:00, Mon 18:00-Tue 17:00, Wed 18:00-Thu 24:00 America/Chicago

Sessions separated by commas, then the zone. A session is ``day time-day time``, or ``day[-day] time-time`` for the same
hours on each of these days (an end before the start is on the day after). Times are wall-clock times of the zone, so a
session moves with its daylight saving time; it holds its start and not its end. Holidays are not known.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from foliostream.errors import CallerError

MAX_LENGTH = 400
MAX_SESSIONS = 30
# So that no price takes longer than a few years to become stale, and a walk over the weeks ends.
MIN_OPEN_MINUTES = 60
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

_DAY_MINUTES = 1440
_WEEK_MINUTES = 7 * _DAY_MINUTES
_WEEK_MS = _WEEK_MINUTES * 60_000
_EPOCH_MONDAY = date(1970, 1, 5)
_NAMES = "|".join(DAYS)
_TIME = r"(\d\d):(\d\d)"
_SPAN = re.compile(rf"({_NAMES}) {_TIME}-({_NAMES}) {_TIME}")
_DAILY = re.compile(rf"({_NAMES})(?:-({_NAMES}))? {_TIME}-{_TIME}")
_ZONE = re.compile(r"[A-Za-z]+(?:[/_+-][A-Za-z0-9]+)*")


class Hours(NamedTuple):
    """``sessions``: minutes since Monday 00:00 in the zone's wall time, sorted, apart from each other; the last may
    end in the week after (beyond 10,080)."""

    zone: str
    sessions: tuple[tuple[int, int], ...]


@lru_cache(maxsize=1024)
def parse(text: str) -> Hours:
    """The hours a text stands for; ``CallerError`` says what is wrong with it."""
    if not 0 < len(text) <= MAX_LENGTH:
        raise CallerError(f"hours has 1 to {MAX_LENGTH} characters")
    sessions_text, _, zone = text.strip().rpartition(" ")
    _check_zone(zone)
    sessions: list[tuple[int, int]] = []
    for part in sessions_text.split(","):
        sessions += _sessions(part.strip())
        if len(sessions) > MAX_SESSIONS:
            raise CallerError(f"hours has at most {MAX_SESSIONS} sessions")
    return Hours(zone, _checked(sessions))


def is_open(hours: str | None, at_ms: int) -> bool:
    """Whether the market trades at a time; without hours it always does."""
    return hours is None or open_ms_between(hours, at_ms, at_ms + 1) > 0


def open_ms_between(hours: str | None, from_ms: int, until_ms: int) -> int:
    """How many milliseconds the market was open from one time until another; 0 where they are the other way round."""
    if until_ms <= from_ms:
        return 0
    if hours is None:
        return until_ms - from_ms
    total, last_week = 0, _week_of(until_ms) + 1
    for week in range(_week_of(from_ms) - 2, last_week + 1):
        for start_ms, end_ms in _week(hours, week):
            total += max(0, min(end_ms, until_ms) - max(start_ms, from_ms))
    return total


def expires_at_ms(hours: str | None, ts_ms: int, max_age_ms: int) -> int:
    """The first time at which the market has been open for more than ``max_age_ms`` since ``ts_ms``: from then on a
    price of ``ts_ms`` is stale (definitions 13). A price of a closed market ages from its next opening."""
    return ts_ms + max_age_ms + 1 if hours is None else _expires_at_ms(hours, ts_ms, max_age_ms)


# Many portfolios are valued from one price.
@lru_cache(maxsize=32_768)
def _expires_at_ms(hours: str, ts_ms: int, max_age_ms: int) -> int:
    left_ms, week = max_age_ms + 1, _week_of(ts_ms) - 2
    while True:
        for start_ms, end_ms in _week(hours, week):
            begin_ms = max(start_ms, ts_ms)
            if begin_ms + left_ms <= end_ms:
                return begin_ms + left_ms
            left_ms -= max(0, end_ms - begin_ms)
        week += 1


def at_wall_time_ms(zone: str, day: date, minutes: int) -> int:
    """Epoch milliseconds of a wall-clock time, as minutes of the day. Of a time that comes twice, the first."""
    moment = datetime.combine(day, datetime.min.time()) + timedelta(minutes=minutes)
    return round(moment.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC).timestamp()) * 1000


# --- weeks -----------------------------------------------------------------------------------------------------------


def _week_of(at_ms: int) -> int:
    """Weeks of UTC since Monday 1970-01-05; a zone's own begins up to 14 hours off, and a session may
    last a week: so looking two weeks back finds the one that a time is in."""
    return (at_ms - 4 * _DAY_MINUTES * 60_000) // _WEEK_MS


@lru_cache(maxsize=4096)
def _week(hours: str, week: int) -> tuple[tuple[int, int], ...]:
    """The sessions that begin in a week, as epoch milliseconds. Where clocks go forward over a border of one, it is
    cut so that no time is in two of them."""
    zone, sessions = parse(hours)
    monday = _EPOCH_MONDAY + timedelta(weeks=week)
    found: list[tuple[int, int]] = []
    for start, end in sessions:
        start_ms, end_ms = at_wall_time_ms(zone, monday, start), at_wall_time_ms(zone, monday, end)
        start_ms = max(start_ms, found[-1][1]) if found else start_ms
        found.append((start_ms, max(start_ms, end_ms)))
    return tuple(found)


# --- the text --------------------------------------------------------------------------------------------------------


def _check_zone(zone: str) -> None:
    try:
        if not _ZONE.fullmatch(zone):
            raise ValueError(zone)
        ZoneInfo(zone)
    except (ValueError, KeyError, OSError):  # a folder of zones is no zone, and says so with an OSError
        raise CallerError(f"hours ends with a time zone such as America/New_York, not {zone[:40]!r}") from None


def _sessions(text: str) -> list[tuple[int, int]]:
    if span := _SPAN.fullmatch(text):
        first, hour, minute, last, end_hour, end_minute = span.groups()
        start = DAYS.index(first) * _DAY_MINUTES + _minutes(hour, minute, text)
        end = DAYS.index(last) * _DAY_MINUTES + _minutes(end_hour, end_minute, text)
        return [(start, end if end > start else end + _WEEK_MINUTES)]
    daily = _DAILY.fullmatch(text)
    if daily is None:
        raise CallerError(
            f"a session of hours is like Sun 17:00-Fri 17:00 or Mon-Fri 09:30-16:00, is {text[:60]!r}",
        )
    name, last_name, hour, minute, end_hour, end_minute = daily.groups()
    first_day = DAYS.index(name)
    days = (DAYS.index(last_name or name) - first_day) % 7 + 1
    start, end = _minutes(hour, minute, text), _minutes(end_hour, end_minute, text)
    length = end - start if end > start else end - start + _DAY_MINUTES
    starts = ((first_day + day) % 7 * _DAY_MINUTES + start for day in range(days))
    return [(begin, begin + length) for begin in starts]


def _minutes(hour: str, minute: str, text: str) -> int:
    total = int(hour) * 60 + int(minute)
    if int(minute) > 59 or total > _DAY_MINUTES:
        raise CallerError(f"a time of hours is from 00:00 to 24:00, in {text[:60]!r}")
    return total


def _checked(sessions: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Sorted, with a start within the week, and nothing twice."""
    ordered = sorted((start % _WEEK_MINUTES, start % _WEEK_MINUTES + end - start) for start, end in sessions)
    around = [*ordered, (ordered[0][0] + _WEEK_MINUTES, ordered[0][1] + _WEEK_MINUTES)]
    if any(end > next_start for (_, end), (next_start, _) in pairwise(around)):
        raise CallerError("the sessions of hours overlap")
    if sum(end - start for start, end in ordered) < MIN_OPEN_MINUTES:
        raise CallerError(f"hours is open for at least {MIN_OPEN_MINUTES} minutes a week")
    return tuple(ordered)
