"""Files of daily closes: both layouts, and what is wrong is named with its line."""

from __future__ import annotations

import gzip
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from foliostream_client.errors import ApiError
from foliostream_client.transport import Json, Rest
from local import price_files
from local.price_files import MAX_CLOSES, PriceFileError, parse, read

EXPECTED = {
    "AAPL": {"2026-02-24": Decimal("147.10"), "2026-02-25": Decimal("147.75")},
    "MSFT": {"2026-02-25": Decimal("401.2")},
}
WIDE = ["date,AAPL,MSFT", "2026-02-24,147.10,", "2026-02-25,147.75,401.2"]
LONG = [
    "volume,Symbol,Date,Close",
    "1,AAPL,2026-02-24,147.10",
    "",
    "2,AAPL,2026-02-25,147.75",
    "3,MSFT,2026-02-25,401.2",
]


@pytest.mark.parametrize("lines", [WIDE, LONG], ids=["wide", "long"])
def test_a_column_a_symbol_or_a_row_a_close_say_the_same(lines: list[str], tmp_path: Path) -> None:
    assert parse(lines, "x") == EXPECTED
    plain, packed = tmp_path / "closes.csv", tmp_path / "closes.csv.gz"
    plain.write_text("\n".join(lines))
    packed.write_bytes(gzip.compress("\n".join(lines).encode()))
    assert read(plain) == read(packed) == EXPECTED


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ([], "the first line must name"),
        (["when,AAPL", "2026-02-24,1"], "the first line must name"),
        (["date,AAPL", "2026-02-24,1", "2026-02-25"], "line 3: 1 columns, the first line has 2"),
        (["date,AAPL", "2026-02-24,n/a"], "line 2: 'n/a' is no price"),
        (["symbol,date,close", "AAPL,2026-02-24,nan"], "line 2: 'nan' is no price"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_its_line(lines: list[str], fault: str) -> None:
    with pytest.raises(PriceFileError, match=fault):
        parse(lines, "closes.csv")


def test_a_missing_or_broken_file_is_an_error_of_its_own_kind(tmp_path: Path) -> None:
    broken = tmp_path / "closes.csv.gz"
    broken.write_bytes(b"no gzip")
    for path in (tmp_path / "none.csv", broken):
        with pytest.raises(PriceFileError):
            read(path)


class Api(Rest):
    """Takes closes of AAPL and refuses all others."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1")
        self.bodies: list[Any] = []

    def put(self, path: str, body: Json) -> Json:
        if path != "/api/v1/instruments/AAPL/history":
            raise ApiError(f"PUT {path}", 404, "INSTRUMENT_NOT_FOUND", "no such instrument")
        self.bodies.append(body)
        days = [item["date"] for item in body["closes"]]
        return {"symbol": "AAPL", "kept": len(days), "from": days[0], "to": days[-1]}


def test_each_symbol_is_given_on_its_own_and_the_refused_ones_are_told() -> None:
    api, shown = Api(), list[str]()
    assert price_files.give(api, EXPECTED, adjusted=True, show=shown.append) == ["MSFT"]
    assert api.bodies[0]["adjusted"] is True
    assert shown[0] == "AAPL: 2 closes given, 2 kept, 2026-02-24 to 2026-02-25"
    assert "INSTRUMENT_NOT_FOUND" in shown[1]


def test_of_a_longer_history_the_newest_closes_are_given_and_it_says_so() -> None:
    api, shown = Api(), list[str]()
    many = {f"{2000 + number // 300}-{number % 300:03d}": Decimal(1) for number in range(MAX_CLOSES + 7)}
    price_files.give(api, {"AAPL": many}, adjusted=False, show=shown.append)
    assert len(api.bodies[0]["closes"]) == MAX_CLOSES
    assert "the 7 oldest left out" in shown[0]
