"""The nightly swap: what every margin account held as the night began is charged, in bounded parts, once a night.

A run is a walk over all portfolios. Ids name portfolio, symbol and night, so whatever comes twice finds them booked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, localcontext
from typing import NamedTuple

import msgspec

from foliostream.application import walking
from foliostream.application.reading import decoded
from foliostream.application.receiving import Received
from foliostream.domain import history, marking, money, portfolio, splitting, swaps
from foliostream.domain.instrument import Instrument
from foliostream.domain.portfolio import FUTURE_ALLOWANCE_MS, Entry, Portfolio, Transaction
from foliostream.domain.swaps import Night
from foliostream.errors import (
    CallerError,
    ConflictError,
    PermanentError,
    RefusedError,
    RetryableError,
)
from foliostream.ports import WALK_BUCKETS, Clock, CloseQueue, Each, Instruments, Ledger, Prices

MAX_ROUNDS = 5
# Of one transaction of the ledger, which takes a hundred items with the portfolio.
MAX_TOGETHER = 90
# A month: older nights are corrected by hand, with what is known about them.
MAX_AGE_DAYS = 31
# What was booked since a night began is read in pages, and not without end.
SINCE_PAGE_SIZE = 25
MAX_SINCE = 10_000


class Part(walking.Part, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A part of the walk of a night: the New York date at whose 17:00 it began."""

    night: str


@dataclass
class Report:
    """Ids charged now, ids without anything (more) to charge; why others failed."""

    booked: list[str] = field(default_factory=list)
    nothing: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


class _Due(NamedTuple):
    """Entries that are not booked yet, with the instruments they are of; symbols that cannot be charged now."""

    entries: list[Entry]
    instruments: Mapping[str, Instrument]
    unpriced: list[str]


@dataclass(frozen=True)
class SwapBooking:
    """``each`` works over several ids at a time."""

    ledger: Ledger
    prices: Prices
    instruments: Instruments
    queue: CloseQueue
    clock: Clock
    each: Each

    def night(self, raw: str) -> Night:
        """The night of a date, if it has begun and is not too long ago."""
        found = swaps.of_day(date.fromisoformat(history.parse_day(raw)))
        newest = swaps.latest(self.clock.now_ms())
        if found.at_ms > newest.at_ms:
            raise CallerError(f"the night of {raw} has not begun", code="NIGHT_IN_FUTURE")
        if (newest.day - found.day).days > MAX_AGE_DAYS:
            raise CallerError(f"the night of {raw} is more than {MAX_AGE_DAYS} days ago", code="NIGHT_TOO_OLD")
        return found

    def start(self, night: Night) -> int:
        """Ask for the whole walk; the number of messages."""
        parts = [Part(night=night.day.isoformat(), bucket=bucket) for bucket in range(WALK_BUCKETS)]
        self.queue.send(walking.messages(parts))
        return len(parts)

    def book(self, night: Night, portfolio_ids: Sequence[str]) -> Report:
        """Charge these now, at most ``walking.MAX_DIRECT``. ``RetryableError`` from a failing store; what was booked
        before stays booked."""
        report = Report()
        for name, outcome in walking.outcomes(self.each, lambda name: self._book_one(night, name), portfolio_ids):
            if outcome in {"booked", "nothing"}:
                getattr(report, outcome).append(name)
            else:
                report.failed[name] = outcome
        return report

    def work(self, received: Sequence[Received]) -> tuple[Report, list[str]]:
        """Do what the messages ask for; what became of it, and the ids of messages that have to come again."""
        reports, again = walking.work(received, lambda body: self._work(decoded(_decoder, body)))
        total = Report(failed={f"message {name}": reason for name, reason in again.items()})
        for report in reports:
            total.booked += report.booked
            total.nothing += report.nothing
            total.failed |= report.failed
        return total, list(again)

    def _work(self, part: Part) -> Report:
        night = self.night(part.night)
        if part.bucket is None:
            report = self.book(night, part.portfolio_ids)
            if report.failed:
                raise RetryableError(f"not charged: {report.failed}")
            return report
        page = self.ledger.walk(part.bucket, part.after, walking.PAGE_SIZE)
        report = self.book(night, page.portfolio_ids)
        self.queue.send(walking.further(part, report.failed, page.cursor))
        return report

    def _book_one(self, night: Night, portfolio_id: str) -> str:
        """The name of the list of the report, or why it failed. Currency by currency: one without a rate keeps none of
        the others from being charged."""
        outcome, conflicts, refused = "nothing", 0, dict[str, str]()
        while conflicts < MAX_ROUNDS:
            before = self.ledger.load([portfolio_id]).get(portfolio_id)
            if before is None:
                return "there is no such portfolio"
            due = self._due(before, night)
            entries = [entry for entry in due.entries if entry.currency not in refused]
            if not entries:
                faults = [*refused.values(), *(f"no price of {symbol}" for symbol in due.unpriced)]
                return "; ".join(faults) or outcome
            together = [entry for entry in entries if entry.currency == entries[0].currency][:MAX_TOGETHER]
            try:
                self._commit(before, together, due.instruments)
            except ConflictError:
                conflicts += 1
            except RefusedError as fault:
                refused[str(together[0].currency)] = fault.message
            else:
                outcome = "booked"
        return f"it changed {MAX_ROUNDS} times meanwhile"

    def _due(self, before: Portfolio, night: Night) -> _Due:
        if before.account_kind != "margin":
            return _Due([], {}, [])
        held = swaps.held(before, self._since(before, night), night.at_ms)
        found = self.instruments.get([symbol for symbol, quantity in held.items() if quantity]) if held else {}
        charged = {symbol: item for symbol, item in found.items() if item.swap is not None}
        entries, unpriced = [], []
        marks = self._marks(before, held, charged)
        for symbol, instrument in sorted(charged.items()):
            try:
                entry = swaps.entry(before, instrument, held[symbol], marks.get(symbol), night)
            except CallerError:
                unpriced.append(symbol)
            else:
                entries += [entry] if entry else []
        known = self._known(before, entries)
        return _Due([entry for entry in entries if entry.transaction_id not in known], charged, unpriced)

    def _known(self, before: Portfolio, entries: Sequence[Entry]) -> Mapping[str, Transaction]:
        ids = [entry.transaction_id for entry in entries]
        return self.ledger.transactions(before.portfolio_id, ids) if ids else {}

    def _marks(
        self, before: Portfolio, held: Mapping[str, Decimal], charged: Mapping[str, Instrument]
    ) -> dict[str, Decimal]:
        """Prices of now of what is charged interest, in units of now."""
        of_price = [symbol for symbol, item in charged.items() if item.swap and item.swap.mode == "interest"]
        prices = self.prices.get(of_price) if of_price else {}
        marks = {}
        for symbol in of_price:
            found = marking.mark(prices.get(symbol), charged[symbol], long=held[symbol] > 0)
            if found is not None:
                position = before.positions.get(symbol)
                splits = splitting.known(position.splits if position else (), charged[symbol])
                with localcontext(money.EXACT):
                    marks[symbol] = found.value / splitting.factor(splits, found.ts_ms)
        return marks

    def _since(self, before: Portfolio, night: Night) -> list[Transaction]:
        """What was booked since the night began, newest first."""
        since_ms = night.at_ms - FUTURE_ALLOWANCE_MS  # so much a time of an entry may be ahead of its booking
        found: list[Transaction] = []
        if before.updated_at_ms <= since_ms:
            return found
        sequence = before.last_sequence
        while sequence > 0 and len(found) <= MAX_SINCE:
            page = self.ledger.newest(before.portfolio_id, sequence, SINCE_PAGE_SIZE)
            for transaction in page:
                if transaction.booked_at_ms <= since_ms:
                    return found
                found.append(transaction)
            sequence -= len(page)
        if sequence > 0:
            raise PermanentError(f"more than {MAX_SINCE} transactions since {night.day}", code="TOO_MANY_TRANSACTIONS")
        return found

    def _commit(self, before: Portfolio, entries: Sequence[Entry], instruments: Mapping[str, Instrument]) -> None:
        needed = portfolio.price_symbols(before, entries, instruments)
        prices = self.prices.get(needed) if needed else {}
        after, transactions = portfolio.apply(before, entries, instruments, self.clock.now_ms(), prices)
        opened, closed = after.symbols - before.symbols, before.symbols - after.symbols
        self.ledger.commit(after, transactions, opened, closed)


_decoder = msgspec.json.Decoder(Part)
