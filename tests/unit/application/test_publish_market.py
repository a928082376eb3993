"""When the feed ticks: every multiple of its interval, whenever in its minute the schedule fires."""

import pytest

from foliostream.adapters.replay_quotes import ReplayQuotes
from foliostream.application.publish_market import MINUTE_MS, on_minute, on_start, publish
from tests.fakes.bus import FakeBus
from tests.fakes.clock import FakeClock
from tests.fakes.queues import FakeFeedTimer

MINUTE = 30_000_000 * MINUTE_MS


@pytest.mark.parametrize("seconds", [0.0, 0.7, 37.0, 59.999])
@pytest.mark.parametrize(("interval_seconds", "ticks"), [(1, 60), (7, 9), (30, 2), (45, 1), (60, 1)])
def test_a_run_plans_every_tick_of_the_next_minute_for_its_time(
    seconds: float, interval_seconds: int, ticks: int
) -> None:
    timer, now_ms = FakeFeedTimer(), MINUTE + int(seconds * 1000)
    assert on_minute(interval_seconds, clock=FakeClock(now_ms), timer=timer) == ticks
    for slot, delay_seconds in timer.woken:
        tick_ms = slot * interval_seconds * 1000
        assert MINUTE + MINUTE_MS <= tick_ms < MINUTE + 2 * MINUTE_MS
        assert 0 <= now_ms + delay_seconds * 1000 - tick_ms < 1000


@pytest.mark.parametrize("interval_seconds", [1, 7, 30, 45, 90, 600])
def test_runs_anywhere_in_their_minutes_plan_every_tick_exactly_once(interval_seconds: int) -> None:
    timer = FakeFeedTimer()
    for number, offset_ms in enumerate([59_000, 0, 30_000, 1, 59_999, 12_345, 3]):
        on_minute(interval_seconds, clock=FakeClock(MINUTE + number * MINUTE_MS + offset_ms), timer=timer)
    slots = [slot for slot, _ in timer.woken]
    interval_ms = interval_seconds * 1000
    first, end = MINUTE + MINUTE_MS, MINUTE + 8 * MINUTE_MS
    assert slots == [slot for slot in range(end // interval_ms + 1) if first <= slot * interval_ms < end]


def test_a_start_publishes_at_once_and_plans_until_the_first_run_has_effect() -> None:
    timer, bus, source = FakeFeedTimer(), FakeBus(), ReplayQuotes()
    clock = FakeClock(MINUTE + 20_500)
    assert on_start(1, clock=clock, timer=timer, source=source, bus=bus) == len(source.symbols)
    first = (MINUTE + 21_000) // 1000
    assert timer.woken == [(first + number, number + 1) for number in range(39 + 60)]


def test_a_tick_publishes_its_quotes_as_one_event() -> None:
    bus, source, clock = FakeBus(), ReplayQuotes(), FakeClock(MINUTE)
    publish(5, clock=clock, source=source, bus=bus)
    assert bus.published == [("market_price_update", {"updates": source.quotes(5, MINUTE)})]
