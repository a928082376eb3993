"""Dependents against the ledger: missing ones are added, those no longer needed removed. Nobody else removes any."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import msgspec
from msgspec import Struct

from foliostream.application.loading import readable
from foliostream.application.marking import Marker
from foliostream.application.sweep_report import SweepReport
from foliostream.domain.keys import ACCOUNT_TYPES, split_key, stable_hash
from foliostream.domain.portfolio import Portfolio
from foliostream.errors import CallerError
from foliostream.ports import SYMBOL_BUCKETS, WALK_BUCKETS, Clock, Dependents, Holders, Instruments, Ledger, Notes

# A 64th of the portfolios an hour: a bucket of the ledger's walk every four hours.
BUCKET_MS = 4 * 3_600_000
# Of one run; it goes on with the next.
PORTFOLIOS_MAX = 2_000
PAGE_SIZE = 250
# A change this young may be on its way into the hot store.
SETTLED_MS = 60_000
_NAME = "repair"


class Progress(Struct):
    """How far the bucket is: first its holders symbol by symbol (``symbols``: the bucket of symbols to do next, and
    ``symbol`` the last one done in it), then, from ``SYMBOL_BUCKETS`` on, its portfolios (``after``: the walk's)."""

    bucket: int = 0
    started_at_ms: int = 0
    symbols: int = 0
    symbol: str = ""
    after: str | None = None
    is_finished: bool = False


@dataclass(frozen=True)
class Repair:
    """Removing comes first: should it die between a removal and its second look at the ledger, the portfolio's own
    turn in the same bucket brings back what is needed."""

    ledger: Ledger
    instruments: Instruments
    holders: Holders
    dependents: Dependents
    marker: Marker
    notes: Notes
    clock: Clock

    def run(self, report: SweepReport, stop_at_ms: int) -> None:
        """On from where the last run stopped."""
        raw = self.notes.read(_NAME)
        progress = msgspec.json.decode(raw, type=Progress) if raw else Progress(started_at_ms=self.clock.now_ms())
        if progress.is_finished:
            if self.clock.now_ms() < progress.started_at_ms + BUCKET_MS:
                return
            bucket = (progress.bucket + 1) % WALK_BUCKETS
            progress = Progress(bucket=bucket, started_at_ms=self.clock.now_ms())
        while not self._is_over(stop_at_ms, report) and not progress.is_finished:
            if progress.symbols < SYMBOL_BUCKETS:
                self._remove(progress, report, stop_at_ms)
            else:
                self._add(progress, report)
        self.notes.keep(_NAME, msgspec.json.encode(progress))

    def _is_over(self, stop_at_ms: int, report: SweepReport) -> bool:
        return self.clock.now_ms() >= stop_at_ms or report.repaired >= PORTFOLIOS_MAX

    def _remove(self, progress: Progress, report: SweepReport, stop_at_ms: int) -> None:
        """One bucket of symbols, or as much of it as there is time for."""
        names = sorted(item.symbol for item in self.instruments.walk(progress.symbols))
        for symbol in names:
            if symbol <= progress.symbol:
                continue
            if self._is_over(stop_at_ms, report):
                return
            self._remove_from(symbol, progress.bucket, report)
            progress.symbol = symbol
        progress.symbols, progress.symbol = progress.symbols + 1, ""

    def _remove_from(self, symbol: str, bucket: int, report: SweepReport) -> None:
        for account_type in ACCOUNT_TYPES:
            for part in self.holders.holders([symbol], account_type):
                keys = {key for key in part if _is_of(key, bucket, report)}
                if keys:
                    self._check(symbol, keys, report)

    def _check(self, symbol: str, keys: set[str], report: SweepReport) -> None:
        """The holders of a symbol that a fresh look at the ledger does not confirm."""
        found = self._load(keys, report)
        report.repaired += len(keys)
        removed: list[str] = []
        for key in keys - report.broken.keys():
            portfolio = found.get(key)
            if portfolio is not None and (symbol in portfolio.symbols or not self._is_settled(portfolio)):
                continue
            if self.dependents.remove(key, [symbol], portfolio.version if portfolio else None):
                removed.append(key)
        # Whoever committed before this look may have added it before we removed it; whoever commits after it adds it
        # after that.
        needed = [key for key, portfolio in self._load(removed, report).items() if symbol in portfolio.symbols]
        for key in needed:
            self._restore(key, [symbol])
        report.removed += len(removed) - len(needed)

    def _load(self, keys: Collection[str], report: SweepReport) -> dict[str, Portfolio]:
        """By key; those whose book cannot be read are in ``report.broken``, by key and by id."""
        if not keys:
            return {}
        found, broken = readable(self.ledger, [split_key(key)[1] for key in keys])
        report.broken |= {key: broken[split_key(key)[1]] for key in keys if split_key(key)[1] in broken}
        return {portfolio.key: portfolio for portfolio in found}

    def _add(self, progress: Progress, report: SweepReport) -> None:
        """A page of the bucket's portfolios."""
        page = self.ledger.walk(progress.bucket, progress.after, PAGE_SIZE)
        found, broken = readable(self.ledger, page.portfolio_ids) if page.portfolio_ids else ([], {})
        report.broken |= broken
        needs: Mapping[str, Collection[str]] = {
            portfolio.key: portfolio.symbols for portfolio in found if self._is_settled(portfolio)
        }
        missing = self.dependents.missing(needs) if needs else {}
        for key, symbols in missing.items():
            self._restore(key, symbols)
            report.missing += len(symbols)
        report.repaired += len(page.portfolio_ids)
        progress.after = page.cursor
        progress.is_finished = page.cursor is None

    def _restore(self, key: str, symbols: Collection[str]) -> None:
        """And mark: it may have missed prices."""
        self.dependents.restore(key, symbols)
        account_type, _ = split_key(key)
        self.marker.mark(account_type, [key], self.marker.window(account_type), "sweep", symbols=sorted(symbols))

    def _is_settled(self, portfolio: Portfolio) -> bool:
        return portfolio.updated_at_ms + SETTLED_MS < self.clock.now_ms()


def _is_of(key: str, bucket: int, report: SweepReport) -> bool:
    try:
        _, portfolio_id = split_key(key)
    except CallerError as fault:
        report.broken[key] = fault.message
        return False
    return stable_hash(portfolio_id) % WALK_BUCKETS == bucket
