"""What a state looks like as JSON, to the character: definitions 16 and G12."""

from __future__ import annotations

import json
import re
from decimal import Decimal

import pytest

from foliostream.domain import money
from foliostream.domain.valuation import PortfolioState, decode_state, encode_state
from tests.unit.domain.examples import booked, buy, deposit, empty, funded, last, sell, state, stock

CONTRACT_ORDER = [
    "portfolio_id",
    "portfolio_name",
    "account_type",
    "account_kind",
    "base_currency",
    "status",
    "total_value",
    "cash_balance",
    "positions",
    "weights",
    "last_updated",
    "version",
    "ledger_version",
    "as_of",
    "calc_status",
    "unpriced",
    "stale",
    "realized_pnl",
    "unrealized_pnl",
    "fees_total",
    "net_deposits",
    "dividends_total",
    "swap_total",
    "adjustments_total",
    "fx_effect",
    "cash",
    "daily_change",
    "daily_change_percent",
    "daily_pnl",
    "daily_missing",
    "margin",
    "unreconciled_since",
]
POSITION_ORDER = [
    "instrument_id",
    "position_type",
    "quantity",
    "cost_basis",
    "average_price",
    "mark",
    "market_value",
    "weight",
    "unrealized_pnl",
    "realized_pnl",
    "daily_change",
    "daily_pnl",
    "open",
    "previous_close",
    "carried_quantity",
    "fees",
    "margin_used",
    "multiplier",
    "opened_at",
    "currency",
    "fx_rate",
    "price_ts",
    "last_updated",
]

EXAMPLE = state(
    booked(funded("998750"), buy("500", "147.75", "0.5"), buy("1000", "874.8745", instrument_id="OTHER")),
    {"AAPL": last("150.250", open="149", previous_close="148.5"), "OTHER": last("874.875")},
)


def literal(of: PortfolioState, *path: str | int) -> str:
    """The characters of one value."""
    item = json.loads(encode_state(of), parse_float=str, parse_int=str)
    for part in path:
        item = item[part]
    return item


def test_fields_come_in_the_order_of_the_contract() -> None:
    document = json.loads(encode_state(EXAMPLE))
    assert list(document) == CONTRACT_ORDER
    assert all(list(position) == POSITION_ORDER for position in document["positions"])


def test_amounts_are_exact_literals() -> None:
    assert literal(EXAMPLE, "total_value") == "1000000.00"
    assert literal(EXAMPLE, "cash_balance") == "50000.00"
    assert literal(EXAMPLE, "cash", "USD") == "50000.00"
    assert literal(EXAMPLE, "fees_total") == "0.50"
    assert literal(EXAMPLE, "dividends_total") == "0.00"
    assert literal(EXAMPLE, "daily_change_percent") == "0.84"
    assert literal(EXAMPLE, "weights", "AAPL") == "0.075125"
    apple = ("positions", 0)
    assert literal(EXAMPLE, *apple, "quantity") == "500"
    assert literal(EXAMPLE, *apple, "mark") == "150.25"
    assert literal(EXAMPLE, *apple, "market_value") == "75125.00"
    assert literal(EXAMPLE, *apple, "unrealized_pnl") == "1250.00"
    assert literal(EXAMPLE, *apple, "average_price") == "147.75"
    assert literal(EXAMPLE, *apple, "fx_rate") == "1"


def test_a_whole_state_is_written_to_the_character() -> None:
    assert encode_state(state(funded("100.5"), {})).decode() == (
        '{"portfolio_id":"12345","portfolio_name":"Growth","account_type":"live","account_kind":"cash",'
        '"base_currency":"USD","status":"ACTIVE","total_value":100.50,"cash_balance":100.50,"positions":['
        '{"instrument_id":"CASH:USD","position_type":"CASH","quantity":100.5,"cost_basis":100.50,"average_price":null,'
        '"mark":null,"market_value":100.50,"weight":1,"unrealized_pnl":null,"realized_pnl":null,"daily_change":null,'
        '"daily_pnl":null,"open":null,"previous_close":null,"carried_quantity":null,"fees":null,"margin_used":null,'
        '"multiplier":null,"opened_at":null,"currency":"USD","fx_rate":1,"price_ts":null,'
        '"last_updated":"2026-02-26T10:30:00.000Z"}],"weights":{"CASH:USD":1},'
        '"last_updated":"2026-02-26T10:30:00.000Z","version":1772101800000,"ledger_version":2,"as_of":null,'
        '"calc_status":"ok","unpriced":[],"stale":[],"realized_pnl":0.00,"unrealized_pnl":0.00,"fees_total":0.00,'
        '"net_deposits":100.50,"dividends_total":0.00,"swap_total":0.00,"adjustments_total":0.00,"fx_effect":0.00,'
        '"cash":{"USD":100.50},"daily_change":0.00,"daily_change_percent":null,"daily_pnl":0.00,"daily_missing":[],'
        '"margin":null,"unreconciled_since":null}'
    )


def test_a_large_round_quantity_is_written_out() -> None:  # G12
    held = booked(funded("1E+9"), buy("1E+6", "1E+2"))
    figures = state(held, {"AAPL": last("1E+2", open="1E+1")})
    assert literal(figures, "positions", 0, "quantity") == "1000000"
    assert literal(figures, "positions", 0, "mark") == "100"
    assert literal(figures, "positions", 0, "open") == "10"
    assert literal(figures, "total_value") == "1000000000.00"
    assert b"E+" not in encode_state(figures)


def test_a_price_below_a_millionth_is_written_out() -> None:  # G12
    penny = {"AAPL": stock(price_decimals=10)}
    held = booked(funded("1"), buy("1000000", "0.0000001"), instruments=penny)
    figures = state(held, {"AAPL": last("0.0000000003", open="1E-10")}, instruments=penny)
    assert literal(figures, "positions", 0, "average_price") == "0.0000001"
    assert literal(figures, "positions", 0, "mark") == "0.0000000003"
    assert literal(figures, "positions", 0, "open") == "0.0000000001"
    assert literal(figures, "total_value") == "0.90"
    assert list(json.loads(encode_state(figures))) == CONTRACT_ORDER
    assert decode_state(encode_state(figures)) == figures


def test_the_largest_amounts_are_exact_to_the_cent() -> None:  # G12
    short = booked(funded("0.01", allow_short=True), sell("999999999999.999999", "999999999999.999999"))
    figures = state(short, {"AAPL": last("999999999999.999998")})
    assert literal(figures, "cash_balance") == "999999999999999998000000.01"
    assert literal(figures, "positions", 0, "market_value") == "-999999999999999997000000.00"
    assert literal(figures, "total_value") == "1000000.01"
    assert literal(figures, "unrealized_pnl") == "1000000.00"


def test_a_name_that_looks_like_an_exponent_changes_nothing() -> None:
    figures = state(booked(empty(portfolio_name="1E-7"), deposit("100.5")), {})
    assert b'"portfolio_name":"1E-7"' in encode_state(figures)
    assert decode_state(encode_state(figures)) == figures


def test_a_price_has_the_decimals_of_its_instrument_and_no_more() -> None:
    held = booked(funded("100"), buy("1", "1"))
    quote = last("1").__class__(bid=Decimal("1.000001"), ask=Decimal("1.000002"), quote_ts_ms=last("1").last_ts_ms)
    assert literal(state(held, {"AAPL": quote}), "positions", 0, "mark") == "1.000002"


def test_there_is_no_negative_zero() -> None:  # G12
    short = booked(funded("100", allow_short=True), sell("0.001", "1"))
    figures = state(short, {"AAPL": last("1.001", open="1")})
    assert literal(figures, "positions", 0, "market_value") == "0.00"
    assert literal(figures, "unrealized_pnl") == "0.00"
    assert literal(figures, "daily_change") == "0.00"
    assert not re.search(rb"-0(\.0*)?[,\]}]", encode_state(figures))


def test_what_is_missing_is_null_and_never_zero() -> None:  # G7
    document = json.loads(encode_state(state(booked(funded("100"), buy("1", "1")), {})))
    assert document["total_value"] is None
    assert document["weights"] is None
    assert document["positions"][0]["mark"] is None
    assert document["margin"] is None


def test_every_literal_comes_back_as_the_decimal_it_was() -> None:
    again = decode_state(encode_state(EXAMPLE))
    assert again == EXAMPLE
    assert encode_state(again) == encode_state(EXAMPLE)
    assert str(again.total_value) == "1000000.00"


@pytest.mark.parametrize(("currency", "text"), [("USD", "100.12"), ("JPY", "100"), ("KWD", "100.123")])
def test_money_has_the_minor_units_of_its_currency(currency: str, text: str) -> None:
    assert str(money.money(Decimal("100.1234"), currency)) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [("0.005", "0.00"), ("0.015", "0.02"), ("-0.005", "0.00"), ("-0.015", "-0.02"), ("2.675", "2.68")],
)
def test_a_half_is_rounded_to_even(amount: str, text: str) -> None:
    assert str(money.rounded(Decimal(amount), 2)) == text


@pytest.mark.parametrize("amount", ["NaN", "sNaN", "Infinity", "-Infinity"])
def test_what_is_not_finite_never_leaves(amount: str) -> None:  # G12
    with pytest.raises(ValueError, match="not finite"):
        money.rounded(Decimal(amount), 2)


@pytest.mark.parametrize(
    ("amount", "text"),
    [("500", "500"), ("5E+2", "500"), ("500.000", "500"), ("0.10", "0.1"), ("-0", "0"), ("0E+5", "0")],
)
def test_a_plain_amount_has_no_trailing_zeros_and_no_exponent(amount: str, text: str) -> None:
    assert str(money.plain(Decimal(amount), 6)) == text
