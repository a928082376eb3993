"""Simulated orders of paper accounts over REST."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from foliostream.application.access import Caller, own_portfolio
from foliostream.application.margin_check import MarginCheck
from foliostream.domain import cursors, keys, orders, portfolio
from foliostream.domain.instrument import Instrument
from foliostream.domain.orders import Costs, Order, Request, State
from foliostream.domain.portfolio import Portfolio
from foliostream.errors import CallerError, ConflictError
from foliostream.ports import Clock, Instruments, Ledger, OrderPage, Orders, Prices

MAX_COMMIT_ROUNDS = 5
PAGE_SIZE = 100


class Placed(NamedTuple):
    """``created`` False: the same request came before."""

    order: Order
    created: bool


@dataclass(frozen=True)
class Ordering:
    """``stale_after_ms``: how old a price may be where its instrument says nothing; ``new_suffix`` makes ids that were
    never used before. Each use case raises ``NotFoundError`` for a portfolio that is not the caller's."""

    ledger: Ledger
    orders: Orders
    instruments: Instruments
    prices: Prices
    clock: Clock
    costs: Costs
    stale_after_ms: int
    margin_check: MarginCheck
    new_suffix: Callable[[], str]

    def place(self, caller: Caller, portfolio_id: str, order_id: str | None, request: Request) -> Placed:
        """Fill a market order now, at what the newest price gives. The id is the caller's own, under which the order
        counts once, for ever; without one the call must not be repeated.

        ``RefusedError`` with figures where the account, its books or the price do not allow it: then nothing is kept.
        ``ConflictError`` ``ORDER_EXISTS`` for an id that came with another request.
        """
        before = own_portfolio(caller, keys.portfolio_id(portfolio_id), self.ledger)
        orders.check_account(before)
        name = orders.order_id(order_id) if order_id is not None else self._new_id()
        if order_id is not None and (known := self._repeat(portfolio_id, name, request)):
            return known
        for _ in range(MAX_COMMIT_ROUNDS):
            try:
                return Placed(self._fill(before, name, request), created=True)
            except ConflictError as conflict:
                if conflict.code != "VERSION_CONFLICT" and (known := self._repeat(portfolio_id, name, request)):
                    return known
            before = own_portfolio(caller, portfolio_id, self.ledger)
        raise ConflictError(f"{portfolio_id} changed {MAX_COMMIT_ROUNDS} times meanwhile", code="TOO_MUCH_CONTENTION")

    def page(self, caller: Caller, portfolio_id: str, state: State | None, cursor: str | None) -> OrderPage:
        """The portfolio's orders, those with the highest ids first."""
        own_portfolio(caller, keys.portfolio_id(portfolio_id), self.ledger)
        name = f"orders {state} of {portfolio_id}"
        after = None if cursor is None else cursors.decode(name, cursor)
        found = self.orders.page(portfolio_id, state, after, PAGE_SIZE)
        return found._replace(cursor=None if found.cursor is None else cursors.encode(name, found.cursor))

    def _new_id(self) -> str:
        """Later ones sort after earlier ones."""
        return f"{self.clock.now_ms():013d}-{self.new_suffix()}"

    def _repeat(self, portfolio_id: str, order_id: str, request: Request) -> Placed | None:
        known = self.orders.get(portfolio_id, order_id)
        if known is None:
            return None
        if known.request.digest != request.digest:
            raise ConflictError(f"there is an order {order_id} already, with another body", code="ORDER_EXISTS")
        return Placed(known, created=False)

    def _fill(self, before: Portfolio, order_id: str, request: Request) -> Order:
        instrument = self._instrument(request)
        orders.check(request, instrument)
        price = self.prices.get([instrument.symbol]).get(instrument.symbol)
        now_ms = self.clock.now_ms()
        value = orders.market_price(price, instrument, request.side, now_ms, self.stale_after_ms)
        value = orders.slipped(value, instrument, request.side, self.costs)
        order = Order(
            order_id=order_id,
            portfolio_id=before.portfolio_id,
            request=request,
            state="FILLED",
            created_at_ms=now_ms,
            updated_at_ms=now_ms,
        )
        order = orders.filled(order, value, instrument, self.costs, now_ms)
        self._book(before, order, instrument)
        return order

    def _book(self, before: Portfolio, order: Order, instrument: Instrument) -> None:
        entries, known = [orders.entry(order)], {instrument.symbol: instrument}
        needed = portfolio.price_symbols(before, entries, known)
        prices = self.prices.get(needed) if needed else {}
        after, transactions = portfolio.apply(before, entries, known, order.updated_at_ms, prices)
        self.margin_check(before, after, entries, order.updated_at_ms)
        opened, closed = after.symbols - before.symbols, before.symbols - after.symbols
        self.ledger.commit(after, transactions, opened, closed, order)

    def _instrument(self, request: Request) -> Instrument:
        found = self.instruments.get([keys.symbol(request.instrument_id)]).get(request.instrument_id)
        if found is None:
            raise CallerError(f"no instrument {request.instrument_id} is registered", code="UNKNOWN_SYMBOL")
        return found
