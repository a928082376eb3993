"""Transactions out of a broker's file into a portfolio: all of the file is read first, what is known is left out, the
rest is booked in batches of which each is all or nothing."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from foliostream_client.cells import CellError, Row, UnsupportedError
from foliostream_client.client import MAX_TRANSACTIONS, Client
from foliostream_client.errors import ApiError, InputError
from foliostream_client.layouts import EVERY, GENERIC, IB_SECTIONS, IB_STATEMENT, LAYOUTS, Context, Layout
from foliostream_client.transport import dumps

MAX_FILE_BYTES: Final = 50_000_000
MAX_PROBLEMS: Final = 20
# Ids under which the server books something itself.
_RESERVED: Final = ("fill:", "order:", "reset:")
# At the same moment money comes in first and leaves last, so that it is there for what is bought.
_RANK: Final[Mapping[str, int]] = {"DEPOSIT": 0, "WITHDRAWAL": 2}


class Booking(NamedTuple):
    """A transaction as the API takes it, and the line it came from."""

    line: int
    update: dict[str, Any]

    @property
    def transaction_id(self) -> str:
        """The same whenever the same line of the same kind of file is read."""
        return str(self.update["transaction_id"])


class Plan(NamedTuple):
    """A file as it was read, in the order of time; ``skipped`` says what was left out, and its lines."""

    layout: Layout
    bookings: Sequence[Booking]
    skipped: Sequence[str]


def plan(
    content: bytes,
    name: str,
    *,
    layout: str | None = None,
    names: Mapping[str, str] | None = None,
    zone: str | None = None,
    skip_unsupported: bool = False,
) -> Plan:
    """Read a file. ``layout`` None: the one that the header tells. ``InputError`` names every line (the first
    ``MAX_PROBLEMS``) that cannot be booked; nothing of a file is booked then."""
    found, rows = _rows(_text(content, name), name, layout)
    context = Context(names or {}, _zone(zone or found.zone))
    read: list[tuple[int, dict[str, Any]]] = []
    problems: list[str] = []
    skipped: list[str] = []
    for row in rows:
        try:
            read.append((row.line, found.read(row, context)))
        except CellError as fault:
            is_skipped = skip_unsupported and isinstance(fault, UnsupportedError)
            (skipped if is_skipped else problems).append(f"line {row.line}: {fault}")
    if problems:
        more = [f"and {len(problems) - MAX_PROBLEMS} lines more"] if len(problems) > MAX_PROBLEMS else []
        raise InputError(name, problems[:MAX_PROBLEMS] + more)
    return Plan(found, _ordered(found, read), skipped)


def batches(bookings: Sequence[Booking]) -> Iterator[Sequence[Booking]]:
    """As many as one call books, all or none."""
    for begin in range(0, len(bookings), MAX_TRANSACTIONS):
        yield bookings[begin : begin + MAX_TRANSACTIONS]


def unknown_symbols(client: Client, bookings: Sequence[Booking]) -> list[str]:
    """The symbols that nobody has registered: an update would be refused."""
    used = {str(booking.update.get("instrument_id", "CASH:")) for booking in bookings}
    return [symbol for symbol in sorted(used) if not symbol.startswith("CASH:") and not _is_known(client, symbol)]


def _is_known(client: Client, symbol: str) -> bool:
    try:
        client.instrument(symbol)
    except ApiError as fault:
        if fault.status == 404:
            return False
        raise
    return True


def book(
    client: Client, portfolio_id: str, bookings: Sequence[Booking], name: str, advance: Callable[[int], None]
) -> int:
    """Book them; how many were. A refused batch raises ``InputError`` that names the line; those before it stay
    booked, and a repeat goes on behind them."""
    done = 0
    for batch in batches(bookings):
        try:
            client.update(portfolio_id, [booking.update for booking in batch], batch[0].update["timestamp"])
        except ApiError as fault:
            if not 400 <= fault.status < 500 or fault.status in (401, 403, 404, 429):
                raise
            raise InputError(
                name, [_refused(fault, batch), f"{done} of {len(bookings)} transactions are booked"]
            ) from fault
        done += len(batch)
        advance(len(batch))
    return done


def _refused(fault: ApiError, batch: Sequence[Booking]) -> str:
    places = [detail["index"] for detail in fault.details if isinstance(detail.get("index"), int)]
    ids = {str(detail.get("transaction_id")) for detail in fault.details}
    lines = [batch[place].line for place in places if place < len(batch)]
    lines = lines or [booking.line for booking in batch if booking.transaction_id in ids]
    where = f"line {lines[0]}" if lines else f"lines {batch[0].line} to {batch[-1].line}"
    return f"{where}: {fault.code}: {fault.message}"


def _text(content: bytes, name: str) -> str:
    if len(content) > MAX_FILE_BYTES:
        raise InputError(name, [f"line 1: more than {MAX_FILE_BYTES:,} bytes"])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        line = content[: fault.start].count(b"\n") + 1
        raise InputError(name, [f"line {line}: no UTF-8: {fault.reason}"]) from fault


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as fault:
        raise InputError("--timezone", [f"line 0: {name!r} is no time zone such as Europe/Berlin"]) from fault


def _rows(text: str, name: str, asked: str | None) -> tuple[Layout, list[Row]]:
    first = text.partition("\n")[0]
    delimiter = ";" if first.count(";") > first.count(",") else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    lines: list[tuple[int, list[str]]] = []
    try:
        before = 0
        for cells in reader:
            if any(cell.strip() for cell in cells):
                lines.append((before + 1, cells))
            before = reader.line_num
    except csv.Error as fault:
        raise InputError(name, [f"line {reader.line_num}: {fault}"]) from fault
    if not lines:
        raise InputError(name, ["line 1: the file is empty"])
    header = _header(lines[0][1])
    layout = _layout(header, lines[0][1], name, asked)
    if layout is IB_STATEMENT:
        return layout, list(_sections(lines))
    return layout, list(_plain(header, lines[1:], name))


def _header(cells: Sequence[str]) -> list[str]:
    """Names in lower case; a column without one has what belongs to the one before it: its currency."""
    names: list[str] = []
    for cell in cells:
        name = cell.strip().lower()
        names.append(name or (f"{names[-1]} currency" if names else ""))
    return names


def _layout(header: Sequence[str], cells: Sequence[str], name: str, asked: str | None) -> Layout:
    if asked is not None:
        return next(layout for layout in EVERY if layout.name == asked)
    if len(cells) > 1 and cells[0].strip().lower() == "statement":
        return IB_STATEMENT
    for layout in LAYOUTS:
        if layout.needs <= set(header):
            return layout
    if set(header) & {"transaction_type", "type", "action"} and set(header) & {"timestamp", "date", "time", "datetime"}:
        return GENERIC
    known = "; ".join(layout.title for layout in EVERY)
    raise InputError(name, [f"line 1: the header is none of those known: {known}"])


def _plain(header: Sequence[str], lines: Sequence[tuple[int, list[str]]], name: str) -> Iterator[Row]:
    for number, cells in lines:
        if len(cells) != len(header):
            raise InputError(name, [f"line {number}: {len(cells)} cells, the header has {len(header)}"])
        yield Row(number, dict(zip(header, cells, strict=True)))


def _sections(lines: Sequence[tuple[int, list[str]]]) -> Iterator[Row]:
    """The rows of an activity statement that move something; totals and other tables are not among them."""
    headers: dict[str, list[str]] = {}
    for number, cells in lines:
        section, kind = cells[0].strip().lower(), cells[1].strip().lower() if len(cells) > 1 else ""
        if kind == "header":
            headers[section] = _header(cells[2:])
        elif kind == "data" and section in IB_SECTIONS and section in headers:
            row = Row(number, dict(zip(headers[section], cells[2:], strict=False)), section)
            is_total = row.text("currency").lower().startswith("total")
            if not is_total and row.text("datadiscriminator").lower() in ("", "order", "trade"):
                yield row


def _ordered(layout: Layout, read: Sequence[tuple[int, dict[str, Any]]]) -> list[Booking]:
    """By time; lines of the same moment in the order in which they happened, also where the file has the newest
    first."""
    rows = list(read)
    if len(rows) > 1 and _sort_key(rows[0][1])[0] > _sort_key(rows[-1][1])[0]:
        rows.reverse()
    rows.sort(key=lambda row: _sort_key(row[1]))
    seen: Counter[str] = Counter()
    return [Booking(line, _identified(layout, update, seen)) for line, update in rows]


def _sort_key(update: Mapping[str, Any]) -> tuple[str, int]:
    return str(update["timestamp"]), _RANK.get(update["transaction_type"], 1)


def _identified(layout: Layout, update: dict[str, Any], seen: Counter[str]) -> dict[str, Any]:
    """With an id of its own: the file's where it is the API's, else a digest of what the line says, and which of the
    lines that say the same it is."""
    fields = {name: value for name, value in update.items() if name != "reference"}
    reference = str(update.get("reference", ""))
    if layout is GENERIC and reference and not reference.startswith(_RESERVED):
        return fields | {"transaction_id": reference}
    said = {name: str(value) for name, value in sorted(update.items())}
    digest = blake2b(dumps(said), digest_size=12).hexdigest()
    seen[digest] += 1
    return fields | {"transaction_id": f"import:{layout.name}:{digest}:{seen[digest]}"}
