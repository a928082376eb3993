"""A paper account back to its start: by transactions, so that its history stays whole and can be replayed."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from foliostream.domain import marking, money, splitting
from foliostream.domain.instrument import Instrument
from foliostream.domain.money import ZERO
from foliostream.domain.portfolio import Entry, Portfolio, Position
from foliostream.domain.price import Price

REASON = "reset"
_TRANSACTION_PREFIX = "reset:"


def is_of_reset(transaction_id: str) -> bool:
    """Whether the id is one that a reset books under: nobody else may take it."""
    return transaction_id.startswith(_TRANSACTION_PREFIX)


def entries(
    portfolio: Portfolio,
    starting_cash: Decimal,
    instruments: Mapping[str, Instrument],
    prices: Mapping[str, Price],
    now_ms: int,
) -> list[Entry]:
    """What is left to be booked: every position out in kind at its mark (at its average price where it has none), then
    every currency's cash to what it was at the start. Nothing for a portfolio that is as it began.

    The ids name the version they are booked on, so that each part of a reset counts once.
    """
    kinds: list[dict[str, Any]] = [
        _transfer(symbol, position, instruments[symbol], prices.get(symbol))
        for symbol, position in sorted(portfolio.positions.items())
    ]
    kinds += [
        {"amount": rest, "currency": currency}
        for currency, amount in sorted(portfolio.cash.items())
        for rest in (_missing(amount, starting_cash if currency == portfolio.base_currency else ZERO),)
        if rest
    ]
    return [
        Entry(
            transaction_id=f"{_TRANSACTION_PREFIX}{portfolio.version}:{number}",
            transaction_type="ADJUSTMENT",
            timestamp_ms=now_ms,
            reason=REASON,
            reported=True,
            **fields,
        )
        for number, fields in enumerate(kinds)
    ]


def _missing(amount: Decimal, target: Decimal) -> Decimal:
    """Nothing where it is less than the books can take."""
    return money.rounded(money.EXACT.subtract(target, amount), money.BOOKED_RATE_DECIMALS)


def _transfer(symbol: str, position: Position, instrument: Instrument, price: Price | None) -> dict[str, Any]:
    found = marking.mark(price, instrument, long=position.quantity > ZERO)
    value = position.average_price
    if found is not None:
        value = money.EXACT.divide(
            found.value, splitting.factor(splitting.known(position.splits, instrument), found.ts_ms)
        )
    return {
        "instrument_id": symbol,
        "quantity": -position.quantity,
        "price": money.rounded(value, instrument.price_places),
        "in_kind": True,
    }
