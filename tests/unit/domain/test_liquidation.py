"""Liquidation plans: what is closed, in which order, how much of it, and what is left alone."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from foliostream.domain import keys, liquidation, margin
from foliostream.domain.account import Lot
from foliostream.domain.fills import fill_id
from foliostream.domain.liquidation import MAX_CLOSES, Account, Plan
from foliostream.domain.margin import Line
from foliostream.domain.margin_states import Thresholds
from foliostream.domain.rates import Rate
from tests.unit.domain.accounts import account as book
from tests.unit.domain.accounts import cfd, held, line, market, quote
from tests.unit.domain.examples import NOW, booked, buy, deposit, sell, stock

D = Decimal


def account(balance: str, *lines: Line, **others: Any) -> Account:  # noqa: ANN401
    return Account("demo:1", 7, D(balance), D(10), lines, **others)


def planned(given: Account) -> Plan:
    found = liquidation.plan(given, "ok", 5000, Thresholds())
    assert found is not None
    return found


def closes(found: Plan) -> list[tuple[str, str]]:
    return [(close.symbol, str(close.quantity)) for close in found.closes]


def losing(symbol: str, loss: str, *, quantity: str = "1", price: str = "100", opened_at_ms: int = NOW) -> Line:
    """Bought dearer than it is: margin a tenth of its price."""
    average = str(D(price) + D(loss) / D(quantity))
    return line(quantity, average, price, price, cfd(symbol), opened_at_ms=opened_at_ms)


def test_the_largest_loss_is_closed_first_and_no_more_than_needed() -> None:
    found = planned(account("65", losing("A", "10"), losing("B", "30"), losing("C", "20")))
    # 5 of 30: after B the level is 5/20, after C 5/10, after A all is flat
    assert closes(found) == [("B", "-1"), ("C", "-1"), ("A", "-1")]
    found = planned(account("72", losing("A", "10"), losing("B", "30"), losing("C", "20")))
    assert closes(found) == [("B", "-1")]
    assert found.after.level_percent == 60
    assert (found.suffices, found.skipped) == (True, ())


def test_a_short_position_is_bought_back() -> None:
    short = line("-2", "80", "99", "100", cfd("A"))
    found = planned(account("41", short))
    assert closes(found) == [("A", "2")]
    assert (found.closes[0].price, found.after.equity) == (100, 1)


def test_an_account_above_the_threshold_has_no_plan_and_one_at_it_has() -> None:
    assert liquidation.plan(account("15.01", losing("A", "10")), "ok", 1, Thresholds()) is None
    assert liquidation.plan(account("15", losing("A", "10")), "ok", 1, Thresholds()) is not None


def test_equal_losses_are_closed_by_margin_then_age_then_symbol() -> None:
    lines = [
        losing("E", "10"),
        losing("D", "10"),
        losing("C", "10", opened_at_ms=NOW - 1),
        losing("B", "10", price="200"),
        losing("A", "9"),
    ]
    found = planned(account("49", *lines))
    assert [symbol for symbol, _ in closes(found)] == ["B", "C", "D", "E", "A"]


def test_a_plan_ends_where_the_stop_out_is_left_not_where_it_begins() -> None:
    """With B closed the level is 52 percent: above 50, but the state would stay stop_out."""
    found = planned(account("45.2", losing("A", "10"), losing("B", "30")))
    assert closes(found) == [("B", "-1"), ("A", "-1")]


def test_winners_are_closed_when_the_losers_are_not_enough() -> None:
    winner = line("10", "90", "91", "91", cfd("W"))
    found = planned(account("40", losing("A", "40"), winner))
    assert closes(found) == [("A", "-1"), ("W", "-10")]


def test_closed_markets_are_skipped_and_named() -> None:
    found = planned(account("70", losing("A", "10"), losing("B", "30"), losing("C", "20"), closed={"B"}))
    assert closes(found) == [("C", "-1"), ("A", "-1")]
    assert (found.skipped, found.suffices) == (("B",), True)
    found = planned(account("30", losing("B", "30"), closed={"B"}))
    assert (found.closes, found.skipped, found.suffices) == ((), ("B",), False)


@pytest.mark.parametrize("calc_status", ["degraded", "unpriced"])
def test_there_is_no_plan_from_bad_data(calc_status: Any) -> None:  # noqa: ANN401
    assert liquidation.plan(account("0", losing("A", "10")), calc_status, 1, Thresholds()) is None


def test_there_is_no_plan_where_a_margin_is_unknown() -> None:
    for given in (line("1", "100", "9", None), line("1", "100", "9", "9", rate=None)):
        assert liquidation.plan(account("0", losing("A", "10"), given), "ok", 1, Thresholds()) is None


def test_fees_are_counted() -> None:
    lines = losing("A", "10"), losing("B", "30")
    assert closes(planned(account("45.6", *lines))) == [("B", "-1")]
    assert len(planned(account("45.6", *lines, fees={"B": D("0.1")})).closes) == 2
    assert planned(account("0", *lines, fees={"A": D(2), "B": D(3)})).after.equity == -45


def test_ids_name_the_breach_and_the_book_and_are_valid_ids() -> None:
    first = planned(account("0", losing("M&M", "10"), losing("B", "30")))
    assert first.plan_id == "demo:1:5000:7"
    ids = {close.symbol: close.fill_id for close in first.closes}
    assert len(set(ids.values())) == 2
    assert all(identifier.startswith("STOP_OUT:demo:1:5000:7:") for identifier in ids.values())
    other_order = planned(account("0", losing("M&M", "30"), losing("B", "10")))
    assert {close.symbol: close.fill_id for close in other_order.closes} == ids
    longest = account("0", losing("A", "1"))._replace(portfolio_key=f"paper:{'x' * 64}", ledger_version=10**10)
    assert fill_id(planned(longest).closes[0].fill_id)
    assert keys.transaction_id("fill:" + planned(longest).closes[0].fill_id)


def test_a_plan_is_bounded_and_says_that_it_does_not_suffice() -> None:
    lines = [losing(f"S{number}", "10") for number in range(MAX_CLOSES + 1)]
    found = planned(account("0", *lines))
    assert (len(found.closes), found.suffices) == (MAX_CLOSES, False)


# --- partial closes ---------------------------------------------------------------------------------------------------


def parted(quantity: str, step: str | None, **others: Any) -> Account:  # noqa: ANN401
    """A loss of 10 a unit, margin 10 a unit, 4 of equity a unit: level 40."""
    instrument = cfd("A", lot_step=step and D(step))
    given = line(quantity, "110", "100", "100", instrument)
    return account(str(14 * abs(D(quantity))), given, partial=True, **others)


@pytest.mark.parametrize(
    ("quantity", "step", "closed"),
    [("10", "1", "-3"), ("10", "0.01", "-2.73"), ("10", "3", "-3"), ("10", "4", "-4"), ("10", "20", "-10"),
     ("1", "1", "-1"), ("10", None, "-10")],
)  # fmt: skip
def test_the_least_number_of_steps_that_suffices_is_closed(quantity: str, step: str | None, closed: str) -> None:
    """55 percent of what is left is 40 percent of all: 3/11 have to go, and a little more."""
    assert closes(planned(parted(quantity, step))) == [("A", closed)]


def test_exactly_55_percent_is_not_enough() -> None:
    assert closes(planned(parted("11", "1"))) == [("A", "-4")]  # 3 of 11 would leave exactly 55 percent


def test_a_fee_makes_a_partial_close_larger() -> None:
    assert closes(planned(parted("10", "0.01", fees={"A": D(1)}))) == [("A", "-3.34")]


def test_a_position_that_does_not_suffice_is_closed_whole_and_the_next_in_part() -> None:
    instruments = [cfd(name, lot_step=D("0.1")) for name in ("A", "B")]
    lines = [line("10", average, "100", "100", item) for average, item in zip(("120", "105"), instruments, strict=True)]
    found = planned(account("275", *lines, partial=True))  # equity 25: 45.45 of a margin of B's would be enough
    assert closes(found) == [("A", "-10"), ("B", "-5.5")]
    assert found.after.level_percent is not None
    assert found.after.level_percent > 55


def test_without_the_setting_positions_are_closed_whole() -> None:
    assert closes(planned(parted("10", "1")._replace(partial=False))) == [("A", "-10")]


def test_a_fifo_position_loses_its_oldest_lots() -> None:
    instrument = cfd("A", lot_step=D(1))
    lots = (Lot(1, D(5), D(600), NOW), Lot(2, D(5), D(500), NOW))
    given = line("10", "110", "100", "100", instrument)
    fifo = given._replace(position=replace(given.position, lots=lots, last_lot=2))
    found = planned(account("140", fifo, partial=True))
    assert closes(found) == [("A", "-3")]
    assert found.after.balance == 140 - 60


# --- the books do what was planned ------------------------------------------------------------------------------------


@pytest.mark.parametrize("partial", [True, False])
def test_booked_at_the_planned_prices_the_account_stands_where_the_plan_said(partial: bool) -> None:
    gold = cfd("XAUUSD", contract_size=D(100), lot_step=D("0.01"))
    dax = cfd("DAX", "EUR", lot_step=D("0.1"))
    registry = {"XAUUSD": gold, "DAX": dax, "AAPL": stock()}
    before = booked(
        book("0", leverage=D(20)), deposit("3000"),
        buy("0.1", "2000", instrument_id="XAUUSD"), buy("0.07", "2011.37", instrument_id="XAUUSD"),
        sell("1.3", "15001.7", instrument_id="DAX", fx_rate=D("1.1")), buy("5", "130"), instruments=registry,
    )  # fmt: skip
    prices = {"XAUUSD": quote("1960.5", "1961"), "DAX": quote("16100", "16101"), "EURUSD": quote("1.09", "1.1"),
              "AAPL": quote("130", "131")}  # fmt: skip
    there = market(prices, *registry.values())
    given = Account(
        before.key, before.version, before.cash["USD"], before.leverage, margin.lines_of(before, there), partial=partial
    )
    found = planned(given)
    fills = [
        (buy if close.quantity > 0 else sell)(str(abs(close.quantity)), str(close.price), instrument_id=close.symbol,
         fx_rate=D("1.1") if close.symbol == "DAX" else None)
        for close in found.closes
    ]  # fmt: skip
    after = margin.assess(booked(before, *fills, instruments=registry), there)
    assert after == found.after
    assert after.above(D(55))


def test_profit_is_realized_at_the_worse_side_of_its_rate() -> None:
    rate = Rate(D("1.0"), D("1.2"), (("EURUSD", 1),))
    found = planned(account("30", line("1", "120", "100", "100", cfd("A", "EUR"), rate)))
    assert found.after.balance == 30 - 24


# --- negative balance protection --------------------------------------------------------------------------------------


def test_a_flat_account_below_zero_is_brought_back_to_zero_once() -> None:
    broke = book("-12.34")
    entry = liquidation.protection(broke, 5000, NOW)
    assert entry is not None
    assert (entry.transaction_id, entry.amount) == ("PROTECTION:demo:12345:5000", D("12.34"))
    assert liquidation.protection(broke, 5000, NOW + 9) == replace(entry, timestamp_ms=NOW + 9)
    after = booked(broke, entry)
    assert (after.cash, after.adjustments_total, after.needs_review) == ({"USD": D("0.00")}, D("12.34"), False)
    assert liquidation.protection(after, 5000, NOW) is None


def test_what_is_finer_than_a_millionth_is_rounded_in_the_owners_favour() -> None:
    entry = liquidation.protection(book("-0.0000000001"), 5000, NOW)
    assert entry is not None
    assert booked(book("-0.0000000001"), entry).cash["USD"] == D("0.0000009999")


def test_an_account_with_positions_or_a_balance_is_left_alone() -> None:
    assert liquidation.protection(book("-5", positions={"AAPL": held("1", "1", stock())}), 1, NOW) is None
    assert liquidation.protection(book("0"), 1, NOW) is None
