"""Snapshots against the books and prices in the hot store, a bounded slice a minute."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import msgspec
from msgspec import Struct

from foliostream.application.loading import readable
from foliostream.application.marking import Marker
from foliostream.application.sweep_report import SweepReport
from foliostream.domain import portfolio as books
from foliostream.domain import snapshot as snapshots
from foliostream.domain.keys import split_key
from foliostream.domain.portfolio import Portfolio
from foliostream.domain.price import Price
from foliostream.ports import WALK_BUCKETS, Books, Clock, Ledger, Notes, Prices, Snapshots, Stored, StoredSnapshot

# A round over all portfolios takes an hour; beyond 600,000 portfolios it takes longer, so that its cost stays bounded:
# a run reads at most so many, a page at a time.
ROUND_MS = 3_600_000
PORTFOLIOS_MAX = 10_000
PAGE_SIZE = 500
# Kept from one run to the next; a slice ends early where it finds more.
SUSPECTS_MAX = 500
# Until the second look: a price whose marks failed comes again after 35 s. A run begins a little sooner or later.
SECOND_LOOK_MS = 50_000
_NAME = "compare"


class Progress(Struct):
    """How far the round is. ``suspects``: portfolio key -> when it was seen to be older than its prices."""

    bucket: int = 0
    after: str | None = None
    started_at_ms: int = 0
    suspects: dict[str, int] = {}


@dataclass(frozen=True)
class Comparison:
    """A snapshot is lost when it is older than its prices or book, nobody promises to value it, and a minute later it
    still has not been valued: before that a price may just be stored and its mark under way."""

    ledger: Ledger
    books: Books
    snapshots: Snapshots
    prices: Prices
    marker: Marker
    notes: Notes
    clock: Clock

    def run(self, promised: Collection[str], report: SweepReport, stop_at_ms: int) -> None:
        """``promised``: keys that were on record before this began."""
        raw = self.notes.read(_NAME)
        before = msgspec.json.decode(raw, type=Progress) if raw else Progress()
        lost, waiting = self._judged(before.suspects, promised)
        for account_type in {split_key(key)[0] for key in lost}:
            keys = [key for key in lost if split_key(key)[0] == account_type]
            self.marker.mark(account_type, keys, self.marker.window(account_type), "sweep")
        report.lost += len(lost)
        after = self._slice(before, waiting, promised, report, stop_at_ms)
        if after != before:
            self.notes.keep(_NAME, msgspec.json.encode(after))

    def done_otherwise(self, due_ms: Mapping[str, int], report: SweepReport) -> set[str]:
        """Those of the promised keys (with when what is read for them may be read at the earliest) whose promise
        somebody else kept: valued from reads after it, or by now from the newest prices and book. Read in parts."""
        keys = list(due_ms)
        kept: set[str] = set()
        for start in range(0, len(keys), PAGE_SIZE):
            ids = {split_key(key)[1]: key for key in keys[start : start + PAGE_SIZE]}
            found = self.snapshots.read(list(ids))
            portfolios = self._portfolios(self.books.load(list(ids)), report)
            symbols = {symbol for portfolio in portfolios.values() for symbol in portfolio.symbols}
            prices = self.prices.get(symbols) if symbols else {}
            kept |= {
                ids[name]
                for name, portfolio in portfolios.items()
                if (one := found.get(name)) is not None
                and (one.head.read_at_ms >= due_ms[ids[name]] or not is_outdated(one, portfolio, prices))
            }
        return kept

    def _judged(self, suspects: Mapping[str, int], promised: Collection[str]) -> tuple[list[str], dict[str, int]]:
        """Those that are lost, and those that are looked at again: too young, or promised by now."""
        due_ms = self.clock.now_ms() - SECOND_LOOK_MS
        stored = self.books.load([split_key(key)[1] for key in suspects]) if suspects else {}
        lost, waiting = [], {}
        for key, seen_at_ms in suspects.items():
            head = stored[split_key(key)[1]].head
            if head is not None and head.read_at_ms >= seen_at_ms:
                continue
            if key in promised or seen_at_ms > due_ms:
                waiting[key] = seen_at_ms
            else:
                lost.append(key)
        return lost, waiting

    def _slice(
        self,
        before: Progress,
        waiting: dict[str, int],
        promised: Collection[str],
        report: SweepReport,
        stop_at_ms: int,
    ) -> Progress:
        """On from where the last run stopped; a bucket begins no sooner than its share of the round."""
        now_ms = self.clock.now_ms()
        bucket, after, suspects = before.bucket, before.after, dict(waiting)
        started_at_ms = before.started_at_ms
        if after is None:
            if now_ms < started_at_ms + ROUND_MS // WALK_BUCKETS:
                return Progress(bucket, after, started_at_ms, suspects)
            started_at_ms = now_ms
        looked_at = 0
        while looked_at < PORTFOLIOS_MAX and len(suspects) < SUSPECTS_MAX and self.clock.now_ms() < stop_at_ms:
            page = self.ledger.walk(bucket, after, PAGE_SIZE)
            suspects |= self._suspects(page.portfolio_ids, promised, report)
            looked_at += len(page.portfolio_ids)
            after = page.cursor
            if after is None:
                bucket = (bucket + 1) % WALK_BUCKETS
                break
        report.compared += looked_at
        return Progress(bucket, after, started_at_ms, suspects)

    def _suspects(self, portfolio_ids: Sequence[str], promised: Collection[str], report: SweepReport) -> dict[str, int]:
        if not portfolio_ids:
            return {}
        snapshots = self.snapshots.read(portfolio_ids)
        portfolios = self._portfolios(self.books.load(portfolio_ids), report)
        symbols = {symbol for portfolio in portfolios.values() for symbol in portfolio.symbols}
        prices = self.prices.get(symbols) if symbols else {}
        now_ms = self.clock.now_ms()  # now: whoever reads later has these prices
        return {
            portfolio.key: now_ms
            for identifier, portfolio in portfolios.items()
            if portfolio.key not in promised and is_outdated(snapshots.get(identifier), portfolio, prices)
        }

    def _portfolios(self, stored: Mapping[str, Stored], report: SweepReport) -> dict[str, Portfolio]:
        """As in the hot store; where it has none, as in the ledger."""
        found: dict[str, Portfolio] = {}
        for identifier, item in stored.items():
            if item.book is None:
                continue
            try:
                found[identifier] = books.decode(item.book)
            except msgspec.MsgspecError as fault:
                report.broken[identifier] = f"the stored book cannot be read: {fault}"
        absent = [identifier for identifier, item in stored.items() if item.book is None]
        if absent:
            known, broken = readable(self.ledger, absent)
            found |= {portfolio.portfolio_id: portfolio for portfolio in known}
            report.broken |= broken
        return found


def is_outdated(snapshot: StoredSnapshot | None, portfolio: Portfolio, prices: Mapping[str, Price]) -> bool:
    """Whether the portfolio is newer than its snapshot, or was valued from another price than is stored now."""
    if snapshot is None or snapshot.head.ledger_version < portfolio.version:
        return True
    used = snapshots.decode(snapshot.body).prices
    return any(symbol in prices and prices[symbol] != used.get(symbol) for symbol in portfolio.symbols)
