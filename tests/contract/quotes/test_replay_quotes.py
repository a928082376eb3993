"""The packaged sample, and its replay."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from importlib.resources import files
from itertools import pairwise

from foliostream.adapters.replay_quotes import SAMPLE, ReplayQuotes
from foliostream.domain import keys, price
from foliostream.domain.instrument import Instrument
from foliostream.domain.price import PriceUpdate

NOW_MS = 1_767_225_600_000


def rows() -> list[list[str]]:
    text = files("foliostream").joinpath(SAMPLE).read_text()
    return [line.split(",") for line in text.splitlines()]


def test_the_sample_has_twenty_symbols_and_sorted_days_of_positive_closes() -> None:
    header, *days = rows()
    assert len(header) == 21
    assert header[0] == "Date"
    assert header[1:] == sorted(map(keys.symbol, header[1:]))
    assert all(date.fromisoformat(before[0]) < date.fromisoformat(after[0]) for before, after in pairwise(days))
    assert all(len(day) == 21 and min(map(Decimal, day[1:])) > 0 for day in days)


def test_the_sample_is_small_and_says_where_it_comes_from() -> None:
    folder = files("foliostream").joinpath("data")
    assert len(folder.joinpath("sp500_20_closes_2020_2022.csv").read_bytes()) < 150_000
    attribution = folder.joinpath("ATTRIBUTION.txt").read_text()
    assert "BSD 3-Clause License" in attribution
    assert "Copyright (c) 2023-2026 The skfolio developers." in attribution
    assert "adjusted" in attribution


def test_a_slot_is_a_trading_day_of_the_sample() -> None:
    replay = ReplayQuotes()
    assert replay.days == 753
    by_symbol = {quote["symbol"]: quote for quote in replay.quotes(0, NOW_MS)}
    assert replay.day(0) == "2020-01-03"
    assert list(by_symbol) == list(replay.symbols)
    assert by_symbol["AAPL"] == {
        "symbol": "AAPL", "last": Decimal("72.635"), "open": Decimal("73.348"), "previous_close": Decimal("73.348"),
        "ts": NOW_MS,
    }  # fmt: skip


def test_every_days_previous_close_is_the_close_of_the_slot_before() -> None:
    replay = ReplayQuotes()
    for slot in range(1, replay.days):
        before = {quote["symbol"]: quote["last"] for quote in replay.quotes(slot - 1, NOW_MS)}
        assert {quote["symbol"]: quote["previous_close"] for quote in replay.quotes(slot, NOW_MS)} == before


def test_after_the_last_day_the_sample_starts_again() -> None:
    replay = ReplayQuotes()
    assert replay.day(replay.days - 1) == rows()[-1][0] == "2022-12-28"
    assert replay.quotes(replay.days, NOW_MS) == replay.quotes(0, NOW_MS)
    assert replay.quotes(NOW_MS // 1000, NOW_MS)[0]["symbol"] == "AAPL"


def test_every_value_is_the_files_own_text_and_a_valid_price() -> None:
    replay = ReplayQuotes()
    for slot in range(replay.days):
        closes = rows_by_date[replay.day(slot)]
        for quote, text in zip(replay.quotes(slot, NOW_MS), closes, strict=True):
            assert str(quote["last"]) == text
            update = PriceUpdate(str(quote["symbol"]), NOW_MS, last=Decimal(text), open=Decimal(text))
            assert price.refusal(update, Instrument(update.symbol, "stock", "USD"), NOW_MS) is None


rows_by_date = {row[0]: row[1:] for row in rows()}
