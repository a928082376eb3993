"""Portfolios and updates, written short."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from foliostream.domain import portfolio as rules
from foliostream.domain.instrument import Instrument
from foliostream.domain.portfolio import AccountType, Entry, Portfolio, Transaction
from foliostream.errors import ConflictError
from foliostream.ports import Ledger

NOW_MS = 1_767_225_600_000
INSTRUMENTS = {name: Instrument(name, "stock", "USD") for name in ("AAPL", "MSFT", "KO")}
ROUNDS_MAX = 500


def empty(portfolio_id: str, *, owner: str = "alice", account_type: AccountType = "live") -> Portfolio:
    return Portfolio(
        portfolio_id=portfolio_id,
        portfolio_name=f"The books of {owner}",
        owner=owner,
        account_type=account_type,
        account_kind="cash",
        base_currency="USD",
        cost_basis="average",
        created_at_ms=NOW_MS,
        updated_at_ms=NOW_MS,
        cash={"USD": Decimal("1000000.000001")},
    )


def deposit(name: str, amount: str = "1") -> Entry:
    return Entry(name, "DEPOSIT", NOW_MS, amount=Decimal(amount), currency="USD")


def buy(name: str, symbol: str, quantity: str = "1", price: str = "10.123456") -> Entry:
    return Entry(name, "BUY", NOW_MS, instrument_id=symbol, quantity=Decimal(quantity), price=Decimal(price))


def sell(name: str, symbol: str, quantity: str = "1", price: str = "10") -> Entry:
    return Entry(name, "SELL", NOW_MS, instrument_id=symbol, quantity=-Decimal(quantity), price=Decimal(price))


def booked(before: Portfolio, *entries: Entry) -> tuple[Portfolio, list[Transaction]]:
    return rules.apply(before, entries, INSTRUMENTS, NOW_MS)


def commit(ledger: Ledger, before: Portfolio, *entries: Entry) -> Portfolio:
    after, transactions = booked(before, *entries)
    ledger.commit(after, transactions, after.symbols - before.symbols, before.symbols - after.symbols)
    return after


def commit_until_done(ledger: Ledger, portfolio_id: str, entries: Sequence[Entry]) -> None:
    """As the use case does: read again and book again when somebody else was first."""
    for _ in range(ROUNDS_MAX):
        try:
            commit(ledger, ledger.load([portfolio_id])[portfolio_id], *entries)
        except ConflictError as conflict:
            if conflict.code != "VERSION_CONFLICT":
                raise
        else:
            return
    raise AssertionError(f"no commit within {ROUNDS_MAX} rounds")
