"""Several currencies through the use cases: rates are found for booking, and a pair's price values its dependents."""

from __future__ import annotations

from decimal import Decimal

import pytest

from foliostream.domain.instrument import Instrument
from foliostream.errors import RefusedError
from tests.unit.application.system import ALICE, System, new_portfolio
from tests.unit.domain.examples import STALE_AFTER_MS, buy, deposit, stock, withdrawal


@pytest.fixture
def system() -> System:
    system = System()
    system.instruments.put(Instrument("EURUSD", "forex", "USD", "EUR"))
    system.instruments.put(stock("SAP", currency="EUR"))
    system.portfolios.create(ALICE, new_portfolio("one", cash="0"))
    return system


def test_a_booking_finds_the_rate_of_its_pair_and_is_refused_without_one(system: System) -> None:
    with pytest.raises(RefusedError) as refused:
        system.portfolios.update(ALICE, "one", [deposit("100", currency="EUR")])
    assert refused.value.code == "RATE_MISSING"
    system.tick("EURUSD", "1.1")
    system.portfolios.update(ALICE, "one", [deposit("100", currency="EUR")])
    assert (system.state("one").net_deposits, system.state("one").total_value) == (110, 110)


def test_a_tick_of_the_pair_values_the_portfolio_again_and_no_longer_when_the_currency_is_gone(system: System) -> None:
    system.tick("EURUSD", "1.1")
    system.portfolios.update(ALICE, "one", [deposit("100", currency="EUR")])
    system.settle()
    system.clock.advance(1000)
    system.tick("EURUSD", "1.2")
    system.settle()
    assert (system.state("one").total_value, system.state("one").fx_effect) == (120, 10)
    system.portfolios.update(ALICE, "one", [withdrawal("100", currency="EUR")])
    assert system.ledger.load(["one"])["one"].symbols == frozenset()


def test_a_stock_of_another_currency_is_valued_at_the_rate_of_now(system: System) -> None:
    system.tick("EURUSD", "1.1")
    system.tick("SAP", "50")
    system.portfolios.update(ALICE, "one", [deposit("100", currency="EUR"), buy("2", "50", instrument_id="SAP")])
    state = system.state("one")
    assert (state.total_value, state.positions[0].fx_rate) == (110, Decimal("1.1"))


def test_a_rate_that_grows_old_in_silence_shows_on_reading(system: System) -> None:
    system.tick("EURUSD", "1.1")
    system.portfolios.update(ALICE, "one", [deposit("100", currency="EUR")])
    system.clock.advance(STALE_AFTER_MS + 1)
    body = system.portfolios.state(ALICE, "one").body
    assert b'"stale":["CASH:EUR"]' in body
    assert b'"calc_status":"degraded"' in body
