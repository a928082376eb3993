"""Margin accounts once more, slow and obvious: exact fractions, nothing shared with the code under test.

Written from definitions 11, 12 and 19 to 21 alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

LADDER = ("ok", "warning", "call", "stop_out")


class Held(NamedTuple):
    """A position: units signed, what they cost without sign, both sides of its price, both sides of its rate.

    ``tiers``: (from, rate) ascending, none where the instrument has no rate."""

    symbol: str
    units: Fraction
    cost: Fraction
    bid: Fraction
    ask: Fraction
    rate_bid: Fraction
    rate_ask: Fraction
    tiers: Sequence[tuple[Fraction, Fraction]]
    opened: int = 0


class Figures(NamedTuple):
    equity: Fraction
    used: Fraction

    @property
    def free(self) -> Fraction:
        return self.equity - self.used

    @property
    def level(self) -> Fraction | None:
        return 100 * self.equity / self.used if self.used else None


def gained(held: Held, basis: str = "current") -> Fraction:
    """Profit or loss in base."""
    price = held.bid if held.units > 0 else held.ask
    if basis == "mid":
        price = (held.bid + held.ask) / 2
    native = held.units * price - (held.cost if held.units > 0 else -held.cost)
    return native * (held.rate_bid if native >= 0 else held.rate_ask)


def needed(held: Held, leverage: Fraction | None, basis: str = "current") -> Fraction:
    """Margin in base."""
    native = {
        "current": abs(held.units) * held.ask,
        "mid": abs(held.units) * (held.bid + held.ask) / 2,
        "open": held.cost,
    }[basis]
    notional = native * max(held.rate_bid, held.rate_ask)
    if not held.tiers:
        assert leverage is not None
        return notional / leverage
    total = Fraction(0)
    borders = [start for start, _ in held.tiers][1:]
    for number, (start, rate) in enumerate(held.tiers):
        end = borders[number] if number < len(borders) else max(notional, start)
        part = max(Fraction(0), min(notional, end) - start)
        total += part * (max(rate, 1 / leverage) if leverage else rate)
    return total


def figures(balance: Fraction, held: Sequence[Held], leverage: Fraction | None, basis: str = "current") -> Figures:
    return Figures(
        balance + sum(gained(item, basis) for item in held),
        sum((needed(i, leverage, basis) for i in held), Fraction(0)),
    )


def order(held: Sequence[Held], leverage: Fraction | None) -> list[str]:
    """In which a stop-out closes."""
    return [
        item.symbol
        for item in sorted(held, key=lambda item: (gained(item), -needed(item, leverage), item.opened, item.symbol))
    ]


@dataclass
class Watch:
    """The states of an account, moved by figures that are to be trusted; ``raised``: (tick, event)."""

    thresholds: Mapping[str, Fraction]
    state: str = "unknown"
    raised: list[tuple[int, str]] = field(default_factory=list)

    def see(self, tick: int, found: Figures) -> None:
        before = LADDER.index(self.state) if self.state in LADDER else 0
        now = 0
        for number, name in enumerate(LADDER[1:], start=1):
            level, limit = found.level, self.thresholds[name]
            if level is not None and (level <= limit or (before >= number and level <= limit + 5)):
                now = number
        for number, event in ((2, "margin_call"), (3, "stop_out")):
            if now >= number > before:
                self.raised.append((tick, event))
        if before >= 2 > now and found.equity > 0:
            self.raised.append((tick, "margin_restored"))
        self.state = LADDER[now]
