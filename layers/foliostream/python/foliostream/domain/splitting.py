"""Splits: other quantities, the same cost, older prices divided (definitions 6)."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_DOWN, Decimal

from msgspec.structs import replace

from foliostream.domain import lots, money
from foliostream.domain.account import NO_DAY, Portfolio, Position
from foliostream.domain.entries import Entry
from foliostream.domain.instrument import Instrument, Split
from foliostream.domain.money import ONE, ZERO
from foliostream.errors import CallerError, RefusedError

# More than one price can be older than; the oldest go when prices have long moved on.
MAX_SPLITS = 8
# A split is booked when the broker or its owner comes to it, mostly on the next days, and seldom ahead of it.
SAME_SPLIT_MS = 7 * 86_400_000


def split(portfolio: Portfolio, entry: Entry, instrument: Instrument) -> tuple[Portfolio, Decimal]:
    """The portfolio after the split, and the signed fraction of a unit that is to be paid in cash at its
    ``cash_price``."""
    new, old = _ratio(entry)
    held = portfolio.positions.get(instrument.symbol)
    if held is None:
        raise RefusedError(f"no {instrument.symbol} is held", code="INSUFFICIENT_POSITION")
    after = _split_position(held, new, old, entry.timestamp_ms)
    fraction = ZERO
    if entry.cash_price is not None:
        money.checked("cash_price", entry.cash_price, instrument.price_places, zero=instrument.allow_zero)
        fraction = after.quantity - after.quantity.quantize(ONE, rounding=ROUND_DOWN)
    return replace(portfolio, positions={**portfolio.positions, instrument.symbol: after}), fraction


def _ratio(entry: Entry) -> tuple[Decimal, Decimal]:
    if entry.ratio is None:
        raise CallerError("a SPLIT needs a ratio such as 4:1")
    for part in entry.ratio:
        money.checked("ratio", part, money.QUANTITY_DECIMALS, zero=False)
    return entry.ratio


def _split_position(held: Position, new: Decimal, old: Decimal, at_ms: int) -> Position:
    quantity = _scaled(held.quantity, new, old)
    if not quantity:
        raise RefusedError(f"a split of {new}:{old} leaves nothing of {held.quantity}", code="SPLIT_LEAVES_NOTHING")
    money.checked("quantity", quantity, money.QUANTITY_DECIMALS, signed=True)
    day = held.day or NO_DAY
    return replace(
        held,
        quantity=quantity,
        day=replace(day, traded=_scaled(day.traded, new, old)),
        lots=lots.split(held.lots, abs(quantity), new, old) if held.lots else (),
        splits=(*held.splits, Split(at_ms, new, old))[-MAX_SPLITS:],
        updated_at_ms=at_ms,
    )


def _scaled(quantity: Decimal, new: Decimal, old: Decimal) -> Decimal:
    return money.divide(quantity * new, old, money.QUANTITY_DECIMALS)


def known(booked: Sequence[Split], instrument: Instrument | None) -> Sequence[Split]:
    """The splits that divide a symbol's prices for one holder: the instrument's, and those of its own books that are
    not among them. A booked split of the same ratio within ``SAME_SPLIT_MS`` of one of the instrument's is that one,
    and the instrument's time counts: then the price jumped. Each is taken for one other at most."""
    if instrument is None or not instrument.splits:
        return booked
    if not booked:
        return instrument.splits
    unmatched = list(instrument.splits)
    own = []
    for item in booked:
        same = [other for other in unmatched if _is_same(item, other)]
        if same:
            unmatched.remove(min(same, key=lambda other: abs(other.effective_ms - item.effective_ms)))
        else:
            own.append(item)
    return (*instrument.splits, *own)


def is_due(opened_at_ms: int, booked: Sequence[Split], told: Sequence[Split], now_ms: int) -> bool:
    """Whether one of the instrument's splits (``told``) came after the position was opened and is not among the booked
    ones: its quantity is that of before, its price that of after."""
    due = [split for split in told if opened_at_ms < split.effective_ms <= now_ms]
    return any(not any(_is_same(split, other) for other in booked) for split in due)


def _is_same(one: Split, other: Split) -> bool:
    near = abs(one.effective_ms - other.effective_ms) <= SAME_SPLIT_MS
    return near and one.new * other.old == other.new * one.old


def factor(splits: Sequence[Split], price_ts_ms: int) -> Decimal:
    """By what a price of that time is divided: 1 unless it is older than a split."""
    result = ONE
    for item in splits:
        if price_ts_ms < item.effective_ms:
            result = result * item.new / item.old
    return result
