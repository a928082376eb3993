"""How the demo looks: a live view for a terminal, a line for everything else."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from local.demo_accounts import AccountType
from local.demo_board import Board, Delay, Row

WIDE = 96
# Beyond this an account's name and its amounts would be too far apart to read.
WIDEST = 112
# An account type whose window is the longest still moves every few seconds.
SILENT_MS = 10_000
TREND_WIDTH = 16
_FLASH_MS = 400
_DIM = "bright_black"
_TYPE_STYLES: dict[AccountType, str] = {"live": "green", "demo": "cyan", "paper": "magenta"}
_BARS = "▁▂▃▄▅▆▇█"

# Text and its style.
Piece = str | tuple[str, str]


@dataclass(frozen=True)
class Place:
    """What the footer tells: where everything is, and what happens at the end. ``page_url``: None without a page."""

    rest_url: str
    ws_url: str
    header_file: str
    page_url: str | None
    stays_up: bool


def view(board: Board, place: Place, day: str | None, now_ms: int, width: int) -> RenderableType:
    """The whole screen; fits 80 x 24 with twelve accounts."""
    wide = width >= WIDE
    lines = [
        *_header(board, day, now_ms, wide=wide),
        Rule(style=_DIM),
        _accounts(board, now_ms, wide=wide),
        Rule(style=_DIM),
        *_footer(place),
    ]
    return Constrain(Group(*lines), WIDEST)


def line(board: Board, day: str | None, now_ms: int) -> str:
    """One line for a log: how far it is, and what is wrong if something is."""
    delay = board.delay()
    parts = [
        f"{(now_ms - board.started_ms) / 1000:4.0f} s",
        f"day {day or '-'}",
        f"{len(board.ticks)} ticks",
        f"{board.valuations} valuations",
        f"{board.pushes} pushes",
        f"tick-to-screen p50 {delay.p50_ms} ms p95 {delay.p95_ms} ms" if delay else "nothing moved yet",
        *([board.margin] if board.margin else []),
    ]
    return "  ".join([*parts, *(f"! {trouble}" for trouble in troubles(board, now_ms)[:1])])


def troubles(board: Board, now_ms: int) -> list[str]:
    """What is wrong right now, the latest first."""
    silent_ms = board.silent_ms(now_ms)
    found = []
    if not board.connected and (board.trouble or silent_ms > SILENT_MS):
        found.append(f"not connected: {board.trouble or 'the first connection does not come about'}")
    elif silent_ms > SILENT_MS:
        found.append(f"no tick for {silent_ms / 1000:.0f} s: the market feed is silent")
    return found + board.faults[::-1]


def _header(board: Board, day: str | None, now_ms: int, *, wide: bool) -> Iterator[RenderableType]:
    counts = [f"{_count(board, kind)} {kind}" for kind in _TYPE_STYLES]
    yield _ends(
        [(" FOLIOSTREAM ", "bold reverse"), f"  {', '.join(counts)} accounts on 20 real stocks"],
        [(_clock(now_ms - board.started_ms), "bold")],
    )
    found = troubles(board, now_ms)
    if found:
        yield Text(f" {found[0]}", style="bold red", no_wrap=True, overflow="ellipsis")
    else:
        route = "EventBridge > SQS > Lambda > Valkey > WebSocket" if wide else ""
        end = (board.margin, "bold yellow") if board.margin else (route, _DIM)
        yield _ends([" replaying ", (day or "...", "bold"), ", one trading day a tick"], [end])
    yield _ends(
        [
            *(" ", (f"{len(board.ticks):,}", "bold"), " ticks  "),
            *((f"{board.valuations:,}", "bold"), " valuations  "),
            *((f"{board.pushes:,}", "bold"), " pushes"),
            (f"  {board.gaps} gaps" if board.gaps else "", "bold red"),
        ],
        ["tick to screen ", *_delay(board.delay())],
    )
    if wide:
        yield _ends([], list(_delays_by_type(board)))


def _delays_by_type(board: Board) -> Iterator[Piece]:
    for number, (account_type, style) in enumerate(_TYPE_STYLES.items()):
        yield ("    " if number else "") + f"{account_type} ", style
        yield from _delay(board.delay(account_type))


def _delay(delay: Delay | None) -> list[Piece]:
    if delay is None:
        return ["-"]
    return ["p50 ", (f"{delay.p50_ms:,}", "bold"), " p95 ", (f"{delay.p95_ms:,}", "bold"), " ms"]


def _accounts(board: Board, now_ms: int, *, wide: bool) -> Table:
    table = Table(box=None, expand=True, padding=(0, 1, 0, 0), pad_edge=False, header_style=_DIM)
    table.add_column(" account", no_wrap=True, ratio=1)
    table.add_column("type", no_wrap=True)
    # Widths of their own, or the columns would jump about as the amounts change.
    table.add_column("total USD", justify="right", no_wrap=True, min_width=12)
    table.add_column("day change", justify="right", no_wrap=True, min_width=11)
    table.add_column("%", justify="right", no_wrap=True, min_width=6)
    if wide:
        table.add_column(" trend", no_wrap=True, width=TREND_WIDTH + 1)
    table.add_column("age s", justify="right", no_wrap=True, min_width=5)
    table.add_column("upd/s", justify="right", no_wrap=True)
    for row in board.rows.values():
        table.add_row(*_cells(row, now_ms, wide=wide))
    return table


def _cells(row: Row, now_ms: int, *, wide: bool) -> Iterator[Text]:
    age_ms = None if row.updated_at_ms is None else now_ms - row.updated_at_ms
    is_new = age_ms is not None and age_ms < _FLASH_MS
    change, percent = row.state.get("daily_change"), row.state.get("daily_change_percent")
    style = _sign_style(change)
    yield Text(f" {row.account.name}", style="bold" if is_new else "")
    yield Text(row.account.account_type, style=_TYPE_STYLES[row.account.account_type])
    yield Text(_amount(row.state.get("total_value")), style="bold" if is_new else "")
    yield Text(_amount(change, sign="+"), style=style)
    yield Text(_amount(percent, sign="+"), style=style)
    if wide:
        yield Text(" " + sparkline(list(row.totals)[-TREND_WIDTH:]), style=style)
    yield Text("-" if age_ms is None else f"{age_ms / 1000:.1f}", style=_age_style(age_ms))
    yield Text(f"{row.rate(now_ms):.1f}")


def _footer(place: Place) -> Iterator[Text]:
    stop = "Ctrl-C; the cloud keeps running, `make down` stops it" if place.stays_up else "Ctrl-C; the cloud stops too"
    lines = (
        ("try", f"curl -sH @{place.header_file} \\"),
        ("", f"{place.rest_url}/api/v1/portfolios"),
        ("watch", place.page_url or place.ws_url),
        ("stop", stop),
    )
    for title, content in lines:
        yield Text.assemble((f" {title:<6}", _DIM), content, no_wrap=True, overflow="ellipsis")


def sparkline(values: Sequence[Decimal]) -> str:
    """The values as a row of bars, from the lowest to the highest of them."""
    if not values:
        return ""
    low, span = min(values), max(values) - min(values)
    steps = len(_BARS) - 1
    return "".join(_BARS[int((value - low) / span * steps) if span else 0] for value in values)


def _ends(left: Sequence[Piece], right: Sequence[Piece]) -> Table:
    """A line with one text at each end; the left one gives way."""
    grid = Table.grid(expand=True)
    grid.add_column(ratio=1, no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_row(Text.assemble(*left), Text.assemble(*right, " "))
    return grid


def _count(board: Board, account_type: AccountType) -> int:
    return sum(row.account.account_type == account_type for row in board.rows.values())


def _amount(value: Decimal | None, sign: str = "") -> str:
    return "-" if value is None else format(value, f"{sign if value else ''},.2f")


def _sign_style(value: Decimal | None) -> str:
    if not value:
        return _DIM
    return "green" if value > 0 else "red"


def _age_style(age_ms: int | None) -> str:
    return "bold red" if age_ms is not None and age_ms > SILENT_MS else _DIM


def _clock(elapsed_ms: int) -> str:
    minutes, seconds = divmod(elapsed_ms // 1000, 60)
    return f"{minutes // 60:d}:{minutes % 60:02d}:{seconds:02d}"
