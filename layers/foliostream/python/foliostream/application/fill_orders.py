"""Open limit orders, filled by ticks.

A message names symbols whose price is new; what counts is the newest price when it is looked at, as everywhere. Every
minute all symbols with open orders are looked at, whatever was told: that finds what got lost on the way, also the
hints with the hot store.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import msgspec
from msgspec import Struct

from foliostream.application.executing import Execution
from foliostream.application.reading import decoded
from foliostream.application.receiving import Received
from foliostream.domain import orders
from foliostream.domain.fills import Side
from foliostream.domain.instrument import Instrument
from foliostream.domain.orders import Order
from foliostream.errors import CallerError, ConflictError, FoliostreamError, RefusedError, RetryableError
from foliostream.ports import OrderChange, OrderHints, OrderQueue, Orders

log = logging.getLogger(__name__)

MAX_COMMIT_ROUNDS = 8
# Filled at one look, each a transaction of some milliseconds; a symbol with more is looked at again.
FILLS_MAX = 200
SIDES: tuple[Side, ...] = ("BUY", "SELL")


class _Message(Struct):
    symbols: list[str]


_decoder = msgspec.json.Decoder(_Message)


@dataclass
class FillReport:
    """``unpriced``: why symbols with orders have no price to trade at, by symbol."""

    looked_at: int = 0
    filled: int = 0
    rejected: int = 0
    unpriced: dict[str, str] = field(default_factory=dict)
    again: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class OrderFiller:
    """An order is filled or ended by one conditional write, so however often and by whomever a symbol is looked at,
    each order is filled at most once."""

    execution: Execution
    orders: Orders
    hints: OrderHints
    queue: OrderQueue

    def work(self, received: Sequence[Received]) -> FillReport:
        """Messages that name symbols; ``again``: the ids of those that have to come again."""
        report = FillReport()
        for message in received:
            try:
                for symbol in decoded(_decoder, message.body).symbols:
                    self.look(symbol, report)
            except (FoliostreamError, msgspec.MsgspecError) as fault:
                log.warning("open orders are looked at again: %r", fault)
                report.again.append(message.message_id)
        return report

    def tell_all(self) -> int:
        """Put back the hints of all symbols with open orders, and have each looked at; how many they are."""
        symbols = set(self.orders.symbols())
        if symbols:
            self.hints.hint(symbols)
            self.queue.send(symbols)
        return len(symbols)

    def look(self, symbol: str, report: FillReport) -> None:
        """Fill what the newest price is within the limit of."""
        report.looked_at += 1
        instrument = self.execution.instrument(symbol)
        full = False
        for side in SIDES:
            try:
                value, _ = self.execution.price(instrument, side)
            except RefusedError as fault:
                report.unpriced[symbol] = fault.code
                continue
            found = self.orders.within(symbol, side, value, FILLS_MAX)
            for order in found:
                self.fill(order, instrument, value, report)
            full = full or len(found) == FILLS_MAX
        if full:
            self.queue.send([symbol])
        elif not self.orders.are_open(symbol):
            self._unhint(symbol)

    def _unhint(self, symbol: str) -> None:
        """An order is stored before its hint is given: one that is not seen afterwards gives its hint after this."""
        self.hints.unhint([symbol])
        if self.orders.are_open(symbol):
            self.hints.hint([symbol])
            self.queue.send([symbol])

    def fill(self, order: Order, instrument: Instrument, value: Decimal, report: FillReport) -> None:
        """At the price, which is at the limit or better; REJECTED where the books do not take it."""
        for _ in range(MAX_COMMIT_ROUNDS):
            now_ms = self.execution.clock.now_ms()
            try:
                orders.check_units(order, instrument)
                before = self.execution.ledger.load([order.portfolio_id])[order.portfolio_id]
                filled = orders.filled(order, value, instrument, self.execution.costs, now_ms)
                self.execution.book(before, OrderChange(order, filled), instrument)
            except ConflictError as conflict:
                if conflict.code == "VERSION_CONFLICT":
                    continue
                return  # somebody else filled or ended it
            except CallerError as fault:
                self._reject(order, fault, now_ms, report)
                return
            except (ArithmeticError, ValueError) as fault:
                # It would fail for ever, and keep every order behind it from being filled.
                log.error("order %s of %s: %r", order.order_id, order.portfolio_id, fault, exc_info=fault)
                self._reject(order, CallerError("the fill cannot be booked", code="INTERNAL"), now_ms, report)
                return
            report.filled += 1
            return
        raise RetryableError(f"{order.portfolio_id} changed {MAX_COMMIT_ROUNDS} times meanwhile")

    def _reject(self, order: Order, fault: CallerError, now_ms: int, report: FillReport) -> None:
        try:
            self.orders.change(OrderChange(order, orders.ended(order, "REJECTED", now_ms, fault)))
        except ConflictError:
            return
        report.rejected += 1
        log.info("order %s of %s is rejected: %s", order.order_id, order.portfolio_id, fault.code)
