"""Which portfolio on a broker's account a difference belongs to.

An order's tag decides about fills. What is left is decided by the portfolios' configured shares, which sum to 1: a
difference is divided by them in whole steps, the largest remainders first. What takes away from the account's net
position is taken from those who hold it, by their shares, and nobody is sent through zero by another's holding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction

from msgspec import Struct

from foliostream.domain import money
from foliostream.domain.money import ONE, ZERO
from foliostream.errors import CallerError

# Of the sum of shares, for who writes thirds.
SHARE_TOLERANCE = Decimal("0.001")


class Holder(Struct, frozen=True):
    """A portfolio on the account; ``held``: its signed quantities by symbol."""

    portfolio_id: str
    share: Decimal | None = None
    held: Mapping[str, Decimal] = {}


class Part(Struct, frozen=True):
    """What of a quantity is one portfolio's."""

    portfolio_id: str
    quantity: Decimal


class Attributed(Struct, frozen=True):
    """``parts`` sum to the quantity; none where it is nobody's for sure, then ``reason`` says why."""

    parts: tuple[Part, ...]
    reason: str = ""


def checked_share(share: Decimal | None) -> Decimal | None:
    """Above 0, at most 1; ``CallerError``."""
    if share is None:
        return None
    if not ZERO < money.checked("broker_share", share, money.WEIGHT_DECIMALS) <= ONE:
        raise CallerError(f"broker_share is above 0 and at most 1, not {share}")
    return share


def attributed(symbol: str, quantity: Decimal, step: Decimal | None, holders: Sequence[Holder]) -> Attributed:
    """Whose the signed ``quantity`` is. ``step``: the smallest quantity the instrument is traded in, None: one unit,
    or less where the quantity itself is less."""
    if len(holders) == 1:
        return Attributed((Part(holders[0].portfolio_id, quantity),))
    shares = {item.portfolio_id: Fraction(item.share) for item in holders if item.share}
    if not shares:
        return Attributed((), "several portfolios share the account, and none has a broker_share")
    total = sum(shares.values(), Fraction(0))
    if abs(total - 1) > Fraction(SHARE_TOLERANCE):
        written = money.plain(sum((item.share for item in holders if item.share), ZERO), money.WEIGHT_DECIMALS)
        return Attributed((), f"the broker_shares on the account sum to {written}, not to 1")
    units, unit = _units(quantity, step)
    room = _room(symbol, units, unit, holders)
    taken = _filled(min(abs(units), sum(room.values())), shares, room)
    left = abs(units) - sum(taken.values())
    if left and any(room[name] - taken.get(name, 0) > 0 for name in room):
        return Attributed((), "it is held by a portfolio without a broker_share")
    opened = _divided(left, shares)
    sign = 1 if units > 0 else -1
    sums = {name: taken.get(name, 0) + opened.get(name, 0) for name in shares}
    return Attributed(tuple(Part(name, sign * count * unit) for name, count in sorted(sums.items()) if count))


def _units(quantity: Decimal, step: Decimal | None) -> tuple[int, Decimal]:
    """A number of equal parts of the quantity, and the size of one."""
    for size in (step, ONE):
        if size and quantity % size == ZERO:
            return int(quantity / size), size
    exponent = quantity.normalize().as_tuple().exponent
    size = ONE.scaleb(int(exponent))
    return int(quantity / size), size


def _room(symbol: str, units: int, unit: Decimal, holders: Sequence[Holder]) -> dict[str, int]:
    """How many units each portfolio can lose before it is flat; nothing where the account's net position grows."""
    held = {item.portfolio_id: item.held.get(symbol, ZERO) for item in holders}
    if sum(held.values(), ZERO) * units >= ZERO:
        return {}
    return {name: int(abs(value) / unit) for name, value in held.items() if value * units < ZERO}


def _filled(units: int, shares: Mapping[str, Fraction], room: Mapping[str, int]) -> dict[str, int]:
    """By shares, and what does not fit into one's room by those of the others."""
    given: dict[str, int] = {}
    while units:
        open_shares = {name: share for name, share in shares.items() if room.get(name, 0) > given.get(name, 0)}
        if not open_shares:
            break
        for name, count in _divided(units, open_shares).items():
            fitting = min(count, room[name] - given.get(name, 0))
            given[name] = given.get(name, 0) + fitting
            units -= fitting
    return given


def _divided(units: int, shares: Mapping[str, Fraction]) -> dict[str, int]:
    """Whole units by largest remainder; of equal ones the first id."""
    total = sum(shares.values(), Fraction(0))
    exact = {name: units * share / total for name, share in shares.items()}
    given = {name: int(value) for name, value in exact.items()}
    missing = units - sum(given.values())
    for name in sorted(exact, key=lambda one: (given[one] - exact[one], one))[:missing]:
        given[name] += 1
    return given
