"""Simulated orders of paper accounts, as their owner meets them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from local.client import Rest
from tests.e2e.conftest import Cloud, eventually, post_price


class Trader:
    """Somebody with a paper account of 10,000 USD."""

    def __init__(self, stack: Cloud) -> None:
        self.rest = stack.rest(f"user-{uuid4().hex[:8]}")
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
