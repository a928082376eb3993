"""Margin accounts that slide: called, stopped out and closed once, restored, and nothing on prices nobody can trust."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from foliostream.adapters.sqs_liquidations import encode
from foliostream.domain.liquidation import Close, Liquidation
from foliostream_client.transport import Rest
from tests.e2e.conftest import Cloud, Events, eventually, now_ms, of_type, receive

KINDS = ("margin_call", "margin_restored", "margin_unknown", "stop_out", "liquidation_executed")


@pytest.fixture
def told(stack: Cloud) -> Iterator[dict[str, Events]]:
    opened = {kind: Events(stack, kind) for kind in KINDS}
    yield opened
    for events in opened.values():
        events.close()


class Slide:
    """A leveraged demo account: 100 of a CFD at 100 that needs 5 percent, out of 1,000."""

    def __init__(self, stack: Cloud, admin: Rest, **instrument: object) -> None:
        self.admin, self.name = admin, f"user-{uuid4().hex[:8]}"
        self.rest = stack.rest(self.name)
        self.symbol = f"C{uuid4().hex[:10].upper()}"
        body = {"kind": "cfd", "currency": "USD", "margin_rate": "0.05"} | instrument
        admin.put(f"/api/v1/instruments/{self.symbol}", body)
        self.price("100")
        created = self.rest.post(
            "/api/v1/portfolios",
            {
                "portfolio_name": "Leveraged",
                "account_type": "demo",
                "account_kind": "margin",
                "base_currency": "USD",
                "cost_basis": "average",
                "initial_cash": 1_000,
            },
        )
        self.portfolio_id: str = created["portfolio_id"]
        line = {"instrument_id": self.symbol, "quantity_change": 100, "price": 100, "transaction_type": "BUY"}
        update = {"portfolio_id": self.portfolio_id, "timestamp": now_ms(), "updates": [line]}
        self.rest.post(f"/api/v1/portfolio/{self.portfolio_id}/update", update)

    def price(self, price: str, **others: object) -> dict[str, Any]:
        quote = {"symbol": self.symbol, "bid": price, "ask": price, "ts": now_ms()} | others
        answer: dict[str, Any] = self.admin.post("/api/v1/prices", {"updates": [quote]})
        return answer

    def state(self) -> dict[str, Any]:
        body: dict[str, Any] = self.rest.get(f"/api/v1/portfolio/{self.portfolio_id}/state")
        return body

    def moves(self, price: str, state: str) -> dict[str, Any]:
        """To a price; the margin once the account is in the state."""
        self.price(price)
        found = eventually(self.state, lambda body: body["margin"]["state"] == state, f"{state} at {price}")
        margin: dict[str, Any] = found["margin"]
        return margin

    def insists(self, price: str, holds: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        """A price that is given again until the state holds: where prices age quickly one alone may be too old before
        anything is valued."""

        def read() -> dict[str, Any]:
            self.price(price)
            return self.state()

        return eventually(read, holds, what)


def test_a_slide_ends_in_one_call_one_stop_out_and_one_close(
    stack: Cloud, admin: Rest, told: dict[str, Events]
) -> None:
    slide = Slide(stack, admin)
    identifier = slide.portfolio_id
    socket = stack.socket(slide.name)
    socket.send({"action": "subscribe", "portfolio_ids": [identifier]})
    receive(socket, of_type("snapshot"), "the snapshot")
    margin = slide.moves("95", "warning")
    assert (margin["equity"], margin["used"], margin["level_percent"]) == (500, 475, Decimal("105.26"))
    slide.moves("94.7", "call")
    (call,) = eventually(lambda: told["margin_call"].of(identifier), bool, "the call")
    assert call["margin_call"]["level_percent"] == Decimal("99.26")
    assert receive(socket, of_type("margin_call"), "the call")["event_id"] == call["event_id"]

    slide.price("92")
    (stopped,) = eventually(lambda: told["stop_out"].of(identifier), bool, "the stop-out")
    assert receive(socket, of_type("stop_out"), "the stop-out")["event_id"] == stopped["event_id"]
    plan = stopped["stop_out"]["plan"]
    assert [(close["instrument_id"], close["quantity"]) for close in plan["closes"]] == [(slide.symbol, -100)]
    done = eventually(slide.state, lambda body: body["status"] == "ACTIVE" and body["cash_balance"] == 200, "the close")
    assert [item["position_type"] for item in done["positions"]] == ["CASH"]
    (executed,) = eventually(lambda: told["liquidation_executed"].of(identifier), bool, "the close's event")
    assert executed["event_id"] == f"liquidation_executed:{plan['plan_id']}"
    (restored,) = eventually(lambda: told["margin_restored"].of(identifier), bool, "the recovery")
    assert receive(socket, of_type("margin_restored"), "the recovery")["event_id"] == restored["event_id"]
    socket.close()

    before = slide.state()["ledger_version"]
    deliver_again(stack, plan, slide)
    eventually(lambda: waiting(stack), lambda count: count == 0, "the order that came again")
    slide.price("90")
    eventually(slide.state, lambda body: body["margin"]["state"] == "ok", "ok")
    assert slide.state()["ledger_version"] == before
    assert slide.state()["cash_balance"] == 200
    assert [len(told[kind].ids(identifier)) for kind in KINDS] == [1, 1, 0, 1, 1]
    booked = slide.rest.get(f"/api/v1/portfolio/{identifier}/transactions")["transactions"]
    assert [item["reason"] for item in booked].count("STOP_OUT") == 1


def deliver_again(stack: Cloud, plan: dict[str, Any], slide: Slide) -> None:
    """The order of the plan, as it was."""
    *_, breach, version = plan["plan_id"].split(":")
    closes = tuple(
        Close(close["fill_id"], close["instrument_id"], Decimal(close["quantity"]), Decimal(close["price"]))
        for close in plan["closes"]
    )
    order = Liquidation(
        slide.portfolio_id, "demo", plan["plan_id"], int(breach), int(version), False, now_ms() + 60_000, True, closes
    )
    stack.aws("sqs").send_message(
        QueueUrl=stack.outputs.resources["LiquidationQueueUrl"],
        MessageBody=encode(order),
        MessageGroupId=slide.portfolio_id,
        MessageDeduplicationId=uuid4().hex,
    )


def waiting(stack: Cloud) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    url = stack.outputs.resources["LiquidationQueueUrl"]
    counts = stack.aws("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return sum(int(counts[name]) for name in names)


def test_prices_nobody_can_trust_raise_nothing(stack: Cloud, admin: Rest, told: dict[str, Events]) -> None:  # G8
    slide = Slide(stack, admin, max_age_seconds=3)
    slide.insists("95", lambda body: body["margin"]["state"] == "warning", "a warning at 95")
    assert [item["code"] for item in slide.price("50", bid="60")["rejected"]] == ["CROSSED"]
    slide.price("50", bid=None)
    eventually(slide.state, lambda body: body["calc_status"] == "unpriced", "no side to close it at")
    slide.insists("95", lambda body: body["calc_status"] == "ok", "priced again")
    quoted_at_ms = now_ms()
    slide.price("95", ts=quoted_at_ms)
    eventually(slide.state, lambda body: body["calc_status"] == "degraded", "three seconds of silence")
    assert slide.price("50", ts=quoted_at_ms + 1)["accepted"] == 1
    late = eventually(slide.state, lambda body: body["total_value"] == -4000, "the late price")
    assert (late["calc_status"], late["margin"]["state"]) == ("degraded", "warning")
    margin = slide.insists("100", lambda body: body["margin"]["state"] == "ok", "ok at 100")["margin"]
    assert margin["level_percent"] == 200
    assert {kind: told[kind].ids(slide.portfolio_id) for kind in KINDS} == {kind: set() for kind in KINDS}
