"""Cumulative reports of orders become fills once each, whichever way and in whatever order they come."""

from __future__ import annotations

import itertools
from decimal import Decimal

import pytest

from foliostream.domain.order_fills import Booked, Member, OrderState, advanced, placed_by

dec = Decimal


def order(filled: str, value: str, **other: object) -> OrderState:
    fields: dict[str, object] = {
        "day": "2026-11-20",
        "order_id": "42",
        "name": "TCS",
        "exchange": "NSE",
        "product": "CNC",
        "side": "BUY",
        "timestamp_ms": 1_000,
        "symbol": "TCS",
    }
    return OrderState(filled=dec(filled), value=dec(value), **(fields | other))  # type: ignore[arg-type]


REPORTS = [order("4", "400"), order("4", "400"), order("7", "709"), order("10", "1012")]


@pytest.mark.parametrize("reports", list(itertools.permutations(REPORTS)))
def test_reports_in_any_order_and_number_sum_up_to_what_was_filled(reports: tuple[OrderState, ...]) -> None:
    booked = Booked()
    for report in reports:
        booked = advanced(report, booked, "growth", "kite", 5) or booked

    assert sum(fill.quantity for fill in booked.unsent) == 10
    assert sum(fill.quantity * fill.price for fill in booked.unsent) == pytest.approx(dec(1012), abs=dec("0.0001"))
    assert len({fill.fill_id for fill in booked.unsent}) == len(booked.unsent)
    assert booked.unsent[-1].fill_id == "kite:2026-11-20:42:10"


def test_the_price_of_a_part_is_that_of_the_difference() -> None:
    first = advanced(order("4", "400"), Booked(), "growth", "kite", 5)
    assert first is not None
    second = advanced(order("10", "1012"), first, "growth", "kite", 6)
    assert second is not None

    assert [(fill.quantity, fill.price) for fill in second.unsent] == [(dec(4), dec(100)), (dec(6), dec(102))]


def test_a_report_of_less_than_is_known_changes_nothing() -> None:
    assert advanced(order("4", "400"), Booked(dec(7), dec(709), "growth"), "growth", "kite", 5) is None
    assert advanced(order("0", "0"), Booked(), "growth", "kite", 5) is None


def test_an_order_stays_with_the_portfolio_that_its_first_part_went_to() -> None:
    later = advanced(order("10", "1012"), Booked(dec(4), dec(400), "growth"), "other", "kite", 5)

    assert later is not None
    assert later.unsent[0].portfolio_id == "growth"


def test_a_sale_is_a_sale() -> None:
    sold = advanced(order("4", "400", side="SELL"), Booked(), "growth", "kite", 5)

    assert sold is not None
    assert sold.unsent[0].side == "SELL"


@pytest.mark.parametrize(
    ("tags", "members", "expected"),
    [
        ((), [Member("growth")], "growth"),
        (("momentum",), [Member("a", "momentum"), Member("b", "value")], "a"),
        (("momentum",), [Member("a", "momentum"), Member("rest")], "a"),
        (("by-hand",), [Member("a", "momentum"), Member("rest")], "rest"),
        ((), [Member("a", "momentum"), Member("rest")], "rest"),
        ((), [Member("a", "momentum")], None),
        ((), [Member("a"), Member("b")], None),
        (("momentum", "value"), [Member("a", "momentum"), Member("b", "value"), Member("rest")], None),
        ((), [], None),
    ],
)
def test_an_order_belongs_to_its_tag_or_to_the_one_without(
    tags: tuple[str, ...], members: list[Member], expected: str | None
) -> None:
    assert placed_by(order("1", "1", tags=tags), members) == expected
