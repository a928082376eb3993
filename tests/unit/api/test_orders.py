"""Simulated orders over REST."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.unit.api.client import NOW_MS, Answer, Client, buy

D = Decimal
PATH = "/api/v1/portfolio/12345/orders"


def order(**changes: object) -> dict[str, object]:
    """Ten AAPL bought at the market under the id "a"; None leaves a field out."""
    body = {"instrument_id": "AAPL", "side": "BUY", "quantity": 10, "order_type": "market", "client_order_id": "a"}
    return {name: value for name, value in (body | changes).items() if value is not None}


def quote(bid: object = "99", ask: object = "101", **more: object) -> dict[str, object]:
    return {"symbol": "AAPL", "bid": bid, "ask": ask, "last": 100, "ts": NOW_MS} | more


@pytest.fixture
def paper(client: Client) -> Client:
    """A paper account of 100,000 USD, AAPL at 99 to 101."""
    client.create(account_type="paper")
    client.prices(quote())
    return client


def place(client: Client, **changes: object) -> Answer:
    return client.send("POST", PATH, order(**changes))


def booked(client: Client) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = client.send("GET", "/api/v1/portfolio/12345/transactions").body["transactions"]
    return rows


def test_a_market_order_is_filled_at_the_ask_with_slippage_and_fee_and_is_a_transaction(paper: Client) -> None:
    answer = place(paper)
    assert answer.status == 201
    assert answer.body == {
        "order_id": "a",
        "portfolio_id": "12345",
        "instrument_id": "AAPL",
        "side": "BUY",
        "quantity": 10,
        "order_type": "market",
        "state": "FILLED",
        "fill_price": D("101.0202"),
        "fee": D("0.51"),
        "fee_currency": "USD",
        "transaction_id": "order:a",
        "created_at": "2026-02-26T10:30:00.000Z",
        "updated_at": "2026-02-26T10:30:00.000Z",
    }
    newest = booked(paper)[0]
    assert (newest["transaction_id"], newest["price"], newest["fee"]) == ("order:a", D("101.0202"), D("0.51"))
    assert newest["cash_change"] == D("-1010.712")


def test_a_sale_takes_the_bid(paper: Client) -> None:
    place(paper)
    assert place(paper, client_order_id="b", side="SELL").body["fill_price"] == D("98.9802")


def test_the_same_order_twice_counts_once_and_answers_the_same(paper: Client) -> None:
    first = place(paper)
    paper.prices(quote(ask="150", seq=1))
    again = place(paper, quantity="10.0")
    assert (again.status, again.body) == (200, first.body)
    assert len(booked(paper)) == 2


def test_an_id_that_came_with_another_body_is_a_conflict(paper: Client) -> None:
    place(paper)
    answer = place(paper, quantity=11)
    assert (answer.status, answer.code) == (409, "ORDER_EXISTS")


def test_without_an_id_one_is_made_and_every_call_is_an_order(paper: Client) -> None:
    ids = [place(paper, client_order_id=None).body["order_id"] for _ in range(2)]
    assert len(set(ids)) == 2
    listed = paper.send("GET", PATH).body
    assert [item["order_id"] for item in listed["orders"]] == sorted(ids, reverse=True)
    assert listed["cursor"] is None


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"quantity": 1000}, 422, "INSUFFICIENT_CASH"),
        ({"side": "SELL"}, 422, "INSUFFICIENT_POSITION"),
        ({"instrument_id": "NOPE"}, 400, "UNKNOWN_SYMBOL"),
        ({"instrument_id": "M&M"}, 422, "PRICE_MISSING"),
        ({"instrument_id": "EURUSD"}, 422, "PRICE_MISSING"),
        ({"quantity": 0}, 400, "INVALID"),
        ({"quantity": -1}, 400, "INVALID"),
        ({"quantity": "0.0000001"}, 400, "INVALID"),
        ({"side": "HOLD"}, 400, "INVALID"),
        ({"client_order_id": "a/b"}, 400, "INVALID"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name_and_nothing_is_kept(
    paper: Client, changes: dict[str, object], status: int, code: str
) -> None:
    answer = place(paper, **changes)
    assert (answer.status, answer.code) == (status, code)
    assert len(booked(paper)) == 1
    assert paper.send("GET", PATH).body == {"orders": [], "cursor": None}


def test_too_little_cash_is_said_in_figures_fee_included(paper: Client) -> None:
    (detail, _) = place(paper, quantity=990).details
    assert detail == {"currency": "USD", "needed": "100059.998", "available": "100000"}


def test_a_stale_price_fills_nothing(paper: Client) -> None:
    paper.parts.clock.advance(900_001)
    answer = place(paper)
    assert (answer.status, answer.code) == (422, "PRICE_STALE")


def test_a_suspended_account_takes_no_orders(paper: Client) -> None:
    paper.send("PATCH", "/api/v1/portfolio/12345", {"status": "SUSPENDED"})
    assert place(paper).code == "PORTFOLIO_SUSPENDED"


@pytest.mark.parametrize("account_type", ["live", "demo"])
def test_orders_are_simulated_in_paper_accounts_only(client: Client, account_type: str) -> None:
    client.create(account_type=account_type)
    client.prices(quote())
    answer = place(client)
    assert (answer.status, answer.code) == (422, "NOT_A_PAPER_ACCOUNT")


def test_orders_of_somebody_else_are_not_found(paper: Client) -> None:
    for method, body in (("POST", order()), ("GET", None)):
        answer = paper.send(method, PATH, body, sub="bob")
        assert (answer.status, answer.code) == (404, "PORTFOLIO_NOT_FOUND")


def test_nobody_else_may_take_the_transaction_id_of_an_order(paper: Client) -> None:
    answer = paper.update(buy(1, 1, transaction_id="order:a"))
    assert (answer.status, answer.code) == (400, "INVALID")


def test_a_margin_account_is_asked_for_its_margin_first(client: Client) -> None:
    client.create(account_type="paper", account_kind="margin", leverage=10)
    client.prices(quote())
    refused = place(client, quantity=10_000)
    assert (refused.status, refused.code) == (422, "INSUFFICIENT_MARGIN")
    assert {"needed", "available"} <= refused.details[0].keys()
    assert place(client, quantity=1000).status == 201
