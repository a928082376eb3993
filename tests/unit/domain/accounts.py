"""Margin accounts, quotes and rates that tests are made of; amounts are given as text, as people write them."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from foliostream.domain import margin
from foliostream.domain.instrument import Instrument, MarginTier
from foliostream.domain.margin import Basis, Line, Margin, Market, Required, Sides
from foliostream.domain.portfolio import Portfolio, Position
from foliostream.domain.price import Price
from foliostream.domain.rates import SAME, Rate
from tests.unit.domain.examples import NOW, STALE_AFTER_MS, empty


def forex(symbol: str = "EURUSD", **changes: Any) -> Instrument:  # noqa: ANN401
    fields = {"symbol": symbol, "kind": "forex", "currency": symbol[3:], "base_currency": symbol[:3]}
    return Instrument(**fields | {"contract_size": Decimal(100_000), "price_decimals": 5} | changes)


def cfd(symbol: str = "XAUUSD", currency: str = "USD", **changes: Any) -> Instrument:  # noqa: ANN401
    return Instrument(**{"symbol": symbol, "kind": "cfd", "currency": currency} | changes)


def tiers(**rates: str) -> tuple[MarginTier, ...]:
    """``from_0="0.01"``."""
    return tuple(MarginTier(Decimal(name.removeprefix("from_")), Decimal(rate)) for name, rate in rates.items())


def quote(bid: str | None, ask: str | None, ts_ms: int = NOW) -> Price:
    return Price(bid and Decimal(bid), ask and Decimal(ask), quote_ts_ms=ts_ms)


def account(balance: str, **changes: Any) -> Portfolio:  # noqa: ANN401
    """A demo margin account of alice in USD, leverage 1:30."""
    fields = {"account_type": "demo", "account_kind": "margin", "leverage": Decimal(30)} | changes
    currency = str(fields.get("base_currency", "USD"))
    return empty(**fields | {"cash": {currency: Decimal(balance)}})


def held(quantity: str, average: str, instrument: Instrument, opened_at_ms: int = NOW) -> Position:
    units = abs(Decimal(quantity)) * instrument.multiplier
    return Position(
        quantity=Decimal(quantity),
        cost=units * Decimal(average),
        realized_pnl=Decimal(0),
        fees=Decimal(0),
        multiplier=instrument.multiplier,
        currency=instrument.currency,
        opened_at_ms=opened_at_ms,
        updated_at_ms=opened_at_ms,
    )


def line(
    quantity: str, average: str, bid: str | None, ask: str | None, instrument: Instrument | None = None,
    rate: Rate | None = SAME, opened_at_ms: int = NOW,
) -> Line:  # fmt: skip
    instrument = instrument or cfd()
    sides = Sides(bid and Decimal(bid), ask and Decimal(ask))  # type: ignore[arg-type]
    return Line(instrument.symbol, held(quantity, average, instrument, opened_at_ms), instrument, sides, rate)


def market(prices: Mapping[str, Price], *instruments: Instrument, now_ms: int = NOW) -> Market:
    return Market(prices, {item.symbol: item for item in instruments}, now_ms, STALE_AFTER_MS)


def figures(balance: str, *lines: Line, leverage: str | None = "30", basis: Basis = "current") -> Margin:
    return margin.figures(Decimal(balance), Decimal(leverage) if leverage else None, lines, basis)


def at_level(percent: str) -> Margin:
    """An account whose level is exactly that: so much equity, and 100 used."""
    equity, used = Decimal(percent), Decimal(100)
    return Margin(equity, None, equity, used, equity - used, equity, used, None, Required(rated=used), {}, ())
