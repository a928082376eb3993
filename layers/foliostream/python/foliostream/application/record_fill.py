"""Accepted fills into the books: one DynamoDB transaction for the fills of a portfolio that came together.

A fill counts once, for ever: its transaction id is ``fill:{fill_id}`` and the ledger refuses an id it has seen. What
was booked before is done, what was booked with another body is a conflict and given up, as is whatever can never be
booked; both go to the dead-letter queue with their reason, and the fills after them go on. The hot store, the marks
and the events follow out of the ledger's stream.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from foliostream.application.managers import Managers
from foliostream.application.margin_check import MarginCheck
from foliostream.application.reading import decoded
from foliostream.application.receiving import Received
from foliostream.domain import fills, portfolio
from foliostream.domain.fills import Fill
from foliostream.domain.portfolio import Portfolio
from foliostream.errors import CallerError, ConflictError, FoliostreamError, RetryableError
from foliostream.ports import Clock, FillQueue, Instruments, Ledger, Prices

log = logging.getLogger(__name__)

MAX_CONFLICTS = 8
# How often a fill is received that lacks a rate: with the queue's visibility timeout of 35 s its pair has eight minutes
# to get a price. Below the queue's own limit, so that the dead letter says why.
RATE_RECEIVES_MAX = 15
# Portfolios remembered between invocations: a book of 1,000 positions is about a megabyte when decoded.
CACHE_SIZE_MAX = 200
# What ``Ledger.create`` remembers as the request of a portfolio that a fill made: no body of REST has this digest.
CREATED_BY_FILL = "fill"

_decoder = msgspec.json.Decoder(Fill)


class _Waiting(NamedTuple):
    received: Received
    fill: Fill


@dataclass
class Recorded:
    """Of a batch from the queue ``source``: transactions booked now, fills that were booked before, fills given up
    (code each), and the ids of the messages that have to come again."""

    source: str = "fills"
    booked: int = 0
    known: int = 0
    given_up: list[str] = field(default_factory=list)
    again: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class FillRecorder:
    """``cache``: portfolios as this container committed or read them last. They may be older than the ledger's: then
    the ledger refuses the version, and nothing is given up before it was judged on a fresh read."""

    ledger: Ledger
    instruments: Instruments
    prices: Prices
    queue: FillQueue
    clock: Clock
    margin_check: MarginCheck
    managers: Managers
    cache: dict[str, Portfolio] = field(default_factory=dict)

    def record(self, received: Sequence[Received], source: str = "fills") -> Recorded:
        """Book a batch, each portfolio's fills in their order. A portfolio whose turn fails gives back all that is
        left of it, the others go on. ``source``: the queue it is from."""
        done = Recorded(source)
        groups: dict[str, list[_Waiting]] = {}
        for message in received:
            try:
                fill = decoded(_decoder, message.body)
            except CallerError as fault:
                self._give_up_unread(message, fault.message, done)
            else:
                groups.setdefault(fill.portfolio_id, []).append(_Waiting(message, fill))
        self._read_ahead(groups.keys() - self.cache.keys())
        for portfolio_id, waiting in groups.items():
            self._group(portfolio_id, waiting, done)
        return done

    def _group(self, portfolio_id: str, waiting: list[_Waiting], done: Recorded) -> None:
        """Work off a portfolio's fills."""
        booking = _Booking(self, portfolio_id, waiting, done)
        try:
            booking.run()
        except Exception as fault:
            # Whatever it is, it must not stop the other portfolios; it comes again, and in the end is a dead letter.
            self.cache.pop(portfolio_id, None)
            done.again += [item.received.message_id for item in booking.waiting]
            log.warning("fills of %s come again: %r", portfolio_id, fault, exc_info=not _expected(fault))

    def _give_up_unread(self, message: Received, reason: str, done: Recorded) -> None:
        try:
            self.queue.give_up(done.source, message.body, message.message_id, "INVALID", reason)
        except FoliostreamError as fault:
            log.warning("a message that is no fill comes again: %r", fault)
            done.again.append(message.message_id)
        else:
            done.given_up.append("INVALID")

    def _read_ahead(self, portfolio_ids: set[str]) -> None:
        """All in one request. If it fails, each portfolio reads its own, so that a broken one fails alone."""
        if len(portfolio_ids) < 2:
            return
        try:
            found = self.ledger.load(portfolio_ids)
        except (FoliostreamError, msgspec.MsgspecError) as fault:
            log.warning("%d portfolios could not be read together: %r", len(portfolio_ids), fault)
        else:
            for item in found.values():
                self.remember(item)

    def remember(self, current: Portfolio) -> None:
        """Keep it for the next fill; those used longest ago go first."""
        self.cache.pop(current.portfolio_id, None)
        self.cache[current.portfolio_id] = current
        if len(self.cache) > CACHE_SIZE_MAX:
            del self.cache[next(iter(self.cache))]


@dataclass
class _Booking:
    """The fills of one portfolio. ``waiting`` shrinks from its front as they are booked, known or given up;
    ``together``: how many are tried in one transaction."""

    recorder: FillRecorder
    portfolio_id: str
    waiting: list[_Waiting]
    done: Recorded
    fresh: bool = False
    conflicts: int = 0

    def run(self) -> None:
        """Until nothing waits; raises what a later try may mend."""
        together = len(self.waiting)
        while self.waiting:
            current = self._current()
            if current is None or self._belongs_to_another(current):
                continue
            # Each judged by itself, so that what comes in one batch by chance decides nothing.
            limit = 1 if self.recorder.margin_check.covers(current) else together
            part = _bookable_together(self.waiting[:limit], current.owner)
            try:
                after = self._commit(current, [item.fill for item in part])
            except ConflictError as fault:
                self._conflict(fault, part)
            except (CallerError, ArithmeticError, ValueError) as fault:
                if self.fresh and not self._drop_known(part):
                    together = self._refused(fault, len(part))
                self._forget()
            else:
                self.done.booked += len(part)
                self._settle(after, len(part))

    def _current(self) -> Portfolio | None:
        """The portfolio, opened if it must be; None if the first fill had to be given up for want of one."""
        found = self.recorder.cache.get(self.portfolio_id)
        self.fresh = self.fresh and found is not None
        if found is None:
            found = self.recorder.ledger.load([self.portfolio_id]).get(self.portfolio_id)
            self.fresh = True
        if found is None:
            try:
                found = self._open(self.waiting[0].fill)
            except CallerError as fault:
                self._give_up_first(fault.code, fault.message)
                return None
        self.recorder.remember(found)
        return found

    def _open(self, fill: Fill) -> Portfolio:
        """As its mode opens portfolios, or somebody else's of now."""
        manager = self.recorder.managers.get(fills.mode_of(self.portfolio_id))
        if manager is None:
            raise CallerError(f"no portfolio {self.portfolio_id}", code="PORTFOLIO_NOT_FOUND")
        first, transactions = manager.opened(fill)
        try:
            self.recorder.ledger.create(first, transactions, CREATED_BY_FILL)
        except ConflictError:
            return self.recorder.ledger.load([self.portfolio_id])[self.portfolio_id]
        return first

    def _belongs_to_another(self, current: Portfolio) -> bool:
        """Whether the first fill names another owner than the portfolio got since; it is given up then."""
        if self.waiting[0].fill.owner in (None, current.owner):
            return False
        self._give_up_first("OWNER_MISMATCH", f"{self.portfolio_id} has another owner")
        return True

    def _commit(self, before: Portfolio, booked: Sequence[Fill]) -> Portfolio:
        recorder = self.recorder
        entries = [fill.entry for fill in booked]
        instruments = recorder.instruments.get({fill.instrument_id for fill in booked})
        needed = portfolio.price_symbols(before, entries, instruments)
        prices = recorder.prices.get(needed) if needed else {}
        now_ms = recorder.clock.now_ms()
        after, transactions = portfolio.apply(before, entries, instruments, now_ms, prices)
        recorder.margin_check(before, after, entries, now_ms)
        opened, closed = after.symbols - before.symbols, before.symbols - after.symbols
        recorder.ledger.commit(after, transactions, opened, closed)
        return after

    def _conflict(self, fault: ConflictError, part: Sequence[_Waiting]) -> None:
        self._forget()
        if fault.code == "TRANSACTION_EXISTS" and self._drop_known(part):
            return
        self.conflicts += 1
        if self.conflicts >= MAX_CONFLICTS:
            raise RetryableError(f"{self.portfolio_id} changed {MAX_CONFLICTS} times meanwhile")

    def _drop_known(self, part: Sequence[_Waiting]) -> bool:
        """Fills booked before are done, or given up where the same id was booked with another body; whether there
        were any."""
        known = self.recorder.ledger.transactions(self.portfolio_id, [item.fill.transaction_id for item in part])
        for item in part:
            transaction = known.get(item.fill.transaction_id)
            if transaction is None:
                continue
            if transaction.entry.digest == item.fill.entry.digest:
                self.done.known += 1
                self.waiting.remove(item)
            else:
                self._give_up(item, "CONFLICT", f"fill {item.fill.fill_id} is booked already, with another body")
        return bool(known)

    def _refused(self, fault: Exception, tried: int) -> int:
        """The books refuse on a fresh read: give up the one fill that is to blame; how many to try together next.

        One that lacks a rate waits for it first, and those after it with it: they keep their order.
        """
        if tried == 1:
            code = fault.code if isinstance(fault, FoliostreamError) else "INTERNAL"
            if code == "RATE_MISSING" and self.waiting[0].received.receive_count < RATE_RECEIVES_MAX:
                raise RetryableError(str(fault))
            self._give_up_first(code, fault.message if isinstance(fault, FoliostreamError) else repr(fault))
        return 1

    def _settle(self, after: Portfolio, count: int) -> None:
        del self.waiting[:count]
        self.fresh = True
        self.recorder.remember(after)

    def _forget(self) -> None:
        self.recorder.cache.pop(self.portfolio_id, None)
        self.fresh = False

    def _give_up_first(self, code: str, reason: str) -> None:
        self._give_up(self.waiting[0], code, reason)

    def _give_up(self, item: _Waiting, code: str, reason: str) -> None:
        message = item.received
        queue, source = self.recorder.queue, self.done.source
        queue.give_up(source, message.body, message.message_id, code, reason, group=self.portfolio_id)
        self.done.given_up.append(code)
        self.waiting.remove(item)
        log.error("fill %s of %s given up: %s: %s", item.fill.fill_id, self.portfolio_id, code, reason)


def _bookable_together(waiting: Sequence[_Waiting], owner: str) -> list[_Waiting]:
    """Those before the first that names another owner, or whose id stands among them already: one transaction takes
    an id once."""
    seen: set[str] = set()
    for number, item in enumerate(waiting):
        if item.fill.fill_id in seen or item.fill.owner not in (None, owner):
            return list(waiting[:number])
        seen.add(item.fill.fill_id)
    return list(waiting)


def _expected(fault: Exception) -> bool:
    return isinstance(fault, FoliostreamError)
