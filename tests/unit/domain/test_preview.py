"""Previews and pre-trade checks: figures before and after, and why orders are refused."""

from __future__ import annotations

from decimal import Decimal

import pytest
from msgspec.structs import replace

from foliostream.domain import preview as previews
from foliostream.domain.booking import apply
from foliostream.domain.entries import Entry
from foliostream.domain.margin import Market
from foliostream.domain.portfolio import Portfolio
from foliostream.domain.preview import Order, Preview, Refusal, check, preview
from foliostream.errors import CallerError
from tests.unit.domain.accounts import account, cfd, forex, held, market, quote
from tests.unit.domain.examples import NOW, STALE_AFTER_MS, buy, cash, empty, last, sell, stock

D = Decimal
EURUSD = forex()
GOLD = cfd(contract_size=D(100))
THERE = market({"EURUSD": quote("1.0999", "1.1001"), "XAUUSD": quote("1999", "2001")}, EURUSD, GOLD, stock())
ACCOUNT = account("10000")


def seen(*orders: Order, **others: object) -> Preview:
    return preview(account("10000", **others) if others else ACCOUNT, orders, THERE)


def test_figures_before_and_after() -> None:
    found = seen(Order("EURUSD", D(1)))
    assert (found.before.equity, found.before.used, found.before.level_percent) == (10_000, 0, None)
    assert found.after is not None
    assert (found.after.equity, found.after.used, found.after.free) == (9_980, 3_667, 6_313)  # the spread is paid
    assert found.refusal is None


def test_a_price_of_its_own_and_a_fee_count() -> None:
    found = seen(Order("EURUSD", D(-1), price=D("1.2"), fee=D("3.5")))
    assert found.after is not None
    assert found.after.equity == 10_000 + 9_990 - D("3.5")


def test_orders_are_taken_together() -> None:
    found = seen(Order("EURUSD", D(2)), Order("EURUSD", D(-2)), Order("XAUUSD", D("0.1")))
    assert found.after is not None
    assert list(found.after.positions) == ["XAUUSD"]
    assert found.after.equity == 10_000 - 40 - 20


def test_too_little_free_margin_is_refused_with_figures() -> None:
    found = seen(Order("EURUSD", D(3)))
    assert found.after is not None
    assert found.refusal is not None
    assert found.refusal.code == "INSUFFICIENT_MARGIN"
    assert found.refusal.message == (
        "free margin would be -1061 USD: 11061 needed for margin, spread, fees and payments, 10000 available"
    )
    assert found.refusal.details == [
        {"currency": "USD", "needed": "11061", "available": "10000", "free_after": "-1061"}
    ]


def test_free_margin_of_exactly_nothing_is_enough() -> None:
    exact = preview(account("6870"), [Order("XAUUSD", D(1))], THERE)
    assert exact.after is not None
    assert (exact.after.free, exact.refusal) == (0, None)


def test_who_is_short_of_margin_may_reduce_but_not_turn_round() -> None:
    short_of = account("100", positions={"EURUSD": held("2", "1.1", EURUSD)})
    assert preview(short_of, [Order("EURUSD", D(-1))], THERE).refusal is None
    turned = preview(short_of, [Order("EURUSD", D(-4))], THERE).refusal
    assert turned is not None
    assert turned.code == "INSUFFICIENT_MARGIN"


@pytest.mark.parametrize(
    ("order", "code"),
    [
        (Order("NOPE", D(1)), "UNKNOWN_SYMBOL"),
        (Order("NOPE", D(1), D(1)), "UNKNOWN_SYMBOL"),
        (Order("AAPL", D(1)), "PRICE_MISSING"),
        (Order("EURUSD", D(0)), "INVALID"),
        (Order("EURUSD", D(1), D("1.000001")), "INVALID"),
        (Order("EURUSD", D(1), D(0)), "INVALID"),
    ],
)
def test_orders_that_cannot_be_booked_say_why(order: Order, code: str) -> None:
    found = seen(order)
    assert found.refusal is not None
    assert (found.after, found.refusal.code) == (None, code)


def test_what_the_books_refuse_is_refused_here_too() -> None:
    found = seen(Order("EURUSD", D(1)), status="SUSPENDED").refusal
    assert found is not None
    assert found.code == "PORTFOLIO_SUSPENDED"


def test_a_position_without_a_price_makes_margin_unknown() -> None:
    found = seen(Order("EURUSD", D(1)), positions={"AAPL": held("1", "100", stock())})
    assert found.refusal is not None
    assert (found.refusal.code, found.refusal.details) == ("MARGIN_UNKNOWN", [{"symbols": ["AAPL"]}])
    assert found.refusal.message == "no price, rate or margin rate for AAPL"


def test_what_is_new_and_has_no_price_is_valued_at_the_one_of_its_order() -> None:
    found = seen(Order("AAPL", D(30), D(100)))
    assert found.after is not None
    assert (found.after.equity, found.after.used, found.assumed) == (10_000, 100, ("AAPL",))
    assert seen(Order("AAPL", D(30), D(100)), positions={"AAPL": held("1", "100", stock())}).assumed == ()
    refused = seen(Order("AAPL", D(3_001), D(100))).refusal
    assert refused is not None
    assert refused.code == "INSUFFICIENT_MARGIN"


@pytest.mark.parametrize("count", [0, previews.MAX_ORDERS + 1])
def test_none_and_too_many_orders_are_the_callers_fault(count: int) -> None:
    with pytest.raises(CallerError):
        preview(ACCOUNT, [Order("EURUSD", D(1))] * count, THERE)


def test_nothing_is_changed_by_asking() -> None:
    book = account("10000", positions={"EURUSD": held("1", "1.1", EURUSD)})
    copy = account("10000", positions={"EURUSD": held("1", "1.1", EURUSD)})
    first = preview(book, [Order("EURUSD", D(-3))], THERE)
    assert preview(book, [Order("EURUSD", D(-3))], THERE) == first
    assert book == copy


def test_a_mid_price_of_a_stock_is_rounded_to_what_books_take() -> None:
    there = market({"AAPL": quote("100.000001", "100.000002")}, stock())
    assert preview(ACCOUNT, [Order("AAPL", D(1))], there).refusal is None


def checked(portfolio: Portfolio, *entries: Entry, there: Market = THERE) -> Refusal | None:
    booked, _ = apply(portfolio, entries, there.instruments, NOW, there.prices)
    return check(portfolio, booked, entries, there)


def is_checked(portfolio: Portfolio, *entries: Entry) -> bool:
    booked, _ = apply(portfolio, entries, THERE.instruments, NOW, THERE.prices)
    return previews.is_checked(portfolio, booked, entries, {"demo", "paper"})


def test_the_pre_trade_check_is_the_same() -> None:
    assert checked(ACCOUNT, buy("1", "1.1", instrument_id="EURUSD")) is None
    refused = checked(ACCOUNT, buy("3", "1.1001", instrument_id="EURUSD"))
    assert refused is not None
    assert refused == seen(Order("EURUSD", D(3))).refusal


def test_a_withdrawal_leaves_free_margin_at_zero_or_above() -> None:
    bound = account("5000", positions={"EURUSD": held("1", "1.1", EURUSD)})  # equity 4990, used 3667
    assert checked(bound, cash("WITHDRAWAL", "1323")) is None
    refused = checked(bound, cash("WITHDRAWAL", "1323.01"))
    assert refused is not None
    assert refused.code == "INSUFFICIENT_MARGIN"
    assert refused.details == [{"currency": "USD", "needed": "1323.01", "available": "1323", "free_after": "-0.01"}]


def test_who_is_short_of_margin_pays_nothing_out_by_reducing_a_little() -> None:
    short_of = account("3000", positions={"EURUSD": held("2", "1.1", EURUSD)})
    smaller = sell("0.01", "1.0999", instrument_id="EURUSD")
    assert checked(short_of, smaller) is None
    refused = checked(short_of, smaller, cash("WITHDRAWAL", "1"))
    assert refused is not None
    assert refused.code == "INSUFFICIENT_MARGIN"


def test_reducing_is_never_refused_for_want_of_a_price() -> None:
    blind = account("10000", positions={"AAPL": held("10", "100", stock()), "EURUSD": held("1", "1.1", EURUSD)})
    assert checked(blind, sell("4", "90", instrument_id="AAPL"), sell("1", "1.1", instrument_id="EURUSD")) is None
    opens = checked(blind, buy("1", "90", instrument_id="AAPL"))
    assert opens is not None
    assert opens.code == "MARGIN_UNKNOWN"


def test_only_figures_refuse_what_was_reported() -> None:
    blind = account("10000", positions={"AAPL": held("10", "100", stock())})
    filled = replace(buy("1", "1.1", instrument_id="EURUSD"), reported=True)
    assert checked(blind, filled) is None
    refused = checked(ACCOUNT, replace(filled, quantity=D(3)))
    assert refused is not None
    assert refused.code == "INSUFFICIENT_MARGIN"


def test_only_what_margin_decides_is_checked() -> None:
    opens, pays = buy("1", "1.1", instrument_id="EURUSD"), cash("WITHDRAWAL", "1")
    holding = {"EURUSD": held("2", "1.1", EURUSD)}
    closes, turns = sell("1", "1.1", instrument_id="EURUSD"), sell("3", "1.1", instrument_id="EURUSD")
    assert is_checked(ACCOUNT, opens)
    assert is_checked(account("1", positions=holding), turns)
    assert is_checked(account("9", account_type="live"), pays)
    assert not is_checked(account("1", account_type="live"), opens)
    assert not is_checked(account("1", positions=holding), closes)
    assert not is_checked(ACCOUNT, cash("DEPOSIT", "1"), cash("FEE", "1"))
    assert not is_checked(empty(account_type="demo", cash={"USD": D(9)}), pays)


def test_stale_prices_are_named() -> None:
    old = market({"EURUSD": quote("1", "2", NOW - STALE_AFTER_MS - 1), "AAPL": last("1")}, EURUSD, stock())
    assert previews.stale(ACCOUNT, {"EURUSD", "AAPL", "XAUUSD"}, old) == ["EURUSD"]
    assert previews.stale(account("1", base_currency="EUR"), {"AAPL"}, old) == ["EURUSD"]


def test_a_stock_is_previewed_at_its_last_price() -> None:
    there = market({"AAPL": last("150")}, stock())
    found = preview(ACCOUNT, [Order("AAPL", D(10))], there)
    assert found.after is not None
    assert (found.after.equity, found.after.used) == (10_000, 50)
