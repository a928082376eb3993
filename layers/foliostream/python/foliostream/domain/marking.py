"""Positions at their prices: unrounded figures of one snapshot, in each position's currency and in base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from foliostream.domain import daily, money, price, splitting
from foliostream.domain.account import Position
from foliostream.domain.instrument import Instrument, Split, expires_at_ms
from foliostream.domain.money import ONE
from foliostream.domain.price import Mark, Price
from foliostream.domain.rates import Rate

# Far enough: a snapshot whose prices never go stale (no positions).
NEVER_MS = 2**62


class Marked(NamedTuple):
    """A position with its figures at ``fx``, base per unit of its currency; None where a price or rate is missing.

    ``opened`` and ``closed``: the day's open and the previous close; ``expires_ms``: when the price is stale;
    ``outdated``: the price is older than a split; ``price_ts_ms``: of the oldest price it needs.
    """

    symbol: str
    position: Position
    mark: Decimal | None
    mark_ts_ms: int
    opened: Decimal | None
    closed: Decimal | None
    price_places: int
    expires_ms: int
    outdated: bool
    fx: Decimal | None
    value: Decimal | None
    unrealized: Decimal | None
    change: Decimal | None
    opening: Decimal | None
    day_result: Decimal | None
    price_ts_ms: int


def mark(quote: Price | None, instrument: Instrument | None, *, long: bool) -> Mark | None:
    """The price a position of the instrument is valued at, before any split."""
    return price.mark(quote, instrument.kind if instrument else "stock", long=long)


def units(position: Position) -> Decimal:
    """What a mark is multiplied with: signed."""
    return position.quantity * position.multiplier


def marked(
    symbol: str, position: Position, quote: Price | None, instrument: Instrument | None, stale_after_ms: int
) -> Marked:
    """The position in its own currency."""
    places = instrument.price_places if instrument else money.PRICE_DECIMALS
    found = mark(quote, instrument, long=position.quantity > 0)
    if found is None or quote is None:
        return _unmarked(symbol, position, quote, instrument, places)
    value, opened, closed, outdated = found.value, quote.open, quote.previous_close, False
    if splits := splitting.known(position.splits, instrument):
        factor = splitting.factor(splits, found.ts_ms)
        outdated = factor != 1
        value = value / factor
        opened, closed = _session(splits, quote)
    amount = units(position)
    worth = amount * value
    change = opening = None
    if opened:  # a missing or zero open is no base for a daily change (definitions 18)
        change, opening = amount * (value - opened), abs(amount) * opened
    return Marked(
        symbol,
        position,
        value,
        found.ts_ms,
        opened,
        closed,
        places,
        expires_at_ms(instrument, found.ts_ms, stale_after_ms),
        outdated,
        ONE,
        worth,
        worth - position.signed_cost,
        change,
        opening,
        daily.result(position, value, closed),
        found.ts_ms,
    )


def _unmarked(
    symbol: str, position: Position, quote: Price | None, instrument: Instrument | None, places: int
) -> Marked:
    opened, closed = _session(splitting.known(position.splits, instrument), quote) if quote else (None, None)
    return Marked(
        symbol, position, None, 0, opened, closed, places, NEVER_MS, False, ONE, None, None, None, None, None, 0
    )


def _session(splits: Sequence[Split], quote: Price) -> tuple[Decimal | None, Decimal | None]:
    """Open and previous close in units of now."""
    opened = _divided(quote.open, splits, quote.open_at_ms)
    return opened, _divided(quote.previous_close, splits, quote.previous_close_at_ms)


def _divided(value: Decimal | None, splits: Sequence[Split], ts_ms: int) -> Decimal | None:
    return None if value is None else value / splitting.factor(splits, ts_ms)


def in_base(item: Marked, fx: Decimal | None) -> Marked:
    """The same with its amounts in base."""
    if fx is None:
        return item._replace(fx=None, value=None, unrealized=None, change=None, opening=None, day_result=None)
    return item._replace(
        fx=fx,
        value=_times(item.value, fx),
        unrealized=_times(item.unrealized, fx),
        change=_times(item.change, fx),
        opening=_times(item.opening, fx),
        day_result=_times(item.day_result, fx),
    )


def _times(value: Decimal | None, fx: Decimal) -> Decimal | None:
    return None if value is None else value * fx


def with_rate(item: Marked, rate: Rate | None, expires_ms: int) -> Marked:
    """A margin account's position: converted at the side that is worse for its own profit or loss, and as old as the
    older of its price and its rate."""
    if rate is None or item.unrealized is None:
        return in_base(item, None)
    converted = in_base(item, rate.worse(item.unrealized))
    return converted._replace(
        expires_ms=min(item.expires_ms, expires_ms), price_ts_ms=min(item.price_ts_ms, rate.ts_ms)
    )


def rate_expires_ms(rate: Rate, instruments: Mapping[str, Instrument], stale_after_ms: int) -> int:
    """When the first of its legs is stale."""
    expiries = (expires_at_ms(instruments.get(symbol), ts_ms, stale_after_ms) for symbol, ts_ms in rate.legs)
    return min(expiries, default=NEVER_MS)
