"""Windows under steady ticks, on virtual time: how often a portfolio is valued, and how old its snapshot gets."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.unit.application.deliveries import Deliveries
from tests.unit.application.system import ALICE, SKEW_MS, WINDOW_MS, System
from tests.unit.domain.examples import NOW, buy, stock

SYMBOLS = ("AAPL", "AMZN", "GOOGL", "MSFT")
VALUING_MS = 200


@pytest.fixture
def system() -> System:
    system = System()
    system.instruments.put(stock("AMZN"))
    for account_type in WINDOW_MS:
        system.open(account_type, *SYMBOLS, account_type=account_type)
    system.clock.time_ms = NOW + 60_000
    return system


@pytest.mark.parametrize("offset_ms", [0, 1, 1_500, 2_999])
def test_a_hundred_updates_of_four_symbols_in_ten_seconds_are_five_valuations_at_most(  # G1, G2
    system: System, offset_ms: int
) -> None:
    deliveries = Deliveries(system, valuing_ms=VALUING_MS)
    start_ms = system.clock.now_ms() + offset_ms
    for number in range(100):
        deliveries.until(start_ms + number * 100)
        system.tick(SYMBOLS[number % 4], str(100 + number))
    deliveries.until(start_ms + 20_000)
    valuations = [message for queue, message in deliveries.delivered if queue == "paper"]
    assert 3 <= len(valuations) <= 5
    # The last four updates were 196 to 199; ten of each, and 10,000 less the 4,000 that they cost.
    assert system.state("paper").total_value == Decimal(6_000 + 10 * (196 + 197 + 198 + 199))


@pytest.mark.parametrize("account_type", WINDOW_MS)
def test_under_endless_ticks_no_snapshot_gets_older_than_two_windows_and_the_processing(  # G3
    system: System, account_type: str
) -> None:
    deliveries = Deliveries(system, valuing_ms=20)
    start_ms = system.clock.now_ms()
    ticks, ages = 400, []
    for number in range(ticks):
        deliveries.until(start_ms + number * 370)
        system.tick(SYMBOLS[number % 4], str(100 + number))
        head = system.hot.snapshots[account_type].head
        if number * 370 > 2 * WINDOW_MS[account_type]:
            ages.append(system.clock.now_ms() - head.read_at_ms)
    # A window without a tick of its own values nothing: what is not marked is not old.
    gap_ms = max(WINDOW_MS[account_type], 370)
    processing_ms = SKEW_MS + len(WINDOW_MS) * 20
    assert max(ages) <= 2 * gap_ms + processing_ms
    marked = [bundle.message.window for queue, bundle in deliveries.delivered if queue == account_type]
    assert len(marked) == len(set(marked)), "one valuation a window"  # G2


def test_a_refresh_between_two_windows_shows_the_newest_price_and_takes_nothing_from_the_window(  # G1, G6
    system: System,
) -> None:
    deliveries = Deliveries(system)
    system.tick("AAPL", "150")
    system.portfolios.refresh(ALICE, "paper")
    deliveries.until(system.clock.now_ms() + 100)
    refreshed = system.state("paper")
    positions = {position.instrument_id: position.mark for position in refreshed.positions}
    assert positions["AAPL"] == 150
    system.tick("AAPL", "160")
    deliveries.until(system.clock.now_ms() + 5_000)
    after = system.state("paper")
    assert after.version > refreshed.version
    assert {position.instrument_id: position.mark for position in after.positions}["AAPL"] == 160


def test_sold_while_prices_tick_is_shown_at_once(system: System) -> None:  # G3
    deliveries = Deliveries(system)
    system.tick("AAPL", "150")
    system.portfolios.update(ALICE, "paper", [buy("1", "100", instrument_id="MSFT")])
    held = {position.instrument_id: position.quantity for position in system.state("paper").positions}
    assert held["MSFT"] == 11
    deliveries.until(system.clock.now_ms() + 5_000)
    assert system.state("paper").ledger_version == 3
