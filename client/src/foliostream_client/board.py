"""The live view of watched portfolios: a table in a terminal, a line an event in a pipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from foliostream_client.models import PortfolioState
from foliostream_client.output import Output, rich_table, shown
from foliostream_client.watching import Connected, Disconnected, Event, Happening, Problem, Resync, Snapshot, Update

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

COLUMNS: Final = (
    "portfolio",
    "name",
    "total",
    "currency",
    "day change",
    "%",
    "unrealized",
    "margin %",
    "status",
    "as of",
)
# What a narrow terminal does without, first to last.
EXPENDABLE: Final = ("as of", "name", "currency", "margin %", "unrealized")
HAPPENINGS_SHOWN: Final = 8


class Board:
    """What is shown: the newest state of each portfolio, how the connection is, and the last happenings."""

    def __init__(self) -> None:
        self.states: dict[str, PortfolioState] = {}
        self.connection = "connecting"
        self.happenings: list[str] = []

    def take(self, event: Event) -> None:
        """Bring it up to date."""
        if isinstance(event, Snapshot | Update):
            self.states[event.portfolio_id] = event.state
        elif isinstance(event, Connected):
            self.connection = "connected"
        elif isinstance(event, Disconnected):
            self.connection = f"disconnected ({event.reason}), again in {event.retry_in_s:.1f} s"
        else:
            self.happenings = [*self.happenings, described(event)][-HAPPENINGS_SHOWN:]

    def rows(self) -> Iterator[tuple[object, ...]]:
        """A row a portfolio, in the order of ``COLUMNS``."""
        for name, state in sorted(self.states.items()):
            yield row(name, state)

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        yield rich_table(COLUMNS, self.rows(), options.max_width, expendable=EXPENDABLE)
        yield Text(self.connection, style="green" if self.connection == "connected" else "yellow")
        yield from map(Text, self.happenings)


def row(name: str, state: PortfolioState) -> tuple[object, ...]:
    """A state in the order of ``COLUMNS``; ``status`` tells what is wrong with it, or ``ok``."""
    missing = [*(f"{symbol} unpriced" for symbol in state.unpriced), *(f"{symbol} stale" for symbol in state.stale)]
    margin = state.margin.level_percent if state.margin else None
    return (
        name,
        state.portfolio_name,
        state.total_value,
        state.base_currency,
        state.daily_change,
        state.daily_change_percent,
        state.unrealized_pnl,
        margin,
        ", ".join(missing) or state.calc_status,
        state.as_of,
    )


def described(event: Happening | Resync | Problem) -> str:
    """In a line, for people."""
    if isinstance(event, Happening):
        return f"{event.timestamp} {event.portfolio_id} {event.kind} {shown(event.content)}"
    if isinstance(event, Resync):
        return f"{event.portfolio_id}: from the beginning ({event.reason})"
    return f"{event.code}: {event.message}"


def as_json(event: Event) -> Mapping[str, Any]:
    """An event as one JSON object; ``event`` says which it is."""
    fields: dict[str, Any] = msgspec.structs.asdict(event)
    listed = {name: sorted(value) if isinstance(value, frozenset) else value for name, value in fields.items()}
    return {"event": type(event).__name__.lower(), **listed}


def lines(event: Event, output: Output) -> None:
    """Write an event to a pipe: JSON, or a tab-separated row a state; all else is a note."""
    if output.as_json:
        output.line(as_json(event))
    elif isinstance(event, Snapshot | Update):
        output.row(row(event.portfolio_id, event.state))
    elif isinstance(event, Disconnected):
        output.note(f"disconnected: {event.reason}; again in {event.retry_in_s:.1f} s")
    elif not isinstance(event, Connected):
        output.note(described(event))
