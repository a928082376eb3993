"""What is stored of a portfolio and what is rendered of it are one valuation, whatever the book."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from foliostream.domain import money, valuation
from foliostream.domain import snapshot as snapshots
from foliostream.domain.account import Portfolio, Split
from foliostream.domain.instrument import Instrument
from foliostream.domain.price import Price
from tests.property.strategies import INSTRUMENTS, SYMBOLS, histories, moderate, tiny_prices
from tests.unit.domain.examples import NOW, STALE_AFTER_MS, booked, buy, deposit, empty, stock

AGES = st.sampled_from([0, 1, 900_000, 900_001])
# Valued at the side they would be closed at, longs and shorts apart.
CFD = {"GOLD": stock("GOLD", kind="cfd", contract_size=Decimal(100))}
FOREIGN = {"SAP": stock("SAP", currency="EUR"), "GBPUSD": Instrument("GBPUSD", "forex", "USD", "GBP")}


@st.composite
def prices(draw: st.DrawFn, *names: str) -> dict[str, Price]:
    """Of any of the names: a last trade, both sides of a quote, one side, or nothing."""
    found = {}
    for name in draw(st.sets(st.sampled_from(names))):
        low, ts_ms = draw(tiny_prices), NOW - draw(AGES)
        high = low + draw(tiny_prices)
        found[name] = draw(
            st.sampled_from([
                Price(last=low, last_ts_ms=ts_ms, open=high, previous_close=low),
                Price(bid=low, ask=high, quote_ts_ms=ts_ms, quote_seq=2**60),
                Price(ask=high, quote_ts_ms=ts_ms, last_ts_ms=ts_ms),
            ])
        )  # fmt: skip
    return found


@st.composite
def margin_books(draw: st.DrawFn) -> Portfolio:
    """Long and short, one position of them maybe split a while ago."""
    book = booked(empty(account_kind="margin", leverage=Decimal(10), allow_short=True), deposit("10000"))
    for symbol in draw(st.sets(st.sampled_from([*SYMBOLS, *CFD]), min_size=1)):
        units = draw(st.integers(-9, 9).filter(bool))
        kind = "BUY" if units > 0 else "SELL"
        entry = replace(buy("1", "100"), quantity=Decimal(units), instrument_id=symbol, transaction_type=kind)
        book = booked(book, entry, instruments=INSTRUMENTS | CFD)
    if draw(st.booleans()):
        symbol, held = next(iter(book.positions.items()))
        after = replace(held, splits=(Split(NOW - 1, Decimal(4), Decimal(1)),))
        book = replace(book, positions={**book.positions, symbol: after})
    return book


def agree(book: Portfolio, at: dict[str, Price], instruments: dict[str, Instrument]) -> None:
    found = valuation.value(book, at, instruments, read_at_ms=NOW, previous_version=0, stale_after_ms=STALE_AFTER_MS)
    stored = snapshots.decode(snapshots.encode(found.snapshot))
    assert stored == found.snapshot
    assert stored.prices == {symbol: at[symbol] for symbol in book.symbols if symbol in at}
    # Prices that the book does not depend on say nothing: what is stored is enough.
    assert valuation.render(stored, book, instruments, stale_after_ms=STALE_AFTER_MS) == found.state
    total = stored.total_value
    assert found.state.total_value == (None if total is None else money.money(total, book.base_currency))
    assert stored.calc_status == found.state.calc_status
    assert (stored.total_value is None) == bool(found.state.unpriced)
    assert (stored.fresh_until_ms <= NOW) <= bool(found.state.stale)
    assert stored.fresh_until_ms > NOW or found.state.calc_status != "ok"


@moderate
@given(st.data())
def test_a_cash_account_is_worth_what_is_rendered_of_it(data: st.DataObject) -> None:  # G5, G7, G12
    agree(data.draw(histories()).after, data.draw(prices(*SYMBOLS, "OTHER")), INSTRUMENTS)


@moderate
@given(margin_books(), prices(*SYMBOLS, *CFD))
def test_a_margin_accounts_equity_is_what_is_rendered_of_it(book: Portfolio, at: dict[str, Price]) -> None:
    agree(book, at, INSTRUMENTS | CFD)


@moderate
@given(margin_books(), prices(*SYMBOLS), st.sampled_from([Decimal(4), Decimal(2)]), st.sampled_from([1, 10**9]))
def test_a_split_that_an_instrument_tells_is_in_both(
    book: Portfolio, at: dict[str, Price], new: Decimal, before_ms: int
) -> None:
    told = (Split(NOW - before_ms, new, Decimal(1)),)
    agree(book, at, {symbol: replace(instrument, splits=told) for symbol, instrument in INSTRUMENTS.items()})


@moderate
@given(prices("SAP", "EURUSD", "USDEUR", "GBPUSD", "EURINR", "USDINR"))
def test_a_portfolio_in_two_currencies_is_worth_what_is_rendered_of_it(at: dict[str, Price]) -> None:
    rich = booked(empty(), deposit("1000", currency="EUR", fx_rate=Decimal("1.1")), deposit("20"))
    book = booked(rich, buy("2", "100", instrument_id="SAP"), instruments=INSTRUMENTS | FOREIGN)
    agree(book, at, INSTRUMENTS | FOREIGN)
