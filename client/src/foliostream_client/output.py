"""What the command writes: tables for people, tab-separated lines for pipes, JSON for programs; notes and progress go
to the standard error and never between them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from foliostream_client.transport import dumps

if TYPE_CHECKING:
    from rich.table import Table


class Output:
    """``as_json``: JSON, one document or one line an item. Colours and borders only where the output is a terminal."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self.is_terminal = sys.stdout.isatty() and not as_json

    def document(self, content: object) -> None:
        """One JSON document, whatever the output is."""
        sys.stdout.write(msgspec.json.format(dumps(content).decode(), indent=2) + "\n")

    def line(self, content: object) -> None:
        """One JSON document on a line of its own, at once."""
        sys.stdout.write(dumps(content).decode() + "\n")
        sys.stdout.flush()

    def text(self, text: str) -> None:
        """A line for people or pipes."""
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def table(
        self,
        columns: Sequence[str],
        rows: Iterable[Sequence[object]],
        title: str = "",
        expendable: Sequence[str] = (),
    ) -> None:
        """Rows of cells; amounts as they are, None as nothing. In a terminal that is too narrow those of the columns
        that are ``expendable`` are left out, one after the other."""
        if not self.is_terminal:
            self.row(columns)
            for row in rows:
                self.row(row)
            return
        from rich.console import Console

        console = Console()
        console.print(rich_table(columns, rows, console.width, title=title, expendable=expendable))

    def row(self, cells: Sequence[object]) -> None:
        """Tab-separated, at once."""
        self.text("\t".join(_flat(shown(cell)) for cell in cells))

    def note(self, text: str) -> None:
        """Something beside the result."""
        sys.stderr.write(text + "\n")

    @contextmanager
    def progress(self, what: str, total: int | None) -> Iterator[Callable[[int], None]]:
        """A bar while something long goes on, where somebody looks; call it with how much more is done."""
        if not sys.stderr.isatty():
            yield lambda _: None
            return
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True), transient=True) as bars:
            task = bars.add_task(what, total=total)
            yield lambda done: bars.advance(task, done)


def rich_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    width: int,
    *,
    title: str = "",
    expendable: Sequence[str] = (),
) -> Table:
    """A table of rich for so many characters; columns of numbers are aligned on the right. What still is too wide goes
    on in the next line: an amount that lost its end would be another amount."""
    # Only where somebody looks: loading it takes longer than most of what is done for a pipe.
    from rich.table import Table
    from rich.text import Text

    cells = [list(row) for row in rows]
    places = _fitting(columns, [[shown(cell) for cell in row] for row in cells], width, expendable)
    table = Table(title=title or None, title_justify="left", header_style="bold")
    for place in places:
        numbers = any(isinstance(row[place], Decimal | int) for row in cells)
        table.add_column(columns[place], justify="right" if numbers else "left", overflow="fold")
    for row in cells:
        table.add_row(*(Text(shown(row[place])) for place in places))
    return table


def _fitting(
    columns: Sequence[str], rows: Sequence[Sequence[str]], width: int, expendable: Sequence[str]
) -> Sequence[int]:
    """The places of the columns that are shown."""
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    places = list(range(len(columns)))
    for name in expendable:
        if 1 + sum(widths[place] + 3 for place in places) <= width:  # with borders and blanks beside them
            break
        places.remove(columns.index(name))
    return places


def shown(cell: object) -> str:
    """An amount without exponent, a list with spaces, None as nothing."""
    if cell is None:
        return ""
    if isinstance(cell, Decimal):
        return format(cell, "f")
    if isinstance(cell, Mapping):
        return " ".join(f"{name}={shown(value)}" for name, value in cell.items())
    return " ".join(shown(item) for item in cell) if isinstance(cell, list | tuple) else str(cell)


def _flat(text: str) -> str:
    return text.replace("\t", " ").replace("\n", " ")
