"""Files of prices and fills: CSV with a header, or JSON lines; read as they come: a pipe may go on for hours."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from foliostream_client.errors import InputError
from foliostream_client.transport import Json, loads

MAX_LINE_LENGTH: Final = 100_000
# Numbers in a CSV file go out as the strings they are, which the API takes as exact decimals.
PRICE_FIELDS: Final = ("symbol", "ts", "seq", "bid", "ask", "last", "open", "previous_close")
FILL_FIELDS: Final = (
    "fill_id",
    "portfolio_id",
    "execution_mode",
    "strategy_id",
    "instrument_id",
    "instrument_token",
    "side",
    "signal_type",
    "quantity",
    "fill_price",
    "fee",
    "fee_currency",
    "currency",
    "order_id",
    "tag",
    "exchange",
    "product",
    "owner",
    "timestamp",
)
_WHOLE: Final = frozenset({"seq"})
_TIMES: Final = frozenset({"ts", "timestamp"})


class Line(NamedTuple):
    """An item and the line it came from, from 1."""

    number: int
    item: dict[str, Any]


class Shape(NamedTuple):
    """What a file may hold: fields, those that must be there, and the one under which JSON has several in a list."""

    fields: Sequence[str]
    needed: Sequence[str]
    several: str


PRICES: Final = Shape(PRICE_FIELDS, ("symbol",), "updates")
FILLS: Final = Shape(FILL_FIELDS, ("fill_id", "quantity", "fill_price", "timestamp"), "fills")


def items(lines: Iterable[str], name: str, shape: Shape) -> Iterator[Line]:
    """What the lines hold; ``InputError`` names the first line that is not as it must be."""
    numbered = ((number, _checked(line, number, name)) for number, line in enumerate(lines, 1))
    number, line = next((numbered_line for numbered_line in numbered if numbered_line[1].strip()), (0, ""))
    if line.lstrip("\ufeff").lstrip()[:1] in "{[":
        yield from _json(number, line.lstrip("\ufeff"), numbered, name, shape)
    elif line:
        yield from _csv(number, line.lstrip("\ufeff"), numbered, name, shape)


def _checked(line: str, number: int, name: str) -> str:
    if len(line) > MAX_LINE_LENGTH:
        raise InputError(name, [f"line {number}: longer than {MAX_LINE_LENGTH:,} characters"])
    return line


def _json(number: int, line: str, following: Iterator[tuple[int, str]], name: str, shape: Shape) -> Iterator[Line]:
    while True:
        if line.strip():
            for item in _of_json(line, number, name, shape):
                yield Line(number, _whole(item, number, name, shape))
        try:
            number, line = next(following)
        except StopIteration:
            return


def _of_json(line: str, number: int, name: str, shape: Shape) -> list[Json]:
    try:
        content = loads(line)
    except ValueError as fault:
        raise InputError(name, [f"line {number}: no JSON: {fault}"]) from fault
    if isinstance(content, dict) and isinstance(content.get(shape.several), list):
        content = content[shape.several]
    return content if isinstance(content, list) else [content]


def _csv(number: int, line: str, following: Iterator[tuple[int, str]], name: str, shape: Shape) -> Iterator[Line]:
    header = [column.strip().lower() for column in next(csv.reader([line]))]
    unknown = [column for column in header if column not in shape.fields]
    if unknown or len(set(header)) < len(header):
        problem = f"unknown or repeated columns {', '.join(unknown or header)}; there are {', '.join(shape.fields)}"
        raise InputError(name, [f"line {number}: {problem}"])
    for number, line in following:
        if not line.strip():
            continue
        cells = next(csv.reader([line]))
        if len(cells) != len(header):
            raise InputError(name, [f"line {number}: {len(cells)} cells, the header has {len(header)}"])
        given = {column: cell.strip() for column, cell in zip(header, cells, strict=True) if cell.strip()}
        yield Line(number, _whole({column: _cell(column, cell) for column, cell in given.items()}, number, name, shape))


def _cell(column: str, cell: str) -> str | int:
    whole = column in _WHOLE or (column in _TIMES and cell.isdecimal())
    return int(cell) if whole and cell.isdecimal() else cell


def _whole(item: Json, number: int, name: str, shape: Shape) -> dict[str, Any]:
    if not isinstance(item, Mapping):
        raise InputError(name, [f"line {number}: no JSON object"])
    missing = [field for field in shape.needed if item.get(field) in (None, "")]
    if missing:
        raise InputError(name, [f"line {number}: {', '.join(missing)} missing"])
    return dict(item)
