"""What a portfolio is worth, computed for very many at a time: what each side is marked at, and every digit of it."""

from __future__ import annotations

from decimal import Decimal

import pytest

from foliostream.domain import assessing, money
from foliostream.domain.instrument import Instrument
from foliostream.domain.price import Price
from tests.unit.domain.examples import INSTRUMENTS, NOW, booked, buy, empty, funded, last, sell, snapshot, stock

GOLD = {"GOLD": stock("GOLD", kind="cfd", contract_size=Decimal(100))}
QUOTE = {"GOLD": Price(bid=Decimal("1999.50"), ask=Decimal("2000.75"), quote_ts_ms=NOW)}


@pytest.mark.parametrize(
    ("opened", "equity"),
    [
        (buy("2", "2000", instrument_id="GOLD"), Decimal("-100.00")),  # 2 x 100 x (1999.50 - 2000)
        (sell("2", "2000", instrument_id="GOLD"), Decimal("-150.00")),  # 2 x 100 x (2000 - 2000.75)
    ],
)
def test_a_cfd_is_marked_at_the_side_it_would_be_closed_at(opened: object, equity: Decimal) -> None:
    book = booked(
        empty(account_kind="margin", leverage=Decimal(10), allow_short=True),
        opened,  # type: ignore[arg-type]
        instruments=GOLD,
    )
    assert snapshot(book, QUOTE, instruments=GOLD).total_value == equity


def test_every_digit_of_a_total_is_there() -> None:  # G12
    book = booked(funded("999999999999999"), buy("0.000001", "1"), buy("12345.678901", "1", instrument_id="MSFT"))
    at = {"AAPL": last("0.000001"), "MSFT": last("123456789012345.678901")}
    # Beyond the 28 digits of the usual context and the 17 of a float.
    exact = 12_345_678_901 * 123_456_789_012_345_678_901 + 1 + int(book.cash["USD"] * 10**12)
    total = snapshot(book, at).total_value
    assert total is not None
    assert int(money.EXACT.scaleb(total, 12)) == exact


def test_a_snapshot_has_the_prices_of_its_symbols_and_no_others() -> None:
    book = booked(funded("1000"), buy("1", "10"), buy("1", "10", instrument_id="MSFT"))
    at = {"AAPL": last("11"), "TSLA": last("5")}
    assert snapshot(book, at).prices == {"AAPL": last("11")}


def test_a_price_for_the_other_side_only_is_none_for_this_one() -> None:  # G7
    eurusd = {"EURUSD": Instrument("EURUSD", "forex", "USD", "EUR")}
    book = booked(
        empty(account_kind="margin", leverage=Decimal(10)),
        buy("1", "1.1", instrument_id="EURUSD"),
        instruments=INSTRUMENTS | eurusd,
    )
    found = snapshot(book, {"EURUSD": Price(ask=Decimal("1.2"), quote_ts_ms=NOW)}, instruments=eurusd)
    assert (found.calc_status, found.total_value) == ("unpriced", None)


def test_the_interval_of_a_margin_account_that_is_stored_all_the_same_does_not_count() -> None:
    for kind, interval_ms in (("cash", 60_000), ("margin", None)):
        book = empty(account_kind=kind, update_interval_ms=60_000)
        assert assessing.plan(book).update_interval_ms == interval_ms
