"""Real ticks from a file, for `--ticks`.

CSV with a header, also gzipped (``.gz``). Columns, in any order, others are ignored:

- ``symbol``; a file of one symbol may leave it out and be named as ``SYMBOL=FILE``
- ``ts`` or ``ts_utc``: ISO 8601 with an offset, or epoch milliseconds
- ``bid``, ``ask``, ``last``, or of a bar ``bid_close``, ``ask_close``, ``close``: at least one of them a line

A quote whose bid is above its ask is real dirt, which the application refuses: it is left out and counted.
"""

import csv
import gzip
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import IO, NamedTuple

from foliostream.domain import keys, money, times
from foliostream.errors import CallerError

# What one portfolio of the benchmark holds; and a file that is far too long is not read to its end.
SYMBOLS_MAX = 20
TICKS_MAX = 200_000
FAULTS_SHOWN = 10
_PRICES = {"bid": ("bid", "bid_close"), "ask": ("ask", "ask_close"), "last": ("last", "close")}


class TickFileError(ValueError):
    """What is wrong with a file, with the numbers of the lines."""


class Tick(NamedTuple):
    """Prices of a symbol at a time, exactly as written; those that the line does not have are left out."""

    symbol: str
    ts_ms: int
    prices: dict[str, Decimal]


@dataclass(frozen=True)
class TickFile:
    """Ticks by time; ``crossed`` quotes were left out."""

    ticks: list[Tick]
    crossed: int

    @property
    def symbols(self) -> list[str]:
        """Those in it, sorted."""
        return sorted({tick.symbol for tick in self.ticks})

    @property
    def decimals(self) -> int:
        """The most of any price."""
        return max(_decimals(price) for tick in self.ticks for price in tick.prices.values())

    def first(self) -> dict[str, Decimal]:
        """A price of each symbol to buy at: of its first tick, last before ask before bid."""
        found: dict[str, Decimal] = {}
        for tick in self.ticks:
            named = (tick.prices[name] for name in ("last", "ask", "bid") if name in tick.prices)
            found.setdefault(tick.symbol, next(named))
        return found


def read(argument: str) -> TickFile:
    """``FILE`` or ``SYMBOL=FILE``; ``TickFileError`` names the file and up to ten lines with what is wrong."""
    symbol, path = "", Path(argument)
    if not path.exists() and "=" in argument:
        symbol, _, rest = argument.partition("=")
        path = Path(rest)
    try:
        with _opened(path) as lines:
            return _parsed(path.name, csv.DictReader(lines), symbol)
    except (OSError, EOFError, UnicodeDecodeError, zlib.error, csv.Error) as fault:
        raise TickFileError(f"{path}: cannot be read: {fault}") from None


def _opened(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _parsed(name: str, rows: "csv.DictReader[str]", symbol: str) -> TickFile:
    _check_header(name, set(rows.fieldnames or ()), symbol)
    faults: list[str] = []
    found = list(_ticks(rows, symbol, lambda fault: faults.append(f"{name}:{rows.line_num}: {fault}")))
    if faults:
        more = f"\nand {len(faults) - FAULTS_SHOWN} more" if len(faults) > FAULTS_SHOWN else ""
        raise TickFileError("\n".join(faults[:FAULTS_SHOWN]) + more)
    ticks = sorted((tick for tick in found if not _is_crossed(tick)), key=lambda tick: tick.ts_ms)
    file = TickFile(ticks, len(found) - len(ticks))
    if not ticks:
        raise TickFileError(f"{name}: no tick in it")
    if len(file.symbols) > SYMBOLS_MAX:
        raise TickFileError(f"{name}: {len(file.symbols)} symbols, at most {SYMBOLS_MAX} are replayed")
    return file


def _check_header(name: str, have: set[str], symbol: str) -> None:
    if "symbol" not in have and not symbol:
        raise TickFileError(f"{name}:1: no column symbol; name the file SYMBOL=FILE if it has only one")
    if not have & {"ts", "ts_utc"}:
        raise TickFileError(f"{name}:1: no column ts or ts_utc")
    if not have & {column for names in _PRICES.values() for column in names}:
        raise TickFileError(f"{name}:1: none of the columns bid, ask, last")


def _ticks(rows: "csv.DictReader[str]", symbol: str, refuse: Callable[[str], None]) -> Iterator[Tick]:
    for number, row in enumerate(rows):
        if number == TICKS_MAX:
            refuse(f"more than {TICKS_MAX} ticks")
            return
        try:
            yield _tick(row, symbol)
        except CallerError as fault:
            refuse(fault.message)


def _tick(row: Mapping[str | None, str | None], symbol: str) -> Tick:
    if None in row or None in row.values():
        raise CallerError("the line has not as many fields as the header")
    name = keys.symbol(row.get("symbol") or symbol)
    raw = row.get("ts") or row.get("ts_utc") or ""
    ts_ms = times.epoch_ms(int(raw) if raw.isascii() and raw.isdigit() else raw)
    prices = {field: price for field, names in _PRICES.items() if (price := _price(row, names)) is not None}
    if not prices:
        raise CallerError("no price: bid, ask and last are empty")
    return Tick(name, ts_ms, prices)


def _price(row: Mapping[str | None, str | None], names: tuple[str, ...]) -> Decimal | None:
    for name in names:
        raw = row.get(name)
        if raw:
            try:
                value = Decimal(raw)
            except InvalidOperation:
                raise CallerError(f"{name} is no number: {raw[:40]!r}") from None
            return money.checked(name, value, money.FOREX_PRICE_DECIMALS, zero=False)
    return None


def _is_crossed(tick: Tick) -> bool:
    return "bid" in tick.prices and "ask" in tick.prices and tick.prices["bid"] > tick.prices["ask"]


def _decimals(value: Decimal) -> int:
    return max(0, -int(value.as_tuple().exponent))
