"""The registry of instruments over REST."""

from __future__ import annotations

from foliostream.application.access import Caller
from foliostream.application.dependents import mark_dependents
from foliostream.application.marking import Marker
from foliostream.domain import keys
from foliostream.domain.instrument import Instrument, checked
from foliostream.domain.times import iso
from foliostream.errors import CallerError, NotFoundError, RefusedError
from foliostream.ports import Clock, Holders, Instruments

# As of prices and transactions: how far another machine's clock may be ahead.
FUTURE_ALLOWANCE_MS = 5_000


def put_instrument(
    caller: Caller,
    instrument: Instrument,
    *,
    instruments: Instruments,
    holders: Holders,
    marker: Marker,
    clock: Clock,
) -> Instrument:
    """Register or change an instrument. Its kind, currency and contract size are fixed once registered: positions
    booked with them would change their meaning. A split ahead is refused: it would divide the prices of now.

    Its dependents are valued anew: at once, and by the sweep once more when no container can know the old one any
    longer. ``RetryableError`` may mean that it is registered and not all of them are marked.
    """
    caller.require("instruments:write")
    instrument = checked(instrument)
    ahead = [split for split in instrument.splits if split.effective_ms > clock.now_ms() + FUTURE_ALLOWANCE_MS]
    if ahead:
        raise CallerError(f"the split of {iso(ahead[0].effective_ms)} is not effective yet", code="SPLIT_IN_FUTURE")
    known = instruments.get([instrument.symbol]).get(instrument.symbol)
    if known and _booked_by(known) != _booked_by(instrument):
        raise RefusedError(
            f"kind, currency, base_currency and contract_size of {instrument.symbol} are fixed: "
            "books depend on them; register another symbol",
            code="INSTRUMENT_FIXED",
        )
    instruments.put(instrument)
    mark_dependents([instrument.symbol], holders, marker)
    return instrument


def get_instrument(symbol: str, instruments: Instruments) -> Instrument:
    """``NotFoundError`` if it is not registered."""
    found = instruments.get([keys.symbol(symbol)]).get(symbol)
    if found is None:
        raise NotFoundError(f"no instrument {symbol}", code="INSTRUMENT_NOT_FOUND")
    return found


def _booked_by(instrument: Instrument) -> tuple[object, ...]:
    return instrument.kind, instrument.currency, instrument.base_currency, instrument.contract_size
