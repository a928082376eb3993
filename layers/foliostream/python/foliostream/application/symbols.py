"""Symbol by symbol, bucket by bucket: checkpoints of prices, silence, changed instruments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from foliostream.application.dependents import mark_dependents
from foliostream.application.marking import Marker
from foliostream.application.sweep_report import SweepReport
from foliostream.domain import checkpoint
from foliostream.domain.checkpoint import Kept
from foliostream.domain.instrument import Instrument
from foliostream.domain.price import Price
from foliostream.ports import Clock, Holders, Instruments, Notes, Prices

# A container may know an instrument for a minute; then its dependents are valued once more.
RECHECK_AFTER_MS = 65_000


@dataclass(frozen=True)
class Symbols:
    """``notes`` is in the ledger's table: checkpoints outlive the hot store. ``stale_after_ms`` as of ``Valuer``."""

    prices: Prices
    instruments: Instruments
    holders: Holders
    marker: Marker
    notes: Notes
    clock: Clock
    stale_after_ms: int

    def restore(self, bucket: int) -> set[str]:
        """Put back the kept prices of a bucket that the hot store has not, or older; their symbols."""
        return self._restore(checkpoint.decode(self.notes.read(_name(bucket))))

    def _restore(self, kept: Mapping[str, Kept]) -> set[str]:
        priced = {symbol: item.price for symbol, item in kept.items() if item.price is not None}
        stored = self.prices.get(priced) if priced else {}
        updates = [
            update
            for symbol, price in priced.items()
            for update in checkpoint.restoring(symbol, price, stored.get(symbol))
        ]
        taken = self.prices.put(updates) if updates else []
        return {update.symbol for update, stands in zip(updates, taken, strict=True) if stands}

    def check(self, bucket: int, report: SweepReport) -> None:
        """One bucket: its dependents are marked first and what was seen is kept then, so that whoever dies in between
        marks once too often."""
        before = checkpoint.decode(self.notes.read(_name(bucket)))
        instruments = {item.symbol: item for item in self.instruments.walk(bucket)}
        restored = self._restore(before)
        prices = self.prices.get(instruments) if instruments else {}
        now_ms = self.clock.now_ms()
        after = dict(before)
        for symbol, instrument in instruments.items():
            after[symbol] = self._seen(before.get(symbol), instrument, prices.get(symbol), now_ms)
        stale = {symbol for symbol in after if _fell_silent(before.get(symbol), after[symbol])}
        changed = {symbol for symbol, item in before.items() if _is_due(item, now_ms)}
        dirty = restored | stale | changed
        if dirty:
            report.marked += mark_dependents(dirty, self.holders, self.marker)
        if after != before:
            self.notes.keep(_name(bucket), checkpoint.encode(after))
        report.restored += len(restored)
        report.stale += len(stale)
        report.rechecked += len(changed)
        report.checkpointed += sum(item.price != _price(before.get(symbol)) for symbol, item in after.items())

    def _seen(self, before: Kept | None, instrument: Instrument, price: Price | None, now_ms: int) -> Kept:
        known = before or Kept()
        digest = checkpoint.digest(instrument)
        recheck_at_ms = 0 if _is_due(known, now_ms) else known.recheck_at_ms
        if known.instrument and known.instrument != digest:
            recheck_at_ms = now_ms + RECHECK_AFTER_MS
        quote, last = 0, 0
        if price is not None:
            quote, last = checkpoint.stale_parts(price, instrument, self.stale_after_ms, now_ms)
        return replace(
            known,
            price=price or known.price,
            stale_quote_ts_ms=quote,
            stale_last_ts_ms=last,
            instrument=digest,
            recheck_at_ms=recheck_at_ms,
        )


def _fell_silent(before: Kept | None, after: Kept) -> bool:
    """Whether a part is stale that was not told yet."""
    known = before or Kept()
    return after.stale_quote_ts_ms not in {0, known.stale_quote_ts_ms} or after.stale_last_ts_ms not in {
        0,
        known.stale_last_ts_ms,
    }


def _is_due(item: Kept, now_ms: int) -> bool:
    return 0 < item.recheck_at_ms <= now_ms


def _price(item: Kept | None) -> Price | None:
    return item.price if item else None


def _name(bucket: int) -> str:
    return f"checkpoint-{bucket:02d}"
