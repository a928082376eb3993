"""Clocks: the machine's and the fake."""

from __future__ import annotations

import time

import pytest

from foliostream.adapters.system_clock import SystemClock
from foliostream.ports import Clock
from tests.fakes.clock import FakeClock


@pytest.fixture(params=[SystemClock, FakeClock])
def clock(request: pytest.FixtureRequest) -> Clock:
    made: Clock = request.param()
    return made


@pytest.mark.parametrize("ahead_ms", [-1_000, 0, 1, 30])
def test_nobody_is_let_go_before_the_time_waited_for(clock: Clock, ahead_ms: int) -> None:
    at_ms = clock.now_ms() + ahead_ms
    clock.wait_until(at_ms)
    assert clock.now_ms() >= at_ms


def test_a_time_that_has_passed_is_not_waited_for(clock: Clock) -> None:
    started = time.monotonic()
    clock.wait_until(clock.now_ms() - 60_000)
    assert time.monotonic() - started < 1


def test_the_machines_clock_counts_milliseconds_since_1970() -> None:
    assert abs(SystemClock().now_ms() - time.time() * 1000) < 5_000
