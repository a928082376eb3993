"""Decimals survive both ways: in from numbers and strings, out as the literals of the books."""

from __future__ import annotations

from decimal import Decimal

import pytest

from foliostream.application.access import Caller
from tests.unit.api.client import NOW_MS, Client, buy


@pytest.mark.parametrize("written", ["0.1", '"0.1"', "12345678901234.123456", "75125.00", "1e-6", "1E3"])
def test_an_amount_is_booked_as_written_whether_number_or_string(client: Client, written: str) -> None:
    client.create(initial_cash=None)
    line = f'{{"transaction_type": "DEPOSIT", "amount": {written}}}'
    body = f'{{"portfolio_id": "12345", "timestamp": {NOW_MS}, "updates": [{line}]}}'
    answer = client.send("POST", "/api/v1/portfolio/12345/update", body)
    assert answer.status == 200
    assert client.parts.ledger.load(["12345"])["12345"].cash == {"USD": Decimal(written.strip('"'))}


def test_money_goes_out_with_its_cents_and_without_a_binary_tail(client: Client) -> None:
    client.create()
    text = client.update(buy(500, "150.25")).text
    assert '"cost_basis":75125.00' in text
    assert '"cash_balance":24875.00' in text
    assert '"quantity":500,' in text


def test_large_amounts_keep_every_digit_on_the_way_out(client: Client) -> None:
    text = client.create(initial_cash="12345678901234.123456").text
    assert '"quantity":12345678901234.123456,' in text
    assert '"cash_balance":12345678901234.12,' in text


def test_the_state_goes_out_byte_for_byte_as_it_is_rendered(client: Client) -> None:
    client.create()
    client.update(buy("0.1", "0.3"))
    rendered = client.parts.portfolios.state(Caller("alice"), "12345").body
    assert client.send("GET", "/api/v1/portfolio/12345/state").text.encode() == rendered


def test_positions_are_the_very_literals_of_the_state(client: Client) -> None:
    client.create()
    client.update(buy("0.1", "0.3"))
    positions = client.send("GET", "/api/v1/portfolio/12345/positions").text
    assert positions.startswith('[{"instrument_id":"AAPL"')
    assert positions in client.send("GET", "/api/v1/portfolio/12345/state").text


def test_a_price_is_stored_exactly(client: Client) -> None:
    update = f'{{"updates": [{{"symbol": "AAPL", "ts": {NOW_MS}, "last": 0.1, "open": "12345678901234.123456"}}]}}'
    assert client.send("POST", "/api/v1/prices", update).body == {"accepted": 1, "rejected": []}
    price = client.parts.hot.get(["AAPL"])["AAPL"]
    assert (price.last, price.open) == (Decimal("0.1"), Decimal("12345678901234.123456"))


def test_a_contract_size_comes_back_as_the_number_it_was(client: Client) -> None:
    body = '{"kind": "forex", "currency": "USD", "base_currency": "GBP", "contract_size": 100000.10}'
    assert '"contract_size":100000.10,' in client.send("PUT", "/api/v1/instruments/GBPUSD", body).text


@pytest.mark.parametrize(
    "amount", ['"NaN"', '"Infinity"', '"-Infinity"', '"sNaN"', '"1_000"', '" 1"', '""', "true", "[]"]
)
def test_what_is_no_decimal_is_refused_naming_the_field(client: Client, amount: str) -> None:
    client.create()
    line = f'{{"transaction_type": "DEPOSIT", "amount": {amount}}}'
    body = f'{{"portfolio_id": "12345", "timestamp": {NOW_MS}, "updates": [{line}]}}'
    answer = client.send("POST", "/api/v1/portfolio/12345/update", body)
    assert (answer.status, answer.code) == (400, "INVALID")
    assert answer.details[0]["field"] == "updates.0.amount"


@pytest.mark.parametrize("amount", ["1e300", "1e-300", "1" * 41, '"1e99"', "0." + "1" * 60])
def test_absurd_numbers_are_refused_before_anything_computes_with_them(client: Client, amount: str) -> None:
    client.create()
    line = f'{{"transaction_type": "DEPOSIT", "amount": {amount}}}'
    body = f'{{"portfolio_id": "12345", "timestamp": {NOW_MS}, "updates": [{line}]}}'
    answer = client.send("POST", "/api/v1/portfolio/12345/update", body)
    assert (answer.status, answer.code, answer.details[0]["field"]) == (400, "INVALID", "updates.0.amount")
