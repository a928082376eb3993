"""Daily closes of instruments: kept as they were traded, in units of now when they are read (definitions 6, 23)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, time, timedelta, tzinfo
from decimal import Decimal, localcontext
from typing import NamedTuple

import msgspec

from foliostream.domain import money, price
from foliostream.domain.history import parse_day
from foliostream.domain.instrument import Instrument, Split
from foliostream.domain.money import ONE
from foliostream.domain.price import Price
from foliostream.errors import CallerError

# Kept of a symbol, the newest: ten years and more. At most 40 bytes each, they fit into an item four times.
MAX_CLOSES = 2_600
# What the metrics read (they use the last 253 common dates; listings differ in their holidays).
RECENT_CLOSES = 300
CLOSE_DECIMALS = money.FOREX_PRICE_DECIMALS
# Of a close that came adjusted for splits: as it was traded it may have more digits.
TRADED_DECIMALS = 12

Closes = dict[str, Decimal]


class _Step(NamedTuple):
    """Closes of days before ``first_day`` are ``factor`` times too high."""

    first_day: str
    factor: Decimal


def checked(rows: Iterable[tuple[str, Decimal]], instrument: Instrument, today: str) -> Closes:
    """By date, if every date is one until ``today`` and comes once, and every close is a price; ``CallerError``."""
    closes: Closes = {}
    for day, close in rows:
        if parse_day(day, "date") > today:
            raise CallerError(f"{day} has not been yet: the market's date is {today}", code="DATE_IN_FUTURE")
        if day in closes:
            raise CallerError(f"{day} comes twice")
        closes[day] = money.checked("close", close, CLOSE_DECIMALS, zero=instrument.allow_zero)
    return closes


def merged(stored: Mapping[str, Decimal], closes: Mapping[str, Decimal]) -> Closes:
    """Both, a date's new close in the place of its old one; oldest first, the newest ``MAX_CLOSES``."""
    both = {**stored, **closes}
    return {day: both[day] for day in sorted(both)[-MAX_CLOSES:]}


def in_units_of_now(closes: Mapping[str, Decimal], splits: Sequence[Split], zone: tzinfo) -> Closes:
    """The closes divided by every split that came after them. A close counts as of noon of its day in the market's
    ``zone``: a split is effective between two sessions, in whatever way its time is written."""
    steps = _steps(splits, zone)
    if not steps:
        return dict(closes)
    with localcontext(money.EXACT):
        return {day: close / _factor(steps, day) for day, close in closes.items()}


def as_traded(closes: Mapping[str, Decimal], splits: Sequence[Split], zone: tzinfo) -> Closes:
    """The inverse, for closes that a vendor has adjusted already."""
    steps = _steps(splits, zone)
    with localcontext(money.EXACT):
        return {day: money.rounded(close * _factor(steps, day), TRADED_DECIMALS) for day, close in closes.items()}


def _steps(splits: Sequence[Split], zone: tzinfo) -> list[_Step]:
    return [_Step(_first_day(split, zone), money.EXACT.divide(split.new, split.old)) for split in splits]


def _first_day(split: Split, zone: tzinfo) -> str:
    """The first day whose close the split does not divide."""
    local = datetime.fromtimestamp(split.effective_ms / 1000, UTC).astimezone(zone)
    return (local.date() + timedelta(days=local.time() > time(12))).isoformat()


def _factor(steps: Sequence[_Step], day: str) -> Decimal:
    factor = ONE
    for step in steps:
        if day < step.first_day:
            factor *= step.factor
    return factor


def of_price(quote: Price | None, instrument: Instrument, day: str, zone: tzinfo) -> Decimal | None:
    """The close of a day out of the newest price: a stock's last, else the middle of the quote. None where there is
    none of that very day: no close is carried forward."""
    found = price.mark(quote, "stock")
    if instrument.kind != "stock" and quote is not None and quote.bid is not None and quote.ask is not None:
        found = price.Mark((quote.bid + quote.ask) / 2, quote.quote_ts_ms)
    if found is None or day_of(found.ts_ms, zone) != day:
        return None
    return money.rounded(found.value, TRADED_DECIMALS).normalize()


def day_of(at_ms: int, zone: tzinfo) -> str:
    """The market's date at a time."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone).date().isoformat()


_encoder = msgspec.json.Encoder(decimal_format="number")
_decoder = msgspec.json.Decoder(Closes)


def encode(closes: Mapping[str, Decimal]) -> bytes:
    """As they are stored: a JSON object of exact numbers by date, in the order given."""
    return _encoder.encode(closes)


def decode(raw: bytes) -> Closes:
    """The inverse of ``encode``."""
    return _decoder.decode(raw)
