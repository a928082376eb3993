"""The daily close: every portfolio's day is written down and its next day begun, in bounded parts, once a day.

A run is a walk over all portfolios, and a message for each bucket of instruments that keeps their closes. Whatever
comes twice finds the day closed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from decimal import Decimal, localcontext
from typing import NamedTuple

import msgspec

from foliostream.application import walking
from foliostream.application.close_symbols import SymbolClosing
from foliostream.application.reading import decoded
from foliostream.application.receiving import Received
from foliostream.domain import closes, daily, history, marking, money, valuation
from foliostream.domain.history import Day
from foliostream.domain.instrument import Instrument
from foliostream.domain.portfolio import Portfolio
from foliostream.domain.price import Price
from foliostream.errors import CallerError, ConflictError, RetryableError
from foliostream.ports import (
    SYMBOL_BUCKETS,
    WALK_BUCKETS,
    Clock,
    CloseQueue,
    Each,
    Instruments,
    Ledger,
    PriceHistory,
    Prices,
)

MAX_ROUNDS = 5
MAX_CLOSED = 90


class Part(walking.Part, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A part of the walk of a day, or a bucket of instruments (``symbols``)."""

    day: str
    symbols: int | None = None


@dataclass
class Report:
    """Ids closed with a row, closed without one (unpriced), found closed, refused since the day is over and gone
    (late); why others failed; how many instruments had a close."""

    written: list[str] = field(default_factory=list)
    unpriced: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    closes: int = 0


class _Closing(NamedTuple):
    portfolio: Portfolio
    row: Day | None
    closed: list[str]


@dataclass(frozen=True)
class DayClosing:
    """``zone``: the market's; ``holidays``: its dates on which no day is closed; ``each`` works over several ids at a
    time."""

    ledger: Ledger
    prices: Prices
    instruments: Instruments
    price_history: PriceHistory
    queue: CloseQueue
    clock: Clock
    zone: tzinfo
    holidays: frozenset[str]
    stale_after_ms: int
    each: Each

    def day_of(self, at_ms: int) -> str:
        """The market's date at a time."""
        return closes.day_of(at_ms, self.zone)

    def checked_day(self, raw: str) -> str:
        """The day, if it is one and has begun: a day closed too early would keep those before it from being closed."""
        today = self.day_of(self.clock.now_ms())
        if history.parse_day(raw) > today:
            raise CallerError(f"{raw} has not begun: the market's date is {today}", code="DAY_IN_FUTURE")
        return raw

    def is_holiday(self, day: str) -> bool:
        """Whether the market has no such day: the next one that it has goes on with what was carried in."""
        return day in self.holidays

    def start(self, day: str) -> int:
        """Ask for the whole walk; the number of messages."""
        parts = [Part(day=day, bucket=bucket) for bucket in range(WALK_BUCKETS)]
        parts += [Part(day=day, symbols=bucket) for bucket in range(SYMBOL_BUCKETS)]
        self.queue.send(walking.messages(parts))
        return len(parts)

    def close(self, day: str, portfolio_ids: Sequence[str]) -> Report:
        """Close these now, at most ``walking.MAX_DIRECT``. ``RetryableError`` from a failing store; what was closed
        before stays closed."""
        report = Report()
        for name, outcome in walking.outcomes(self.each, lambda name: self._close_one(day, name), portfolio_ids):
            if outcome in {"written", "unpriced", "skipped", "late"}:
                getattr(report, outcome).append(name)
            else:
                report.failed[name] = outcome
        return report

    def work(self, received: Sequence[Received]) -> tuple[Report, list[str]]:
        """Do what the messages ask for; what became of it, and the ids of messages that have to come again."""
        reports, again = walking.work(received, lambda body: self._work(decoded(_decoder, body)))
        total = Report(failed={f"message {name}": reason for name, reason in again.items()})
        for report in reports:
            total.written += report.written
            total.unpriced += report.unpriced
            total.skipped += report.skipped
            total.late += report.late
            total.failed |= report.failed
            total.closes += report.closes
        return total, list(again)

    def _work(self, part: Part) -> Report:
        self.checked_day(part.day)
        if part.symbols is not None:
            closing = SymbolClosing(self.prices, self.instruments, self.price_history, self.zone, self.each)
            return Report(closes=closing.close(part.day, part.symbols))
        if part.bucket is None:
            report = self.close(part.day, part.portfolio_ids)
            if report.failed:
                raise RetryableError(f"not closed: {report.failed}")
            return report
        page = self.ledger.walk(part.bucket, part.after, walking.PAGE_SIZE)
        report = self.close(part.day, page.portfolio_ids)
        self.queue.send(walking.further(part, report.failed, page.cursor))
        return report

    def _close_one(self, day: str, portfolio_id: str) -> str:
        """The name of the list of the report, or why it failed."""
        for _ in range(MAX_ROUNDS):
            before = self.ledger.load([portfolio_id]).get(portfolio_id)
            if before is None:
                return "there is no such portfolio"
            if before.closed_day is not None and before.closed_day >= day:
                return "skipped"
            prices = self.prices.get(before.symbols) if before.symbols else {}
            if self._is_late(before, prices, day):
                return "late"
            closing = self._closing(before, prices, day)
            try:
                self.ledger.close_day(*closing)
            except ConflictError as conflict:
                if conflict.code == "VERSION_CONFLICT":
                    continue
                raise
            return "written" if closing.row else "unpriced"
        return f"it changed {MAX_ROUNDS} times meanwhile"

    def _is_late(self, before: Portfolio, prices: Mapping[str, Price], day: str) -> bool:
        """Whether the book or a price is of a later day than the one to be closed: then its value at the close is not
        known any more, and its marks would be those of another day. The next close goes on from the one before."""
        times = [max(price.quote_ts_ms, price.last_ts_ms) for price in prices.values()]
        return self.day_of(max([before.updated_at_ms, *times])) > day

    def _closing(self, before: Portfolio, prices: Mapping[str, Price], day: str) -> _Closing:
        """Value, row and marks C come of one book and one set of prices, read after it."""
        now_ms = self.clock.now_ms()
        instruments = self.instruments.get(before.symbols) if before.symbols else {}
        snapshot = valuation.value(
            before,
            prices,
            instruments,
            read_at_ms=now_ms,
            previous_version=0,
            stale_after_ms=self.stale_after_ms,
        )
        row = history.row(before, snapshot.state, self.ledger.last_day(before.portfolio_id), day, now_ms)
        after = daily.close_day(before, day, self._marks(before, prices, instruments), now_ms)
        # A currency of which nothing is left needs its pairs no longer. Those beyond the limit of a transaction stay
        # dependents: each costs a valuation now and then.
        return _Closing(after, row, sorted(before.symbols - after.symbols)[:MAX_CLOSED])

    def _marks(
        self, portfolio: Portfolio, prices: Mapping[str, Price], instruments: Mapping[str, Instrument]
    ) -> dict[str, Decimal | None]:
        """Those that the snapshot was valued at, before their rounding to the wire."""
        marks: dict[str, Decimal | None] = {}
        for symbol, position in portfolio.positions.items():
            with localcontext(money.EXACT):
                item = marking.marked(
                    symbol, position, prices.get(symbol), instruments.get(symbol), self.stale_after_ms
                )
                marks[symbol] = None if item.mark is None else money.rounded(item.mark, daily.MARK_DECIMALS).normalize()
        return marks


_decoder = msgspec.json.Decoder(Part)
