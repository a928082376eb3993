"""A price update: stored, its dependents resolved, their portfolios marked dirty (design section 4, steps 1 to 6)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from foliostream.application.marking import Marker
from foliostream.domain import price
from foliostream.domain.keys import ACCOUNT_TYPES
from foliostream.domain.price import PriceUpdate, Refused
from foliostream.ports import Clock, Holders, Instruments, Prices

# What a line of a log names.
SYMBOLS_LOGGED_MAX = 20


@dataclass
class PriceReport:
    """``accepted`` updates were stored, of ``symbols``; every other one is in ``rejected`` with its code."""

    accepted: int = 0
    rejected: list[Refused] = field(default_factory=list)
    portfolios_marked: int = 0
    bundles_sent: int = 0
    symbols: set[str] = field(default_factory=set)

    @property
    def shown_symbols(self) -> list[str]:
        """For a line of a log: the first ``SYMBOLS_LOGGED_MAX`` in their order."""
        return sorted(self.symbols)[:SYMBOLS_LOGGED_MAX]


def update_prices(
    updates: Sequence[PriceUpdate],
    *,
    prices: Prices,
    holders: Holders,
    instruments: Instruments,
    marker: Marker,
    clock: Clock,
) -> PriceReport:
    """Store what may be stored and mark the dependents of every symbol that was taken.

    A bad update refuses itself only. ``RetryableError`` means that some dependents may not be marked: the same
    updates must come again, and since an equal order is taken they will be marked then.
    """
    known = instruments.get({update.symbol for update in updates})
    report = PriceReport()
    now_ms = clock.now_ms()
    valid = []
    for update in updates:
        refused = price.refusal(update, known.get(update.symbol), now_ms)
        if refused:
            report.rejected.append(refused)
        else:
            valid.append(update)
    taken = prices.put(valid) if valid else []
    symbols = report.symbols
    for update, stored in zip(valid, taken, strict=True):
        if stored:
            symbols.add(update.symbol)
        else:
            report.rejected.append(Refused(update.symbol, "STALE", f"a newer price than {update.ts_ms} is stored"))
    report.accepted = sum(taken)
    if symbols:
        _mark_dependents(symbols, holders, marker, report)
    return report


def _mark_dependents(symbols: Collection[str], holders: Holders, marker: Marker, report: PriceReport) -> None:
    for account_type in ACCOUNT_TYPES:
        window = marker.window(account_type)  # now: after the prices were acknowledged
        keys = {key for part in holders.holders(symbols, account_type) for key in part}
        report.portfolios_marked += len(keys)
        report.bundles_sent += marker.mark(account_type, keys, window, "price", symbols=sorted(symbols))
