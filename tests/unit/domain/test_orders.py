"""At which price a simulated order is filled, and what it costs."""

from __future__ import annotations

from decimal import Decimal

import pytest

from foliostream.domain import orders
from foliostream.domain.fills import Side
from foliostream.domain.instrument import Split
from foliostream.domain.orders import Order, Request
from foliostream.domain.price import Price
from foliostream.errors import CallerError, RefusedError
from foliostream.settings import Costs
from tests.unit.domain.examples import NOW, STALE_AFTER_MS, stock

D = Decimal
OLD = NOW - STALE_AFTER_MS - 1


def quote(bid: str | None, ask: str | None, last: str | None = None, *, ts: int = NOW, last_ts: int = NOW) -> Price:
    return Price(
        bid=None if bid is None else D(bid),
        ask=None if ask is None else D(ask),
        quote_ts_ms=ts,
        last=None if last is None else D(last),
        last_ts_ms=last_ts if last else 0,
    )


@pytest.mark.parametrize(
    ("price", "side", "at"),
    [
        (quote("99", "101", "100"), "BUY", "101"),
        (quote("99", "101", "100"), "SELL", "99"),
        (quote(None, None, "100"), "BUY", "100"),
        (quote("99", None, "100"), "BUY", "100"),
        (quote("100", "100"), "BUY", "100"),
        (quote("99", "101", "100", ts=OLD), "SELL", "100"),
        (quote("99", "101", "100", last_ts=OLD), "SELL", "99"),
        (quote("99", "101", ts=OLD + 1), "SELL", "99"),
    ],
)
def test_a_buy_takes_the_ask_a_sale_the_bid_and_last_stands_in_for_a_missing_or_stale_quote(
    price: Price, side: Side, at: str
) -> None:
    assert orders.market_price(price, stock(), side, NOW, STALE_AFTER_MS) == D(at)


@pytest.mark.parametrize(
    ("price", "code"),
    [
        (None, "PRICE_MISSING"),
        (quote("99", None), "PRICE_MISSING"),
        (quote("0", "0", "0"), "PRICE_MISSING"),
        (quote("101", "99", "100"), "QUOTE_CROSSED"),
        (quote("99", "101", "100", ts=OLD, last_ts=OLD), "PRICE_STALE"),
    ],
)
def test_without_a_fresh_sane_price_there_is_none(price: Price | None, code: str) -> None:
    with pytest.raises(RefusedError) as refused:
        orders.market_price(price, stock(), "BUY", NOW, STALE_AFTER_MS)
    assert refused.value.code == code


def test_a_price_of_before_a_split_fills_nothing() -> None:
    split = stock(splits=(Split(NOW, D(4), D(1)),))
    with pytest.raises(RefusedError, match="too old to trade at"):
        orders.market_price(quote(None, "400", ts=NOW - 1), split, "BUY", NOW, STALE_AFTER_MS)


def test_nothing_is_filled_while_the_market_is_closed() -> None:
    sunday = stock(hours="Sun 09:30-16:00 America/New_York")
    with pytest.raises(RefusedError) as refused:
        orders.market_price(quote("99", "101"), sunday, "BUY", NOW, STALE_AFTER_MS)
    assert refused.value.code == "MARKET_CLOSED"


def test_a_quantity_is_a_multiple_of_the_lot_step() -> None:
    lots = stock(lot_step=D("0.5"))
    orders.check(Request("AAPL", "BUY", D("1.5"), "market"), lots)
    with pytest.raises(CallerError) as refused:
        orders.check(Request("AAPL", "BUY", D("1.25"), "market"), lots)
    assert refused.value.code == "LOT_STEP"


def test_an_odd_rest_can_be_closed_as_a_whole_and_only_so() -> None:
    lots = stock(lot_step=D(10))
    orders.check(Request("AAPL", "SELL", D(33), "market"), lots, D(33))
    orders.check(Request("AAPL", "BUY", D(33), "market"), lots, D(-33))
    for request, held in (
        (Request("AAPL", "SELL", D(3), "market"), D(33)),
        (Request("AAPL", "BUY", D(33), "market"), D(33)),
    ):
        with pytest.raises(CallerError, match="steps of 10"):
            orders.check(request, lots, held)


@pytest.mark.parametrize(("side", "at"), [("BUY", "100.03"), ("SELL", "99.97")])
def test_slippage_and_its_rounding_are_against_the_trader(side: Side, at: str) -> None:
    instrument = stock(price_decimals=2)
    assert orders.slipped(D(100), instrument, side, Costs(D(0), D("0.025"))) == D(at)


def test_the_fee_is_a_part_of_the_value_in_the_instruments_minor_units() -> None:
    order = Order(
        order_id="a",
        portfolio_id="p",
        request=Request("AAPL", "BUY", D("3"), "market"),
        state="FILLED",
        created_at_ms=NOW,
        updated_at_ms=NOW,
    )
    filled = orders.filled(order, D("33.335"), stock(), Costs(D("0.05"), D(0)), NOW)
    assert (filled.fee, filled.fee_currency) == (D("0.05"), "USD")
    assert orders.decode(orders.encode(filled)) == filled


def test_a_repeat_is_known_however_its_amount_is_written() -> None:
    one, same, other = (Request("AAPL", "BUY", D(text), "market") for text in ("10", "1E+1", "11"))
    assert one.digest == same.digest != other.digest


@pytest.mark.parametrize("raw", ["", "a" * 65, "a/b", "a b"])
def test_an_order_id_is_a_short_plain_name(raw: str) -> None:
    with pytest.raises(CallerError):
        orders.order_id(raw)
