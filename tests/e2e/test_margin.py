"""Margin as its owners meet it: the worked examples of the definitions over REST, previews, refusals, nightly swap."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest

from foliostream_client.transport import Rest
from tests.e2e.conftest import Cloud, eventually, now_ms

D = Decimal


@dataclass(frozen=True)
class Account:
    """A margin account of somebody; ``tag`` makes its symbols nobody else's."""

    portfolio_id: str
    rest: Rest
    admin: Rest
    tag: str

    def path(self, rest: str) -> str:
        return f"/api/v1/portfolio/{self.portfolio_id}/{rest}"

    def symbol(self, name: str) -> str:
        return f"{name}.{self.tag}"

    def state(self) -> dict[str, Any]:
        body: dict[str, Any] = self.rest.get(self.path("state"))
        return body

    def instrument(self, name: str, **fields: object) -> None:
        self.admin.put(f"/api/v1/instruments/{self.symbol(name)}", fields)

    def quote(self, name: str, bid: object, ask: object) -> None:
        quote(self.admin, self.symbol(name), bid, ask)

    def trade(self, name: str, quantity: object, price: object) -> dict[str, Any]:
        kind = "SELL" if str(quantity).startswith("-") else "BUY"
        line = {"instrument_id": self.symbol(name), "quantity_change": quantity, "price": price}
        return self.book(line | {"transaction_type": kind})

    def book(self, line: dict[str, object]) -> dict[str, Any]:
        answer = self.send(line)
        assert answer.status == 200, answer.body
        body: dict[str, Any] = answer.body
        return body

    def send(self, line: dict[str, object]) -> Any:  # noqa: ANN401 (an answer)
        body = {"portfolio_id": self.portfolio_id, "timestamp": now_ms(), "updates": [line]}
        return self.rest.call("POST", self.path("update"), body)

    def margin(self) -> dict[str, Any]:
        found: dict[str, Any] = self.state()["margin"]
        return found


Open = Callable[..., Account]


@pytest.fixture
def opened(stack: Cloud, admin: Rest) -> Open:
    def make(currency: str, balance: object, account_type: str = "demo", **fields: object) -> Account:
        rest = stack.rest(f"user-{uuid4().hex[:8]}")
        body = {
            "portfolio_name": "Margin",
            "account_type": account_type,
            "account_kind": "margin",
            "base_currency": currency,
            "cost_basis": "average",
            "initial_cash": balance,
        }
        created = rest.post("/api/v1/portfolios", body | fields)
        return Account(created["portfolio_id"], rest, admin, uuid4().hex[:8].upper())

    return make


def quote(admin: Rest, symbol: str, bid: object, ask: object) -> None:
    found = admin.post("/api/v1/prices", {"updates": [{"symbol": symbol, "bid": bid, "ask": ask, "ts": now_ms()}]})
    assert found["accepted"] == 1, found


def pair(admin: Rest, symbol: str, bid: object, ask: object) -> None:
    """A pair that converts; everybody's, and the same for everybody."""
    fields = {"kind": "forex", "currency": symbol[3:], "base_currency": symbol[:3], "price_decimals": 5}
    admin.put(f"/api/v1/instruments/{symbol}", fields)
    quote(admin, symbol, bid, ask)


def forex(currency: str, **fields: object) -> dict[str, Any]:
    return {"kind": "forex", "currency": currency, "base_currency": "EUR", "price_decimals": 5} | fields


def test_the_gbp_account_with_a_million_eurgbp(opened: Open) -> None:
    """Definitions section 3, in the manner of MetaTrader: sided prices."""
    account = opened("GBP", 50_000)
    account.instrument("EURGBP", **forex("GBP", margin_rate="0.0333333"))
    account.quote("EURGBP", "0.8566", "0.8568")
    order = {"instrument_id": account.symbol("EURGBP"), "quantity": 1_000_000}
    preview = account.rest.post(account.path("margin/preview"), {"orders": [order]})
    state = account.trade("EURGBP", 1_000_000, "0.8568")
    margin = state["margin"]
    assert (margin["balance"], margin["equity"], margin["used"]) == (50_000, 49_800, D("28559.97"))
    assert (margin["free"], margin["level_percent"]) == (D("21240.03"), D("174.37"))
    assert (margin["exposure"], margin["state"]) == (856_600, "ok")
    assert (state["unrealized_pnl"], state["total_value"]) == (-200, 49_800)
    assert preview["accepted"] is True
    assert preview["before"]["free"] == 50_000
    assert {name: preview["after"][name] for name in preview["after"]} == {
        name: margin[name] for name in preview["after"]
    }
    assert preview["ledger_version"] == 1


@pytest.mark.parametrize(
    ("base", "symbol", "currency", "profit", "used"),
    [
        # Direct: 1,000 EUR of profit at the bid of EURUSD; margin of 101,000 EUR at the ask.
        ("USD", "DAX", "EUR", "1099.90", "3703.67"),
        # Inverse: 1,000 JPY of profit over the ask of USDJPY; margin of 101,000 JPY over the bid.
        ("USD", "N225", "JPY", "6.67", "22.45"),
        # A cross over USD: JPY to USD as above, then over the ask of EURUSD; margin over both bids.
        ("EUR", "N225", "JPY", "6.06", "20.41"),
    ],
)
def test_profit_and_margin_are_converted_at_the_worse_side(
    opened: Open, admin: Rest, base: str, symbol: str, currency: str, profit: str, used: str
) -> None:
    pair(admin, "EURUSD", "1.0999", "1.1001")
    pair(admin, "USDJPY", "149.99", "150.01")
    account = opened(base, 10_000, leverage=30)
    account.instrument(symbol, kind="cfd", currency=currency)
    account.quote(symbol, 100, 100)
    account.trade(symbol, 1_000, 100)
    account.quote(symbol, 101, 101)
    seen = eventually(account.state, lambda state: state["unrealized_pnl"] == D(profit), f"a profit of {profit}")
    assert seen["margin"]["used"] == D(used)
    assert seen["margin"]["equity"] == 10_000 + D(profit)


def test_tiers_are_marginal(opened: Open) -> None:
    account = opened("USD", 100_000)
    tiers = [{"notional_from": 0, "margin_rate": "0.01"}, {"notional_from": 100_000, "margin_rate": "0.05"},
             {"notional_from": 500_000, "margin_rate": "0.2"}]  # fmt: skip
    account.instrument("SPX", kind="cfd", currency="USD", margin_tiers=tiers)
    account.quote("SPX", 100, 100)
    for quantity, used in ((1_000, 1_000), (4_000, 21_000), (1_000, 41_000)):
        assert account.trade("SPX", quantity, 100)["margin"]["used"] == used


def test_too_little_margin_is_refused_with_figures_and_money_stays_that_margin_needs(opened: Open) -> None:
    account = opened("USD", 10_000, leverage=30)
    account.instrument("EURUSD", **forex("USD", contract_size=100_000))
    account.quote("EURUSD", "1.0999", "1.1001")
    refused = account.send({"instrument_id": account.symbol("EURUSD"), "quantity_change": 3, "price": "1.1001",
                            "transaction_type": "BUY"})  # fmt: skip
    assert (refused.status, refused.body["error"]["code"]) == (422, "INSUFFICIENT_MARGIN")
    assert refused.body["error"]["details"] == [
        {"currency": "USD", "needed": "11061", "available": "10000", "free_after": "-1061"}
    ]
    account.trade("EURUSD", 2, "1.1001")
    for amount, status in (("2626.01", 422), ("2626.00", 200)):
        assert account.send({"transaction_type": "WITHDRAWAL", "amount": amount}).status == status


def test_levels_of_ones_own_decide_the_state(opened: Open) -> None:
    account = opened("USD", 1_000, leverage=10)
    account.instrument("SPX", kind="cfd", currency="USD")
    account.quote("SPX", 100, 100)
    account.trade("SPX", 90, 100)  # level 111
    assert account.margin()["state"] == "warning"
    change = {"settings": {"margin_call_percent": 80, "stop_out_percent": 20}}
    assert account.rest.call("PATCH", f"/api/v1/portfolio/{account.portfolio_id}", change).status == 200
    eventually(account.margin, lambda margin: margin["state"] == "ok", "no warning above 100 any more")
    wrong = account.rest.call(
        "PATCH", f"/api/v1/portfolio/{account.portfolio_id}", {"settings": {"stop_out_percent": 80}}
    )
    assert wrong.status == 400


def last_border() -> datetime:
    """When the newest night began."""
    now = datetime.now(ZoneInfo("America/New_York"))
    border = now.replace(hour=17, minute=0, second=0, microsecond=0)
    return border if border <= now else border - timedelta(days=1)


def charge(stack: Cloud, **event: object) -> dict[str, Any]:
    """The answer of book_swaps to a direct invocation."""
    answer = stack.aws("lambda").invoke(
        FunctionName=stack.outputs.resources["BookSwapsFunctionName"], Payload=json.dumps(event).encode()
    )
    body: dict[str, Any] = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, body
    return body


def test_a_night_is_charged_once_for_what_was_held_as_it_began(stack: Cloud, opened: Open) -> None:
    """Definitions section 3: two lots at 7 points bring 14, two at -5.47 cost 10.94 (a night that counts once)."""
    border = last_border()
    account = opened("USD", 100_000, leverage=30)
    for name, points in (("EURUSD", "7"), ("AUDUSD", "-5.47")):
        swap = {"long": points, "short": 0, "mode": "points", "triple_day": None}
        account.instrument(name, **forex("USD", contract_size=100_000, swap=swap))
        account.quote(name, "1.1", "1.1")
        line = {"instrument_id": account.symbol(name), "quantity_change": 2, "price": "1.1", "transaction_type": "BUY"}
        account.book(line | {"timestamp": int(border.timestamp() * 1000) - 60_000})
    account.trade("EURUSD", -1, "1.1")  # after the border: the night is charged for two
    night = border.date().isoformat()
    first = charge(stack, portfolio_ids=[account.portfolio_id])
    assert first == {"night": night, "booked": [account.portfolio_id], "nothing": [], "failed": {}}
    assert charge(stack, portfolio_ids=[account.portfolio_id], night=night)["nothing"] == [account.portfolio_id]
    charged = [item for item in account.rest.get(account.path("transactions"))["transactions"]
               if item["transaction_type"] == "SWAP"]  # fmt: skip
    assert sorted(item["amount"] for item in charged) == [D("-10.94"), D("14")]
    assert {item["timestamp"] for item in charged} == {border.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")}
    seen = eventually(account.state, lambda state: state["swap_total"] == D("3.06"), "the swap in the state")
    assert seen["cash_balance"] == D("100003.06")


def test_a_run_over_all_portfolios_charges_each_of_them(stack: Cloud, opened: Open) -> None:
    border = last_border()
    accounts = [opened("USD", 100_000, kind, leverage=30) for kind in ("live", "demo", "paper")]
    for account in accounts:
        swap = {"long": -3, "short": 0, "mode": "currency"}
        account.instrument("SPX", kind="cfd", currency="USD", swap=swap)
        account.quote("SPX", 100, 100)
        line = {"instrument_id": account.symbol("SPX"), "quantity_change": 2, "price": 100, "transaction_type": "BUY"}
        account.book(line | {"timestamp": int(border.timestamp() * 1000) - 60_000})
    for _ in range(2):
        assert charge(stack)["started"] == 16
    for account in accounts:
        eventually(account.state, lambda state: state["swap_total"] == -6, "the night's charge")
