"""All transaction types, several currencies, margin accounts, FIFO lots, splits, adjustments, statuses: definitions
section 0 (1-10) and the published examples they belong to."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from foliostream.domain import account
from foliostream.domain import portfolio as books
from foliostream.domain.account import Portfolio, Position
from foliostream.domain.entries import Entry, Transaction
from foliostream.domain.instrument import Instrument
from foliostream.domain.price import Price
from foliostream.domain.valuation import with_staleness
from foliostream.errors import CallerError
from tests.unit.domain.examples import (
    INSTRUMENTS,
    NOW,
    STALE_AFTER_MS,
    booked,
    buy,
    cash,
    deposit,
    empty,
    funded,
    last,
    position,
    sell,
    state,
    stock,
    valued,
    withdrawal,
)

REGISTRY = INSTRUMENTS | {
    "SAP": stock("SAP", currency="EUR"),
    "EURGBP": Instrument("EURGBP", "forex", "GBP", "EUR", Decimal(1)),
    "XAUUSD": Instrument("XAUUSD", "cfd", "USD", None, Decimal(100)),
}


def quote(bid: str, ask: str, *, ts_ms: int = NOW) -> Price:
    return Price(bid=Decimal(bid), ask=Decimal(ask), quote_ts_ms=ts_ms)


RATES = {"EURUSD": quote("1.10", "1.12")}


def margin(balance: str = "10000", **changes: Any) -> Portfolio:  # noqa: ANN401
    return booked(empty(**{"account_kind": "margin", "leverage": Decimal(30)} | changes), deposit(balance))


def run(
    portfolio: Portfolio, *entries: Entry, prices: dict[str, Price] | None = None
) -> tuple[Portfolio, list[Transaction]]:
    return books.apply(portfolio, entries, REGISTRY, NOW, RATES if prices is None else prices)


def refusal(portfolio: Portfolio, *entries: Entry, prices: dict[str, Price] | None = None) -> str:
    with pytest.raises(CallerError) as refused:
        run(portfolio, *entries, prices=prices)
    return refused.value.code


def adjustment(quantity: str = "0", price: str = "0", amount: str = "0", **changes: Any) -> Entry:  # noqa: ANN401
    fields = {"instrument_id": "AAPL", "quantity": Decimal(quantity), "price": Decimal(price), "reason": "checked"}
    if amount != "0":
        fields = {"reason": "checked"}
    return cash("ADJUSTMENT", amount, **fields | changes)


def split(ratio: str, **changes: Any) -> Entry:  # noqa: ANN401
    new, _, old = ratio.partition(":")
    return cash("SPLIT", "0", **{"instrument_id": "AAPL", "ratio": (Decimal(new), Decimal(old))} | changes)


# --- cash of each type -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "left", "total", "amount"),
    [
        (cash("DIVIDEND", "12.5"), "1012.5", "dividends_total", "12.5"),
        (cash("DIVIDEND", "-12.5"), "987.5", "dividends_total", "-12.5"),
        (cash("FEE", "3"), "997", "fees_total", "3"),
        (cash("FEE", "-3"), "1003", "fees_total", "-3"),
        (cash("SWAP", "-10.94"), "989.06", "swap_total", "-10.94"),
        (adjustment(amount="-7"), "993", "adjustments_total", "-7"),
    ],
)
@pytest.mark.parametrize("kind", ["cash", "margin"])
def test_an_amount_moves_cash_and_its_own_total(entry: Entry, left: str, total: str, amount: str, kind: str) -> None:
    after = booked(funded("1000", account_kind=kind, leverage=Decimal(1)), entry)
    assert after.cash["USD"] == Decimal(left)
    assert getattr(after, total) == Decimal(amount)
    assert state(after, {}).fx_effect == 0


def test_fees_may_be_charged_beyond_the_cash_but_withdrawals_may_not() -> None:
    assert booked(funded("1"), cash("FEE", "3")).cash["USD"] == -2
    assert refusal(funded("1"), withdrawal("3")) == "INSUFFICIENT_CASH"


def test_external_flows_are_deposits_withdrawals_and_adjustments_of_cash() -> None:
    after = booked(funded("100"), withdrawal("30"), adjustment(amount="-5"), cash("DIVIDEND", "9"))
    assert (after.inflows_total, after.outflows_total, after.net_deposits) == (100, 35, 70)


def test_the_numbers_of_transactions_have_no_gap() -> None:
    after, records = run(funded("100"), buy("1", "1"), withdrawal("1"), cash("FEE", "1"))
    assert [record.sequence for record in records] == [2, 3, 4]
    assert after.last_sequence == 4


# --- currencies ------------------------------------------------------------------------------------------------------


def test_each_currency_has_its_cash_and_a_conversion_moves_it_from_one_to_the_other() -> None:
    after, [record] = run(
        funded("1000"), cash("FX", "550", currency="USD", to_currency="EUR", rate=Decimal("0.9"), fee=Decimal(2))
    )
    assert after.cash == {"USD": 448, "EUR": 495}
    assert record.cash_changes == {"USD": -552, "EUR": 495}
    assert (after.net_deposits, after.realized_pnl, after.fees_total) == (1000, 0, 2)
    assert refusal(after, cash("FX", "449", currency="USD", to_currency="EUR", rate=Decimal(1))) == "INSUFFICIENT_CASH"
    assert refusal(after, cash("FX", "1", currency="USD", to_currency="USD", rate=Decimal(1))) == "INVALID"


def test_a_foreign_stock_is_paid_in_its_currency_and_its_profit_booked_at_the_trades_rate() -> None:
    rich, _ = run(empty(), deposit("1000", currency="EUR", fx_rate=Decimal("1.05")))
    assert (rich.net_deposits, rich.cash["EUR"]) == (1050, 1000)
    held, [opened] = run(rich, buy("10", "50", instrument_id="SAP"))
    assert (held.cash["EUR"], opened.fx_rate, opened.currency) == (500, Decimal("1.12"), "EUR")
    after, [closed] = run(held, sell("4", "60", "1", instrument_id="SAP"))
    assert after.cash["EUR"] == 739
    assert (closed.realized_native, closed.fx_rate) == (40, Decimal("1.10"))
    assert (after.realized_pnl, after.fees_total) == (Decimal(44), Decimal("1.1"))
    lost, _ = run(held, sell("4", "40", instrument_id="SAP"))
    assert lost.realized_pnl == Decimal("-44.8"), "a loss at the side that makes it larger"


def test_buying_beyond_that_currencys_cash_is_refused_however_much_there_is_of_another() -> None:
    assert refusal(funded("1000000"), buy("1", "1", instrument_id="SAP")) == "INSUFFICIENT_CASH"


def test_cash_of_a_currency_is_valued_at_the_worse_side_of_its_net_value_and_the_rest_is_fx_effect() -> None:
    rich, _ = run(empty(), deposit("1000", currency="EUR", fx_rate=Decimal("1.05")))
    held, _ = run(rich, buy("10", "50", instrument_id="SAP"))
    figures = state(held, {"SAP": last("60"), "EURUSD": quote("1.20", "1.21")}, instruments=REGISTRY)
    assert (figures.total_value, figures.unrealized_pnl) == (Decimal("1320.00"), Decimal("120.00"))
    assert figures.fx_effect == Decimal("150.00")
    assert figures.total_value - figures.net_deposits == figures.unrealized_pnl + figures.fx_effect
    assert [item.fx_rate for item in figures.positions] == [Decimal("1.2"), Decimal("1.2"), 1]
    owed = replace(held, cash={"EUR": Decimal(-2000)})
    assert {
        item.fx_rate
        for item in state(owed, {"SAP": last("60"), "EURUSD": quote("1.20", "1.21")}, instruments=REGISTRY).positions
    } == {Decimal("1.21")}


def test_without_a_rate_a_currency_is_unpriced_and_never_one_to_one() -> None:  # G7
    rich, _ = run(empty(), deposit("1000", currency="EUR", fx_rate=Decimal("1.05")))
    figures = state(rich, {})
    assert (figures.calc_status, figures.unpriced) == ("unpriced", ["CASH:EUR"])
    assert (figures.total_value, figures.weights, figures.cash_balance, figures.fx_effect) == (None,) * 4
    assert figures.cash == {"EUR": 1000, "USD": 0}


def test_a_stale_rate_degrades_at_once_and_when_it_grows_old_in_silence() -> None:
    rich, _ = run(empty(), deposit("1000", currency="EUR", fx_rate=Decimal(1)))
    old = state(rich, {"EURUSD": quote("1", "1", ts_ms=NOW - STALE_AFTER_MS - 1)})
    assert (old.calc_status, old.stale, old.total_value) == ("degraded", ["CASH:EUR"], 1000)
    fresh = valued(rich, RATES)
    assert fresh.snapshot.fresh_until_ms == NOW + STALE_AFTER_MS + 1
    assert with_staleness(fresh.state, {}, STALE_AFTER_MS, fresh.snapshot.fresh_until_ms).stale == ["CASH:EUR"]


def test_the_symbols_a_portfolio_depends_on_are_its_positions_and_both_directions_of_the_pairs() -> None:
    assert booked(funded("10"), buy("1", "1")).symbols == {"AAPL"}
    rich, _ = run(empty(), deposit("9", currency="EUR", fx_rate=Decimal(1)))
    assert rich.symbols == {"EURUSD", "USDEUR", "EURINR", "INREUR", "INRUSD", "USDINR"}
    assert run(rich, withdrawal("9", currency="EUR"))[0].symbols == frozenset()


def test_a_rate_is_direct_else_inverse_else_the_first_fresh_cross() -> None:
    euro = deposit("100", currency="EUR")
    assert run(empty(), euro, prices={"USDEUR": quote("0.8", "1")})[0].net_deposits == 100
    cross = {"EURINR": quote("90", "91"), "USDINR": quote("80", "90")}
    assert run(empty(), euro, prices=cross)[0].net_deposits == 100
    assert run(empty(), euro, prices=cross | {"EURUSD": last("2")})[0].net_deposits == 200
    pound = deposit("100", currency="GBP")
    ways = {
        "GBPEUR": quote("1", "1", ts_ms=NOW - STALE_AFTER_MS - 1),
        "EURUSD": quote("9", "9"),
        "GBPINR": quote("100", "100"),
        "USDINR": quote("50", "50"),
    }
    assert run(empty(), pound, prices=ways)[0].net_deposits == 200
    assert run(empty(), pound, prices={"GBPEUR": ways["GBPEUR"], "EURUSD": ways["EURUSD"]})[0].net_deposits == 900
    assert refusal(empty(), pound, prices={"GBPUSD": Price(bid=Decimal(1), quote_ts_ms=NOW)}) == "RATE_MISSING"


# --- margin accounts -------------------------------------------------------------------------------------------------


def test_published_example_of_a_margin_account_at_sided_prices() -> None:
    opened, _ = run(margin("50000", base_currency="GBP", cash={}), buy("1000000", "0.8568", instrument_id="EURGBP"))
    assert opened.cash == {"GBP": 50000}, "the notional never moves cash"
    figures = state(opened, {"EURGBP": quote("0.8566", "0.8568")}, instruments=REGISTRY)
    assert (figures.total_value, figures.unrealized_pnl, figures.weights) == (49800, -200, None)
    assert figures.margin is not None
    assert (figures.margin.balance, figures.margin.equity, figures.margin.exposure) == (50000, 49800, 856600)
    assert (figures.margin.used, figures.margin.free, figures.margin.state) == (28560, 21240, "ok")


def test_a_margin_accounts_balance_moves_by_realized_profit_and_fees_in_base() -> None:
    after, [_, closed] = run(margin(), buy("10", "50", "1", instrument_id="SAP"), sell("10", "60", instrument_id="SAP"))
    assert after.cash == {"USD": 10000 - Decimal("1.12") + 110}
    assert (closed.fx_rate, closed.cash_change, after.realized_pnl) == (Decimal("1.10"), 110, 110)
    assert state(after, {}).margin.free == state(after, {}).total_value


def test_longs_are_marked_at_bid_shorts_at_ask_and_a_missing_side_is_unpriced() -> None:
    long, _ = run(margin(), buy("1", "2000", instrument_id="XAUUSD"))
    short, _ = run(margin(), sell("1", "2000", instrument_id="XAUUSD"))
    gold = {"XAUUSD": quote("2001", "2003")}
    assert state(long, gold, instruments=REGISTRY).unrealized_pnl == 100
    assert state(short, gold, instruments=REGISTRY).unrealized_pnl == -300
    bid_only = {"XAUUSD": Price(bid=Decimal(2001), quote_ts_ms=NOW, last=Decimal(2001), last_ts_ms=NOW)}
    assert state(long, bid_only, instruments=REGISTRY).unrealized_pnl == 100
    assert state(short, bid_only, instruments=REGISTRY).unpriced == ["XAUUSD"]


def test_profit_and_loss_of_a_margin_account_are_converted_at_the_worse_side_each() -> None:
    held, _ = run(margin(), buy("100", "50", instrument_id="SAP"), buy("1", "1"))
    rising = state(held, {"SAP": last("51"), "AAPL": last("1")} | RATES, instruments=REGISTRY)
    falling = state(held, {"SAP": last("49"), "AAPL": last("1")} | RATES, instruments=REGISTRY)
    assert (rising.unrealized_pnl, falling.unrealized_pnl) == (110, -112)


def test_a_margin_account_without_leverage_or_rate_cannot_trade() -> None:
    assert refusal(margin(leverage=None), buy("1", "1")) == "MARGIN_RATE_MISSING"
    conversion = cash("FX", "1", currency="USD", to_currency="EUR", rate=Decimal(1))
    assert refusal(margin(), conversion) == "CASH_ACCOUNT_NEEDED"
    assert refusal(funded("9999"), buy("1", "1", instrument_id="XAUUSD")) == "MARGIN_ACCOUNT_NEEDED"


def test_an_instrument_with_a_margin_rate_of_its_own_needs_no_leverage_of_the_account() -> None:
    rated = {"AAPL": stock(margin_rate=Decimal("0.2"))}
    assert booked(margin(leverage=None), buy("1", "1"), instruments=rated).positions["AAPL"].quantity == 1


# --- FIFO ------------------------------------------------------------------------------------------------------------


def test_fifo_closes_the_oldest_lots_first_and_the_record_says_which() -> None:
    after, records = run(
        funded("10000", cost_basis="fifo"),
        buy("10", "10", timestamp_ms=NOW - 3),
        buy("10", "20", timestamp_ms=NOW - 2),
        sell("15", "30"),
        buy("1", "40"),
    )
    assert after.realized_pnl == 10 * 20 + 5 * 10
    assert [(use.number, use.quantity, use.cost) for use in records[2].lots] == [(1, 10, 100), (2, 5, 100)]
    held = position(after)
    assert [(lot.number, lot.quantity, lot.cost) for lot in held.lots] == [(2, 5, 100), (3, 1, 40)]
    assert held.cost == 140


def test_fifo_and_average_differ_in_what_is_realized_and_agree_with_what_is_not() -> None:
    trades = [buy("10", "10"), buy("10", "20"), sell("15", "30"), sell("10", "31"), buy("2", "29")]
    results = {}
    for basis in ("average", "fifo"):
        after = booked(funded("10000", cost_basis=basis, allow_short=True), *trades)
        results[basis] = state(after, {"AAPL": last("33")})
        assert len(position(after).lots) == (basis == "fifo")
    assert results["average"].total_value == results["fifo"].total_value
    sums = {figures.realized_pnl + figures.unrealized_pnl for figures in results.values()}
    assert len(sums) == 1


def test_one_lot_too_many_is_refused_by_name_and_a_reported_one_merges_the_oldest_exactly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("foliostream.domain.trading.MAX_LOTS", 2)
    full = booked(funded("10000", cost_basis="fifo"), buy("1", "1"), buy("2", "2"))
    assert refusal(full, buy("3", "3")) == "TOO_MANY_LOTS"
    after, [record] = run(full, buy("3", "3", reported=True))
    assert record.needs_review == ("TOO_MANY_LOTS",)
    assert [(lot.quantity, lot.cost) for lot in position(after).lots] == [(3, 5), (3, 9)]
    assert position(after).cost == 14


# --- splits ----------------------------------------------------------------------------------------------------------


def test_a_split_keeps_the_cost_and_the_value_and_divides_older_prices_until_a_newer_one() -> None:
    before = booked(funded("50000"), buy("100", "400"))
    old = last("500", ts_ms=NOW - 1, open="480", previous_close="470")
    valued = state(before, {"AAPL": old})
    after, _ = run(before, split("4:1"))
    assert (position(after).quantity, position(after).cost, position(after).average_price) == (400, 40000, 100)
    figures = state(after, {"AAPL": old})
    assert (figures.total_value, figures.daily_change) == (valued.total_value, valued.daily_change)
    assert (figures.calc_status, figures.stale) == ("degraded", ["AAPL"])
    apple = figures.positions[0]
    assert (apple.mark, apple.open, apple.previous_close) == (125, 120, Decimal("117.5"))
    newer = state(after, {"AAPL": last("126", open="120")})
    assert (newer.calc_status, newer.positions[0].mark, newer.positions[0].open) == ("ok", 126, 120)


def test_published_examples_of_a_split_and_of_bonus_shares() -> None:
    doubled = position(booked(funded("15000"), buy("100", "150"), split("2:1")))
    assert (doubled.quantity, doubled.average_price) == (200, 75)
    bonus = position(booked(funded("15000"), buy("100", "150"), split("11:10")))
    assert (bonus.quantity, bonus.cost) == (110, 15000)
    assert round(bonus.average_price, 6) == Decimal("136.363636")


def test_a_fraction_of_a_split_is_paid_in_cash_where_asked() -> None:
    after = booked(funded("1000"), buy("5", "100"), split("1:2", cash_price=Decimal(210)))
    assert (position(after).quantity, after.cash["USD"], after.realized_pnl) == (2, 605, 5)
    short = booked(funded("1000", allow_short=True), sell("5", "100"), split("1:2", cash_price=Decimal(210)))
    assert (position(short).quantity, short.cash["USD"], short.realized_pnl) == (-2, 1395, -5)
    nothing = booked(funded("1000"), buy("1", "100"), split("1:2", cash_price=Decimal(210)))
    assert (nothing.positions, nothing.cash["USD"]) == ({}, 1005)
    assert position(booked(funded("1000"), buy("5", "100"), split("1:2"))).quantity == Decimal("2.5")


def test_a_split_rounds_the_total_once_and_the_newest_lot_bears_the_rest() -> None:
    lots = booked(funded("1000", cost_basis="fifo"), buy("1", "10"), buy("1", "20"), buy("1", "30"), split("1:3"))
    assert position(lots).quantity == 1
    quantities = [lot.quantity for lot in position(lots).lots]
    assert quantities == [Decimal("0.333333"), Decimal("0.333333"), Decimal("0.333334")]
    assert sum(lot.cost for lot in position(lots).lots) == position(lots).cost == 60


def test_a_split_of_nothing_or_into_nothing_is_refused() -> None:
    assert refusal(funded("1"), split("2:1")) == "INSUFFICIENT_POSITION"
    assert refusal(booked(funded("1"), buy("0.000001", "1")), split("1:1000")) == "SPLIT_LEAVES_NOTHING"
    assert refusal(booked(funded("1"), buy("1", "1")), split("0:1")) == "INVALID"


# --- adjustments and reported fills ----------------------------------------------------------------------------------


def test_an_adjustment_needs_its_reason_and_is_of_cash_or_of_a_quantity() -> None:
    assert refusal(funded("1"), adjustment(amount="1", reason=None)) == "INVALID"
    both = adjustment("1", "1", instrument_id="AAPL")
    assert refusal(funded("1"), replace(both, amount=Decimal(1))) == "INVALID"


def test_an_adjustment_of_a_missed_trade_moves_cash_whatever_the_limits() -> None:
    after, [record] = run(replace(funded("10"), status="SUSPENDED"), adjustment("3", "100"))
    assert (after.cash["USD"], position(after).cost, after.net_deposits) == (-290, 300, 10)
    assert (record.needs_review, after.needs_review) == ((), False)


def test_an_adjustment_in_kind_moves_no_cash_and_is_an_external_flow() -> None:
    moved = booked(funded("10"), adjustment("3", "100", in_kind=True))
    assert (moved.cash["USD"], moved.net_deposits, moved.inflows_total) == (10, 310, 310)
    out = booked(moved, adjustment("-3", "120", in_kind=True))
    assert (out.cash["USD"], out.net_deposits, out.realized_pnl, out.outflows_total) == (10, -50, 60, 360)
    assert state(out, {}).total_value == 10


def test_an_adjustment_in_kind_leaves_the_balance_of_a_margin_account_as_it_is() -> None:
    moved = booked(margin("10"), adjustment("3", "100", in_kind=True))
    out = booked(moved, adjustment("-3", "120", in_kind=True))
    assert (moved.cash, moved.net_deposits) == (out.cash, 10)
    assert (out.cash["USD"], out.net_deposits, out.realized_pnl) == (10, -50, 60)


@pytest.mark.parametrize(
    ("portfolio", "entry", "codes"),
    [
        (funded("1"), sell("5", "10"), ("INSUFFICIENT_POSITION",)),
        (funded("1"), buy("5", "10"), ("INSUFFICIENT_CASH",)),
        (replace(funded("99"), status="SUSPENDED"), buy("5", "10"), ("PORTFOLIO_SUSPENDED",)),
        (replace(funded("99"), status="CLOSED"), buy("5", "10"), ("PORTFOLIO_CLOSED",)),
        (replace(funded("99"), status="LIQUIDATING"), buy("5", "10"), ("PORTFOLIO_LIQUIDATING",)),
        (funded("99"), buy("5", "10", timestamp_ms=NOW + 9000), ("TIMESTAMP_IN_FUTURE",)),
        (funded("99"), buy("5.12345678", "10"), ("INVALID",)),
        (funded("99"), buy("5", "0"), ("INVALID",)),
        (margin(leverage=None), buy("5", "10"), ("MARGIN_RATE_MISSING",)),
        (funded("99"), buy("5", "10"), ()),
    ],
)
def test_what_the_broker_filled_is_booked_whatever_the_rules_and_says_which_it_broke(
    portfolio: Portfolio, entry: Entry, codes: tuple[str, ...]
) -> None:
    if codes:
        assert refusal(portfolio, entry) == codes[0]
    after, [record] = run(portfolio, replace(entry, reported=True))
    assert position(after).quantity == entry.quantity
    assert record.needs_review == codes
    assert after.needs_review is bool(codes)


def test_a_closed_portfolio_is_not_opened_again_by_a_transfer_but_a_broker_is_believed() -> None:
    closed = replace(funded("100"), status="CLOSED")
    assert refusal(closed, adjustment("3", "100", in_kind=True)) == "PORTFOLIO_CLOSED"
    assert run(closed, replace(adjustment("3", "100"), reported=True))[0].positions["AAPL"].quantity == 3
    still_open = replace(booked(funded("100"), buy("3", "10")), status="CLOSED")
    assert run(still_open, adjustment("-3", "10", in_kind=True))[0].positions == {}


@pytest.mark.parametrize("entry", [buy("NaN", "1"), buy("1", "Infinity"), buy("0", "1"), buy("1", "-1")])
def test_a_reported_fill_that_is_no_number_is_refused_all_the_same(entry: Entry) -> None:
    assert refusal(funded("1"), replace(entry, reported=True)) == "INVALID"


def test_a_fill_of_before_a_split_that_is_booked_is_flagged() -> None:
    after, _ = run(booked(funded("5000"), buy("10", "100")), split("2:1"))
    late = buy("1", "100", timestamp_ms=NOW - 9)
    assert refusal(after, late) == "OLDER_THAN_SPLIT"
    assert run(after, replace(late, reported=True))[1][0].needs_review == ("OLDER_THAN_SPLIT",)


# --- statuses --------------------------------------------------------------------------------------------------------


def test_a_suspended_portfolio_takes_cash_but_no_trades() -> None:
    suspended = replace(booked(funded("100"), buy("5", "10")), status="SUSPENDED")
    assert refusal(suspended, sell("1", "10")) == "PORTFOLIO_SUSPENDED"
    conversion = cash("FX", "1", currency="USD", to_currency="EUR", rate=Decimal(1))
    assert refusal(suspended, conversion) == "PORTFOLIO_SUSPENDED"
    assert booked(suspended, withdrawal("50"), cash("DIVIDEND", "1")).cash["USD"] == 1


def test_a_liquidating_portfolio_only_reduces() -> None:
    ending = replace(booked(funded("100", allow_short=True), buy("5", "10")), status="LIQUIDATING")
    assert position(booked(ending, sell("3", "10"))).quantity == 2
    assert booked(ending, sell("5", "10")).positions == {}
    for entry in (buy("1", "1"), sell("6", "10"), sell("1", "1", instrument_id="MSFT")):
        assert refusal(ending, entry) == "PORTFOLIO_LIQUIDATING"


def test_a_closed_portfolio_pays_out_what_is_left() -> None:
    closed = replace(funded("100"), status="CLOSED")
    assert refusal(closed, deposit("1")) == refusal(closed, buy("1", "1")) == "PORTFOLIO_CLOSED"
    assert booked(closed, withdrawal("100")).cash["USD"] == 0


# --- the record and storage ------------------------------------------------------------------------------------------


def test_a_record_with_its_rates_books_the_same_again_whatever_rates_are_by_then() -> None:
    start, _ = run(empty(), deposit("1000", currency="EUR"))
    entries = [buy("3", "33.3", "1", instrument_id="SAP"), sell("2", "35", "1", instrument_id="SAP")]
    after, records = run(start, *entries)
    stored = [books.decode_transaction(books.encode_transaction(record)) for record in records]
    again, _ = run(start, *[books.repeatable(record) for record in stored], prices={})
    assert books.encode(again) == books.encode(after)


def test_a_rate_that_was_given_is_the_one_that_counts_and_that_is_repeated() -> None:
    after, [record] = run(empty(), deposit("1000", currency="EUR", fx_rate=Decimal("1.05")))
    assert (after.net_deposits, record.fx_rate, books.repeatable(record).fx_rate) == (1050, *[Decimal("1.05")] * 2)
    assert refusal(empty(), deposit("1", currency="USD", fx_rate=Decimal("1.05"))) == "INVALID"
    assert refusal(empty(), deposit("1", currency="EUR", fx_rate=Decimal(0))) == "INVALID"


def test_a_dividend_is_in_the_currency_of_its_stock_where_none_is_named() -> None:
    after, _ = run(empty(), cash("DIVIDEND", "10", instrument_id="SAP"))
    assert (after.cash["EUR"], after.dividends_total) == (10, 11)
    assert refusal(empty(), cash("DIVIDEND", "10", instrument_id="NOPE")) == "UNKNOWN_SYMBOL"


def test_a_fee_may_be_in_a_currency_of_its_own() -> None:
    after, [record] = run(funded("1000"), buy("1", "100", "2", fee_currency="EUR", reported=True))
    assert after.cash == {"USD": 900, "EUR": -2}
    assert (after.fees_total, record.fee_rate) == (Decimal("2.24"), Decimal("1.12"))
    assert after.totals["EUR"].fees == 2


def test_a_book_of_the_first_release_is_read_and_its_totals_go_on() -> None:
    old = (
        b'{"portfolio_id":"1","portfolio_name":"n","owner":"o","account_type":"live","account_kind":"cash",'
        b'"base_currency":"USD","cost_basis":"average","created_at_ms":1,"updated_at_ms":1,"version":3,"status":"ACTIVE",'
        b'"allow_short":false,"cash":{"USD":"890"},"positions":{"AAPL":{"quantity":"1","cost":"100","realized_pnl":"0",'
        b'"fees":"10","multiplier":"1","currency":"USD","opened_at_ms":1,"updated_at_ms":1}},"realized_pnl":"0",'
        b'"fees_total":"10","net_deposits":"1000"}'
    )
    after = booked(books.decode(old), deposit("10"))
    assert after.totals == {"USD": account.Totals(flows=Decimal(1010), fees=Decimal(10))}
    assert after.totals["USD"].net == after.cash["USD"] + position(after).cost


def test_a_thousand_positions_with_lots_and_todays_fills_fit_into_an_item() -> None:
    held = booked(funded("99999", cost_basis="fifo"), buy("12.5", "101.25", "1.99"), buy("7.25", "99.75"))
    one = position(books.close_day(held, "2026-02-25", {"AAPL": Decimal("101.5")}, NOW))
    one = position(booked(replace(held, positions={"AAPL": one}), sell("1.5", "102.375", "1.99")))
    assert one.day is not None
    assert len(one.lots) == 2
    full = replace(held, positions={f"NSE:SYMBOL{number}": one for number in range(1000)})
    assert sum(len(item.lots) for item in full.positions.values()) == account.MAX_LOTS
    assert len(books.encode(full)) < 400 * 1024 - 1024


def test_an_average_position_keeps_no_lots() -> None:
    assert isinstance(position(booked(funded("9"), buy("1", "1"))), Position)
    assert position(booked(funded("9"), buy("1", "1"))).lots == ()
