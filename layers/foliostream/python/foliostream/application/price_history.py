"""Daily closes of instruments over REST: what the metrics are computed from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, tzinfo
from decimal import Decimal
from typing import NamedTuple

from foliostream.application.access import Caller
from foliostream.application.instruments import get_instrument
from foliostream.domain import closes, history, money
from foliostream.domain.closes import Closes
from foliostream.errors import CallerError
from foliostream.ports import Clock, Instruments, PriceHistory


class Kept(NamedTuple):
    """What a symbol has after a change: how many closes, from the first day to the last."""

    symbol: str
    kept: int
    first: str | None
    last: str | None


def put_closes(
    caller: Caller,
    symbol: str,
    rows: Sequence[tuple[str, Decimal]],
    *,
    adjusted: bool,
    instruments: Instruments,
    price_history: PriceHistory,
    clock: Clock,
    zone: tzinfo,
) -> Kept:
    """Merge closes by date into those kept: the newest ``closes.MAX_CLOSES``. They are as traded on their days, or,
    ``adjusted``, divided by the splits registered so far already."""
    caller.require("instruments:write")
    instrument = get_instrument(symbol, instruments)
    if len(rows) > closes.MAX_CLOSES:
        raise CallerError(
            f"at most {closes.MAX_CLOSES} closes are kept, not {len(rows)}",
            code="TOO_MANY_CLOSES",
            details=[{"limit": closes.MAX_CLOSES, "value": len(rows)}],
        )
    found = closes.checked(rows, instrument, closes.day_of(clock.now_ms(), zone))
    if adjusted:
        found = closes.as_traded(found, instrument.splits, zone)
    kept = price_history.merge(symbol, found)
    return Kept(symbol, len(kept), next(iter(kept), None), next(reversed(kept), None))


def get_closes(
    symbol: str,
    first: str | None,
    last: str | None,
    *,
    instruments: Instruments,
    price_history: PriceHistory,
    zone: tzinfo,
) -> Closes:
    """Those kept from ``first`` to ``last`` (both included; left out: all), oldest first, in units of now."""
    instrument = get_instrument(symbol, instruments)
    first = history.parse_day(date.min.isoformat() if first is None else first, "from")
    last = history.parse_day(date.max.isoformat() if last is None else last, "to")
    if first > last:
        raise CallerError(f"from {first} is after to {last}", code="INVALID_RANGE")
    kept = {day: close for day, close in price_history.all(symbol).items() if first <= day <= last}
    adjusted = closes.in_units_of_now(kept, instrument.splits, zone)
    return {day: money.plain(close, closes.CLOSE_DECIMALS) for day, close in adjusted.items()}
