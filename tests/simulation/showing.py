"""What a snapshot shows: the one place that knows what a stored snapshot looks like."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from foliostream.domain import price, snapshot
from foliostream.domain.portfolio import Portfolio
from foliostream.domain.price import Price
from foliostream.domain.snapshot import Snapshot
from foliostream.ports import StoredSnapshot


def decoded(stored: StoredSnapshot) -> Snapshot:
    """A snapshot at rest."""
    return snapshot.decode(stored.body)


def marks(shown: Snapshot) -> dict[str, Decimal]:
    """The price of each symbol that has one."""
    return marks_of(shown.prices)


def marks_of(prices: Mapping[str, Price]) -> dict[str, Decimal]:
    """The same of prices as they are stored."""
    return {symbol: mark.value for symbol, quote in prices.items() if (mark := price.mark(quote)) is not None}


def total(book: Portfolio, marked: Mapping[str, Decimal]) -> Decimal | None:
    """What an account in dollars is worth, of a margin account its equity; None where a price is missing."""
    if book.positions.keys() - marked.keys():
        return None
    worth = sum((item.quantity * marked[name] for name, item in book.positions.items()), book.cash["USD"])
    if book.account_kind == "margin":
        worth -= sum(item.signed_cost for item in book.positions.values())
    return worth
