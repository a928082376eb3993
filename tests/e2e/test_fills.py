"""Fills, from REST and from the bus into the books and onto the dead letters, as their senders meet it."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any
from uuid import uuid4

from foliostream_client.transport import Rest
from tests.e2e.conftest import Cloud, eventually, now_ms, post_price

SCOPE = ("fills:write",)


def fill(symbol: str, fill_id: str, strategy: str, **changes: object) -> dict[str, object]:
    """Ten bought at 100 by a paper strategy of alice."""
    return {
        "fill_id": fill_id,
        "execution_mode": "paper",
        "strategy_id": strategy,
        "instrument_id": symbol,
        "side": "BUY",
        "quantity": 10,
        "fill_price": "100.25",
        "fee": "1.50",
        "owner": "alice",
        "timestamp": now_ms(),
    } | changes


def state(stack: Cloud, strategy: str) -> dict[str, Any]:
    answer = stack.rest("alice").call("GET", f"/api/v1/portfolio/paper_{strategy}/state")
    return answer.body if answer.status == 200 else {}


def held(found: dict[str, Any]) -> Decimal:
    """Of the first position; 0 without any."""
    return Decimal(next((item["quantity"] for item in found.get("positions", []) if item["mark"] is not None), 0))


def bought(found: dict[str, Any]) -> Decimal:
    """Of the only symbol, be it priced or not."""
    rows = (row for row in found.get("positions", []) if row["position_type"] != "CASH")
    return sum((row["quantity"] for row in rows), Decimal(0))


def given_up(stack: Cloud, queue: str) -> list[dict[str, Any]]:
    """What lies in a dead-letter queue; it stays there."""
    client = stack.aws("sqs")
    # The shortest: the queue of live accounts' fills ends with the name of the others'.
    urls = [url for url in client.list_queues()["QueueUrls"] if url.rpartition("/")[2].endswith(f"-{queue}")]
    name = min(urls, key=len)
    messages: dict[str, dict[str, Any]] = {}
    while found := client.receive_message(
        QueueUrl=name, MaxNumberOfMessages=10, VisibilityTimeout=2, MessageAttributeNames=["All"]
    ).get("Messages"):
        # Whoever needs longer than that to look at all of them meets the first ones again.
        if messages.keys() >= (again := {message["MessageId"]: message for message in found}).keys():
            break
        messages |= again
    return [*messages.values()]


def publish(stack: Cloud, detail: object) -> None:
    entry = {"Source": "example.broker", "DetailType": "order_filled", "Detail": json.dumps(detail)}
    answer = stack.aws("events").put_events(Entries=[entry])
    assert answer["FailedEntryCount"] == 0


def test_fills_over_rest_make_a_paper_portfolio_and_the_same_one_three_times_counts_once(
    stack: Cloud, admin: Rest, symbol: str
) -> None:
    post_price(admin, symbol, 110)
    strategy, desk = uuid4().hex[:8], stack.rest("desk", SCOPE)
    once = fill(symbol, f"a-{strategy}", strategy)
    for _ in range(3):
        assert desk.post("/api/v1/fills", once) == {"accepted": 1, "rejected": []}
    other = fill(symbol, f"b-{strategy}", strategy, side="SELL", quantity=25, fill_price=120, fee=0)
    assert desk.post("/api/v1/fills", [once, other])["accepted"] == 2
    found = eventually(lambda: state(stack, strategy), lambda seen: held(seen) == -15, "both fills")
    assert found["account_type"] == "paper"
    assert found["net_deposits"] == 100_000
    assert found["cash_balance"] == 100_000 - Decimal("1002.50") - Decimal("1.50") + 3000
    assert found["ledger_version"] <= 3
    assert desk.call("GET", f"/api/v1/portfolio/paper_{strategy}/state").status == 404


def test_an_event_of_the_bus_is_booked_and_the_next_price_values_it(stack: Cloud, admin: Rest, symbol: str) -> None:
    strategy = uuid4().hex[:8]
    for _ in range(3):
        publish(stack, fill(symbol, f"e-{strategy}", strategy, signal_type="BUY"))
    # Another fill, behind them in the same queues, shows that they are through.
    publish(stack, fill(symbol, f"z-{strategy}", strategy, quantity=1, fee=0))
    eventually(lambda: state(stack, strategy), lambda seen: bought(seen) not in {0, 1, 10}, "both fills")
    post_price(admin, symbol, "101.25")
    found = eventually(lambda: state(stack, strategy), lambda seen: seen["calc_status"] == "ok", "its value")
    assert found["total_value"] == 100_000 + 11 - Decimal("1.50")
    assert held(found) == 11


def test_the_same_id_with_another_body_is_a_dead_letter_with_its_reason_and_stops_nobody(
    stack: Cloud, admin: Rest, symbol: str
) -> None:
    post_price(admin, symbol, 100)
    strategy, desk = uuid4().hex[:8], stack.rest("desk", SCOPE)
    name = f"c-{strategy}"
    desk.post("/api/v1/fills", [fill(symbol, name, strategy), fill(symbol, name, strategy, quantity=11)])
    desk.post("/api/v1/fills", fill(symbol, f"d-{strategy}", strategy))
    eventually(lambda: state(stack, strategy), lambda seen: held(seen) == 20, "the fills around it")

    def conflict() -> list[dict[str, Any]]:
        return [message for message in given_up(stack, "fills-dead.fifo") if name in message["Body"]]

    (message,) = eventually(conflict, bool, "the dead letter")
    assert message["MessageAttributes"]["reason"]["StringValue"] == "CONFLICT"
    assert name in message["MessageAttributes"]["detail"]["StringValue"]


def test_a_fill_for_a_live_portfolio_that_is_not_there_is_refused_and_as_an_event_a_dead_letter(
    stack: Cloud, symbol: str
) -> None:
    strategy, desk = uuid4().hex[:8], stack.rest("desk", SCOPE)
    unknown = fill(symbol, f"g-{strategy}", strategy, execution_mode="zerodha")
    answer = desk.call("POST", "/api/v1/fills", unknown)
    assert answer.status == 202
    assert [item["code"] for item in answer.body["rejected"]] == ["PORTFOLIO_NOT_FOUND"]
    publish(stack, unknown)

    def refused() -> list[dict[str, Any]]:
        return [message for message in given_up(stack, "order-filled-dead") if strategy in message["Body"]]

    (message,) = eventually(refused, bool, "the dead letter")
    assert message["MessageAttributes"]["reason"]["StringValue"] == "PORTFOLIO_NOT_FOUND"


def test_who_may_not_report_fills_is_told_so(stack: Cloud, symbol: str) -> None:
    answer = stack.rest("alice").call("POST", "/api/v1/fills", fill(symbol, "x", "x"))
    assert (answer.status, answer.body["error"]["code"]) == (403, "MISSING_SCOPE")
