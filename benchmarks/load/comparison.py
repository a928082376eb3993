"""Every portfolio once more, by the slow reference of the books that shares nothing with what is measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction

from benchmarks.load.generator import Sent, SentFill
from benchmarks.load.plan import CASH, FIRST_PRICE, FIRST_QUANTITY, Account
from foliostream.adapters.dynamodb_ledger import DynamoDbLedger
from foliostream.adapters.redis_connection import RedisConnection
from foliostream.adapters.redis_hot_store import RedisHotStore
from foliostream.adapters.system_clock import SystemClock
from foliostream.domain import snapshot as snapshots
from local.cloud import Outputs
from tests.property.reference import Books, Event, Paper

AT_ONCE = 100


class Comparison:
    """Of what is stored with what was sent."""

    def __init__(self, outputs: Outputs, accounts: Sequence[Account], shards: int) -> None:
        self._accounts = accounts
        self._ids = [account.portfolio_id for account in accounts]
        self._connection = RedisConnection(outputs.redis_url, shards=shards)
        self._hot = RedisHotStore(self._connection, SystemClock())
        self._ledger = DynamoDbLedger(outputs.aws("dynamodb"), outputs.resources["LedgerTableName"])

    def close(self) -> None:
        """Of the hot store."""
        self._connection.close()

    def totals(self) -> dict[str, Decimal | None]:
        """What the stored snapshots say; None where there is none."""
        found = self._hot.read(self._ids)
        bodies = {name: snapshots.decode(stored.body) for name, stored in found.items()}
        return {name: bodies[name].total_value if name in bodies else None for name in self._ids}

    def versions(self) -> dict[str, int]:
        """Of the stored snapshots."""
        return {name: stored.head.version for name, stored in self._hot.read(self._ids).items()}

    def wrong_books(self, expected: Mapping[str, Books]) -> Iterator[str]:
        """Cash and quantities of the ledger."""
        for start in range(0, len(self._ids), AT_ONCE):
            for name, found in self._ledger.load(self._ids[start : start + AT_ONCE]).items():
                wanted = {symbol: holding.quantity for symbol, holding in expected[name].held.items()}
                held = {symbol: Fraction(position.quantity) for symbol, position in found.positions.items()}
                if held != wanted or Fraction(found.cash["USD"]) != expected[name].cash["USD"]:
                    yield f"{name} holds {held} and {found.cash}, expected {wanted} and {expected[name].cash['USD']}"


def reference(accounts: Sequence[Account], fills: Sequence[SentFill]) -> dict[str, Books]:
    """The books as they must be."""
    found = {account.portfolio_id: _opened(account) for account in accounts}
    for fill in fills:
        price = Fraction(fill.price)
        found[fill.portfolio_id].book(Event("BUY", fill.symbol, Fraction(fill.quantity), price, reported=True), {})
    return found


def expected_totals(expected: Mapping[str, Books], sent: Sent) -> dict[str, Decimal]:
    """At the last prices."""
    marks = {symbol: Fraction(price) for symbol, price in sent.prices.items()}
    totals = {name: books.total(marks, {}) for name, books in expected.items()}
    return {name: Decimal(total.numerator) / Decimal(total.denominator) for name, total in totals.items()}


def _opened(account: Account) -> Books:
    papers = {symbol: Paper(symbol, "stock", "USD") for symbol in account.symbols}
    books = Books(papers, "USD", margin=False, fifo=False)
    books.book(Event("DEPOSIT", amount=Fraction(CASH), currency="USD"), {})
    for symbol in account.symbols:
        books.book(Event("BUY", symbol, Fraction(FIRST_QUANTITY), Fraction(FIRST_PRICE)), {})
    return books
