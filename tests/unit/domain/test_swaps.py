"""Nightly swap: the vectors of the definitions, nights and their borders, ids."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from foliostream.domain import keys, swaps
from foliostream.domain.entries import Entry, Transaction
from foliostream.domain.instrument import Instrument, Swap
from foliostream.domain.swaps import Night
from foliostream.domain.times import epoch_ms, iso
from foliostream.errors import CallerError
from tests.unit.domain.accounts import account, cfd, forex, held
from tests.unit.domain.examples import booked

D = Decimal


def swapped(long: str, short: str = "0", mode: Any = "points", triple_day: Any = "Wed", **others: Any) -> Instrument:  # noqa: ANN401
    return forex(**{"swap": Swap(D(long), D(short), mode, triple_day)} | others)


def night(day: str) -> Night:
    return swaps.of_day(date.fromisoformat(day))


MONDAY = night("2026-02-23")


def charged(instrument: Instrument, quantity: str, first: str, count: int, mark: str | None = None) -> Decimal:
    """All entries of a position over nights in a row, summed up."""
    nights = [swaps.of_day(date.fromisoformat(first) + timedelta(days=day)) for day in range(count)]
    price = D(mark) if mark else None
    found = [swaps.entry(account("0"), instrument, D(quantity), price, night) for night in nights]
    return sum((entry.amount for entry in found if entry), D(0))


@pytest.mark.parametrize(
    ("quantity", "points", "count", "expected"),
    [("2", "7", 1, "14"), ("2", "-5.47", 1, "-10.94"), ("1", "-2.2", 3, "-11")],
)
def test_points_are_points_of_the_price(quantity: str, points: str, count: int, expected: str) -> None:
    """The third is three nights that count five: Monday, Tuesday, and Wednesday three times."""
    assert charged(swapped(points), quantity, "2026-02-23", count) == D(expected)


def test_shorts_have_a_rate_of_their_own() -> None:
    assert charged(swapped("-5", "1.5"), "-2", "2026-02-23", 1) == 3


def test_a_currency_swap_is_an_amount_a_lot_and_night() -> None:
    assert charged(swapped("-1.25", mode="currency"), "3", "2026-02-23", 3) == D("-18.75")


def test_interest_is_a_360th_of_the_years_on_the_position() -> None:
    instrument = cfd("SPX", contract_size=D(10), swap=Swap(D("-3.6"), D("1.8"), "interest", "Fri"))
    assert charged(instrument, "2", "2026-02-23", 1, "5000") == -10
    assert charged(instrument, "-2", "2026-02-23", 1, "5000") == 5
    assert charged(instrument, "1", "2026-02-27", 3, "5000") == -15  # Friday's
    odd = cfd("SPX", swap=Swap(D(1), D(1), "interest", "Fri"))
    assert charged(odd, "1", "2026-02-23", 1, "1") == D("0.000028")


def test_interest_needs_a_price() -> None:
    with pytest.raises(CallerError):
        charged(swapped("1", mode="interest"), "1", "2026-02-23", 1)


def test_the_week_counts_seven_nights_with_a_triple_day_and_without() -> None:
    for triple_day in ("Wed", "Fri", None):
        weekly = swapped("1", mode="currency", triple_day=triple_day)
        assert charged(weekly, "1", "2026-02-23", 7) == 7


def test_a_night_begins_at_17_in_new_york_also_when_the_clocks_change() -> None:
    found = [night(f"2026-03-0{day}") for day in (6, 7, 8, 9)]
    assert [iso(night.at_ms) for night in found] == [
        "2026-03-06T22:00:00.000Z",
        "2026-03-07T22:00:00.000Z",
        "2026-03-08T21:00:00.000Z",
        "2026-03-09T21:00:00.000Z",
    ]


@pytest.mark.parametrize(
    ("at", "day"),
    [
        ("2026-02-23T22:00:00Z", "2026-02-23"),
        ("2026-02-23T21:59:59.999Z", "2026-02-22"),
        ("2026-02-24T03:00:00Z", "2026-02-23"),
        ("2026-02-24T12:00:00Z", "2026-02-23"),
    ],
)
def test_the_latest_night_is_the_one_that_has_begun(at: str, day: str) -> None:
    assert swaps.latest(epoch_ms(at)) == night(day)


def moved(kind: Any, symbol: str, quantity: str, at_ms: int, **others: Any) -> Transaction:  # noqa: ANN401
    entry = Entry(f"t{at_ms}", kind, at_ms, symbol, quantity=D(quantity), **others)
    return Transaction(entry, "USD", D(0), D(0), D(0), 1, at_ms)


def test_what_was_held_as_the_night_began_is_known_also_later() -> None:
    at_ms = MONDAY.at_ms
    positions = {"EURUSD": held("5", "1", forex()), "SPX": held("-9", "1", cfd("SPX"))}
    book = account("0", positions=positions | {"DAX": held("1", "1", cfd("DAX"))})
    since = [
        moved("BUY", "EURUSD", "4", at_ms + 3),
        moved("SPLIT", "SPX", "0", at_ms + 3, ratio=(D(3), D(1))),
        moved("SELL", "XAUUSD", "-2", at_ms + 2),
        moved("FEE", "EURUSD", "0", at_ms + 2, amount=D(1)),
        moved("BUY", "DAX", "1", at_ms + 1),
        moved("SELL", "EURUSD", "-7", at_ms),  # booked later, but of the border itself
    ]
    assert swaps.held(book, since, at_ms) == {"EURUSD": 1, "SPX": -3, "XAUUSD": 2, "DAX": 0}
    assert swaps.held(book, [], at_ms) == {"EURUSD": 5, "SPX": -9, "DAX": 1}


def test_nothing_is_booked_for_nothing() -> None:
    flat = account("0")
    assert swaps.entry(flat, swapped("7"), D(0), None, MONDAY) is None
    assert swaps.entry(flat, forex(), D(1), None, MONDAY) is None
    assert swaps.entry(flat, swapped("0"), D(1), None, MONDAY) is None
    assert swaps.entry(flat, swapped("7"), D(1), None, night("2026-02-28")) is None  # a Saturday


def test_a_swap_is_booked_once_a_portfolio_symbol_and_night() -> None:
    instrument = swapped("-2.2")
    book = account("100", positions={"EURUSD": held("1", "1", instrument)})
    entry = swaps.entry(book, instrument, D(1), None, MONDAY)
    assert entry is not None
    assert entry.transaction_id == "SWAP:demo:12345:EURUSD:2026-02-23"
    assert entry.timestamp_ms == MONDAY.at_ms
    after = booked(book, entry, instruments={"EURUSD": instrument})
    assert (after.cash["USD"], after.swap_total) == (D("97.8"), D("-2.2"))


def test_ids_are_valid_and_differ_for_symbols_that_only_look_alike() -> None:
    longest = f"paper:{'x' * 64}"
    found = {swaps.transaction_id(longest, symbol, MONDAY) for symbol in ("M&M" + "A" * 29, "M-M" + "A" * 29, "M" * 32)}
    assert len(found) == 3
    for identifier in found:
        assert keys.transaction_id(identifier)
