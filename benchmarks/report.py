"""The figures for people (a table) and for programs (bench.json)."""

import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.measuring import Figure, Row
from local.processes import write_atomically

# Narrower is not readable; where nobody looks (a file, a pipe) there is no width to ask for.
_WIDTH = 150


def show(rows: Sequence[Row]) -> None:
    """A line for every comparison."""
    if all(row.is_detail for row in rows):
        return
    table = Table(title=f"{_machine()['cpus']} CPUs, Python {platform.python_version()}: median, lowest to highest")
    for title in ("what", "unit", "measured", "min..max", "beside", "that", "ratio"):
        table.add_column(title, justify="right" if title in {"measured", "min..max", "that", "ratio"} else "left")
    for row in (row for row in rows if not row.is_detail):
        figure = (row.name, row.unit, _number(row.figure.value), _range(row.figure))
        if not row.references:
            table.add_row(*figure, "", "", "")
        for number, reference in enumerate(row.references):
            shown = ("", "", "", "") if number else figure
            that = f"{_number(reference.figure.value)}"
            table.add_row(*shown, reference.name, that, f"{_number(row.ratio(reference))} x")
    console = Console()
    Console(width=max(console.width, _WIDTH)).print(table)


def matrix(title: str, columns: Sequence[str], lines: Sequence[Sequence[str | float]]) -> None:
    """Figures that belong side by side: a name and its numbers in each line."""
    table = Table(title=title)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for line in lines:
        table.add_row(*(cell if isinstance(cell, str) else _number(cell) for cell in line))
    console = Console()
    Console(width=max(console.width, _WIDTH)).print(table)


def write(rows: Sequence[Row], path: Path, parts: Sequence[str]) -> None:
    """The value of every key; ``ranges`` and ``ratios`` by the same keys; figures of functions are grouped.

    What the file has of other keys stays: ``parts`` says when each part was measured.
    """
    measured_at = datetime.now(UTC).isoformat(timespec="seconds")
    figures: dict[str, Any] = {}
    ranges: dict[str, Any] = {}
    ratios: dict[str, Any] = {}
    for row in rows:
        _put(figures, row.key, row.member, row.figure.value)
        _put(ranges, row.key, row.member, [row.figure.low, row.figure.high])
        for reference in row.references:
            _put(figures, reference.key, row.member, reference.figure.value)
            _put(ranges, reference.key, row.member, [reference.figure.low, reference.figure.high])
            _put(ratios, f"{row.key}/{reference.key}", row.member, row.ratio(reference))
    document = _read(path) | {"measured_at": measured_at, "machine": _machine()} | _short(figures)
    for name, new in (("ranges", ranges), ("ratios", ratios), ("parts", dict.fromkeys(parts, measured_at))):
        document[name] = document.get(name, {}) | _short(new)
    write_atomically(path, json.dumps(document, indent=2) + "\n")


def _read(path: Path) -> dict[str, Any]:
    """What an earlier run wrote; nothing where there is none."""
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    return found


def _put(into: dict[str, Any], key: str, member: str, value: object) -> None:
    if member:
        into.setdefault(key, {})[member] = value
    else:
        into[key] = value


def _short(value: Any) -> Any:  # noqa: ANN401 (JSON)
    if isinstance(value, dict):
        return {name: _short(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_short(part) for part in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _machine() -> dict[str, Any]:
    return {
        "cpus": os.cpu_count(),
        "architecture": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 or not value else f"{value:.2g}"


def _range(figure: Figure) -> str:
    return f"{_number(figure.low)}..{_number(figure.high)}"
