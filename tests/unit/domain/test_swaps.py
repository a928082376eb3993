"""Nightly swap: the vectors of the definitions, nights and their borders, ids."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from foliostream.domain import keys, swaps
from foliostream.domain.instrument import Instrument, Swap
from foliostream.domain.swaps import Night
from foliostream.domain.times import epoch_ms, iso
from foliostream.errors import CallerError
from tests.unit.domain.accounts import account, cfd, forex, held
from tests.unit.domain.examples import booked

D = Decimal


def swapped(long: str, short: str = "0", mode: Any = "points", triple_day: Any = "Wed", **others: Any) -> Instrument:  # noqa: ANN401
    return forex(**{"swap": Swap(D(long), D(short), mode, triple_day)} | others)


def nights(after: str, until: str) -> list[Night]:
    return swaps.nights(epoch_ms(after), epoch_ms(until))


def charged(instrument: Instrument, quantity: str, after: str, until: str, mark: str | None = None) -> Decimal:
    """All entries of a position between two times, summed up."""
    book = account("0", positions={instrument.symbol: held(quantity, "1", instrument, opened_at_ms=0)})
    found = [
        swaps.entry(book, instrument.symbol, instrument, mark and D(mark), night)  # type: ignore[arg-type]
        for night in nights(after, until)
    ]
    return sum((entry.amount for entry in found if entry), D(0))


MONDAY, TUESDAY, THURSDAY = "2026-02-23T12:00:00Z", "2026-02-24T12:00:00Z", "2026-02-26T12:00:00Z"


@pytest.mark.parametrize(
    ("quantity", "points", "until", "expected"),
    [("2", "7", TUESDAY, "14"), ("2", "-5.47", TUESDAY, "-10.94"), ("1", "-2.2", THURSDAY, "-11")],
)
def test_points_are_points_of_the_price(quantity: str, points: str, until: str, expected: str) -> None:
    """The third is three nights that count five: Monday, Tuesday, and Wednesday three times."""
    assert charged(swapped(points), quantity, MONDAY, until) == D(expected)


def test_shorts_have_a_rate_of_their_own() -> None:
    assert charged(swapped("-5", "1.5"), "-2", MONDAY, TUESDAY) == 3


def test_a_currency_swap_is_an_amount_a_lot_and_night() -> None:
    assert charged(swapped("-1.25", mode="currency"), "3", MONDAY, THURSDAY) == D("-18.75")


def test_interest_is_a_360th_of_the_years_on_the_position() -> None:
    instrument = cfd("SPX", contract_size=D(10), swap=Swap(D("-3.6"), D("1.8"), "interest", "Fri"))
    assert charged(instrument, "2", MONDAY, TUESDAY, "5000") == -10
    assert charged(instrument, "-2", MONDAY, TUESDAY, "5000") == 5
    assert charged(instrument, "1", "2026-02-27T12:00:00Z", "2026-03-02T12:00:00Z", "5000") == -15  # Friday's
    odd = cfd("SPX", swap=Swap(D(1), D(1), "interest", "Fri"))
    assert charged(odd, "1", MONDAY, TUESDAY, "1") == D("0.000028")


def test_interest_needs_a_price() -> None:
    with pytest.raises(CallerError):
        charged(swapped("1", mode="interest"), "1", MONDAY, TUESDAY)


def test_the_week_counts_seven_nights_with_a_triple_day_and_without() -> None:
    for triple_day in ("Wed", "Fri", None):
        weekly = swapped("1", mode="currency", triple_day=triple_day)
        assert charged(weekly, "1", MONDAY, "2026-03-02T12:00:00Z") == 7


def test_a_night_begins_at_17_in_new_york_also_when_the_clocks_change() -> None:
    found = nights("2026-03-06T12:00:00Z", "2026-03-09T21:00:00Z")
    assert [(night.day.isoformat(), iso(night.at_ms)) for night in found] == [
        ("2026-03-06", "2026-03-06T22:00:00.000Z"),
        ("2026-03-07", "2026-03-07T22:00:00.000Z"),
        ("2026-03-08", "2026-03-08T21:00:00.000Z"),
        ("2026-03-09", "2026-03-09T21:00:00.000Z"),
    ]


def test_a_border_belongs_to_the_time_before_it() -> None:
    border = "2026-02-23T22:00:00Z"
    assert len(nights(MONDAY, border)) == 1
    assert nights(border, "2026-02-24T21:59:59.999Z") == []
    assert nights(MONDAY, "2026-02-23T21:59:59.999Z") == []


def test_too_many_nights_are_refused() -> None:
    with pytest.raises(CallerError):
        nights("2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z")


def test_what_was_opened_after_the_border_is_not_charged() -> None:
    instrument = swapped("7")
    [night] = nights(MONDAY, TUESDAY)
    for opened_at_ms, expected in ((night.at_ms, True), (night.at_ms + 1, False)):
        book = account("0", positions={"EURUSD": held("1", "1", instrument, opened_at_ms)})
        assert (swaps.entry(book, "EURUSD", instrument, None, night) is not None) is expected


def test_nothing_is_booked_for_nothing() -> None:
    [night] = nights(MONDAY, TUESDAY)
    saturday = nights("2026-02-28T12:00:00Z", "2026-03-01T12:00:00Z")[0]
    flat, holding = account("0"), account("0", positions={"EURUSD": held("1", "1", forex())})
    assert swaps.entry(flat, "EURUSD", swapped("7"), None, night) is None
    assert swaps.entry(holding, "EURUSD", forex(), None, night) is None
    assert swaps.entry(holding, "EURUSD", swapped("0"), None, night) is None
    assert swaps.entry(holding, "EURUSD", swapped("7"), None, saturday) is None


def test_a_swap_is_booked_once_a_portfolio_symbol_and_night() -> None:
    instrument = swapped("-2.2")
    opened = epoch_ms(MONDAY)
    book = account("100", positions={"EURUSD": held("1", "1", instrument, opened)})
    [night] = nights(MONDAY, TUESDAY)
    entry = swaps.entry(book, "EURUSD", instrument, None, night)
    assert entry is not None
    assert entry.transaction_id == "SWAP:demo:12345:EURUSD:2026-02-23"
    assert swaps.entry(book, "EURUSD", instrument, None, night) == entry
    after = booked(book, entry, instruments={"EURUSD": instrument})
    assert (after.cash["USD"], after.swap_total) == (D("97.8"), D("-2.2"))


def test_ids_are_valid_and_differ_for_symbols_that_only_look_alike() -> None:
    [night] = nights(MONDAY, TUESDAY)
    longest = f"paper:{'x' * 64}"
    found = {swaps.transaction_id(longest, symbol, night) for symbol in ("M&M" + "A" * 29, "M-M" + "A" * 29, "M" * 32)}
    assert len(found) == 3
    for identifier in found:
        assert keys.transaction_id(identifier)
