"""A live account at the simulated broker, deployed: fills both ways, drift, faults of every kind, recovery."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import count
from typing import Any, cast
from uuid import uuid4

import pytest

from foliostream_client.transport import Rest
from local.sam import function_logs
from tests.e2e.conftest import Cloud, eventually, post_price

# Accounts that the local cloud has credentials of; each test takes one, from the end.
_numbers = count(1020, -1)
# Some of them wait for more than a minute by design, since fills in flight are given that time.
PATIENCE_S = 600
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Desk:
    """A portfolio on an account of its own, and somebody who moves the account."""

    stack: Cloud
    account: str
    portfolio_id: str
    symbol: str
    rest: Rest

    def tell(self, action: str, **body: object) -> dict[str, Any]:
        """What happens at the broker."""
        port = self.stack.outputs.ports["kite"]
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/control/{action}",
            json.dumps({"account": self.account} | body).encode(),
            {"Content-Type": "application/json"},
        )
        with OPENER.open(request, timeout=10) as answer:
            return cast("dict[str, Any]", json.loads(answer.read()))

    def trade(self, side: str, quantity: int, price: float, **other: object) -> dict[str, Any]:
        return self.tell("trade", symbol=self.symbol, side=side, quantity=quantity, price=price, **other)

    def postback(self, body: dict[str, Any]) -> int:
        """Without any token; the status."""
        return Rest(self.stack.outputs.rest_url).call("POST", "/webhooks/kite", body).status

    def reconcile(self, **body: bool) -> dict[str, Any]:
        return cast("dict[str, Any]", self.rest.post(f"/api/v1/portfolio/{self.portfolio_id}/reconcile", body))

    def state(self) -> dict[str, Any]:
        return cast("dict[str, Any]", self.rest.get(f"/api/v1/portfolio/{self.portfolio_id}/state"))

    def held(self) -> Decimal:
        return held(self.state(), self.symbol)

    def events(self) -> list[dict[str, Any]]:
        """Of this account, as a rule of the bus delivered them."""
        return [item for item in received(self.stack) if item["portfolio_id"] == self.portfolio_id]


def held(state: dict[str, Any], symbol: str) -> Decimal:
    """The quantity of a symbol that a state shows."""
    return Decimal(next((item["quantity"] for item in state["positions"] if item["instrument_id"] == symbol), 0))


@pytest.fixture
def desk(stack: Cloud, admin: Rest) -> Iterator[Desk]:
    watch_bus(stack)
    symbol, account = f"K{uuid4().hex[:10].upper()}", f"AB{next(_numbers)}"
    admin.put(f"/api/v1/instruments/{symbol}", {"kind": "stock", "currency": "INR"})
    rest = stack.rest(f"trader-{uuid4().hex[:8]}", ("fills:write",))
    created = rest.post(
        "/api/v1/portfolios",
        {
            "portfolio_id": f"zerodha_{uuid4().hex[:8]}",
            "portfolio_name": "At the broker",
            "account_type": "live",
            "account_kind": "cash",
            "base_currency": "INR",
            "cost_basis": "average",
            "initial_cash": 100_000,
            "broker": {"name": "zerodha", "account": account},
        },
    )
    assert created["unreconciled_since"] is not None
    made = Desk(stack, account, created["portfolio_id"], symbol, rest)
    made.tell("reset")
    made.tell("cash", cash=100_000)
    yield made
    made.tell("reset")


def watch_bus(stack: Cloud) -> str:
    """The address of a queue that gets every event about reconciliations."""
    sqs, events = stack.aws("sqs"), stack.aws("events")
    queue: str = sqs.create_queue(QueueName="test-reconciliations")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    pattern = json.dumps({"detail-type": ["reconciliation_discrepancy"]})
    events.put_rule(Name="test-reconciliations", EventPattern=pattern)
    events.put_targets(Rule="test-reconciliations", Targets=[{"Id": "queue", "Arn": arn}])
    return queue


_received: dict[str, dict[str, Any]] = {}


def received(stack: Cloud) -> list[dict[str, Any]]:
    """Every report that came as an event so far, the same one once."""
    sqs, queue = stack.aws("sqs"), watch_bus(stack)
    while found := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
        for message in found:
            detail = json.loads(message["Body"])["detail"]
            _received[detail["event_id"]] = detail["reconciliation_discrepancy"]
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    return list(_received.values())


def reconciled(desk: Desk) -> dict[str, Any]:
    """Once fills in flight have had their time."""
    return eventually(desk.reconcile, lambda report: report["status"] == "ok", "reconciled", within_s=100.0)


@pytest.mark.timeout(PATIENCE_S)
def test_a_trade_told_by_postback_and_by_polling_is_booked_once_and_the_books_are_confirmed(desk: Desk) -> None:
    first = desk.trade("BUY", 4, 100.5, order_quantity=10)
    assert desk.postback(first) == 200
    assert desk.postback(first) == 200
    assert desk.postback(first | {"checksum": "0" * 64}) == 401
    assert desk.postback(first | {"user_id": "ZZ9999"}) == 401
    last = desk.trade("BUY", 6, 101, order_id=first["order_id"])
    report = desk.reconcile()
    assert report["status"] in {"discrepancies", "ok"}
    assert desk.postback(last) == 200
    assert desk.postback(first) == 200

    eventually(desk.held, lambda quantity: quantity == 10, "the trades are booked")
    reconciled(desk)
    state = desk.state()
    assert Decimal(state["cash"]["INR"]) == Decimal(100000) - Decimal(402) - Decimal(606)
    eventually(desk.state, lambda state: state["unreconciled_since"] is None, "confirmed")


@pytest.mark.timeout(PATIENCE_S)
def test_an_account_that_drifts_is_reported_and_on_demand_put_right(desk: Desk) -> None:
    desk.trade("BUY", 10, 100)
    desk.reconcile()
    eventually(desk.held, lambda quantity: quantity == 10, "the trades are booked")
    since = reconciled(desk)["checked_at"]
    desk.tell("shift", symbol=desk.symbol, quantity=3, price=102)
    desk.tell("cash", cash=100_000 - 1_000 - 306)

    # A symbol that was traded less than a minute ago is left alone.
    report = eventually(desk.reconcile, lambda found: not found["protected"], "the drift", within_s=100.0)
    assert (report["status"], desk.held()) == ("discrepancies", 10)
    assert [item["kind"] for item in report["discrepancies"]] == ["quantity", "cash"]
    told(desk, report, since)

    applied = desk.reconcile(apply=True)
    assert (applied["status"], len(applied["applied"])) == ("ok", 1)
    shown(desk, desk.portfolio_id, 13, 98_694)
    assert desk.reconcile(apply=True)["applied"] == []


@pytest.mark.timeout(PATIENCE_S)
def test_two_strategies_on_one_account_get_their_shares_of_what_nobody_placed(desk: Desk) -> None:
    other = f"zerodha_{uuid4().hex[:8]}"
    broker = {"name": "zerodha", "account": desk.account, "tag": "other"}
    body = {"portfolio_id": other, "portfolio_name": "Beside it", "account_type": "live", "account_kind": "cash"}
    body |= {"base_currency": "INR", "cost_basis": "average", "initial_cash": 100_000}
    desk.rest.post("/api/v1/portfolios", body | {"broker": broker, "settings": {"broker_share": 0.25}})
    mine = {"settings": {"broker_share": "0.75"}}
    assert desk.rest.call("PATCH", f"/api/v1/portfolio/{desk.portfolio_id}", mine).status == 200
    desk.tell("cash", cash=200_000 - 800)
    desk.tell("shift", symbol=desk.symbol, quantity=8, price=100)

    report = eventually(desk.reconcile, lambda found: found["status"] == "discrepancies", "the drift", within_s=100.0)
    (found,) = [item for item in report["discrepancies"] if item["symbol"] == desk.symbol]
    shares = {item["portfolio_id"]: item["quantity"] for item in found["attributed"]}
    assert shares == {desk.portfolio_id: 6, other: 2}
    applied = desk.reconcile(apply=True)
    assert (applied["status"], len(applied["applied"])) == ("ok", 2)
    shown(desk, desk.portfolio_id, 6, 99_400)
    shown(desk, other, 2, 99_800)


def shown(desk: Desk, portfolio_id: str, quantity: int, cash: int) -> None:
    """A portfolio's state follows its ledger to what it holds of the symbol and in rupees."""

    def both(state: dict[str, Any]) -> bool:
        return held(state, desk.symbol) == quantity and Decimal(state["cash"]["INR"]) == cash

    eventually(lambda: desk.rest.get(f"/api/v1/portfolio/{portfolio_id}/state"), both, "what was applied")


def told(desk: Desk, report: dict[str, Any], since: str) -> None:
    """What the report says came as an event after a time, be it from this look at the account or the schedule's."""

    def is_told(event: dict[str, Any]) -> bool:
        same = all(event[name] == report[name] for name in ("status", "reason", "discrepancies"))
        return same and str(event["checked_at"]) > since

    eventually(desk.events, lambda events: any(map(is_told, events)), "told")


FAULTS = {
    "down": "BROKER_DOWN",
    "500": "BROKER_DOWN",
    "429": "BROKER_THROTTLED",
    "stall": "BROKER_DOWN",
    "truncated": "BROKER_ANSWER",
    "partial": "BROKER_ANSWER",
    "empty": "BROKER_ANSWER",
    "wrong_account": "WRONG_ACCOUNT",
    "token": "TOKEN_EXPIRED",
}


@pytest.mark.timeout(PATIENCE_S)
def test_whatever_the_broker_does_no_position_changes_and_recovery_is_automatic(desk: Desk) -> None:
    desk.trade("BUY", 10, 100)
    desk.reconcile()
    eventually(desk.held, lambda quantity: quantity == 10, "the trades are booked")
    since = reconciled(desk)["checked_at"]
    before = desk.state()
    counted = failures(desk, "/broker_api")

    for fault, code in FAULTS.items():
        desk.tell("fault", fault=fault)
        report = desk.reconcile(apply=True)
        assert (report["status"], report["reason"].partition(":")[0]) == ("failed", code), fault
        assert report["applied"] == report["discrepancies"] == []
        state = eventually(desk.state, lambda state: state["unreconciled_since"] is not None, "doubted")
        assert state["positions"][0]["quantity"] == before["positions"][0]["quantity"] == 10
        assert state["cash"] == before["cash"]
        told(desk, report, since)
        desk.tell("fault", fault="")
        if code == "TOKEN_EXPIRED":
            assert desk.reconcile()["reason"].startswith("TOKEN_EXPIRED")  # it is not even tried
            new_token(desk)
        since = reconciled(desk)["checked_at"]
        eventually(desk.state, lambda state: state["unreconciled_since"] is None, "confirmed")
    eventually(
        lambda: failures(desk, "/broker_api"), lambda now: now >= counted + len(FAULTS), "the metric of every failure"
    )


def failures(desk: Desk, function: str) -> int:
    """How often a function has counted an account as failed: ``/broker_api`` answers those who ask, ``/reconcile`` the
    schedule."""
    lines = function_logs(desk.stack.outputs.aws_endpoint, function)
    return sum('"AccountsFailed":1' in line for line in lines)


def new_token(desk: Desk) -> None:
    """Somebody logs in again."""
    client = desk.stack.aws("secretsmanager")
    secret = client.list_secrets()["SecretList"][0]["ARN"]
    given = json.loads(client.get_secret_value(SecretId=secret)["SecretString"])
    given[desk.account]["access_token"] = f"token-{desk.account}-again"
    client.put_secret_value(SecretId=secret, SecretString=json.dumps(given))
    # What the functions know of it they keep for five seconds.
    eventually(desk.reconcile, lambda report: not str(report["reason"]).startswith("TOKEN_EXPIRED"), "a new token")


@pytest.mark.timeout(PATIENCE_S)
def test_what_was_missed_in_an_outage_is_caught_up_by_the_schedule(desk: Desk) -> None:
    counted = failures(desk, "/reconcile")
    desk.tell("fault", fault="down")
    desk.trade("BUY", 10, 100)
    invoke(desk)
    eventually(desk.state, lambda state: state["unreconciled_since"] is not None, "doubted")
    assert desk.held() == 0
    eventually(lambda: failures(desk, "/reconcile"), lambda now: now > counted, "the metric")
    desk.tell("fault", fault="")

    eventually(lambda: invoke(desk).held(), lambda quantity: quantity == 10, "caught up", within_s=60.0)
    eventually(
        lambda: invoke(desk).state(), lambda state: state["unreconciled_since"] is None, "confirmed", within_s=100.0
    )


def invoke(desk: Desk) -> Desk:
    """What the schedule's message of this account does."""
    name = desk.stack.outputs.resources["ReconcileFunctionName"]
    slot = int(time.time()) // 300
    body = json.dumps({"broker": "zerodha", "account": desk.account, "slot": slot})
    record = {"messageId": "m", "body": body, "attributes": {"ApproximateReceiveCount": "1"}, "eventSource": "aws:sqs"}
    answer = desk.stack.aws("lambda").invoke(FunctionName=name, Payload=json.dumps({"Records": [record]}).encode())
    assert json.loads(answer["Payload"].read()) == {"batchItemFailures": []}
    return desk


def test_the_schedule_queues_the_accounts_and_its_messages_reconcile_them(desk: Desk) -> None:
    name = desk.stack.outputs.resources["ReconcileFunctionName"]
    answer = desk.stack.aws("lambda").invoke(FunctionName=name, Payload=b"{}")
    assert "queued" in json.loads(answer["Payload"].read())


def test_somebody_elses_account_is_neither_seen_nor_taken(desk: Desk) -> None:
    stranger = desk.stack.rest("stranger", ("fills:write",))
    assert stranger.call("POST", f"/api/v1/portfolio/{desk.portfolio_id}/reconcile", {}).status == 404
    body = {
        "portfolio_name": "Mine?",
        "account_type": "live",
        "account_kind": "cash",
        "base_currency": "INR",
        "cost_basis": "average",
        "broker": {"name": "zerodha", "account": desk.account},
    }
    refused = stranger.call("POST", "/api/v1/portfolios", body)
    assert (refused.status, refused.body["error"]["code"]) == (409, "BROKER_ACCOUNT_TAKEN")
    assert desk.stack.rest("stranger").call("POST", "/api/v1/portfolios", body).status == 403


def test_paper_has_no_broker_to_ask(stack: Cloud, admin: Rest, symbol: str) -> None:
    post_price(admin, symbol, "100")
    rest = stack.rest("painter", ("fills:write",))
    body = {"portfolio_name": "P", "account_type": "paper", "account_kind": "cash", "base_currency": "USD",
            "cost_basis": "average"}  # fmt: skip
    created = rest.post("/api/v1/portfolios", body)
    report = rest.post(f"/api/v1/portfolio/{created['portfolio_id']}/reconcile", {})
    assert (report["status"], report["broker"]) == ("skipped", "paper")
