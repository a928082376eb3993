"""Files of daily closes, and how they come into the application over REST (`make import-history FILE=closes.csv`)."""

import csv
import gzip
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import NamedTuple

from foliostream_client.errors import ApiError
from foliostream_client.transport import Rest

# Unpacked; twenty symbols over thirty years have a twentieth of it.
MAX_FILE_BYTES = 50_000_000
# What one call takes.
MAX_CLOSES = 2_600
LONG_COLUMNS = ("symbol", "date", "close")

Closes = Mapping[str, Mapping[str, Decimal]]


class _Cell(NamedTuple):
    """A close as the file has it."""

    line: int
    symbol: str
    day: str
    close: str


class PriceFileError(ValueError):
    """The file cannot be read as closes; the message names the line."""


def read(path: Path) -> Closes:
    """Closes by symbol and date of a CSV file, which may be gzipped: the columns symbol, date and close among others,
    or a date and then a column a symbol. Empty cells are left out. Raises `PriceFileError`."""
    try:
        with (gzip.open if path.suffix == ".gz" else Path.open)(path, "rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise PriceFileError(f"{path}: more than {MAX_FILE_BYTES:,} bytes")
        return parse(content.decode("utf-8-sig").splitlines(), str(path))
    except (OSError, EOFError, UnicodeDecodeError) as fault:
        raise PriceFileError(f"{path}: {fault}") from fault


def parse(lines: Iterable[str], name: str) -> Closes:
    """The same of lines."""
    rows = csv.reader(lines)
    header = [column.strip() for column in next(rows, [])]
    lower = [column.lower() for column in header]
    if set(LONG_COLUMNS) <= set(lower):
        cells = _long(rows, header, [lower.index(column) for column in LONG_COLUMNS], name)
    elif lower[:1] == ["date"] and len(header) > 1:
        cells = _wide(rows, header, name)
    else:
        raise PriceFileError(f"{name}: the first line must name symbol,date,close or date and symbols")
    found: dict[str, dict[str, Decimal]] = {}
    for cell in cells:
        if cell.close.strip():
            found.setdefault(cell.symbol.strip(), {})[cell.day.strip()] = _decimal(
                cell.close, f"{name}, line {cell.line}"
            )
    return found


def _long(rows: Iterable[Sequence[str]], header: Sequence[str], places: Sequence[int], name: str) -> Iterable[_Cell]:
    for line, row in _whole(rows, header, name):
        yield _Cell(line, *(row[place] for place in places))


def _wide(rows: Iterable[Sequence[str]], header: Sequence[str], name: str) -> Iterable[_Cell]:
    for line, row in _whole(rows, header, name):
        for symbol, close in zip(header[1:], row[1:], strict=True):
            yield _Cell(line, symbol, row[0], close)


def _whole(rows: Iterable[Sequence[str]], header: Sequence[str], name: str) -> Iterable[tuple[int, Sequence[str]]]:
    for number, row in enumerate(rows, 2):
        if row and len(row) != len(header):
            raise PriceFileError(f"{name}, line {number}: {len(row)} columns, the first line has {len(header)}")
        if row:
            yield number, row


def _decimal(raw: str, where: str) -> Decimal:
    try:
        value = Decimal(raw.strip())
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite():
        raise PriceFileError(f"{where}: {raw!r} is no price")
    return value


def give(rest: Rest, closes: Closes, *, adjusted: bool, show: Callable[[str], object]) -> list[str]:
    """PUT each symbol's newest closes; the symbols that were refused, each of which is shown with the reason. Needs
    the scope instruments:write, and instruments that are registered."""
    refused = []
    for symbol, by_day in closes.items():
        newest = sorted(by_day.items())[-MAX_CLOSES:]
        body = {"closes": [{"date": day, "close": close} for day, close in newest], "adjusted": adjusted}
        try:
            kept = rest.put(f"/api/v1/instruments/{symbol}/history", body)
        except ApiError as error:
            if not error.status:
                raise
            refused.append(symbol)
            show(f"{symbol}: refused: {error}")
            continue
        left_out = len(by_day) - len(newest)
        older = f", the {left_out:,} oldest left out" if left_out else ""
        show(f"{symbol}: {len(newest):,} closes given{older}, {kept['kept']:,} kept, {kept['from']} to {kept['to']}")
    return refused
