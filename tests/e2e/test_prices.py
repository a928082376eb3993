"""The journey of a price: in by REST, EventBridge or invocation; out by REST and WebSocket."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from foliostream.ports import HotStore
from foliostream_client.transport import Rest
from tests.e2e.conftest import (
    ACCOUNT_TYPES,
    Cloud,
    Holder,
    anything,
    eventually,
    has_total,
    now_ms,
    of_type,
    post_price,
    receive,
    total,
)


@pytest.mark.parametrize("account_type", ACCOUNT_TYPES)
def test_a_posted_price_shows_in_the_state_and_on_the_socket(
    stack: Cloud, admin: Rest, symbol: str, holder: Callable[[str], Holder], account_type: str
) -> None:
    owner = holder(account_type)
    post_price(admin, symbol, "100.10", open="99.00", previous_close="98.50")
    eventually(owner.state, lambda state: state["calc_status"] == "ok", "the first price")
    with stack.socket(owner.name) as socket:
        socket.send({"action": "subscribe", "portfolio_ids": [owner.portfolio_id], "request_id": "r1"})
        acknowledged = receive(socket, anything, "the acknowledgement")
        assert acknowledged["type"] == "subscribed"
        assert acknowledged["portfolio_ids"] == [owner.portfolio_id]
        assert acknowledged["request_id"] == "r1"
        first = receive(socket, anything, "the snapshot")
        assert first["type"] == "snapshot"
        assert first["data"]["total_value"] == total("100.10")

        assert post_price(admin, symbol, "123.456789")["accepted"] == 1
        expected = total("123.456789").quantize(Decimal("0.01"))
        pushed = receive(socket, lambda message: has_total(message, expected), "the update")["updates"][0]
        assert pushed["portfolio_id"] == owner.portfolio_id
        assert pushed["version"] > pushed["previous_version"] >= first["version"]
        position = pushed["data"]["positions"][0]
        assert (position["instrument_id"], position["mark"]) == (symbol, Decimal("123.456789"))
    state = eventually(owner.state, lambda state: state["total_value"] == expected, "the state over REST")
    assert state["calc_status"] == "ok"
    assert state["cash_balance"] == Decimal("8998.50")
    assert state["unrealized_pnl"] == Decimal("234.57")
    assert state["fees_total"] == Decimal("1.50")
    assert state["daily_change"] == Decimal("244.57")
    assert state["daily_change_percent"] == Decimal("24.70")
    assert sum(state["weights"].values()) == pytest.approx(1, abs=Decimal("0.000001"))


def test_a_price_event_reaches_the_holders_through_event_bridge(
    stack: Cloud, symbol: str, holder: Callable[[str], Holder]
) -> None:
    owner = holder("live")
    detail = json.dumps({"updates": [{"symbol": symbol, "bid": "90.10", "ask": "90.30", "ts": now_ms()}]})
    entry = {
        "Source": "a.feed",
        "DetailType": "market_price_update",
        "Detail": detail,
        "EventBusName": stack.outputs.resources["EventBusName"],
    }
    assert stack.aws("events").put_events(Entries=[entry])["FailedEntryCount"] == 0
    eventually(owner.state, lambda state: state["total_value"] == total("90.20"), "the middle of the quote")


def test_a_price_reaches_the_holders_by_direct_invocation(
    stack: Cloud, symbol: str, holder: Callable[[str], Holder]
) -> None:
    owner = holder("demo")
    payload = json.dumps({"updates": [{"symbol": symbol, "last": "77.7", "ts": now_ms()}]})
    answer = stack.aws("lambda").invoke(
        FunctionName=stack.outputs.resources["PriceUpdateFunctionName"], Payload=payload.encode()
    )
    assert json.loads(answer["Payload"].read()) == {"accepted": 1, "rejected": []}
    eventually(owner.state, lambda state: state["total_value"] == total("77.7"), "the invoked price")


def test_bad_updates_get_their_codes_and_the_good_one_among_them_is_valued(
    admin: Rest, symbol: str, holder: Callable[[str], Holder]
) -> None:
    owner = holder("live")
    now = now_ms()
    post_price(admin, symbol, "50")
    updates: list[dict[str, Any]] = [
        {"symbol": "NOBODY-KNOWS", "last": 1, "ts": now},
        {"symbol": symbol, "bid": 10, "ask": 9, "ts": now},
        {"symbol": symbol, "last": 49, "ts": now - 60_000},
        {"symbol": symbol, "last": -1, "ts": now},
        {"symbol": symbol, "last": "NaN", "ts": now},
        {"symbol": symbol, "last": "Infinity", "ts": now},
        {"symbol": symbol, "last": 0, "ts": now},
        {"symbol": symbol, "last": 1, "ts": now + 60_000},
        {"symbol": "not a symbol", "last": 1, "ts": now},
        {"symbol": symbol, "ts": now},
        {"symbol": symbol, "last": "60.01", "ts": now_ms()},
    ]
    answer = admin.call("POST", "/api/v1/prices", {"updates": updates})
    assert answer.status == 202
    assert answer.body["accepted"] == 1
    codes = sorted(refused["code"] for refused in answer.body["rejected"])
    assert codes == sorted(["UNKNOWN_SYMBOL", "CROSSED", "STALE", *["INVALID"] * 7])
    eventually(owner.state, lambda state: state["total_value"] == total("60.01"), "the good price")


def test_two_thousand_updates_in_one_call_are_refused_with_the_limit_and_nothing_is_stored(
    admin: Rest, symbol: str, holder: Callable[[str], Holder], hot: HotStore
) -> None:
    owner = holder("live")
    updates = [{"symbol": symbol, "last": 5, "ts": now_ms()}] * 2_000
    answer = admin.call("POST", "/api/v1/prices", {"updates": updates})
    assert answer.status == 400
    assert answer.body["error"]["code"] == "TOO_MANY_UPDATES"
    assert "1000" in answer.body["error"]["message"]
    assert "2000" in answer.body["error"]["message"]
    assert hot.get([symbol]) == {}
    assert owner.state()["calc_status"] == "unpriced"


def test_many_ticks_are_conflated_and_the_last_one_is_right(
    stack: Cloud, admin: Rest, symbol: str, holder: Callable[[str], Holder]
) -> None:
    owner = holder("live")
    post_price(admin, symbol, "1")
    with stack.socket(owner.name) as socket:
        socket.send({"action": "subscribe", "portfolio_ids": [owner.portfolio_id]})
        version = receive(socket, of_type("snapshot"), "the snapshot")["version"]
        ticks = 40
        for tick in range(1, ticks + 1):
            post_price(admin, symbol, tick)
        updates = 0
        value = None
        while value != total(str(ticks)):
            update = receive(socket, of_type("portfolio_update"), "the last value")["updates"][0]
            assert update["previous_version"] == version
            version = update["version"]
            value = update["data"].get("total_value", value)
            updates += 1
    assert updates < ticks


def test_a_silent_symbol_leaves_the_portfolio_unpriced_and_nothing_is_guessed(
    holder: Callable[[str], Holder], symbol: str
) -> None:
    state = holder("paper").state()
    assert state["calc_status"] == "unpriced"
    assert state["unpriced"] == [symbol]
    assert state["total_value"] is None
    assert state["weights"] is None
    assert state["cash_balance"] == Decimal("8998.50")


def test_a_price_that_grows_old_in_silence_shows_as_stale(
    admin: Rest, symbol: str, holder: Callable[[str], Holder]
) -> None:
    # Before anybody holds it: functions may know an instrument for a minute.
    admin.put(f"/api/v1/instruments/{symbol}", {"kind": "stock", "currency": "USD", "max_age_seconds": 3})
    owner = holder("live")

    def told_again() -> dict[str, Any]:
        """One price alone may be old before it is valued."""
        post_price(admin, symbol, "12.5")
        return owner.state()

    fresh = eventually(told_again, lambda state: state["calc_status"] == "ok", "the price")
    assert (fresh["total_value"], fresh["stale"]) == (total("12.5"), [])
    stale = eventually(owner.state, lambda state: state["stale"] == [symbol], "its age")
    assert stale["calc_status"] == "degraded"
    assert stale["total_value"] == fresh["total_value"]
