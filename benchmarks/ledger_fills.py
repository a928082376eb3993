"""Fills a second that one core books: the domain alone, no store and no network.

``python -m benchmarks.ledger_fills`` prints the figures; ``--profile`` what the time goes into.
"""

from __future__ import annotations

import cProfile
import json
import pstats
import sys
import time
from collections.abc import Sequence
from decimal import Decimal
from random import Random

from benchmarks.measuring import Figure, Reference, Row, median
from foliostream.domain import portfolio as books
from foliostream.domain.instrument import Instrument
from foliostream.domain.portfolio import CostBasis, Entry, Portfolio

NOW = 1_772_101_800_000
ROUNDS = 3
FILLS = 20_000
ROUNDS = 3
SEED = 7
# A fill is booked into a book of some size: the positions of the book are copied once a change.
POSITIONS = (1, 20, 200)


def _instruments(positions: int) -> dict[str, Instrument]:
    names = [f"SYM{number}" for number in range(positions)]
    return {name: Instrument(symbol=name, kind="stock", currency="USD") for name in names}


def _fills(count: int, symbols: Sequence[str]) -> list[Entry]:
    """Buys and sells in turn with fees: adds, partial closes and flips."""
    random = Random(SEED)
    result = []
    for number in range(count):
        quantity = Decimal(random.randint(1, 100)) * random.choice((1, -1))
        result.append(
            Entry(
                transaction_id=f"fill-{number}",
                transaction_type="BUY" if quantity > 0 else "SELL",
                timestamp_ms=NOW,
                instrument_id=random.choice(symbols),
                quantity=quantity,
                price=Decimal(random.randint(1_000, 20_000)).scaleb(-2),
                fee=Decimal(random.randint(0, 500)).scaleb(-2),
                reported=True,
            )
        )
    return result


def _portfolio(cost_basis: CostBasis) -> Portfolio:
    return Portfolio(
        portfolio_id="benchmark",
        portfolio_name="benchmark",
        owner="benchmark",
        account_type="paper",
        account_kind="cash",
        base_currency="USD",
        cost_basis=cost_basis,
        created_at_ms=NOW,
        updated_at_ms=NOW,
        allow_short=True,
        cash={"USD": Decimal(1_000_000_000)},
    )


def _opened(cost_basis: CostBasis, instruments: dict[str, Instrument]) -> Portfolio:
    """A book in which every symbol is held, so that its size is what is asked for."""
    portfolio = _portfolio(cost_basis)
    entries = [
        Entry(f"open-{name}", "BUY", NOW, name, Decimal(50), Decimal(100), reported=True) for name in instruments
    ]
    return books.apply(portfolio, entries, instruments, NOW)[0]


def booked(portfolio: Portfolio, fills: list[Entry], instruments: dict[str, Instrument]) -> Portfolio:
    """Each fill for itself, as they come from the queue."""
    for fill in fills:
        portfolio, _ = books.apply(portfolio, [fill], instruments, NOW)
    return portfolio


def _rate(cost_basis: CostBasis, positions: int, count: int) -> dict[str, float]:
    instruments = _instruments(positions)
    fills = _fills(count, list(instruments))
    start = _opened(cost_basis, instruments)
    began = time.process_time()
    after = booked(start, fills, instruments)
    seconds = time.process_time() - began
    began = time.process_time()
    rounds = 200
    for _ in range(rounds):
        books.decode(books.encode(after))
    stored = (time.process_time() - began) / rounds
    return {
        "fills_per_second": round(count / seconds),
        "microseconds_per_fill": round(seconds / count * 1e6, 1),
        "microseconds_decode_and_encode": round(stored * 1e6, 1),
        "book_bytes": len(books.encode(after)),
    }


def run(fills: int = FILLS) -> dict[str, dict[str, float]]:
    """Figures by cost basis and positions held, in processor time of one core."""
    bases: tuple[CostBasis, ...] = ("average", "fifo")
    return {
        f"{basis}, {positions} positions": _rate(basis, positions, fills) for basis in bases for positions in POSITIONS
    }


def measure() -> list[Row]:
    """Fills a second and core, beside a book that is read and written for every fill."""
    rounds = [run(FILLS // ROUNDS) for _ in range(ROUNDS)]
    return [
        Row(
            "ledger_fills_per_s",
            f"ledger, fills of a book kept in memory, {name}",
            "/s",
            median([one[name]["fills_per_second"] for one in rounds]),
            (Reference("ledger_fills_stored_per_s", "book decoded and encoded for each", _stored(rounds, name)),),
            member=name,
        )
        for name in rounds[0]
    ]


def _stored(rounds: list[dict[str, dict[str, float]]], name: str) -> Figure:
    parts = ("microseconds_per_fill", "microseconds_decode_and_encode")
    return median([1e6 / sum(one[name][part] for part in parts) for one in rounds])


def profile() -> None:
    """Print what books of twenty positions spend their time on."""
    instruments = _instruments(20)
    fills, start = _fills(FILLS, list(instruments)), _opened("average", instruments)
    profiler = cProfile.Profile()
    profiler.runcall(booked, start, fills, instruments)
    pstats.Stats(profiler).sort_stats("tottime").print_stats(18)


if __name__ == "__main__":
    if "--profile" in sys.argv:
        profile()
    else:
        print(json.dumps(run(), indent=2))
