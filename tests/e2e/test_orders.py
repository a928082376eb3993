"""Simulated orders of paper accounts, as their owner meets them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from foliostream.ports import HotStore
from foliostream_client.transport import Rest
from tests.e2e.conftest import Cloud, eventually, of_type, post_price, receive


class Trader:
    """Somebody with a paper account of 10,000 USD."""

    def __init__(self, stack: Cloud) -> None:
        self.name = f"user-{uuid4().hex[:8]}"
        self.rest = stack.rest(self.name)
        created = self.rest.post(
            "/api/v1/portfolios",
            {
                "portfolio_name": "Practice",
                "account_type": "paper",
                "account_kind": "cash",
                "base_currency": "USD",
                "cost_basis": "average",
                "initial_cash": 10_000,
            },
        )
        self.path = f"/api/v1/portfolio/{created['portfolio_id']}"

    def order(self, symbol: str, order_id: str, **changes: object) -> dict[str, Any]:
        """Ten bought at the market, unless changed."""
        body = {"instrument_id": symbol, "side": "BUY", "quantity": 10, "order_type": "market"}
        answer: dict[str, Any] = self.rest.post(f"{self.path}/orders", body | {"client_order_id": order_id} | changes)
        return answer

    def state(self) -> dict[str, Any]:
        body: dict[str, Any] = self.rest.get(f"{self.path}/state")
        return body

    def held(self, symbol: str) -> Decimal:
        return next(
            (Decimal(row["quantity"]) for row in self.state()["positions"] if row["instrument_id"] == symbol),
            Decimal(0),
        )


@pytest.fixture
def trader(stack: Cloud) -> Trader:
    return Trader(stack)


def quote(admin: Rest, symbol: str, bid: object, ask: object) -> None:
    post_price(admin, symbol, bid, bid=bid, ask=ask)


def test_a_market_order_shows_in_the_state_and_as_a_transaction_and_counts_once(
    trader: Trader, admin: Rest, symbol: str, stack: Cloud
) -> None:
    quote(admin, symbol, 99, 100)
    filled = trader.order(symbol, "first")
    assert (filled["state"], filled["fill_price"], filled["fee"]) == ("FILLED", Decimal("100.02"), Decimal("0.50"))
    assert trader.order(symbol, "first") == filled
    eventually(lambda: trader.held(symbol), lambda held: held == 10, "the position")
    assert trader.state()["cash_balance"] == Decimal("8999.30")
    newest = trader.rest.get(f"{trader.path}/transactions")["transactions"][0]
    assert (newest["transaction_id"], newest["price"]) == ("order:first", Decimal("100.02"))
    assert [order["order_id"] for order in trader.rest.get(f"{trader.path}/orders")["orders"]] == ["first"]
    assert stack.rest("somebody").call("GET", f"{trader.path}/orders").status == 404


def test_a_limit_order_rests_until_a_tick_fills_it_and_fills_are_told(
    trader: Trader, admin: Rest, symbol: str, stack: Cloud
) -> None:
    quote(admin, symbol, 99, 100)
    with stack.socket(trader.name) as socket:
        socket.send({"action": "subscribe", "portfolio_ids": [trader.path.rpartition("/")[2]]})
        receive(socket, of_type("snapshot"), "the first snapshot")
        trader.order(symbol, "told", quantity=1)
        told = receive(socket, of_type("fill"), "the fill")
    assert (told["fill_id"], told["order_id"], told["price"]) == ("order:told", "told", Decimal("100.02"))
    resting = trader.order(symbol, "low", order_type="limit", limit_price=95)
    assert resting["state"] == "OPEN"
    quote(admin, symbol, 94, "95.50")
    quote(admin, symbol, 93, 94)

    def order() -> dict[str, Any]:
        rows = trader.rest.get(f"{trader.path}/orders")["orders"]
        return next(dict(row) for row in rows if row["order_id"] == "low")

    filled = eventually(order, lambda found: found["state"] != "OPEN", "the fill")
    assert (filled["state"], filled["fill_price"], filled["transaction_id"]) == ("FILLED", 94, "order:low")
    eventually(lambda: trader.held(symbol), lambda held: held == 11, "the position")
    assert trader.state()["cash_balance"] == 10_000 - Decimal("100.07") - 940 - Decimal("0.47")
    refused = trader.rest.call("DELETE", f"{trader.path}/orders/low")
    assert (refused.status, refused.body["error"]["code"]) == (409, "ORDER_FILLED")


def test_a_cancelled_order_stays_so_and_belongs_to_its_owner(
    trader: Trader, admin: Rest, symbol: str, stack: Cloud
) -> None:
    quote(admin, symbol, 99, 100)
    trader.order(symbol, "low", order_type="limit", limit_price=95)
    path = f"{trader.path}/orders/low"
    assert stack.rest("somebody").call("DELETE", path).status == 404
    assert [trader.rest.call("DELETE", path).status for _ in range(2)] == [200, 200]
    trader.order(symbol, "next", order_type="limit", limit_price=96)
    quote(admin, symbol, 93, 94)
    eventually(lambda: trader.held(symbol), lambda held: held == 10, "the other one")
    states = {row["order_id"]: row["state"] for row in trader.rest.get(f"{trader.path}/orders")["orders"]}
    assert states == {"low": "CANCELLED", "next": "FILLED"}


def test_an_open_order_outlives_the_hot_store(
    trader: Trader, admin: Rest, symbol: str, hot: HotStore, stack: Cloud
) -> None:
    quote(admin, symbol, 99, 100)
    trader.order(symbol, "low", order_type="limit", limit_price=95)
    hot.unhint([symbol])
    quote(admin, symbol, 93, 94)
    name = stack.outputs.resources["FillOrdersFunctionName"]
    stack.aws("lambda").invoke(FunctionName=name, Payload=b'{"source": "foliostream.schedule"}')
    eventually(lambda: trader.held(symbol), lambda held: held == 10, "the fill")


def test_a_reset_is_the_start_again_and_its_history_stays(trader: Trader, admin: Rest, symbol: str) -> None:
    quote(admin, symbol, 99, 100)
    trader.order(symbol, "held")
    trader.order(symbol, "open", order_type="limit", limit_price=50)
    after = trader.rest.post(f"{trader.path}/reset", {})
    assert (after["cash_balance"], after["total_value"]) == (10_000, 10_000)
    assert [row["instrument_id"] for row in after["positions"]] == ["CASH:USD"]
    again = trader.rest.post(f"{trader.path}/reset", {})
    assert again["ledger_version"] == after["ledger_version"]
    states = {row["order_id"]: row["state"] for row in trader.rest.get(f"{trader.path}/orders")["orders"]}
    assert states == {"held": "FILLED", "open": "CANCELLED"}
    kinds = [row["transaction_type"] for row in trader.rest.get(f"{trader.path}/transactions")["transactions"]]
    assert kinds == ["ADJUSTMENT", "ADJUSTMENT", "BUY", "DEPOSIT"]
    quote(admin, symbol, 39, 40)
    assert trader.order(symbol, "afresh", quantity=100)["state"] == "FILLED"
