"""Prices and instruments over REST."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from tests.unit.api.client import NOW_MS, Client, buy


def test_a_price_marks_its_holders_dirty(client: Client) -> None:
    client.create()
    client.update(buy(1, 150))
    client.parts.queues.receive("live")
    client.parts.clock.advance(1_000)
    assert client.prices({"symbol": "AAPL", "ts": NOW_MS, "last": 151}).body["accepted"] == 1
    [bundle] = client.parts.queues.receive("live")
    assert (bundle.message.keys, bundle.message.reason) == (["live:12345"], "price")


def test_prices_of_forex_are_taken_although_trades_in_it_are_not(client: Client) -> None:
    quote = {"symbol": "EURUSD", "ts": NOW_MS, "bid": "1.0812345678", "ask": "1.08130"}
    assert client.prices(quote).body == {"accepted": 1, "rejected": []}


def test_an_instrument_is_registered_and_shown_with_null_for_what_is_left_out(client: Client) -> None:
    body = {"kind": "stock", "currency": "USD", "price_decimals": 4, "max_age_seconds": 60, "isin": "US4592001014"}
    shown = {
        "symbol": "IBM",
        "kind": "stock",
        "currency": "USD",
        "base_currency": None,
        "contract_size": None,
        "price_decimals": 4,
        "allow_zero": False,
        "max_age_seconds": 60,
        "isin": "US4592001014",
        "token": None,
        "splits": [],
        "margin_rate": None,
        "margin_tiers": [],
        "lot_step": None,
        "hours": None,
        "swap": None,
    }
    for answer in (client.send("PUT", "/api/v1/instruments/IBM", body), client.send("GET", "/api/v1/instruments/IBM")):
        assert (answer.status, answer.body) == (200, shown)


def test_splits_are_shown_in_the_order_of_their_times(client: Client) -> None:
    splits = [
        {"effective_at": "2020-08-31T09:30:00-04:00", "ratio": "4:1"},
        {"effective_at": "2014-06-09T13:30:00Z", "ratio": "7:1"},
    ]
    answer = client.send("PUT", "/api/v1/instruments/AAPL", {"kind": "stock", "currency": "USD", "splits": splits})
    shown = [
        {"effective_at": "2014-06-09T13:30:00.000Z", "ratio": "7:1"},
        {"effective_at": "2020-08-31T13:30:00.000Z", "ratio": "4:1"},
    ]
    assert (answer.status, answer.body["splits"]) == (200, shown)
    assert client.send("GET", "/api/v1/instruments/AAPL").body["splits"] == shown


def test_a_split_that_is_announced_is_refused_until_it_is_effective(client: Client) -> None:
    body = {"kind": "stock", "currency": "USD", "splits": [{"effective_at": NOW_MS + 60_000, "ratio": "4:1"}]}
    assert client.send("PUT", "/api/v1/instruments/AAPL", body).code == "SPLIT_IN_FUTURE"
    client.parts.clock.advance(60_000)
    assert client.send("PUT", "/api/v1/instruments/AAPL", body).status == 200


@pytest.mark.parametrize("path", ["M&M", "M%26M", "M%26M/"])
def test_a_symbol_in_a_path_is_read_whether_the_gateway_decoded_it_or_not(client: Client, path: str) -> None:
    assert client.send("GET", f"/api/v1/instruments/{path}").body["symbol"] == "M&M"


def test_an_unknown_instrument_is_not_found(client: Client) -> None:
    answer = client.send("GET", "/api/v1/instruments/NOPE")
    assert (answer.status, answer.code) == (404, "INSTRUMENT_NOT_FOUND")


def test_what_books_depend_on_cannot_be_changed(client: Client) -> None:
    answer = client.send("PUT", "/api/v1/instruments/AAPL", {"kind": "stock", "currency": "EUR"})
    assert (answer.status, answer.code) == (422, "INSTRUMENT_FIXED")


GOLD: dict[str, object] = {
    "kind": "cfd",
    "currency": "USD",
    "contract_size": 100,
    "price_decimals": 2,
    "margin_tiers": [
        {"notional_from": 0, "margin_rate": "0.0000001"},
        {"notional_from": 1_000_000, "margin_rate": "0.1"},
    ],
    "lot_step": "0.01",
    "hours": "Sun 18:00-Fri 17:00 America/New_York",
    "swap": {"long": "-38.55", "short": 12, "mode": "points", "triple_day": "Wed"},
}


def test_margin_tiers_hours_and_swap_are_shown_as_they_were_put(client: Client) -> None:
    for answer in (
        client.send("PUT", "/api/v1/instruments/XAUUSD", GOLD),
        client.send("GET", "/api/v1/instruments/XAUUSD"),
    ):
        assert answer.status == 200
        assert answer.body["margin_tiers"] == [
            {"notional_from": 0, "margin_rate": Decimal("0.0000001")},
            {"notional_from": 1_000_000, "margin_rate": Decimal("0.1")},
        ]
        assert answer.body["hours"] == GOLD["hours"]
        assert answer.body["swap"] == {"long": Decimal("-38.55"), "short": 12, "mode": "points", "triple_day": "Wed"}
        assert (answer.body["lot_step"], answer.body["margin_rate"]) == (Decimal("0.01"), None)
        assert "E-" not in answer.text


def test_what_is_shown_of_an_instrument_can_be_put_again(client: Client) -> None:
    shown = client.send("PUT", "/api/v1/instruments/XAUUSD", GOLD).body
    del shown["symbol"]
    again = client.send("PUT", "/api/v1/instruments/XAUUSD", json.dumps(shown, default=str))
    assert (again.status, again.body) == (200, shown | {"symbol": "XAUUSD"})


@pytest.mark.parametrize(
    "change",
    [{"kind": "bond"}, {"currency": "usd"}, {"base_currency": "Euro"}, {"contract_size": 0}, {"contract_size": -1},
     {"contract_size": "NaN"}, {"price_decimals": 11}, {"price_decimals": -1}, {"price_decimals": "2"},
     {"price_decimals": 2.5}, {"allow_zero": 1}, {"max_age_seconds": 0}, {"isin": "IBM"}, {"name": "IBM"},
     {"kind": None}, {"splits": [{"ratio": "4:1"}]}, {"splits": [{"effective_at": NOW_MS, "ratio": "0:1"}]},
     {"splits": [{"effective_at": NOW_MS, "ratio": 4}]}, {"splits": {"effective_at": NOW_MS, "ratio": "4:1"}},
     {"splits": [{"effective_at": NOW_MS - number, "ratio": "4:1"} for number in range(21)]},
     {"splits": [{"effective_at": NOW_MS, "ratio": "4:1"}, {"effective_at": NOW_MS, "ratio": "2:1"}]},
     {"kind": "forex", "splits": [{"effective_at": NOW_MS, "ratio": "4:1"}]},
     {"margin_rate": 0}, {"margin_rate": "1.01"}, {"margin_rate": "-0.1"},
     {"margin_rate": "0.000000001"}, {"margin_tiers": [{"notional_from": 1, "margin_rate": 1}]},
     {"margin_tiers": [{"notional_from": at, "margin_rate": 1} for at in range(21)]},
     {"margin_tiers": [{"notional_from": at, "margin_rate": 1} for at in (0, 9, 9)]},
     {"margin_tiers": [{"notional_from": at, "margin_rate": 1} for at in (0, 9, 5)]},
     {"margin_tiers": [{"notional_from": 0, "margin_rate": 2}]},
     {"margin_tiers": [{"notional_from": 0}]}, {"margin_tiers": 1}, {"margin_tiers": [GOLD] * 21},
     {"margin_rate": 1, "margin_tiers": GOLD["margin_tiers"]}, {"lot_step": 0}, {"lot_step": "0.0000001"},
     {"hours": ""}, {"hours": "always"}, {"hours": "Mon 09:00-Fri 17:00 Mars/Base"}, {"hours": "x" * 401},
     {"swap": {"long": 1, "short": 1, "mode": "percent"}}, {"swap": {"long": 1, "mode": "currency"}},
     {"swap": {"long": 1, "short": 1, "mode": "currency", "triple_day": "wednesday"}},
     {"swap": {"long": 1, "short": 1, "mode": "points"}}],
)  # fmt: skip
def test_a_wrong_instrument_is_refused(client: Client, change: dict[str, object]) -> None:
    answer = client.send("PUT", "/api/v1/instruments/IBM", {"kind": "stock", "currency": "USD"} | change)
    assert (answer.status, answer.code) == (400, "INVALID")
    assert not client.parts.instruments.get(["IBM"])


@pytest.mark.parametrize("symbol", ["ibm", "CASH:USD", "A" * 33, "A B"])
def test_a_malformed_symbol_is_refused(client: Client, symbol: str) -> None:
    answer = client.send("PUT", f"/api/v1/instruments/{symbol}", {"kind": "stock", "currency": "USD"})
    assert (answer.status, answer.code) == (400, "INVALID")
