"""Trading hours and nights on drawn times: against a walk minute by minute, and what must hold between any times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from foliostream.domain import swaps
from foliostream.domain.times import epoch_ms
from foliostream.domain.trading_hours import DAYS, expires_at_ms, is_open, open_ms_between
from tests.property.strategies import moderate

MINUTE = 60_000
DAY = 1440 * MINUTE
# A year with both changes of the clocks, and the weeks around it.
times = st.integers(epoch_ms("2025-12-20T00:00:00Z"), epoch_ms("2027-01-10T00:00:00Z"))
zones = st.sampled_from(["UTC", "America/New_York", "Europe/London", "Asia/Kolkata", "Australia/Sydney"])


@st.composite
def hours(draw: st.DrawFn) -> str:
    """Sessions apart from each other, some over midnight or the end of the week."""
    borders = sorted(draw(st.sets(st.integers(0, 7 * 24 - 1), min_size=2, max_size=8)))
    pairs = list(zip(borders[::2], borders[1::2], strict=False))
    if draw(st.booleans()):  # the closed times are the open ones
        pairs = [*zip(borders[1::2], borders[2::2], strict=False), (borders[-1], borders[0])]
    written = [f"{_moment(start)}-{_moment(end)}" for start, end in pairs if start != end]
    return f"{', '.join(written)} {draw(zones)}"


def _moment(hour: int) -> str:
    return f"{DAYS[hour // 24]} {hour % 24:02}:00"


def slowly_open(text: str, at_ms: int) -> bool:
    """Whether a wall clock shows a time within a session."""
    sessions, _, zone = text.rpartition(" ")
    local = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(ZoneInfo(zone))
    now = local.weekday() * 1440 + local.hour * 60 + local.minute
    for part in sessions.split(", "):
        (start_day, start, end_day, end) = part.replace("-", " ").split(" ")
        begin = DAYS.index(start_day) * 1440 + int(start[:2]) * 60
        finish = DAYS.index(end_day) * 1440 + int(end[:2]) * 60
        if begin <= now < finish or (finish <= begin and (now >= begin or now < finish)):
            return True
    return False


@settings(moderate, max_examples=60)
@given(hours(), times, st.integers(1, 300))
def test_open_time_is_what_a_walk_over_the_wall_clock_counts(text: str, start_ms: int, length: int) -> None:
    """In steps of 15 minutes; a wall-clock hour that comes twice counts as the sessions' ends say, so those are left
    out."""
    start_ms -= start_ms % (15 * MINUTE)
    steps = [start_ms + number * 15 * MINUTE for number in range(length)]
    if any(_ambiguous(text, at_ms) for at_ms in steps):
        return
    for at_ms in steps:
        assert is_open(text, at_ms) is slowly_open(text, at_ms)
    expected = sum(slowly_open(text, at_ms) for at_ms in steps) * 15 * MINUTE
    assert open_ms_between(text, start_ms, start_ms + length * 15 * MINUTE) == expected


def _ambiguous(text: str, at_ms: int) -> bool:
    zone = ZoneInfo(text.rpartition(" ")[2])
    offsets = {
        datetime.fromtimestamp((at_ms + hour * 60 * MINUTE) / 1000, UTC).astimezone(zone).utcoffset()
        for hour in (-3, 0, 3)
    }
    return len(offsets) > 1


@moderate
@given(st.one_of(st.none(), hours()), times, st.integers(0, 20 * DAY), st.integers(0, 20 * DAY))
def test_open_time_adds_up(text: str | None, start_ms: int, first: int, second: int) -> None:
    middle_ms, end_ms = start_ms + first, start_ms + first + second
    parts = open_ms_between(text, start_ms, middle_ms) + open_ms_between(text, middle_ms, end_ms)
    assert open_ms_between(text, start_ms, end_ms) == parts
    assert 0 <= parts <= end_ms - start_ms


@moderate
@given(st.one_of(st.none(), hours()), times, st.one_of(st.integers(0, 3_600_000), st.integers(0, 5 * DAY)))
def test_a_price_is_stale_from_the_first_millisecond_beyond_its_age(
    text: str | None, ts_ms: int, max_age_ms: int
) -> None:
    expires_ms = expires_at_ms(text, ts_ms, max_age_ms)
    assert open_ms_between(text, ts_ms, expires_ms) == max_age_ms + 1
    assert open_ms_between(text, ts_ms, expires_ms - 1) == max_age_ms
    assert expires_at_ms(text, ts_ms + 1, max_age_ms) >= expires_ms


@moderate
@given(times, st.integers(1, 3 * DAY))
def test_every_time_is_in_the_night_that_began_last(at_ms: int, later_ms: int) -> None:
    night, later = swaps.latest(at_ms), swaps.latest(at_ms + later_ms)
    assert swaps.of_day(night.day) == night
    assert night.at_ms <= at_ms < swaps.of_day(night.day + timedelta(days=1)).at_ms
    assert (later.day - night.day).days in range(-(-later_ms // DAY) + 2)
    week = [swaps.of_day(night.day + timedelta(days=number)) for number in range(7)]
    assert all(sum(one.counts(day) for one in week) == 7 for day in ("Wed", "Fri", None))  # type: ignore[arg-type]
