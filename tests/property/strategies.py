"""Trades, prices and books as hypothesis draws them: short decimals, few symbols, so that flips and repeats happen."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st

from foliostream.domain import portfolio as books
from foliostream.domain.portfolio import Entry, Portfolio
from foliostream.domain.price import Price
from foliostream.errors import RefusedError
from tests.unit.domain.examples import NOW, booked, deposit, empty, stock

SYMBOLS = ("AAPL", "MSFT", "TSLA")
INSTRUMENTS = {
    "AAPL": stock("AAPL"),
    "MSFT": stock("MSFT", contract_size=Decimal("12.5")),
    "TSLA": stock("TSLA", price_decimals=10, allow_zero=True),
}
# No deadline: the machines that run this share their cores, and a slow example is no wrong one.
moderate = settings(max_examples=150, deadline=None)


def decimals(low: str, high: str, places: int) -> st.SearchStrategy[Decimal]:
    return st.decimals(Decimal(low), Decimal(high), places=places, allow_nan=False, allow_infinity=False)


quantities = st.one_of(st.integers(1, 40).map(Decimal), decimals("0.000001", "900", 6))
prices = st.one_of(decimals("0.01", "2000", 2), decimals("0.000001", "90", 6))
tiny_prices = st.one_of(prices, decimals("0", "0.00001", 10))
# As many digits as a request may have: a product of two needs forty, more than floats or the usual context carry.
large = decimals("1000000000", "999999999999999", 6)
fees = st.one_of(st.just(Decimal(0)), decimals("0", "25", 2), decimals("0", "1", 6))


@st.composite
def trades(
    draw: st.DrawFn,
    symbols: tuple[str, ...] = SYMBOLS,
    quantities: st.SearchStrategy[Decimal] = quantities,
    prices: st.SearchStrategy[Decimal] = prices,
) -> Entry:
    buys = draw(st.booleans())
    quantity = draw(quantities)
    return Entry(
        transaction_id=f"t{draw(st.integers(0, 10**12))}",
        transaction_type="BUY" if buys else "SELL",
        timestamp_ms=NOW,
        instrument_id=draw(st.sampled_from(symbols)),
        quantity=quantity if buys else -quantity,
        price=draw(prices),
        fee=draw(fees),
    )


@st.composite
def movements(draw: st.DrawFn) -> Entry:
    return Entry(
        transaction_id=f"m{draw(st.integers(0, 10**12))}",
        transaction_type=draw(st.sampled_from(["DEPOSIT", "WITHDRAWAL"])),
        timestamp_ms=NOW,
        amount=draw(decimals("0.000001", "5000", 6)),
    )


entries = st.lists(st.one_of(trades(), trades(), trades(), movements()), max_size=25)


@st.composite
def quotes(draw: st.DrawFn, *, complete: bool = False) -> dict[str, Price]:
    """Prices of the symbols, some missing or old unless ``complete``; some opens missing."""
    found = {}
    for symbol in SYMBOLS:
        if complete or draw(st.integers(0, 5)):
            opened = draw(st.one_of(st.none(), prices))
            age = draw(st.sampled_from([0, 1, 900_000, 900_001]))
            drawn = draw(tiny_prices if symbol == "TSLA" else prices)
            found[symbol] = Price(last=drawn, last_ts_ms=NOW - age, open=opened, previous_close=opened)
    return found


class History(NamedTuple):
    """A book, the entries it accepted in order, and the book they started from."""

    start: Portfolio
    accepted: list[Entry]
    after: Portfolio


def run(start: Portfolio, given: list[Entry]) -> History:
    """Book what is accepted, each entry for itself."""
    accepted, portfolio = [], start
    for entry in given:
        try:
            portfolio = booked(portfolio, entry, instruments=INSTRUMENTS)
        except RefusedError:
            continue
        accepted.append(entry)
    return History(start, accepted, portfolio)


@st.composite
def histories(draw: st.DrawFn) -> History:
    start = empty(allow_short=draw(st.booleans()))
    cash = draw(decimals("0", "100000", 2))
    return run(booked(start, deposit(str(cash))) if cash else start, draw(entries))


def replayed(history: History) -> Portfolio:
    """The accepted entries booked in one update."""
    after, _ = books.apply(history.start, history.accepted, INSTRUMENTS, NOW)
    return after
