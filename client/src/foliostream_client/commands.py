"""What each command does; ``cli`` says how it is called. Every one gives the exit code."""

from __future__ import annotations

import argparse
import csv
import getpass
import io
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final, TextIO, TypeVar

import msgspec

from foliostream_client import credentials, importing, reading
from foliostream_client.analyzing import Result
from foliostream_client.board import COLUMNS, EXPENDABLE, Board, lines, row
from foliostream_client.client import MAX_FILLS, MAX_PRICES, Client
from foliostream_client.errors import ApiError, ClientError, InputError, SettingError
from foliostream_client.importing import Plan
from foliostream_client.models import AlarmStates, Freshness, MarketStatus
from foliostream_client.output import Output, shown
from foliostream_client.reading import Line
from foliostream_client.transport import dumps
from foliostream_client.watching import Problem, Snapshot, Update

T = TypeVar("T")

OK: Final = 0
REFUSED: Final = 1
POSITIONS: Final = (
    "instrument_id",
    "quantity",
    "average_price",
    "mark",
    "market_value",
    "weight",
    "unrealized_pnl",
    "daily_change",
    "currency",
    "price_ts",
)
# What a narrow terminal does without, first to last.
POSITIONS_EXPENDABLE: Final = ("price_ts", "currency", "daily_change", "average_price", "weight")
# In this order a CSV file of transactions can be imported again.
TRANSACTIONS: Final = (
    "timestamp",
    "transaction_type",
    "instrument_id",
    "quantity_change",
    "price",
    "fee",
    "fee_currency",
    "amount",
    "currency",
    "to_currency",
    "rate",
    "ratio",
    "cash_price",
    "reason",
    "transaction_id",
    "cash_change",
    "realized_pnl",
    "ledger_version",
    "booked_at",
)


def login(options: argparse.Namespace, output: Output) -> int:
    """Check address and token, then store them."""
    found = credentials.of_outputs(_outputs_file()) if options.local else _asked(options)
    portfolios = len(list(islice(found.client().portfolios(), 1_000)))
    file = credentials.store(found, os.environ)
    if output.as_json:
        output.line({"rest_url": found.rest_url, "file": str(file), "portfolios": portfolios})
    else:
        output.text(f"logged in to {found.rest_url} ({portfolios} portfolios); stored in {file}")
    return OK


def _outputs_file() -> Path:
    return Path(os.environ.get("FOLIOSTREAM_HOME") or ".local") / "outputs.json"


def _asked(options: argparse.Namespace) -> credentials.Credentials:
    if not options.url:
        raise SettingError("login needs --url (the stage's address), or --local")
    token = getpass.getpass("token: ") if sys.stdin.isatty() else sys.stdin.readline()
    return credentials.checked(options.url, token.strip(), options.ws_url)


def logout(_: argparse.Namespace, output: Output) -> int:
    """Forget address and token."""
    credentials.path(os.environ).unlink(missing_ok=True)
    output.note("logged out")
    return OK


def portfolios(_: argparse.Namespace, output: Output) -> int:
    """List those of the token's owner, in the order of their ids."""
    found = list(_client().portfolios())
    if output.as_json:
        output.document(found)
        return OK
    columns = ("portfolio_id", "portfolio_name", "account_type", "account_kind", "base_currency", "status")
    output.table(columns, [[getattr(item, column) for column in columns] for item in found])
    return OK


def state(options: argparse.Namespace, output: Output) -> int:
    """Show a portfolio's newest state: its figures in a terminal, its positions, or all of it as JSON."""
    client = _client()
    if output.as_json:
        output.document(client.state_json(options.portfolio))
        return OK
    found = client.state(options.portfolio)
    if output.is_terminal:
        output.table(COLUMNS, [row(found.portfolio_id, found)], expendable=EXPENDABLE)
    rows = [[getattr(item, name) for name in POSITIONS] for item in found.positions]
    output.table(POSITIONS, rows, "positions", POSITIONS_EXPENDABLE)
    return OK


def watch(options: argparse.Namespace, output: Output) -> int:
    """Show portfolios as they change, until Ctrl-C or, with ``--count``, so many states."""
    client = _client()
    ids = options.portfolio or [item.portfolio_id for item in islice(client.portfolios(), 50)]
    with _shower(output) as show:
        states = 0
        for event in client.watch(ids):
            show(event)
            if isinstance(event, Problem):
                raise ClientError(f"{event.code}: {event.message}")
            states += isinstance(event, Snapshot | Update)
            if states == options.count:
                return OK
    return OK


@contextmanager
def _shower(output: Output) -> Iterator[Callable[[Any], None]]:
    if not output.is_terminal:
        if not output.as_json:
            output.row(COLUMNS)
        yield lambda event: lines(event, output)
        return
    from rich.live import Live

    board = Board()
    with Live(board, refresh_per_second=8):
        yield board.take


def analyze(options: argparse.Namespace, output: Output) -> int:
    """Show metrics as they come."""
    if not output.as_json:
        output.row(("metric", "value", "reason"))
    for event in _client().analyze(options.ticker, options.portfolio):
        if output.as_json:
            output.line({"event": type(event).__name__.lower(), **msgspec.structs.asdict(event)})
        elif isinstance(event, Result):
            output.row((event.metric, event.value, event.reason))
    return OK


def push_prices(options: argparse.Namespace, output: Output) -> int:
    """Send prices from a file or a pipe; those without a time are of now."""

    def send(client: Client, batch: Sequence[Line]) -> tuple[int, list[str]]:
        taken = client.send_prices([{"ts": _now(), **line.item} for line in batch])
        return taken.accepted, [f"{item.symbol}: {item.code}: {item.message}" for item in taken.rejected]

    return _push(options, output, reading.PRICES, min(options.batch, MAX_PRICES), send)


def push_fills(options: argparse.Namespace, output: Output) -> int:
    """Send fills from a file or a pipe."""

    def send(client: Client, batch: Sequence[Line]) -> tuple[int, list[str]]:
        taken = client.send_fills([line.item for line in batch])
        refused = [
            f"line {batch[item.index].number}: {item.fill_id}: {item.code}: {item.message}" for item in taken.rejected
        ]
        return taken.accepted, refused

    return _push(options, output, reading.FILLS, min(options.batch, MAX_FILLS), send)


def _push(
    options: argparse.Namespace,
    output: Output,
    shape: reading.Shape,
    size: int,
    send: Callable[[Client, Sequence[Line]], tuple[int, list[str]]],
) -> int:
    client, accepted, rejected = _client(), 0, 0
    with _opened(options.file) as file, output.progress(f"sending {options.file}", None) as advance:
        for batch in _batches(reading.items(file, options.file, shape), size):
            taken, refused = send(client, batch)
            accepted, rejected = accepted + taken, rejected + len(refused)
            for problem in refused:
                output.note(f"rejected: {problem}")
            advance(len(batch))
    if output.as_json:
        output.line({"accepted": accepted, "rejected": rejected})
    else:
        output.text(f"{accepted} accepted, {rejected} rejected")
    return REFUSED if rejected else OK


def import_file(options: argparse.Namespace, output: Output) -> int:
    """Book the transactions of a broker's file, or say what would be."""
    with _opened_bytes(options.file) as file:
        content = file.read(importing.MAX_FILE_BYTES + 1)
    found = importing.plan(
        content,
        options.file,
        layout=options.layout,
        names=dict(options.map),
        zone=options.timezone,
        skip_unsupported=options.skip_unsupported,
    )
    for reason in found.skipped:
        output.note(f"skipped: {options.file}, {reason}")
    client = _client()
    with output.progress(f"reading {options.portfolio}", None) as advance:
        known = {item.transaction_id for item in _counted(client.transactions(options.portfolio), advance)}
    new = [booking for booking in found.bookings if booking.transaction_id not in known]
    missing = importing.unknown_symbols(client, new)
    if missing:
        raise InputError(options.file, [_missing(found, symbol) for symbol in missing])
    if not options.dry_run:
        with output.progress(f"importing {options.file}", len(new)) as advance:
            importing.book(client, options.portfolio, new, options.file, advance)
    _report(options, output, found, new)
    return OK


def _missing(found: Plan, symbol: str) -> str:
    line = next(booking.line for booking in found.bookings if booking.update.get("instrument_id") == symbol)
    return f"line {line}: {symbol} is not registered: PUT /api/v1/instruments/{symbol}, or --map {symbol}=ANOTHER"


def _report(options: argparse.Namespace, output: Output, found: Plan, new: Sequence[importing.Booking]) -> None:
    booked = 0 if options.dry_run else len(new)
    if output.as_json:
        about = {"layout": found.layout.name, "read": len(found.bookings), "known": len(found.bookings) - len(new)}
        updates = [{"line": booking.line, **booking.update} for booking in new]
        output.document({**about, "booked": booked, "skipped": found.skipped, "transactions": updates})
        return
    if options.dry_run:
        columns = (
            "line",
            "timestamp",
            "transaction_type",
            "instrument_id",
            "quantity_change",
            "price",
            "fee",
            "amount",
        )
        output.table(columns, [[booking.line, *map(booking.update.get, columns[1:])] for booking in new])
    kinds = Counter(booking.update["transaction_type"] for booking in new)
    by_kind = ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items())) or "nothing"
    verb = "would book" if options.dry_run else "booked"
    known = len(found.bookings) - len(new)
    output.note(f"{found.layout.title}: {verb} {by_kind}; {known} known already, {len(found.skipped)} skipped")


def export(options: argparse.Namespace, output: Output) -> int:
    """Write a portfolio's state, positions, transactions or days as CSV or JSON."""
    client = _client()
    with output.progress(f"exporting {options.portfolio}", None) as advance:
        content = _exported(client, options, advance)
    text = dumps(content).decode() if options.format == "json" or output.as_json else _csv(options.what, content)
    if options.out == "-":
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
    else:
        Path(options.out).write_text(text, encoding="utf-8", newline="")
        output.note(f"written: {options.out}")
    return OK


def _exported(client: Client, options: argparse.Namespace, advance: Callable[[int], None]) -> Any:  # noqa: ANN401 (JSON)
    if options.what == "state":
        return client.state_json(options.portfolio)
    if options.what == "positions":
        return client.positions(options.portfolio)
    if options.what == "history":
        return client.history(options.portfolio, options.first, options.last).days
    # Oldest first, as they were booked: that is the order in which they can be booked again.
    return list(_counted(client.transactions(options.portfolio), advance))[::-1]


def _csv(what: str, content: Any) -> str:  # noqa: ANN401 (JSON)
    if what == "state":
        rows: Sequence[Mapping[str, Any]] = [{name: value for name, value in content.items() if name != "positions"}]
        columns: Sequence[str] = list(rows[0])
    else:
        rows = [msgspec.structs.asdict(item) for item in content]
        columns = TRANSACTIONS if what == "transactions" else list(rows[0]) if rows else []
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([[shown(row[column]) for column in columns] for row in rows])
    return text.getvalue()


def status(_: argparse.Namespace, output: Output) -> int:
    """How the deployment is; what the token may not see is left out."""
    client = _client()
    health = client.health()
    found, is_allowed = _market(client) if health.status == "ok" else (None, True)
    if output.as_json:
        output.document({"health": health, "status": found})
    else:
        rows: list[tuple[str, object]] = [("health", health.status), ("hot_store", health.hot_store)]
        rows += [(name, shown(check)) for name, check in health.checks.items()]
        if found:
            fields = msgspec.structs.asdict(found)
            queues, freshness, alarms = (fields.pop(name) for name in ("queues", "freshness", "alarms"))
            rows += list(fields.items())
            rows += [(f"valued {name}", _aged(ages)) for name, ages in freshness.items() if any(ages.counts)]
            rows += [("alarms", "not known")] if alarms is None else _alarms(alarms)
            rows += [(f"queue {name}", shown(msgspec.structs.asdict(queue))) for name, queue in queues.items()]
        output.table(("what", "how"), rows)
    is_running = found.is_running if found else not is_allowed
    return OK if health.status == "ok" and is_running else REFUSED


def _aged(ages: Freshness) -> str:
    """The bounds that half and 99 percent of all valuations so far did not exceed."""
    total, bounds = sum(ages.counts), [*(f"within {bound} ms" for bound in ages.bounds_ms), "later"]
    reached = [sum(ages.counts[: place + 1]) for place in range(len(bounds))]
    half, most = (next(bounds[n] for n, sum_ in enumerate(reached) if sum_ * 100 >= total * part) for part in (50, 99))
    return f"half {half}, 99 % {most}"


def _alarms(alarms: AlarmStates) -> list[tuple[str, object]]:
    counts = f"{len(alarms.raised)} raised, {alarms.ok} ok, {alarms.insufficient_data} without data"
    return [
        ("alarms", counts),
        *((f"alarm {alarm.name}", f"since {alarm.since}: {alarm.description}") for alarm in alarms.raised),
    ]


def _market(client: Client) -> tuple[MarketStatus | None, bool]:
    """The figures, and whether the token may see them."""
    try:
        return client.status(), True
    except ApiError as fault:
        if fault.status != 403:
            raise
        return None, False


def _client() -> Client:
    return credentials.load(os.environ).client()


def _now() -> int:
    return time.time_ns() // 1_000_000


def _counted(items: Iterable[T], advance: Callable[[int], None]) -> Iterator[T]:
    for item in items:
        yield item
        advance(1)


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    waiting = iter(items)
    while batch := list(islice(waiting, size)):
        yield batch


@contextmanager
def _opened(name: str) -> Iterator[TextIO]:
    with _opened_bytes(name) as file:
        text = io.TextIOWrapper(file, encoding="utf-8")
        yield text
        text.detach()


@contextmanager
def _opened_bytes(name: str) -> Iterator[BinaryIO]:
    if name == "-":
        yield sys.stdin.buffer
        return
    try:
        file = Path(name).open("rb")  # noqa: SIM115 (closed below; only opening is the file's fault)
    except OSError as fault:
        raise ClientError(f"{name}: {fault.strerror}") from fault
    with file:
        yield file
