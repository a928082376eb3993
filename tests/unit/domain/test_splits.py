"""Splits of instruments beside those of the books: definitions 6, for whoever holds the symbol by now."""

from __future__ import annotations

from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foliostream.domain import assessing, splitting
from foliostream.domain.instrument import Instrument, Split
from foliostream.domain.money import EXACT
from foliostream.domain.portfolio import Entry, Portfolio
from foliostream.domain.price import Price
from foliostream.domain.splitting import SAME_SPLIT_MS
from foliostream.domain.valuation import PortfolioState
from tests.unit.domain.examples import NOW, booked, buy, cash, funded, last, state, stock

SECOND = 1_000
FOUR, ONE = Decimal(4), Decimal(1)
OLD = last("100", ts_ms=NOW - SECOND, open="96", previous_close="92")


def split_of(effective_ms: int = NOW, new: int = 4, old: int = 1) -> Split:
    return Split(effective_ms, Decimal(new), Decimal(old))


def instruments(*splits: Split) -> dict[str, Instrument]:
    return {"AAPL": stock(splits=splits)}


def valued(account: Portfolio, price: Price, *splits: Split) -> PortfolioState:
    return state(account, {"AAPL": price}, instruments=instruments(*splits), read_at_ms=NOW + SECOND)


def test_who_buys_first_after_a_split_is_not_valued_at_the_price_of_before() -> None:
    figures = valued(booked(funded("10000"), buy("40", "25")), OLD, split_of())
    apple = figures.positions[0]
    assert (apple.mark, apple.open, apple.previous_close) == (25, 24, 23)
    assert (figures.total_value, figures.unrealized_pnl) == (10_000, 0)
    assert (figures.calc_status, figures.stale) == ("degraded", ["AAPL"])


def test_a_newer_price_ends_it() -> None:
    newer = last("26", ts_ms=NOW, open="24.5", previous_close="23")
    figures = valued(booked(funded("10000"), buy("40", "25")), newer, split_of())
    apple = figures.positions[0]
    assert (figures.calc_status, apple.mark, apple.open, apple.previous_close) == ("ok", 26, Decimal("24.5"), 23)


def test_the_first_price_after_a_split_that_brings_no_open_leaves_the_old_one_divided() -> None:
    first = Price(
        last=Decimal(26),
        last_ts_ms=NOW,
        open=Decimal(96),
        previous_close=Decimal(92),
        open_ts_ms=NOW - SECOND,
        previous_close_ts_ms=NOW - 2 * SECOND,
    )
    figures = valued(booked(funded("10000"), buy("40", "25")), first, split_of())
    apple = figures.positions[0]
    assert (figures.calc_status, apple.mark, apple.open, apple.previous_close) == ("ok", 26, 24, 23)
    assert figures.daily_change == 80
    assert figures.daily_change_percent == Decimal("8.33")


def test_an_open_stored_before_it_had_a_time_is_as_old_as_the_newest_part() -> None:
    assert Price(quote_ts_ms=1, last_ts_ms=2).open_at_ms == 2
    assert Price(quote_ts_ms=3, last_ts_ms=2).previous_close_at_ms == 3
    assert Price(last_ts_ms=2, open_ts_ms=1, previous_close_ts_ms=1).open_at_ms == 1


@pytest.mark.parametrize("booked_at_ms", [NOW - SAME_SPLIT_MS, NOW - SECOND, NOW, NOW + SAME_SPLIT_MS])
def test_a_split_of_the_books_and_the_same_one_of_the_instrument_divide_once(booked_at_ms: int) -> None:
    account = booked(funded("10000"), buy("10", "100", timestamp_ms=NOW - SAME_SPLIT_MS - 1))
    entry = Entry("s", "SPLIT", booked_at_ms, instrument_id="AAPL", ratio=(Decimal(8), Decimal(2)))
    account = booked(account, entry, now_ms=NOW + SAME_SPLIT_MS)
    figures = valued(account, last("100", ts_ms=NOW - SAME_SPLIT_MS - 1), split_of())
    assert (figures.total_value, figures.positions[0].mark) == (10_000, 25)
    after = valued(account, last("25", ts_ms=NOW), split_of())
    assert (after.total_value, after.calc_status) == (10_000, "ok")


def test_another_ratio_or_a_later_week_is_another_split() -> None:
    own = (split_of(NOW, 2), split_of(NOW + SAME_SPLIT_MS + 1, 4))
    assert splitting.factor(splitting.known(own, stock(splits=(split_of(),))), 0) == 32


def test_one_split_of_the_instrument_stands_for_one_of_the_books_only() -> None:
    twice = (split_of(NOW - SECOND), split_of(NOW + SECOND))
    assert splitting.factor(splitting.known(twice, stock(splits=(split_of(),))), 0) == 16


def test_without_an_instrument_the_own_splits_count() -> None:
    assert splitting.known((split_of(),), None) == (split_of(),)


ratios = st.sampled_from([(2, 1), (4, 2), (3, 1), (1, 10), (11, 10)])
splits = st.builds(lambda at_days, ratio: split_of(NOW + at_days * 86_400_000, *ratio), st.integers(-20, 20), ratios)


@given(own=st.lists(splits, max_size=4), listed=st.lists(splits, max_size=4), at_days=st.integers(-25, 25))
def test_what_is_listed_divides_once_and_what_is_only_booked_too(
    own: list[Split], listed: list[Split], at_days: int
) -> None:
    found = list(splitting.known(own, stock(splits=tuple(listed))))
    assert found[: len(listed)] == listed or not listed
    assert max(len(own), len(listed)) <= len(found) <= len(own) + len(listed)
    assert list(splitting.known(listed, stock(splits=tuple(listed)))) == listed
    ts_ms = NOW + at_days * 86_400_000
    assert splitting.factor(found, ts_ms) > 0
    assert splitting.factor(found, NOW + 26 * 86_400_000) == 1


def test_a_cash_account_is_doubtful_until_the_split_of_what_it_holds_is_booked() -> None:
    account = booked(funded("10000"), buy("10", "100", timestamp_ms=NOW - 5 * SECOND), now_ms=NOW - 5 * SECOND)
    known, newer = instruments(split_of()), last("25", ts_ms=NOW + 1)
    before = _both(account, newer, known)
    assert before == ("degraded", ["AAPL"], "degraded")
    split = cash("SPLIT", "0", instrument_id="AAPL", ratio=(FOUR, ONE), timestamp_ms=NOW)
    after = booked(account, split, now_ms=NOW, instruments=known)
    assert _both(after, newer, known) == ("ok", [], "ok")


def _both(account: Portfolio, price: Price, known: dict[str, Instrument]) -> tuple[str, list[str], str]:
    """What a reader sees, and what the storm stored."""
    seen = state(account, {"AAPL": price}, instruments=known, read_at_ms=NOW + SECOND)
    with localcontext(EXACT):
        market = assessing.Market({"AAPL": price}, known, 60 * SECOND)
        stored = assessing.assess(assessing.plan(account), market, read_at_ms=NOW + SECOND, previous_version=0)
    return seen.calc_status, seen.stale, stored.calc_status
