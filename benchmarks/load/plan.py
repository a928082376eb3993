"""How much of what, and who owns what of it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from random import Random
from typing import NamedTuple

CASH = Decimal(1_000_000)
FIRST_PRICE = Decimal(100)
POSITIONS, FIRST_QUANTITY = 10, 10
SEED = 11
ACCOUNT_TYPES = ("live", "live", "demo", "paper")


@dataclass(frozen=True)
class Plan:
    """Rates are a second's, of the whole system. ``shards``: on AWS each is worked on beside the others; the emulator
    takes one batch of a queue at a time, to which more of them are only more messages."""

    seconds: float
    portfolios: int
    symbols: int
    ticks: int
    fills: int
    sockets: int
    shards: int
    watched: int = 5

    def symbol(self, number: int) -> str:
        """``L00042``."""
        return f"L{number:05d}"

    def all_symbols(self) -> list[str]:
        """In their order."""
        return [self.symbol(number) for number in range(self.symbols)]

    def accounts(self) -> list[Account]:
        """The same for the same sizes: half of them live, a quarter demo, a quarter paper."""
        draw, symbols = Random(SEED), self.all_symbols()
        held = min(POSITIONS, self.symbols)
        return [
            Account(f"load-{number:05d}", ACCOUNT_TYPES[number % len(ACCOUNT_TYPES)], draw.sample(symbols, held))
            for number in range(self.portfolios)
        ]


class Account(NamedTuple):
    """A cash account with ``FIRST_QUANTITY`` of each symbol, bought at ``FIRST_PRICE``."""

    portfolio_id: str
    account_type: str
    symbols: list[str]
