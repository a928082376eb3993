"""What a close takes out of a position's cost: a share of the average, or whole lots, oldest first (definitions 1)."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from msgspec import Struct

from foliostream.domain import money
from foliostream.domain.account import Lot, Position
from foliostream.domain.entries import LotUse
from foliostream.domain.money import ZERO


class Taken(Struct, frozen=True):
    """``quantity`` > 0 that was closed, the cost removed with it, the lots it came from and those left."""

    quantity: Decimal
    cost: Decimal
    uses: tuple[LotUse, ...] = ()
    left: tuple[Lot, ...] = ()


def take(held: Position, quantity: Decimal) -> Taken:
    """Close ``quantity`` (0 < quantity <= |held|) of a position."""
    if held.lots:
        return _oldest_first(held.lots, quantity)
    if quantity == abs(held.quantity):
        return Taken(quantity, held.cost)
    return Taken(quantity, money.divide(held.cost * quantity, abs(held.quantity)))


def _oldest_first(lots: tuple[Lot, ...], quantity: Decimal) -> Taken:
    uses, cost, open_quantity = [], ZERO, quantity
    for index, lot in enumerate(lots):
        whole = lot.quantity <= open_quantity
        used = lot.quantity if whole else open_quantity
        removed = lot.cost if whole else money.divide(lot.cost * used, lot.quantity)
        uses.append(LotUse(lot.number, used, removed, lot.opened_at_ms))
        cost += removed
        open_quantity -= used
        if not open_quantity:
            rest = () if whole else (Lot(lot.number, lot.quantity - used, lot.cost - removed, lot.opened_at_ms),)
            return Taken(quantity, cost, tuple(uses), rest + lots[index + 1 :])
    raise ValueError("the lots hold less than the position")


def split(lots: Sequence[Lot], total: Decimal, new: Decimal, old: Decimal) -> tuple[Lot, ...]:
    """The lots after a split; their quantities sum to ``total``, what rounding leaves over goes to the newest."""
    result, left = [], total
    for lot in lots[:-1]:
        quantity = min(money.divide(lot.quantity * new, old, money.QUANTITY_DECIMALS), left)
        result.append(Lot(lot.number, quantity, lot.cost, lot.opened_at_ms))
        left -= quantity
    newest = lots[-1]
    return _without_empty([*result, Lot(newest.number, left, newest.cost, newest.opened_at_ms)])


def _without_empty(lots: list[Lot]) -> tuple[Lot, ...]:
    """A lot that rounding left without a quantity gives its cost to its neighbour."""
    kept: list[Lot] = []
    for lot in lots:
        if kept and not (lot.quantity and kept[-1].quantity):
            kept[-1] = _merged(kept[-1], lot)
        else:
            kept.append(lot)
    return tuple(kept)


def merge_oldest(lots: tuple[Lot, ...]) -> tuple[Lot, ...]:
    """One lot less: the two oldest as one, quantity and cost exactly their sums."""
    return (_merged(lots[0], lots[1]), *lots[2:]) if len(lots) > 1 else lots


def _merged(older: Lot, newer: Lot) -> Lot:
    return Lot(older.number, older.quantity + newer.quantity, older.cost + newer.cost, older.opened_at_ms)
