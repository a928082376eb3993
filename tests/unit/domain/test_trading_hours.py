"""Trading hours: what a text means, and how long a market was open."""

from __future__ import annotations

import pytest

from foliostream.domain import trading_hours
from foliostream.domain.instrument import Instrument
from foliostream.domain.instrument import expires_at_ms as expires_at_of
from foliostream.domain.times import epoch_ms
from foliostream.domain.trading_hours import expires_at_ms, is_open, open_ms_between
from foliostream.errors import CallerError

FOREX = "Sun 17:00-Fri 17:00 America/New_York"
INDIA = "Mon-Fri 09:15-15:30 Asia/Kolkata"
GOLD = (
    "Sun 18:00-Mon 17:00, Mon 18:00-Tue 17:00, Tue 18:00-Wed 17:00, "
    "Wed 18:00-Thu 17:00, Thu 18:00-Fri 17:00 America/New_York"
)
MINUTE, HOUR = 60_000, 3_600_000


def at(text: str) -> int:
    return epoch_ms(text)


@pytest.mark.parametrize(
    ("hours", "time", "expected"),
    [
        (FOREX, "2026-02-26T10:30:00Z", True),
        (FOREX, "2026-02-27T21:59:59.999Z", True),  # Friday 16:59:59.999 in New York
        (FOREX, "2026-02-27T22:00:00Z", False),
        (FOREX, "2026-03-01T21:59:59.999Z", False),
        (FOREX, "2026-03-01T22:00:00Z", True),
        (FOREX, "2026-03-08T21:00:00Z", True),  # the clocks went forward that Sunday: an hour earlier in UTC
        (FOREX, "2026-03-08T20:59:59.999Z", False),
        (INDIA, "2026-02-26T03:45:00Z", True),
        (INDIA, "2026-02-26T03:44:59.999Z", False),
        (INDIA, "2026-02-26T10:00:00Z", False),
        (INDIA, "2026-02-28T05:00:00Z", False),
        (GOLD, "2026-02-26T22:30:00Z", False),
        (GOLD, "2026-02-26T23:00:00Z", True),
        ("Mon-Sun 00:00-24:00 UTC", "2026-02-28T23:59:59.999Z", True),
        ("Fri-Mon 22:00-02:00 UTC", "2026-03-03T01:00:00Z", True),  # Monday's, on Tuesday
        ("Fri-Mon 22:00-02:00 UTC", "2026-03-04T01:00:00Z", False),
        ("Sun 22:00-Sun 21:30 America/New_York", "2026-03-02T02:00:00Z", True),  # a session of nearly a week
        ("Sun 22:00-Sun 21:30 America/New_York", "2026-03-02T02:45:00Z", False),
        (None, "2026-02-28T12:00:00Z", True),
    ],
)
def test_a_market_is_open_within_its_sessions(hours: str | None, time: str, expected: bool) -> None:
    assert is_open(hours, at(time)) is expected


def test_a_weekend_is_no_trading_time() -> None:
    friday, sunday = at("2026-02-27T21:59:00Z"), at("2026-03-01T22:01:00Z")
    assert open_ms_between(FOREX, friday, sunday) == 2 * MINUTE
    assert open_ms_between(None, friday, sunday) == sunday - friday
    assert open_ms_between(FOREX, sunday, friday) == 0


def test_a_week_has_120_trading_hours_and_the_week_of_a_change_of_clocks_too() -> None:
    """The change lies in the weekend's closed time; a market around the clock has an hour less."""
    before, after = at("2026-03-06T00:00:00-05:00"), at("2026-03-13T00:00:00-04:00")
    assert open_ms_between(FOREX, before, after) == 120 * HOUR
    assert open_ms_between("Sun 00:00-Sun 24:00 America/New_York", before, after) == 23 * HOUR


def test_a_session_over_the_change_of_clocks_is_as_long_as_it_was() -> None:
    europe = "Sat 22:00-Sun 04:00 Europe/Berlin"
    spring = at("2026-03-28T00:00:00Z"), at("2026-03-30T00:00:00Z")
    autumn = at("2026-10-24T00:00:00Z"), at("2026-10-26T00:00:00Z")
    assert open_ms_between(europe, *spring) == 5 * HOUR
    assert open_ms_between(europe, *autumn) == 7 * HOUR


@pytest.mark.parametrize(
    ("hours", "ts", "max_age_ms", "expected"),
    [
        (None, "2026-02-28T12:00:00Z", 1000, "2026-02-28T12:00:01.001Z"),
        (FOREX, "2026-02-26T12:00:00Z", 1000, "2026-02-26T12:00:01.001Z"),
        # ten seconds of Friday are left, the other fifty are Sunday's
        (FOREX, "2026-02-27T21:59:50Z", 60_000, "2026-03-01T22:00:50.001Z"),
        # a price out of hours ages from the next opening
        (FOREX, "2026-02-28T12:00:00Z", 60_000, "2026-03-01T22:01:00.001Z"),
        (INDIA, "2026-02-27T09:59:00Z", 15 * 60_000, "2026-03-02T03:59:00.001Z"),
        # a month of trading time is more than one of the calendar
        (FOREX, "2026-02-02T00:00:00Z", 240 * HOUR, "2026-02-16T00:00:00.001Z"),
    ],
)
def test_a_price_ages_while_its_market_is_open(hours: str | None, ts: str, max_age_ms: int, expected: str) -> None:
    expires_ms = expires_at_ms(hours, at(ts), max_age_ms)
    assert expires_ms == at(expected)
    assert open_ms_between(hours, at(ts), expires_ms) == max_age_ms + 1
    assert open_ms_between(hours, at(ts), expires_ms - 1) == max_age_ms


def test_borders_in_the_hour_that_clocks_leave_out_count_nothing_twice() -> None:
    """02:30 does not exist on 2026-03-08 in New York; the session that ends then and the next meet."""
    hours = "Sun 01:00-02:30, Sun 03:00-05:00 America/New_York"
    start, end = at("2026-03-08T06:00:00Z"), at("2026-03-08T09:00:00Z")
    assert open_ms_between(hours, start, end) == 3 * HOUR
    assert is_open(hours, at("2026-03-08T07:15:00Z"))
    backwards = "Sun 02:30-03:00, Mon 10:00-12:00 America/New_York"
    assert open_ms_between(backwards, start, end) == 0


def test_an_instrument_says_from_when_on_its_price_is_stale() -> None:
    friday = at("2026-02-27T21:59:00Z")
    plain, forex = Instrument("EURUSD", "forex", "USD"), Instrument("EURUSD", "forex", "USD", hours=FOREX)
    assert expires_at_of(None, friday, 900_000) == friday + 900_001
    assert expires_at_of(plain, friday, 900_000) == friday + 900_001
    assert expires_at_of(forex, friday, 900_000) == at("2026-03-01T22:14:00.001Z")
    strict = Instrument("EURUSD", "forex", "USD", hours=FOREX, max_age_seconds=90)
    assert expires_at_of(strict, friday, 900_000) == at("2026-03-01T22:00:30.001Z")


def test_hours_are_read_as_sessions_in_the_order_of_the_week() -> None:
    parsed = trading_hours.parse("Sun 18:00-Mon 17:00, Mon 18:00-Tue 17:00 America/Chicago")
    assert parsed.zone == "America/Chicago"
    assert parsed.sessions == ((18 * 60, (24 + 17) * 60), ((6 * 24 + 18) * 60, (7 * 24 + 17) * 60))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "America/New_York",
        "Sun 17:00-Fri 17:00",
        "Sun 17:00-Fri 17:00 America",
        "Sun 17:00-Fri 17:00 ../../etc/passwd",
        "Sun 17:00-Fri 17:00 America/Nowhere",
        "sun 17:00-fri 17:00 UTC",
        "Sun 17:00-Fri UTC",
        "Sun 25:00-Fri 17:00 UTC",
        "Sun 17:60-Fri 17:00 UTC",
        "Sun 24:01-Fri 17:00 UTC",
        "Mon 09:00-17:00, UTC",
        "Mon-Fri 09:00-17:00, Wed 16:00-18:00 UTC",
        "Sun 17:00-Fri 17:00, Fri 16:00-Sat 01:00 UTC",
        "Sun 22:00-Mon 02:00, Mon 00:00-01:00 UTC",
        "Mon 09:00-09:59 UTC",
        ", ".join(["Mon-Sun 09:00-09:10"] * 10) + " UTC",
        "Mon 09:00-17:00 " + "U" * 400,
    ],
)
def test_hours_that_mean_nothing_are_refused(text: str) -> None:
    with pytest.raises(CallerError):
        trading_hours.parse(text)
