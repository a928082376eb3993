"""Simulated orders of paper accounts over REST."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from foliostream.application.access import Caller, own_portfolio
from foliostream.application.executing import Execution
from foliostream.application.fill_orders import FillReport, OrderFiller
from foliostream.domain import cursors, keys, orders
from foliostream.domain.instrument import Instrument
from foliostream.domain.money import ZERO
from foliostream.domain.orders import Order, Request, State
from foliostream.domain.portfolio import Portfolio
from foliostream.errors import ConflictError, NotFoundError, RefusedError, RetryableError
from foliostream.ports import OrderChange, OrderHints, OrderPage, Orders

log = logging.getLogger(__name__)

MAX_COMMIT_ROUNDS = 5
PAGE_SIZE = 100


class Placed(NamedTuple):
    """``created`` False: the same request came before."""

    order: Order
    created: bool


@dataclass(frozen=True)
class Ordering:
    """``new_suffix`` makes ids that were never used before. Each use case raises ``NotFoundError`` for a portfolio that
    is not the caller's."""

    execution: Execution
    orders: Orders
    hints: OrderHints
    filler: OrderFiller
    new_suffix: Callable[[], str]

    def place(self, caller: Caller, portfolio_id: str, order_id: str | None, request: Request) -> Placed:
        """Fill a market order now, at what the newest price gives; a limit order too where that is within its limit,
        else it stays OPEN for the ticks to come. The id is the caller's own, under which the order counts once, for
        ever; without one the call must not be repeated.

        ``RefusedError`` with figures where the account, its books or (a market order) the price do not allow it: then
        nothing is kept. ``ConflictError`` ``ORDER_EXISTS`` for an id that came with another request.
        """
        before = self._own(caller, portfolio_id)
        orders.check_account(before)
        name = orders.order_id(order_id) if order_id is not None else self._new_id()
        if order_id is not None and (known := self._repeat(portfolio_id, name, request)):
            return known
        instrument = self.execution.instrument(request.instrument_id)
        position = before.positions.get(request.instrument_id)
        orders.check(request, instrument, position.quantity if position else ZERO)
        for _ in range(MAX_COMMIT_ROUNDS):
            try:
                if request.order_type == "market":
                    return Placed(self._fill(before, name, request, instrument), created=True)
                return Placed(self._rest(before, name, request, instrument), created=True)
            except ConflictError as conflict:
                if conflict.code != "VERSION_CONFLICT" and (known := self._repeat(portfolio_id, name, request)):
                    return known
            before = self._own(caller, portfolio_id)
        raise ConflictError(f"{portfolio_id} changed {MAX_COMMIT_ROUNDS} times meanwhile", code="TOO_MUCH_CONTENTION")

    def page(self, caller: Caller, portfolio_id: str, state: State | None, cursor: str | None) -> OrderPage:
        """The portfolio's orders, those with the highest ids first."""
        self._own(caller, portfolio_id)
        name = f"orders {state} of {portfolio_id}"
        after = None if cursor is None else cursors.decode(name, cursor)
        found = self.orders.page(portfolio_id, state, after, PAGE_SIZE)
        return found._replace(cursor=None if found.cursor is None else cursors.encode(name, found.cursor))

    def cancel(self, caller: Caller, portfolio_id: str, order_id: str) -> Order:
        """The cancelled order; a repeat changes nothing. ``ConflictError`` ``ORDER_FILLED`` or ``ORDER_REJECTED`` where
        that was first."""
        self._own(caller, portfolio_id)
        order = self._known(portfolio_id, orders.order_id(order_id))
        if order.state == "OPEN":
            cancelled = orders.ended(order, "CANCELLED", self.execution.clock.now_ms())
            try:
                self.orders.change(OrderChange(order, cancelled))
            except ConflictError:
                order = self._known(portfolio_id, order_id)
            else:
                return cancelled
        if order.state != "CANCELLED":
            raise ConflictError(f"order {order_id} is {order.state} already", code=f"ORDER_{order.state}")
        return order

    def _own(self, caller: Caller, portfolio_id: str) -> Portfolio:
        return own_portfolio(caller, keys.portfolio_id(portfolio_id), self.execution.ledger)

    def _known(self, portfolio_id: str, order_id: str) -> Order:
        order = self.orders.get(portfolio_id, order_id)
        if order is None:
            raise NotFoundError(f"{portfolio_id} has no order {order_id}", code="ORDER_NOT_FOUND")
        return order

    def _new_id(self) -> str:
        """Later ones sort after earlier ones."""
        return f"{self.execution.clock.now_ms():013d}-{self.new_suffix()}"

    def _repeat(self, portfolio_id: str, order_id: str, request: Request) -> Placed | None:
        known = self.orders.get(portfolio_id, order_id)
        if known is None:
            return None
        if known.request.digest != request.digest:
            raise ConflictError(f"there is an order {order_id} already, with another body", code="ORDER_EXISTS")
        return Placed(known, created=False)

    def _fill(self, before: Portfolio, order_id: str, request: Request, instrument: Instrument) -> Order:
        value, now_ms = self.execution.price(instrument, request.side)
        costs = self.execution.costs
        value = orders.slipped(value, instrument, request.side, costs)
        order = orders.filled(orders.opened(order_id, before, request, now_ms), value, instrument, costs, now_ms)
        self.execution.book(before, OrderChange(None, order), instrument)
        return order

    def _rest(self, before: Portfolio, order_id: str, request: Request, instrument: Instrument) -> Order:
        """Stored, then hinted at, then looked at: a tick before the hint is seen by this look, one after it tells."""
        now_ms = self.execution.clock.now_ms()
        order = orders.opened(order_id, before, request, now_ms)
        at_limit = orders.filled(order, orders.limit_of(request), instrument, self.execution.costs, now_ms)
        self.execution.judge(before, orders.entry(at_limit), instrument, now_ms)
        self.orders.change(OrderChange(None, order))
        try:
            self.hints.hint([request.instrument_id])
            value, _ = self.execution.price(instrument, request.side)
            if request.takes(value):
                self.filler.fill(order, instrument, value, FillReport())
                return self._known(before.portfolio_id, order_id)
        except RefusedError as fault:
            log.info("order %s of %s waits: %s", order_id, before.portfolio_id, fault.code)
        except RetryableError as fault:
            log.warning("order %s of %s waits for the look of the minute: %r", order_id, before.portfolio_id, fault)
        return order
