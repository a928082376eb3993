"""Daily profit: definitions 18, for positions carried, opened and closed today, shorts and splits."""

from __future__ import annotations

from decimal import Decimal

import pytest
from msgspec.structs import replace

from foliostream.domain import portfolio as books
from foliostream.domain.account import Portfolio
from foliostream.domain.instrument import Split
from tests.unit.domain.examples import INSTRUMENTS, NOW, booked, buy, cash, funded, last, position, sell, state, stock

NAMES = ("AAPL", "MSFT")


def carried(portfolio: Portfolio, **marks: str) -> Portfolio:
    """The portfolio after the close of a day at these marks."""
    return books.close_day(portfolio, "2026-02-25", {name: Decimal(mark) for name, mark in marks.items()}, NOW)


LONG = carried(booked(funded("10000"), buy("10", "100")), AAPL="110")
SHORT = carried(booked(funded("10000", allow_short=True), sell("10", "100")), AAPL="110")


def pnl(portfolio: Portfolio, price: str, **others: str) -> tuple[object, list[str]]:
    figures = state(portfolio, {"AAPL": last(price, open="1", **others)})
    return figures.daily_pnl, figures.daily_missing


def test_what_was_carried_in_is_measured_from_the_mark_at_the_close() -> None:
    assert pnl(LONG, "113") == (30, [])
    assert pnl(SHORT, "113") == (-30, [])
    figures = state(LONG, {"AAPL": last("113", open="1", previous_close="7")})
    assert (figures.positions[0].daily_pnl, figures.positions[0].carried_quantity) == (30, 10)


def test_what_was_bought_today_is_measured_from_its_price() -> None:
    assert pnl(booked(funded("1000"), buy("2", "100")), "103") == (6, [])
    more = booked(LONG, buy("5", "112"))
    assert pnl(more, "113") == (35, [])
    assert state(more, {"AAPL": last("113")}).positions[0].carried_quantity == 10


def test_what_was_closed_today_stays_in_the_day() -> None:
    flat = booked(LONG, sell("10", "115"))
    assert flat.positions == {}
    assert (state(flat, {}).daily_pnl, state(flat, {}).daily_missing) == (50, [])
    assert state(booked(SHORT, buy("10", "115")), {}).daily_pnl == -50
    part = booked(LONG, sell("4", "115"))
    assert pnl(part, "113") == (4 * 5 + 6 * 3, [])


def test_a_flip_and_a_symbol_bought_again_go_on_with_their_day() -> None:
    flipped = booked(replace(LONG, allow_short=True), sell("15", "115"))
    assert pnl(flipped, "113") == (10 * 5 + 5 * 2, [])
    again = booked(LONG, sell("10", "115"), buy("2", "112"))
    assert again.closed_today == {}
    assert pnl(again, "113") == (50 + 2, [])


def test_a_day_trade_that_began_and_ended_flat_counts() -> None:
    assert state(booked(funded("1000"), buy("2", "100", "1"), sell("2", "104", "1")), {}).daily_pnl == 8


@pytest.mark.parametrize("start", [LONG, SHORT])
def test_a_split_changes_nothing_of_the_day(start: Portfolio) -> None:
    traded = booked(start, *([buy("5", "112")] if start is LONG else [sell("5", "112")]))
    halves = cash("SPLIT", "0", instrument_id="AAPL", ratio=(Decimal(2), Decimal(1)), timestamp_ms=NOW - 5)
    after = booked(traded, halves)
    assert pnl(after, "56.5") == pnl(traded, "113")
    assert state(after, {"AAPL": last("56.5")}).positions[0].carried_quantity == 2 * start.positions["AAPL"].quantity


def test_without_our_own_mark_the_feeds_previous_close_is_taken_else_it_is_left_out_and_listed() -> None:
    unmarked = books.close_day(LONG, "2026-02-25", {}, NOW)
    assert pnl(unmarked, "113", previous_close="111") == (20, [])
    assert pnl(unmarked, "113") == (None, ["AAPL"])
    assert pnl(unmarked, "113", previous_close="0") == (None, ["AAPL"])
    assert pnl(carried(LONG, AAPL="0"), "113") == (None, ["AAPL"])
    flat = state(booked(unmarked, sell("10", "115")), {})
    assert (flat.daily_pnl, flat.daily_missing) == (None, ["AAPL"])


@pytest.mark.parametrize("start", [LONG, SHORT])
def test_the_feeds_previous_close_serves_too_when_what_had_no_mark_is_closed(start: Portfolio) -> None:
    unmarked = books.close_day(start, "2026-02-25", {}, NOW)
    entry = sell("10", "115") if start is LONG else buy("10", "115")
    assert books.price_symbols(unmarked, [entry], INSTRUMENTS) == {"AAPL"}
    assert books.price_symbols(start, [entry], INSTRUMENTS) == frozenset()
    prices = {"AAPL": last("1", previous_close="111")}
    shown = state(books.apply(unmarked, [entry], INSTRUMENTS, NOW, prices)[0], {})
    assert (shown.daily_pnl, shown.daily_missing) == (40 if start is LONG else -40, [])


def test_a_previous_close_of_before_a_split_is_divided_where_the_rest_is_closed() -> None:
    unmarked = books.close_day(LONG, "2026-02-25", {}, NOW)
    part = booked(unmarked, sell("4", "112"))
    prices = {"AAPL": last("1", previous_close="111", ts_ms=NOW - 10)}
    doubled = INSTRUMENTS | {"AAPL": stock(splits=(Split(NOW - 5, Decimal(2), Decimal(1)),))}
    halves = booked(part, cash("SPLIT", "0", instrument_id="AAPL", ratio=(Decimal(2), Decimal(1))))
    after, _ = books.apply(halves, [sell("12", "58")], doubled, NOW, prices)
    assert state(after, {}).daily_pnl == 4 * (112 - 111) + 12 * Decimal("2.5")


def test_closing_the_day_is_a_version_that_empties_it() -> None:
    before = booked(LONG, sell("10", "115"), buy("1", "100", instrument_id="MSFT"))
    after = carried(before, MSFT="101")
    assert (after.version, after.closed_day, after.closed_today) == (before.version + 1, "2026-02-25", {})
    assert position(after, "MSFT").day.traded == 0
    assert replace(after, positions={}, version=0, closed_day=None, updated_at_ms=0, closed_today={}) == replace(
        before, positions={}, version=0, closed_day=None, updated_at_ms=0, closed_today={}
    )


def test_more_symbols_closed_in_a_day_than_are_kept_by_name_are_summed_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foliostream.domain.daily.MAX_CLOSED_TODAY", 1)
    entries = [
        entry for name in NAMES for entry in (buy("2", "1", instrument_id=name), sell("2", "4", instrument_id=name))
    ]
    after = booked(funded("100"), *entries)
    assert (list(after.closed_today), after.day_results) == (["MSFT"], {"USD": 6})
    assert state(after, {}).daily_pnl == 12
