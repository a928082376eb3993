"""The daily close: every portfolio's day is written down and its next day begun, in bounded parts, once a day.

A run is a message for each bucket of portfolios; a message does one page of them and sends the next one. Whatever
comes twice finds the day closed. One portfolio that fails stops none of the others: it gets a message of its own, which
ends in the dead-letter queue when it never succeeds. A message for each bucket of instruments keeps their closes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from decimal import Decimal, localcontext
from typing import Any, NamedTuple

import msgspec

from foliostream.application.close_symbols import SymbolClosing
from foliostream.application.reading import decoded
from foliostream.application.receiving import Received
from foliostream.domain import closes, daily, history, keys, marking, money, valuation
from foliostream.domain.history import Day
from foliostream.domain.instrument import Instrument
from foliostream.domain.portfolio import Portfolio
from foliostream.domain.price import Price
from foliostream.errors import CallerError, ConflictError, FoliostreamError, RetryableError
from foliostream.ports import SYMBOL_BUCKETS, WALK_BUCKETS, Clock, CloseQueue, Instruments, Ledger, PriceHistory, Prices

PAGE_SIZE = 100
MAX_ROUNDS = 5
MAX_DIRECT = 100
MAX_CLOSED = 90

Each = Callable[[Callable[[str], str | None], Iterable[str]], Iterable[str | None]]


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message: a page of a bucket after an id, or these portfolios alone, or a bucket of instruments."""

    day: str
    bucket: int | None = None
    after: str | None = None
    portfolio_ids: list[str] = []
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
        parts = [Part(day, bucket) for bucket in range(WALK_BUCKETS)]
        parts += [Part(day, symbols=bucket) for bucket in range(SYMBOL_BUCKETS)]
        self.queue.send([_message(part) for part in parts])
        return len(parts)

    def close(self, day: str, portfolio_ids: Sequence[str]) -> Report:
        """Close these now. ``RetryableError`` from a failing store; what was closed before stays closed."""
        if len(portfolio_ids) > MAX_DIRECT:
            raise CallerError(f"at most {MAX_DIRECT} portfolios at once, not {len(portfolio_ids)}")
        report = Report()
        ids = [keys.portfolio_id(name) for name in dict.fromkeys(portfolio_ids)]
        outcomes = list(self.each(lambda name: self._outcome(day, name), ids))
        for name, outcome in zip(ids, outcomes, strict=True):
            if outcome in {"written", "unpriced", "skipped", "late"}:
                getattr(report, outcome).append(name)
            else:
                report.failed[name] = str(outcome)
        return report

    def work(self, received: Sequence[Received]) -> tuple[Report, list[str]]:
        """Do what the messages ask for; what became of it, and the ids of messages that have to come again."""
        total, again = Report(), []
        for item in received:
            try:
                report = self._work(decoded(_decoder, item.body))
            except FoliostreamError as fault:
                total.failed[f"message {item.message_id}"] = str(fault)
                again.append(item.message_id)
                continue
            total.written += report.written
            total.unpriced += report.unpriced
            total.skipped += report.skipped
            total.late += report.late
            total.failed |= report.failed
            total.closes += report.closes
        return total, again

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
        page = self.ledger.walk(part.bucket, part.after, PAGE_SIZE)
        report = self.close(part.day, page.portfolio_ids)
        messages = [_message(Part(part.day, portfolio_ids=[name])) for name in report.failed]
        if page.cursor is not None:
            messages.append(_message(Part(part.day, part.bucket, page.cursor)))
        self.queue.send(messages)
        return report

    def _outcome(self, day: str, portfolio_id: str) -> str:
        """The name of the list of the report, or why it failed."""
        try:
            return self._close_one(day, portfolio_id)
        except (ArithmeticError, ValueError, FoliostreamError) as fault:  # msgspec's errors are ValueErrors
            if isinstance(fault, RetryableError):
                raise
            return repr(fault)

    def _close_one(self, day: str, portfolio_id: str) -> str:
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


def _message(part: Part) -> dict[str, Any]:
    builtins: dict[str, Any] = msgspec.to_builtins(part)
    return builtins
