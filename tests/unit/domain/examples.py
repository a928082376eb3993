"""Books, entries and prices that tests are made of; amounts are given as text, as people write them."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from itertools import count
from typing import Any

from foliostream.domain import portfolio as books
from foliostream.domain import valuation
from foliostream.domain.instrument import Instrument
from foliostream.domain.portfolio import Entry, Portfolio, Position, TransactionType
from foliostream.domain.price import Price
from foliostream.domain.valuation import PortfolioState, Snapshot, Valuation

NOW = 1_772_101_800_000  # 2026-02-26T10:30:00.000Z
STALE_AFTER_MS = 900_000
_ids = count(1)


def stock(symbol: str = "AAPL", **changes: Any) -> Instrument:  # noqa: ANN401
    return Instrument(**{"symbol": symbol, "kind": "stock", "currency": "USD"} | changes)


INSTRUMENTS = {symbol: stock(symbol) for symbol in ("AAPL", "GOOGL", "MSFT", "OTHER", "TSLA")}


def empty(**changes: Any) -> Portfolio:  # noqa: ANN401
    """A live cash portfolio of alice in USD with nothing in it."""
    fields = {
        "portfolio_id": "12345",
        "portfolio_name": "Growth",
        "owner": "alice",
        "account_type": "live",
        "account_kind": "cash",
        "base_currency": "USD",
        "cost_basis": "average",
        "created_at_ms": NOW,
        "updated_at_ms": NOW,
        "cash": {"USD": Decimal(0)},
    }
    return Portfolio(**fields | changes)


def funded(cash: str, **changes: Any) -> Portfolio:  # noqa: ANN401
    return booked(empty(**changes), deposit(cash))


def trade(kind: TransactionType, quantity: str, price: str, fee: str = "0", **changes: Any) -> Entry:  # noqa: ANN401
    fields = {
        "transaction_id": f"t{next(_ids)}",
        "transaction_type": kind,
        "timestamp_ms": NOW,
        "instrument_id": "AAPL",
        "quantity": Decimal(quantity) if kind == "BUY" else -Decimal(quantity),
        "price": Decimal(price),
        "fee": Decimal(fee),
    }
    return Entry(**fields | changes)


def buy(quantity: str, price: str, fee: str = "0", **changes: Any) -> Entry:  # noqa: ANN401
    return trade("BUY", quantity, price, fee, **changes)


def sell(quantity: str, price: str, fee: str = "0", **changes: Any) -> Entry:  # noqa: ANN401
    return trade("SELL", quantity, price, fee, **changes)


def cash(kind: TransactionType, amount: str, **changes: Any) -> Entry:  # noqa: ANN401
    fields = {
        "transaction_id": f"t{next(_ids)}",
        "transaction_type": kind,
        "timestamp_ms": NOW,
        "amount": Decimal(amount),
    }
    return Entry(**fields | changes)


def deposit(amount: str, **changes: Any) -> Entry:  # noqa: ANN401
    return cash("DEPOSIT", amount, **changes)


def withdrawal(amount: str, **changes: Any) -> Entry:  # noqa: ANN401
    return cash("WITHDRAWAL", amount, **changes)


def booked(
    portfolio: Portfolio, *entries: Entry, instruments: dict[str, Instrument] | None = None, now_ms: int = NOW
) -> Portfolio:
    """The portfolio after the entries, each booked for itself."""
    for entry in entries:
        portfolio, _ = books.apply(portfolio, [entry], instruments or INSTRUMENTS, now_ms)
    return portfolio


def position(portfolio: Portfolio, symbol: str = "AAPL") -> Position:
    return portfolio.positions[symbol]


def last(price: str, *, ts_ms: int = NOW, **others: str) -> Price:
    """A price that is a last trade; others: ``open``, ``previous_close``."""
    return Price(last=Decimal(price), last_ts_ms=ts_ms, **{name: Decimal(value) for name, value in others.items()})


def valued(
    portfolio: Portfolio,
    prices: Mapping[str, Price],
    *,
    instruments: Mapping[str, Instrument] | None = None,
    read_at_ms: int = NOW,
    previous_version: int = 0,
) -> Valuation:
    return valuation.value(
        portfolio,
        prices,
        INSTRUMENTS if instruments is None else instruments,
        read_at_ms=read_at_ms,
        previous_version=previous_version,
        stale_after_ms=STALE_AFTER_MS,
    )


def state(portfolio: Portfolio, prices: Mapping[str, Price], **others: Any) -> PortfolioState:  # noqa: ANN401
    return valued(portfolio, prices, **others).state


def snapshot(portfolio: Portfolio, prices: Mapping[str, Price], **others: Any) -> Snapshot:  # noqa: ANN401
    return valued(portfolio, prices, **others).snapshot
