"""Rates between currencies (definitions 12): direct, inverse, else a cross over USD, EUR or INR, each leg at the worse
side. There is no rate of 1 but from a currency to itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from foliostream.domain import money
from foliostream.domain.money import ONE, ZERO
from foliostream.domain.price import Price

HUBS = ("USD", "EUR", "INR")


class Rate(NamedTuple):
    """Base per unit of a currency: ``bid`` what one unit brings, ``ask`` what it costs. ``legs``: each pair it is made
    of and the time of its price."""

    bid: Decimal
    ask: Decimal
    legs: tuple[tuple[str, int], ...]

    def worse(self, amount: Decimal) -> Decimal:
        """The side that is worse for whoever owns (>= 0) or owes the amount."""
        return self.bid if amount >= ZERO else self.ask

    @property
    def ts_ms(self) -> int:
        """The time of its oldest leg; far ahead for the rate of a currency to itself."""
        return min((ts_ms for _, ts_ms in self.legs), default=2**62)


SAME = Rate(ONE, ONE, ())
Fresh = Callable[[str, int], bool]


@lru_cache(maxsize=4096)
def pairs(source: str, target: str) -> tuple[str, ...]:
    """The symbols that a rate may come from, both directions of each; none for a currency to itself."""
    if source == target:
        return ()
    ways = [(source, target)]
    for hub in HUBS:
        if hub not in (source, target):
            ways += [(source, hub), (hub, target)]
    return tuple(name for one, other in ways for name in (one + other, other + one))


def find(source: str, target: str, prices: Mapping[str, Price], fresh: Fresh) -> Rate | None:
    """The rate from ``source`` to ``target``; None if there is none.

    ``fresh``: whether a pair's price of a time (epoch ms) is not stale. A cross of which a leg is stale is only taken
    where no cross is fresh.
    """
    if source == target:
        return SAME
    return _leg(source, target, prices) or _cross(source, target, prices, fresh)


def _cross(source: str, target: str, prices: Mapping[str, Price], fresh: Fresh) -> Rate | None:
    stale = None
    for hub in HUBS:
        if hub in (source, target):
            continue
        first, second = _leg(source, hub, prices), _leg(hub, target, prices)
        if first is None or second is None:
            continue
        bid, ask = money.EXACT.multiply(first.bid, second.bid), money.EXACT.multiply(first.ask, second.ask)
        rate = Rate(bid, ask, first.legs + second.legs)
        if all(fresh(symbol, ts_ms) for symbol, ts_ms in rate.legs):
            return rate
        stale = stale or rate
    return stale


def _leg(source: str, target: str, prices: Mapping[str, Price]) -> Rate | None:
    """Direct, else inverse."""
    direct = _sides(source + target, prices)
    if direct is not None:
        return direct
    inverse = _sides(target + source, prices)
    if inverse is None:
        return None
    return Rate(money.EXACT.divide(ONE, inverse.ask), money.EXACT.divide(ONE, inverse.bid), inverse.legs)


def _sides(symbol: str, prices: Mapping[str, Price]) -> Rate | None:
    """Both sides of a whole quote; a pair that has only ``last`` uses it on both. Zero is no rate."""
    price = prices.get(symbol)
    if price is None:
        return None
    if price.bid and price.ask:
        return Rate(price.bid, price.ask, ((symbol, price.quote_ts_ms),))
    if price.last and price.bid is None and price.ask is None:
        return Rate(price.last, price.last, ((symbol, price.last_ts_ms),))
    return None
