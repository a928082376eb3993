"""How often portfolios are valued, and what overtakes what."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from foliostream.domain.keys import shard_of
from foliostream.domain.times import epoch_ms
from foliostream_client.transport import Rest
from tests.e2e.conftest import DEADLINE_S, Cloud, Holder, eventually, now_ms, of_type, post_price, receive, total

UPDATES, OVER_S = 100, 10.0


@pytest.fixture
def symbols(admin: Rest) -> list[str]:
    names = [f"Q{uuid4().hex[:9].upper()}{number}" for number in range(4)]
    for name in names:
        admin.put(f"/api/v1/instruments/{name}", {"kind": "stock", "currency": "USD"})
    return names


def test_a_hundred_updates_of_four_symbols_in_ten_seconds_are_five_valuations_at_most(
    admin: Rest, symbols: list[str], symbol: str, holder: Callable[[str], Holder], at_rest: Callable[[Holder], None]
) -> None:
    owner = holder("paper")
    buys = [
        {"instrument_id": name, "quantity_change": 1, "price": 1, "transaction_type": "BUY", "transaction_id": name}
        for name in symbols
    ]
    body = {"portfolio_id": owner.portfolio_id, "timestamp": now_ms(), "updates": buys}
    owner.rest.post(f"/api/v1/portfolio/{owner.portfolio_id}/update", body)
    for name in (symbol, *symbols):
        post_price(admin, name, 1)
    at_rest(owner)
    settled(owner)
    versions: list[int] = []
    ages_ms: list[int] = []
    started = time.monotonic()
    for number in range(UPDATES):
        post_price(admin, symbols[number % 4], 100 + number)
        state = owner.state()
        versions.append(state["version"])
        if time.monotonic() - started > 2 * OVER_S / 3:
            ages_ms.append(now_ms() - epoch_ms(state["last_updated"]))
        time.sleep(max(0.0, started + (number + 1) * OVER_S / UPDATES - time.monotonic()))
    took_s = time.monotonic() - started
    expected = Decimal("8998.50") - 4 + 10 + sum(range(196, 200))
    versions.append(eventually(owner.state, lambda state: state["total_value"] == expected, "the last")["version"])
    versions.append(settled(owner))
    valuations = len(set(versions)) - 1
    # A window of 3 s each, and the one that the first update falls into.
    assert 1 <= valuations <= took_s / 3 + 2
    assert took_s > 11.9 or valuations <= 5
    # Not a timing of the machine: far beyond two windows, but a snapshot that waits for the ticks to end is found.
    assert max(ages_ms) < 9_000


def settled(owner: Holder) -> int:
    """The version that stays for longer than a window."""
    version, since = owner.state()["version"], time.monotonic()
    deadline = since + DEADLINE_S
    while time.monotonic() - since < 4:
        assert time.monotonic() < deadline
        time.sleep(0.2)
        if (now := owner.state()["version"]) != version:
            version, since = now, time.monotonic()
    return int(version)


def test_a_refresh_overtakes_what_waits_in_its_dirty_queue(
    stack: Cloud, admin: Rest, symbol: str, holder: Callable[[str], Holder]
) -> None:
    owner = holder("paper")
    post_price(admin, symbol, 7)
    eventually(owner.state, lambda state: state["total_value"] == total("7"), "the price")
    # Its group is busy for 13 s, and a backlog stands behind that.
    key, shard, end_ms = f"paper:{owner.portfolio_id}", shard_of(owner.portfolio_id, 64), now_ms() + 13_000
    sqs, url = stack.aws("sqs"), stack.outputs.resources["DirtyPaperQueueUrl"]
    backlog = [message(key, end_ms, number) for number in range(100)]
    for start in range(0, 100, 10):
        entries = [
            {"Id": str(number), "MessageBody": body, "MessageGroupId": str(shard),
             "MessageDeduplicationId": f"{owner.portfolio_id}-{start + number}"}
            for number, body in enumerate(backlog[start : start + 10])
        ]  # fmt: skip
        assert not sqs.send_message_batch(QueueUrl=url, Entries=entries).get("Failed")
    post_price(admin, symbol, 8)
    assert owner.rest.call("POST", f"/api/v1/portfolio/{owner.portfolio_id}/refresh").status == 202
    eventually(owner.state, lambda state: state["total_value"] == total("8"), "the refresh")
    assert now_ms() < end_ms, "the refresh waited for the backlog"
    # And what waited takes nothing back.
    after = owner.state()["version"]
    post_price(admin, symbol, 9)
    state = eventually(owner.state, lambda state: state["total_value"] == total("9"), "the window")
    assert state["version"] > after


def message(key: str, end_ms: int, number: int) -> str:
    fields = {"v": 1, "window": end_ms + number, "window_end_ms": end_ms, "keys": [key], "reason": "price"}
    return json.dumps(fields | {"symbols": [], "attempt": 0})


def test_a_portfolio_with_an_interval_shows_the_last_price_at_its_end_and_transactions_at_once(
    stack: Cloud, admin: Rest, symbol: str, holder: Callable[[str], Holder], at_rest: Callable[[Holder], None]
) -> None:
    owner = holder("live")
    path = f"/api/v1/portfolio/{owner.portfolio_id}"
    assert owner.rest.call("PATCH", path, {"settings": {"update_interval_ms": 8_000}}).status == 200
    at_rest(owner)  # the ledger's stream also has it valued, which waits for no interval
    with stack.socket(owner.name) as socket:
        socket.send({"action": "subscribe", "portfolio_ids": [owner.portfolio_id]})
        receive(socket, of_type("snapshot"), "the snapshot")
        # The interval begins with this one: nothing slow may stand between it and the others.
        post_price(admin, symbol, 1)
        shown = receive(socket, changes_total, "the first price")["updates"][0]["data"]["total_value"]
        assert shown == total("1")
        for last in range(2, 8):
            post_price(admin, symbol, last)
        shown = receive(socket, changes_total, "the interval's end")["updates"][0]["data"]["total_value"]
        assert shown == total("7"), "one valuation, of the last price"
    post_price(admin, symbol, 8)
    fee = {"transaction_type": "FEE", "amount": 1, "transaction_id": "a-fee"}
    body = {"portfolio_id": owner.portfolio_id, "timestamp": now_ms(), "updates": [fee]}
    assert owner.rest.post(f"{path}/update", body)["total_value"] == total("8") - 1


def changes_total(message: dict[str, Any]) -> bool:
    return message["type"] == "portfolio_update" and "total_value" in message["updates"][0]["data"]
