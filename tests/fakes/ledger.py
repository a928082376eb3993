"""The ledger in memory, with the limits and refusals of the real one."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from decimal import Decimal
from threading import Lock

from foliostream.domain import changes, history, orders
from foliostream.domain import portfolio as books
from foliostream.domain.changes import Change
from foliostream.domain.fills import Side
from foliostream.domain.history import Day
from foliostream.domain.keys import stable_hash
from foliostream.domain.orders import MAX_OPEN, Order, State
from foliostream.domain.portfolio import Portfolio, Transaction
from foliostream.errors import CallerError, ConflictError, RefusedError
from foliostream.ports import WALK_BUCKETS, Booking, OrderChange, OrderPage, Page
from tests.fakes.accounts import FakeAccounts

ITEMS_MAX = 100
BOOK_BYTES_MAX = 399 * 1024


class FakeLedger:
    """Implements ``ports.Ledger`` and ``ports.Orders``; ``holders`` are the (portfolio key, symbol) pairs it keeps,
    ``changes`` the records of changes."""

    def __init__(self) -> None:
        self.holders: set[tuple[str, str]] = set()
        self.changes: list[Change] = []
        self._days: dict[tuple[str, str], bytes] = {}
        self._books: dict[str, bytes] = {}
        self._digests: dict[str, str] = {}
        self._transactions: dict[tuple[str, str], bytes] = {}
        self._orders: dict[tuple[str, str], bytes] = {}
        self._lock = Lock()
        self.accounts = FakeAccounts()

    def load(self, portfolio_ids: Collection[str]) -> dict[str, Portfolio]:
        return {name: books.decode(self._books[name]) for name in portfolio_ids if name in self._books}

    def create(self, portfolio: Portfolio, transactions: Sequence[Transaction], request_digest: str) -> None:
        _check(portfolio, 2 + len(transactions) + len(portfolio.symbols))
        with self._lock:
            if portfolio.portfolio_id in self._books:
                raise ConflictError(f"portfolio {portfolio.portfolio_id} exists", code="PORTFOLIO_EXISTS")
            self.accounts.join(portfolio)
            self._digests[portfolio.portfolio_id] = request_digest
            self._store(portfolio, transactions, portfolio.symbols, ())

    def request_digest(self, portfolio_id: str) -> str | None:
        return self._digests.get(portfolio_id)

    def commit(
        self,
        portfolio: Portfolio,
        transactions: Sequence[Transaction],
        opened: Collection[str],
        closed: Collection[str],
        order: OrderChange | None = None,
    ) -> None:
        removed = set(closed) - set(opened)
        _check(portfolio, 1 + len(transactions) + len(set(opened)) + len(removed) + (order is not None))
        with self._lock:
            known = [name for name in map(_id, transactions) if (portfolio.portfolio_id, name) in self._transactions]
            if known:
                details = [{"transaction_id": name} for name in known]
                raise ConflictError(f"already booked: {known}", code="TRANSACTION_EXISTS", details=details)
            if order is not None:
                self._check_order(order)
            self._check_version(portfolio)
            if order is not None:
                self._keep_order(order.after)
            self._store(portfolio, transactions, opened, removed)

    def commit_together(self, bookings: Sequence[Booking]) -> None:
        sizes = [
            1 + len(item.transactions) + len(set(item.opened)) + len(set(item.closed) - set(item.opened))
            for item in bookings
        ]
        for item in bookings:
            _check(item.portfolio, sum(sizes))
        with self._lock:
            for item in bookings:
                owner = item.portfolio.portfolio_id
                known = [name for name in map(_id, item.transactions) if (owner, name) in self._transactions]
                if known:
                    raise ConflictError(f"already booked: {known}", code="TRANSACTION_EXISTS")
                self._check_version(item.portfolio)
            for item in bookings:
                self._store(item.portfolio, item.transactions, item.opened, set(item.closed) - set(item.opened))

    def change(self, change: OrderChange) -> None:
        with self._lock:
            self._check_order(change)
            if change.before is None and len(self._open(change.after.portfolio_id)) >= MAX_OPEN:
                raise RefusedError("too many open orders", code="TOO_MANY_ORDERS")
            self._keep_order(change.after)

    def within(self, symbol: str, side: Side, price: Decimal, limit: int) -> list[Order]:
        mine = [item for item in self._open() if (item.request.instrument_id, item.request.side) == (symbol, side)]
        return [item for item in mine if item.request.takes(price)][:limit]

    def are_open(self, symbol: str) -> bool:
        return symbol in self.symbols()

    def symbols(self) -> Iterator[str]:
        return iter({order.request.instrument_id for order in self._open()})

    def _open(self, portfolio_id: str | None = None) -> list[Order]:
        known = [orders.decode(raw) for raw in self._orders.values()]
        return [item for item in known if item.state == "OPEN" and portfolio_id in (None, item.portfolio_id)]

    def _check_order(self, change: OrderChange) -> None:
        stored = self.get(change.after.portfolio_id, change.after.order_id)
        if (stored is None) != (change.before is None) or (stored is not None and stored.state != "OPEN"):
            raise ConflictError(f"{change.after.order_id} has changed", code="ORDER_CHANGED")

    def _keep_order(self, order: Order) -> None:
        self._orders[order.portfolio_id, order.order_id] = orders.encode(order)

    def get(self, portfolio_id: str, order_id: str) -> Order | None:
        raw = self._orders.get((portfolio_id, order_id))
        return None if raw is None else orders.decode(raw)

    def page(self, portfolio_id: str, state: State | None, after: str | None, limit: int) -> OrderPage:
        names = sorted((name for owner, name in self._orders if owner == portfolio_id), reverse=True)
        known = [orders.decode(self._orders[portfolio_id, name]) for name in names if after is None or name < after]
        found = [order for order in known if state in (None, order.state)]
        return OrderPage(found[:limit], found[limit - 1].order_id if len(found) > limit else None)

    def _check_version(self, portfolio: Portfolio) -> None:
        stored = self._books.get(portfolio.portfolio_id)
        if stored is None or books.decode(stored).version != portfolio.version - 1:
            raise ConflictError(f"{portfolio.portfolio_id} has moved on", code="VERSION_CONFLICT")

    def transactions(self, portfolio_id: str, transaction_ids: Collection[str]) -> dict[str, Transaction]:
        found = {name: self._transactions.get((portfolio_id, name)) for name in transaction_ids}
        return {name: books.decode_transaction(raw) for name, raw in found.items() if raw is not None}

    def owned(self, owner: str, cursor: str | None, limit: int) -> Page:
        after = ""
        if cursor is not None:
            after = cursor.partition("~")[0]
            if cursor != _cursor(owner, after):
                raise CallerError("the cursor is not one of this list", code="INVALID_CURSOR")
        owned = sorted(name for name, raw in self._books.items() if books.decode(raw).owner == owner and name > after)
        page = owned[:limit]
        return Page(page, _cursor(owner, page[-1]) if len(owned) > limit else None)

    def newest(self, portfolio_id: str, sequence: int, limit: int) -> list[Transaction]:
        mine = [books.decode_transaction(raw) for (name, _), raw in self._transactions.items() if name == portfolio_id]
        by_sequence = {transaction.sequence: transaction for transaction in mine}
        return [by_sequence[number] for number in range(sequence, max(sequence - limit, 0), -1)]

    def amend(self, portfolio: Portfolio, change: Change) -> None:
        _check(portfolio, 2)
        with self._lock:
            self._check_version(portfolio)
            self.changes.append(changes.decode(changes.encode(change)))
            self._store(portfolio, (), (), ())

    def close_day(self, portfolio: Portfolio, day: Day | None, closed: Collection[str] = ()) -> None:
        _check(portfolio, 2 + len(closed))
        with self._lock:
            self._check_version(portfolio)
            if day is not None:
                key = portfolio.portfolio_id, day.day
                if key in self._days:
                    raise ConflictError(f"{key} is there", code="DAY_EXISTS")
                self._days[key] = history.encode(day)
            self._store(portfolio, (), (), closed)

    def days(self, portfolio_id: str, first: str, last: str) -> list[Day]:
        names = sorted(day for name, day in self._days if name == portfolio_id and first <= day <= last)
        return [history.decode(self._days[portfolio_id, name]) for name in names]

    def last_day(self, portfolio_id: str) -> Day | None:
        return next(reversed(self.days(portfolio_id, "", "~")), None)

    def walk(self, bucket: int, after: str | None, limit: int) -> Page:
        places = sorted((stable_hash(name), name) for name in self._books if stable_hash(name) % WALK_BUCKETS == bucket)
        rest = [name for place, name in places if after is None or place > stable_hash(after)]
        return Page(rest[:limit], rest[limit - 1] if len(rest) > limit else None)

    def _store(
        self,
        portfolio: Portfolio,
        transactions: Sequence[Transaction],
        opened: Collection[str],
        closed: Collection[str],
    ) -> None:
        self._books[portfolio.portfolio_id] = books.encode(portfolio)
        for transaction in transactions:
            self._transactions[portfolio.portfolio_id, _id(transaction)] = books.encode_transaction(transaction)
        self.holders -= {(portfolio.key, symbol) for symbol in closed}
        self.holders |= {(portfolio.key, symbol) for symbol in opened}


def _id(transaction: Transaction) -> str:
    return transaction.entry.transaction_id


def _cursor(owner: str, after: str) -> str:
    return f"{after}~{stable_hash(f'{owner}|{after}'):x}"


def _check(portfolio: Portfolio, items: int) -> None:
    if items > ITEMS_MAX:
        details = [{"limit": ITEMS_MAX, "value": items}]
        raise RefusedError(f"{items} items, at most {ITEMS_MAX}", code="TOO_MANY_ITEMS", details=details)
    if len(books.encode(portfolio)) >= BOOK_BYTES_MAX:
        raise RefusedError("the portfolio is too large", code="PORTFOLIO_TOO_LARGE")
