"""Cells of brokers' files: amounts, times and symbols as they write them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Final, Literal, NamedTuple
from zoneinfo import ZoneInfo

SYMBOL: Final = re.compile(r"[A-Z0-9][A-Z0-9_.:&-]{0,31}")
_GROUPED: Final = re.compile(r"[0-9]{1,3}(,[0-9]{3})+")
_AROUND: Final = " \u00a0\u202f$€£₹"


class CellError(ValueError):
    """A row cannot be booked as it is; says which cell and why."""


class UnsupportedError(CellError):
    """A row of a kind that is not booked from files."""


class Row(NamedTuple):
    """A line of a file (from 1): cells by their column's name, in lower case; ``section`` where the file has several
    tables."""

    line: int
    cells: Mapping[str, str]
    section: str = ""

    def text(self, *names: str) -> str:
        """The first of these cells that is there and not empty; ``""`` if none is."""
        return next((value for name in names if (value := self.cells.get(name, "").strip())), "")

    def needed(self, *names: str) -> str:
        """The same; ``CellError`` if none is."""
        found = self.text(*names)
        if not found:
            raise CellError(f"{names[0]} is missing")
        return found


def amount(text: str, comma: Literal["thousands", "decimal"] = "thousands") -> Decimal:
    """``1,234.50``, ``-12``, ``(12.00)``, ``$5``; with ``comma`` decimal also ``1.234,50`` and ``185,5``."""
    bare = text.strip(_AROUND)
    is_negative = bare.startswith("(") and bare.endswith(")")
    bare = bare.strip("()").strip(_AROUND)
    sign, digits = ("-", bare[1:].lstrip(_AROUND)) if bare[:1] in "-\u2212" and bare else ("", bare.lstrip("+"))
    if comma == "decimal" and "," in digits and digits.rfind(",") > digits.rfind("."):
        digits = digits.replace(".", "").replace(",", ".")
    elif "," in digits:
        whole, point, rest = digits.partition(".")
        if not _GROUPED.fullmatch(whole):
            raise CellError(f"{text!r} is no amount")
        digits = whole.replace(",", "") + point + rest
    try:
        value = Decimal(sign + digits)
    except InvalidOperation:
        raise CellError(f"{text!r} is no amount") from None
    if not value.is_finite():
        raise CellError(f"{text!r} is no amount")
    return -value if is_negative else value


def moment(text: str, formats: Sequence[str], zone: ZoneInfo) -> str:
    """A time in UTC, ISO 8601; one without an offset is of ``zone``."""
    cleaned = " ".join(text.split())
    found = _iso(cleaned)
    for form in formats:
        if found is not None:
            break
        try:
            found = datetime.strptime(cleaned, form)  # noqa: DTZ007 (the zone follows)
        except ValueError:
            continue
    if found is None:
        raise CellError(f"{text!r} is no time such as {datetime(2026, 2, 26, 10, 30, tzinfo=UTC).strftime(formats[0])}")
    aware = found if found.tzinfo else found.replace(tzinfo=zone)
    return written(aware)


def written(when: datetime) -> str:
    """In UTC, as the API writes times, always with milliseconds: so that texts are in the order of time."""
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _iso(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text.replace("z", "Z"))  # RFC 3339: either way
    except ValueError:
        return None


def symbol(name: str, names: Mapping[str, str], shown: str = "") -> str:
    """The instrument that a broker's name stands for: as ``names`` (``--map``) say, or the name itself."""
    found = names.get(name, name.upper())
    if not SYMBOL.fullmatch(found):
        raise CellError(f"{shown or repr(name)} is no symbol: --map '{name}=SYMBOL' says what it is here")
    return found
