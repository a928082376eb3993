"""Stop-outs of paper money: the closes of a plan into the books, each once.

The closes are one transaction of the ledger on the condition that the book is the one the plan was made from, and
under transaction ids that name the plan. Before it the account becomes LIQUIDATING, afterwards it is again what it
was. Whoever dies in between is followed by the same message: what is booked already is found there.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from foliostream.application.reading import decoded
from foliostream.application.receiving import Received
from foliostream.domain import changes, events, liquidation, portfolio
from foliostream.domain.entries import Entry
from foliostream.domain.liquidation import Liquidation
from foliostream.domain.portfolio import Portfolio, Transaction
from foliostream.errors import ConflictError, FoliostreamError, RetryableError
from foliostream.ports import Clock, EventBus, Instruments, Ledger, Prices

log = logging.getLogger(__name__)

MAX_ROUNDS = 8
_decoder = msgspec.json.Decoder(Liquidation)


@dataclass
class Worked:
    """Of a batch: closes booked, plans left because book or prices were not theirs any more (by id), and the messages
    that have to come again."""

    booked: int = 0
    left: list[str] = field(default_factory=list)
    again: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Liquidator:
    """``protected``: a balance below zero is raised to it once all is closed (definitions 22)."""

    ledger: Ledger
    instruments: Instruments
    prices: Prices
    bus: EventBus
    clock: Clock
    protected: bool

    def work(self, received: Sequence[Received]) -> Worked:
        """Each message by itself: what fails delays nobody. They may be worked off in any order, since each says which
        book it is meant for."""
        done = Worked()
        for message in received:
            try:
                self._work_off(decoded(_decoder, message.body), done)
            except Exception as fault:
                # Whatever it is: it comes again, and in the end is a dead letter.
                expected = isinstance(fault, FoliostreamError)
                log.warning("a liquidation comes again: %r", fault, exc_info=not expected)
                done.again.append(message.message_id)
        return done

    def _work_off(self, order: Liquidation, done: Worked) -> None:
        """Step by step, each on the book as it is then. A plan whose book or whose prices are not those of now any more
        is left: the next valuation makes another one."""
        for _ in range(MAX_ROUNDS):
            book = self.ledger.load([order.portfolio_id]).get(order.portfolio_id)
            known = self._known(order)
            if book is not None and (known or not order.closes):
                self._finish(book, order, known)
                return
            if book is None or not self._is_current(book, order):
                done.left.append(order.plan_id)
                return
            try:
                done.booked += self._advance(book, order)
            except ConflictError as conflict:
                log.info("%s changed meanwhile: %s", order.portfolio_id, conflict.code)
        raise RetryableError(f"{order.portfolio_id} changed {MAX_ROUNDS} times meanwhile")

    def _known(self, order: Liquidation) -> dict[str, Transaction]:
        ids = [entry.transaction_id for entry in liquidation.entries(order, 0)]
        return self.ledger.transactions(order.portfolio_id, ids) if ids else {}

    def _is_current(self, book: Portfolio, order: Liquidation) -> bool:
        """Whether the book is that of the plan, or that with nothing but its status changed for the plan."""
        if self.clock.now_ms() >= order.expires_at_ms:
            return False
        if book.version == order.ledger_version:
            return True
        return not order.announced and book.version == order.ledger_version + 1 and book.liquidating_from is not None

    def _advance(self, book: Portfolio, order: Liquidation) -> int:
        """One step: the status, or the closes; the closes booked."""
        if book.status != "LIQUIDATING":
            self.ledger.amend(*changes.liquidating(book, self.clock.now_ms()))
            return 0
        after, transactions = self._booked(book, order)
        opened, closed = after.symbols - book.symbols, book.symbols - after.symbols
        self.ledger.commit(after, transactions, opened, closed)
        return len(order.closes)

    def _booked(self, book: Portfolio, order: Liquidation) -> tuple[Portfolio, list[Transaction]]:
        now_ms = self.clock.now_ms()
        entries = liquidation.entries(order, now_ms)
        after, transactions = self._applied(book, entries, now_ms)
        protection = liquidation.protection(after, order.breach, now_ms) if self.protected else None
        if protection is None:
            return after, transactions
        return self._applied(book, [*entries, protection], now_ms)

    def _applied(self, book: Portfolio, entries: Sequence[Entry], now_ms: int) -> tuple[Portfolio, list[Transaction]]:
        instruments = self.instruments.get({entry.instrument_id for entry in entries if entry.instrument_id})
        needed = portfolio.price_symbols(book, entries, instruments)
        prices = self.prices.get(needed) if needed else {}
        return portfolio.apply(book, entries, instruments, now_ms, prices)

    def _finish(self, book: Portfolio, order: Liquidation, known: Mapping[str, Transaction]) -> None:
        """Tell what was done, and give the account back where nothing more is to be done."""
        if known:
            detail = events.liquidation_executed(order, book, [known[name] for name in sorted(known)])
            self.bus.publish(events.LIQUIDATION_EXECUTED, [detail])
        released = changes.liquidated(book, self.clock.now_ms()) if order.suffices else None
        if released is not None:
            self.ledger.amend(*released)
