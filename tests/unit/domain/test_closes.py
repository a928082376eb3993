"""Daily closes: splits, and which price is a day's close."""

from __future__ import annotations

from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foliostream.domain import closes
from foliostream.domain.instrument import Split
from foliostream.domain.price import Price
from foliostream.domain.times import epoch_ms
from foliostream.errors import CallerError
from tests.unit.domain.examples import stock

NEW_YORK = ZoneInfo("America/New_York")
KOLKATA = ZoneInfo("Asia/Kolkata")
RAW = {"2020-08-27": Decimal("500.04"), "2020-08-28": Decimal("499.23"), "2020-08-31": Decimal("129.04")}


def split(at: str, new: str = "4", old: str = "1") -> Split:
    return Split(epoch_ms(at), Decimal(new), Decimal(old))


@pytest.mark.parametrize(
    "at",
    ["2020-08-31T00:00:00Z", "2020-08-31T09:30:00-04:00", "2020-08-28T16:00:01-04:00", "2020-08-31T00:00:00-04:00"],
)
def test_closes_of_the_days_before_a_split_are_divided_however_its_time_is_written(at: str) -> None:
    adjusted = closes.in_units_of_now(RAW, [split(at)], NEW_YORK)
    assert adjusted == {
        "2020-08-27": Decimal("125.01"),
        "2020-08-28": Decimal("124.8075"),
        "2020-08-31": Decimal("129.04"),
    }


def test_the_day_of_a_split_is_that_of_the_market() -> None:
    made = {"2024-10-25": Decimal(2), "2024-10-28": Decimal(1)}
    assert closes.in_units_of_now(made, [split("2024-10-28T00:00:00Z", "2")], KOLKATA) == {
        "2024-10-25": 1,
        "2024-10-28": 1,
    }


def test_every_split_that_came_after_a_close_divides_it() -> None:
    splits = [split("2014-06-09T00:00:00Z", "7"), split("2020-08-31T00:00:00Z")]
    made = closes.in_units_of_now({"2014-06-06": Decimal("646.8"), "2014-06-09": Decimal(92)}, splits, NEW_YORK)
    assert made == {"2014-06-06": Decimal("23.1"), "2014-06-09": Decimal(23)}


def test_without_splits_closes_are_what_they_are() -> None:
    assert closes.in_units_of_now(RAW, [], NEW_YORK) == RAW


@given(
    st.dictionaries(
        st.dates().map(str), st.decimals("0.0001", "99999", places=4, allow_nan=False, allow_infinity=False), max_size=9
    ),
    st.lists(st.builds(Split, st.integers(0, 2_000_000_000_000), st.just(Decimal(3)), st.just(Decimal(2))), max_size=3),
)
def test_closes_that_came_adjusted_read_the_same(given_closes: closes.Closes, splits: list[Split]) -> None:
    kept = closes.as_traded(given_closes, splits, NEW_YORK)
    read = closes.in_units_of_now(kept, splits, NEW_YORK)
    assert {day: round(close, 9) for day, close in read.items()} == given_closes


def quote(at: str, **prices: str) -> Price:
    ts_ms = epoch_ms(at)
    values = {name: Decimal(value) for name, value in prices.items()}
    return Price(**values, quote_ts_ms=ts_ms, last_ts_ms=ts_ms)


def test_a_days_close_is_the_last_trade_of_that_very_day() -> None:
    evening = quote("2026-02-26T20:59:00Z", last="150.25", bid="1", ask="3")
    assert closes.of_price(evening, stock(), "2026-02-26", NEW_YORK) == Decimal("150.25")
    assert closes.of_price(evening, stock(), "2026-02-27", NEW_YORK) is None
    assert closes.of_price(evening, stock(), "2026-02-25", NEW_YORK) is None
    assert closes.of_price(None, stock(), "2026-02-26", NEW_YORK) is None


def test_a_pair_closes_in_the_middle_of_its_quote() -> None:
    pair = stock("EURUSD", kind="forex", base_currency="EUR")
    found = quote("2026-02-26T20:59:00Z", last="9", bid="1.10", ask="1.11")
    assert closes.of_price(found, pair, "2026-02-26", NEW_YORK) == Decimal("1.105")


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ([("2026-02-27", "1")], "DATE_IN_FUTURE"),
        ([("2026-2-7", "1")], "INVALID_DATE"),
        ([("2026-02-26", "1"), ("2026-02-26", "1")], "INVALID"),
        ([("2026-02-26", "-1")], "INVALID"),
        ([("2026-02-26", "0")], "INVALID"),
        ([("2026-02-26", "0.12345678901")], "INVALID"),
        ([("2026-02-26", "NaN")], "INVALID"),
    ],
)
def test_what_is_no_close_is_refused(rows: list[tuple[str, str]], code: str) -> None:
    with pytest.raises(CallerError) as refused:
        closes.checked([(day, Decimal(close)) for day, close in rows], stock(), "2026-02-26")
    assert refused.value.code == code


def test_zero_is_a_close_where_the_instrument_allows_it() -> None:
    assert closes.checked([("2026-02-26", Decimal(0))], stock(allow_zero=True), "2026-02-26") == {"2026-02-26": 0}
