"""Which ticks a minute has, and what one publishes. That the schedule fires at all, no test here can find."""

from __future__ import annotations

import pytest

from foliostream.application.publish_market import UPDATES_PER_EVENT, on_minute, on_start, on_wake, publish
from foliostream.errors import RetryableError
from tests.fakes.bus import FakeBus
from tests.fakes.clock import FakeClock
from tests.fakes.queues import FakeFeedTimer

MINUTE = 60_000
# A minute that begins a slot of 1, 7, 30, 60 and 90 seconds: a multiple of 1260 seconds.
START = 1_772_101_800_000 // 1_260_000 * 1_260_000


class Quotes:
    """A source of ``count`` quotes a tick; ``asked`` are (slot, time)."""

    def __init__(self, count: int = 3) -> None:
        self.asked: list[tuple[int, int]] = []
        self._count = count

    def quotes(self, slot: int, now_ms: int) -> list[dict[str, object]]:
        self.asked.append((slot, now_ms))
        return [{"symbol": f"S{number}", "last": 1, "ts": now_ms} for number in range(self._count)]


def planned(interval_seconds: int, at_ms: int) -> list[tuple[int, int]]:
    """(slot, delay in seconds) of a run of the schedule at ``at_ms``."""
    timer = FakeFeedTimer()
    assert on_minute(interval_seconds, clock=FakeClock(at_ms), timer=timer) == len(timer.woken)
    return timer.woken


def slots(interval_seconds: int, at_ms: int) -> list[int]:
    return [slot for slot, _ in planned(interval_seconds, at_ms)]


@pytest.mark.parametrize(
    ("interval", "ticks"),
    [(1, [60] * 21), (7, [9, 9, 8, 9, 8, 9, 8] * 3), (30, [2] * 21), (60, [1] * 21), (90, [1, 1, 0] * 7)],
)
def test_every_tick_of_every_interval_is_planned_once_by_the_minute_before_it(interval: int, ticks: list[int]) -> None:
    minutes = [slots(interval, START + (number - 1) * MINUTE) for number in range(21)]
    assert [len(minute) for minute in minutes] == ticks
    first = START // 1000 // interval
    assert [slot for minute in minutes for slot in minute] == list(range(first, first + sum(ticks)))


@pytest.mark.parametrize("interval", [1, 7, 30, 60, 90])
@pytest.mark.parametrize("late_ms", [0, 1, 999, 1000, 29_999, 59_999])
def test_a_tick_is_woken_at_its_time_or_within_a_second_after(interval: int, late_ms: int) -> None:
    at_ms = START + late_ms
    for slot, delay in planned(interval, at_ms):
        assert slot * interval * 1000 <= at_ms + delay * 1000 < slot * interval * 1000 + 1000


@pytest.mark.parametrize("interval", [1, 7, 30, 60, 90])
@pytest.mark.parametrize("late_ms", [1, 999, 12_345, 59_999])
def test_a_late_run_names_the_same_ticks_and_so_does_a_second_one(interval: int, late_ms: int) -> None:
    assert slots(interval, START + late_ms) == slots(interval, START)


@pytest.mark.parametrize("interval", [1, 7, 30, 60, 90])
@pytest.mark.parametrize("at_ms", [START, START + 1, START + 12_345, START + 59_999])
def test_a_start_publishes_the_newest_tick_and_plans_all_until_the_schedule_takes_over(
    interval: int, at_ms: int
) -> None:
    timer, bus, source = FakeFeedTimer(), FakeBus(), Quotes()
    assert on_start(interval, clock=FakeClock(at_ms), timer=timer, source=source, bus=bus) == 3
    newest = at_ms // 1000 // interval
    assert source.asked == [(newest, at_ms)]
    # A run of the schedule in the next minute plans the minute after it.
    assert [slot for slot, _ in timer.woken] == [
        slot for slot in range(newest + 1, newest + 122) if slot * interval * 1000 < START + 2 * MINUTE
    ]
    for slot, delay in timer.woken:
        assert slot * interval * 1000 <= at_ms + delay * 1000 < slot * interval * 1000 + 1000


def test_a_tick_is_published_as_market_price_updates() -> None:
    bus = FakeBus()
    assert publish(5, clock=FakeClock(START), source=Quotes(), bus=bus) == 3
    ((detail_type, detail),) = bus.published
    assert detail_type == "market_price_update"
    assert detail == {"updates": [{"symbol": f"S{number}", "last": 1, "ts": START} for number in range(3)]}


def test_many_quotes_are_several_events_and_none_is_left_out() -> None:
    bus, source = FakeBus(), Quotes(2 * UPDATES_PER_EVENT + 1)
    assert publish(5, clock=FakeClock(START), source=source, bus=bus) == 401
    sizes = [len(detail["updates"]) for _, detail in bus.published]  # type: ignore[arg-type]
    assert sizes == [UPDATES_PER_EVENT, UPDATES_PER_EVENT, 1]
    assert source.asked == [(5, START)]


def test_no_quotes_are_no_event() -> None:
    bus = FakeBus()
    assert publish(5, clock=FakeClock(START), source=Quotes(0), bus=bus) == 0
    assert bus.published == []


def test_later_ticks_are_woken_though_the_source_is_down_now() -> None:
    class Down:
        def quotes(self, slot: int, now_ms: int) -> list[dict[str, object]]:
            raise RetryableError(f"no quotes for {slot} at {now_ms}")

    timer = FakeFeedTimer()
    with pytest.raises(RetryableError):
        on_start(30, clock=FakeClock(START), timer=timer, source=Down(), bus=FakeBus())
    assert [delay for _, delay in timer.woken] == [30, 60, 90]


@pytest.mark.parametrize(
    ("interval", "late_ms", "published"),
    [(1, 0, 3), (1, 4_999, 3), (1, 5_000, 3), (1, 5_001, 0), (30, 29_999, 3), (30, 30_000, 0), (30, 90_000, 0)],
)
def test_a_tick_that_comes_late_is_published_unless_later_ones_have_overtaken_it(
    interval: int, late_ms: int, published: int
) -> None:
    source, bus = Quotes(), FakeBus()
    slot = START // 1000 // interval
    assert on_wake(slot, interval, clock=FakeClock(START + late_ms), source=source, bus=bus) == published
    assert len(source.asked) == bool(published)
