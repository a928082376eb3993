"""The sweep, every minute: finds what got lost on every way there is, and tells what changed without a price.

Each step has a share of the time and goes on in the next run where it stopped. A step that fails stops no other.
Nothing it finds is expected: the paths lose nothing. What they cannot know (a message deleted by hand, a hot store that
fell back to an older state, a feed that fell silent) is found here, within minutes or the stated round.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from foliostream.application.comparing import Comparison
from foliostream.application.late_promises import LATE_MS, LatePromises, Promises
from foliostream.application.repairing import Repair
from foliostream.application.sweep_report import SweepReport
from foliostream.application.symbols import Symbols
from foliostream.errors import FoliostreamError
from foliostream.ports import SYMBOL_BUCKETS, Clock, Notes, Promised

# Shares of a run; together short beside the function's timeout of a minute, since one call may take seconds itself.
SYMBOLS_MS = 15_000
COMPARE_MS = 10_000
REPAIR_MS = 10_000
_SYMBOLS = "symbols"
ENDED = "sweep-ended"


@dataclass(frozen=True)
class Sweep:
    """``notes``: where the steps stopped, in the hot table, whatever the hot store is. Two runs at once are harmless:
    marks may be made twice, and what was kept last is a state that one of them saw."""

    promises: LatePromises
    symbols: Symbols
    comparison: Comparison
    repair: Repair
    notes: Notes
    clock: Clock

    def __call__(self, late_ms: int = LATE_MS) -> SweepReport:
        """``late_ms``: how old a promise is that nobody kept."""
        report = SweepReport()
        found = self._read(late_ms, report)
        if found is not None:
            for account_type, late in found.late.items():
                self._safely(f"promises {account_type}", report, _resending(self.promises, account_type, late))
        self._safely("symbols", report, self._check_symbols)
        if found is not None:
            keys = found.keys
            self._safely("compare", report, lambda one: self.comparison.run(keys, one, self._until(COMPARE_MS)))
        self._safely("repair", report, lambda one: self.repair.run(one, self._until(REPAIR_MS)))
        self._safely("end", report, self._end)
        return report

    def _read(self, late_ms: int, report: SweepReport) -> Promises | None:
        try:
            return self.promises.read(self.clock.now_ms(), late_ms)
        except FoliostreamError as fault:
            report.failed["promises"] = fault.message
            return None

    def _safely(self, step: str, report: SweepReport, work: Callable[[SweepReport], None]) -> None:
        try:
            work(report)
        except (FoliostreamError, msgspec.MsgspecError, zlib.error, ValueError, LookupError) as fault:
            report.failed[step] = f"{type(fault).__name__}: {fault}"

    def _check_symbols(self, report: SweepReport) -> None:
        """All buckets, beginning with the one the last run came to."""
        stop_at_ms = self._until(SYMBOLS_MS)
        raw = self.notes.read(_SYMBOLS)
        first = msgspec.json.decode(raw, type=int) if raw else 0
        for number in range(SYMBOL_BUCKETS):
            bucket = (first + number) % SYMBOL_BUCKETS
            if self.clock.now_ms() >= stop_at_ms:
                self.notes.keep(_SYMBOLS, msgspec.json.encode(bucket))
                return
            self._safely(f"symbols {bucket}", report, _checking(self.symbols, bucket))

    def _end(self, report: SweepReport) -> None:
        if not report.failed:
            self.notes.keep(ENDED, msgspec.json.encode(self.clock.now_ms()))

    def _until(self, share_ms: int) -> int:
        return self.clock.now_ms() + share_ms


def _resending(promises: LatePromises, account_type: str, late: Sequence[Promised]) -> Callable[[SweepReport], None]:
    return lambda report: promises.resend(account_type, late, report)


def _checking(symbols: Symbols, bucket: int) -> Callable[[SweepReport], None]:
    return lambda report: symbols.check(bucket, report)
