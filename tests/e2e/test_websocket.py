"""The WebSocket as its users meet it."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from foliostream.application.protocol import ACTIONS_AT_ONCE
from foliostream.application.watching import TOUCH_EVERY_MS
from foliostream_client.errors import SocketError
from foliostream_client.transport import Rest, Socket
from tests.e2e.conftest import (
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

# What the template says where nobody says otherwise.
SESSION_MS = 86_400_000


@pytest.mark.parametrize("token", [None, "nonsense"])
def test_without_a_genuine_token_there_is_no_connection(stack: Cloud, token: str | None) -> None:
    with pytest.raises(SocketError):
        Socket(stack.outputs.ws_url, token)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ('{"action": "subscribe", ', "INVALID_JSON"),
        ("[]", "INVALID_JSON"),
        ('{"action": "fly", "request_id": "7"}', "UNKNOWN_ACTION"),
        ("{}", "UNKNOWN_ACTION"),
        ('{"action": "subscribe"}', "PORTFOLIO_NEEDED"),
        ('{"action": "subscribe", "portfolio_ids": ["nobodys"], "channels": ["news"]}', "INVALID_MESSAGE"),
        ('{"action": "refresh", "portfolio_id": "nobodys"}', "PORTFOLIO_NOT_FOUND"),
        ('{"action": "resume", "portfolio_id": "nobodys", "last_version": 1}', "PORTFOLIO_NOT_FOUND"),
        ('{"action": "subscribe", "portfolio_ids": []}', "INVALID_MESSAGE"),
        ('{"action": "subscribe", "portfolio_ids": ["nobodys"]}', "PORTFOLIO_NOT_FOUND"),
        ('{"action": "analyze", "ticker": "AAPL", "portfolio_id": "nobodys"}', "PORTFOLIO_NOT_FOUND"),
        ('{"action": "cancel"}', "NOTHING_TO_CANCEL"),
        ('{"action": "ping", "request_id": "' + "x" * 33_000 + '"}', "MESSAGE_TOO_LARGE"),
    ],
)
def test_what_cannot_be_served_is_answered_and_the_connection_lives_on(stack: Cloud, sent: str, code: str) -> None:
    with stack.socket("somebody") as socket:
        socket.send(sent)
        error = receive(socket, anything, "the error")
        assert (error["type"], error["code"], error["retryable"]) == ("error", code, False)
        socket.send({"action": "ping", "request_id": "still-here"})
        pong = receive(socket, anything, "the pong")
        assert (pong["type"], pong["request_id"]) == ("pong", "still-here")
        assert pong["server_time"].endswith("Z")


def test_a_foreign_portfolio_cannot_be_watched_and_the_own_one_beside_it_can(
    stack: Cloud, admin: Rest, symbol: str, holder: Callable[[str], Holder]
) -> None:
    own, foreign = holder("live"), holder("live")
    with stack.socket(own.name) as socket:
        socket.send({"action": "subscribe", "portfolio_ids": [foreign.portfolio_id, own.portfolio_id]})
        by_type: dict[str, dict[str, Any]] = {}
        while not {"error", "subscribed", "snapshot"} <= by_type.keys():
            # The purchase may be valued once more meanwhile.
            message = receive(socket, of_type("error", "subscribed", "snapshot"), f"three messages, beside {by_type}")
            assert message["type"] not in by_type
            by_type[message["type"]] = message
        assert by_type["error"]["code"] == "PORTFOLIO_NOT_FOUND"
        assert by_type["subscribed"]["portfolio_ids"] == [own.portfolio_id]
        post_price(admin, symbol, 3)
        update = receive(socket, of_type("portfolio_update"), "the update")
        assert [item["portfolio_id"] for item in update["updates"]] == [own.portfolio_id]


def test_several_portfolios_come_in_one_message_and_none_after_unsubscribing(
    stack: Cloud, admin: Rest, symbol: str, holder: Callable[[str], Holder]
) -> None:
    owner = holder("live")
    with stack.socket(owner.name) as socket, stack.socket(owner.name) as beside:
        for client in (socket, beside):
            client.send({"action": "subscribe", "portfolio_ids": [owner.portfolio_id]})
            receive(client, of_type("snapshot"), "the snapshot")
        leave = {"action": "unsubscribe", "portfolio_ids": [owner.portfolio_id]}
        socket.send(leave)
        gone = receive(socket, of_type("unsubscribed"), "the acknowledgement")
        assert gone["portfolio_ids"] == []
        post_price(admin, symbol, 4)
        receive(beside, lambda message: has_total(message, total("4")), "the price where it is watched")
        # Answered in its turn, which is after all that is on its way.
        socket.send(leave | {"request_id": "again"})
        next_one = receive(socket, anything, "only the acknowledgement")
        assert (next_one["type"], next_one.get("request_id")) == ("unsubscribed", "again")


def test_a_client_that_left_is_forgotten(
    stack: Cloud, admin: Rest, symbol: str, holder: Callable[[str], Holder]
) -> None:
    owner = holder("live")
    with stack.socket(owner.name) as socket:
        socket.send({"action": "subscribe", "portfolio_ids": [owner.portfolio_id]})
        receive(socket, of_type("snapshot"), "the snapshot")
    post_price(admin, symbol, 9)
    table = stack.outputs.resources["SessionsTableName"]

    def rows() -> list[object]:
        scanned = stack.aws("dynamodb").scan(TableName=table, ConsistentRead=True)["Items"]
        # Its session stays, with what it was sent.
        connections = (item for item in scanned if item["pk"]["S"].startswith("CONNECTION#"))
        return [item for item in connections if owner.portfolio_id in str(item)]

    eventually(rows, lambda found: not found, "the rows of the connection")


def test_a_ticket_opens_one_connection(stack: Cloud, symbol: str, holder: Callable[[str], Holder]) -> None:
    assert symbol
    owner = holder("live")
    url = owner.rest.post("/api/v1/ws-ticket", {})["url"]
    with Socket(url) as socket:
        socket.send({"action": "subscribe"})
        assert receive(socket, of_type("subscribed"), "the acknowledgement")["portfolio_ids"] == [owner.portfolio_id]
        with pytest.raises(SocketError):
            Socket(url)
    with pytest.raises(SocketError):
        Socket(stack.outputs.ws_url, query="ticket=guessed")


def has_positions(message: dict[str, Any]) -> bool:
    return message["type"] == "portfolio_update" and "positions" in message["updates"][0]["data"]


def test_a_fill_comes_with_the_state_that_it_made(stack: Cloud, symbol: str, holder: Callable[[str], Holder]) -> None:
    owner = holder("live")
    with stack.socket(owner.name) as socket:
        socket.send({"action": "subscribe", "portfolio_ids": [owner.portfolio_id]})
        receive(socket, of_type("snapshot"), "the snapshot")
        report_fill(stack, owner, symbol, "f-1")
        fill = receive(socket, of_type("fill"), "the fill")
        assert (fill["event_id"], fill["quantity_after"]) == (f"fill:{owner.portfolio_id}:f-1", 12)
        # One before it may be of the purchase.
        update = receive(socket, has_positions, "the state after it")
        [position] = update["updates"][0]["data"]["positions"][:1]
        assert (position["instrument_id"], position["quantity"]) == (symbol, 12)


def test_who_comes_back_finds_the_session_and_hears_what_was_missed(
    stack: Cloud, admin: Rest, symbol: str, holder: Callable[[str], Holder]
) -> None:
    owner = holder("live")
    session = f"session-{owner.name}"
    with stack.socket(owner.name, query=f"session_id={session}") as socket:
        socket.send({"action": "subscribe", "portfolio_ids": [owner.portfolio_id], "channels": ["state", "fills"]})
        assert receive(socket, of_type("subscribed"), "the acknowledgement")["session_id"] == session
        version = receive(socket, of_type("snapshot"), "the snapshot")["version"]
    report_fill(stack, owner, symbol, "f-2")
    post_price(admin, symbol, 7)
    newest = eventually(owner.state, lambda state: state["total_value"] == after(7), "fill and price")["version"]
    with stack.socket(owner.name, query=f"session_id={session}") as socket:
        socket.send({"action": "resume", "portfolio_id": owner.portfolio_id, "last_version": version})
        seen: list[dict[str, object]] = []
        # The fill may be announced only now: then it comes after the state.
        wanted = {f"fill:{owner.portfolio_id}:f-2"}
        everything_received(socket, seen, lambda: wanted == ids(seen) and any(reached(item, newest) for item in seen))
        assert [item["event_id"] for item in seen if item["type"] == "fill"] == [*wanted]
        restored = [item for item in seen if item["type"] == "subscribed"]
        assert [item["channels"] for item in restored] == [{owner.portfolio_id: ["state", "fills"]}]
    with pytest.raises(SocketError):
        stack.socket("mallory", query=f"session_id={session}")


def test_a_session_ends_a_day_after_its_clients_last_message_whatever_the_market_does(
    stack: Cloud, admin: Rest, symbol: str, holder: Callable[[str], Holder]
) -> None:
    owner = holder("live")
    query = f"session_id=session-{owner.name}"
    client, table = stack.aws("dynamodb"), stack.outputs.resources["SessionsTableName"]
    key = {"pk": {"S": f"SESSION#session-{owner.name}"}, "sk": {"S": "SESSION"}}

    def end_ms() -> int:
        return int(client.get_item(TableName=table, Key=key, ConsistentRead=True)["Item"]["expires_at_ms"]["N"])

    begun_ms = now_ms()
    with stack.socket(owner.name, query=query) as socket:
        socket.send({"action": "subscribe", "portfolio_ids": [owner.portfolio_id]})
        receive(socket, of_type("snapshot"), "the snapshot")
        first_ms = end_ms()
        # A message moves the end, though not each of them: it is a minute further than it must be.
        assert begun_ms + SESSION_MS <= first_ms <= now_ms() + SESSION_MS + TOUCH_EVERY_MS
        post_price(admin, symbol, 8)
        receive(socket, of_type("portfolio_update"), "the update")
    assert end_ms() == first_ms
    with stack.socket(owner.name, query=query) as socket:
        socket.send({"action": "ping"})
        back = [receive(socket, of_type("subscribed", "pong"), "what it was subscribed to") for _ in range(2)]
        assert {message.get("restored") for message in back} == {True, None}
        assert end_ms() >= first_ms
    day_over = {":past": {"N": str(now_ms() - 1)}}
    client.update_item(
        TableName=table, Key=key, UpdateExpression="SET expires_at_ms = :past", ExpressionAttributeValues=day_over
    )
    with stack.socket(owner.name, query=query) as socket:
        socket.send({"action": "ping"})
        assert receive(socket, anything, "only the pong")["type"] == "pong"
        socket.send({"action": "unsubscribe", "portfolio_ids": [owner.portfolio_id]})
        assert receive(socket, anything, "nothing else")["portfolio_ids"] == []


def test_a_second_connection_takes_the_session_and_the_first_is_told_and_closed(
    stack: Cloud, symbol: str, holder: Callable[[str], Holder]
) -> None:
    assert symbol
    owner = holder("live")
    query = f"session_id=session-{owner.name}"
    with stack.socket(owner.name, query=query) as first, stack.socket(owner.name, query=query) as second:
        told = receive(first, anything, "the goodbye")
        assert (told["type"], told["code"]) == ("error", "SESSION_TAKEN_OVER")
        with pytest.raises(SocketError):
            receive(first, anything, "nothing any more")
        second.send({"action": "ping"})
        receive(second, of_type("pong"), "the pong")


def test_a_refresh_values_at_once(stack: Cloud, admin: Rest, symbol: str, holder: Callable[[str], Holder]) -> None:
    owner = holder("paper")
    post_price(admin, symbol, 5)
    with stack.socket(owner.name) as socket:
        socket.send({"action": "subscribe"})
        version = receive(socket, of_type("snapshot"), "the snapshot")["version"]
        socket.send({"action": "refresh", "request_id": "r"})
        assert receive(socket, of_type("refresh_accepted"), "the answer")["request_id"] == "r"
        receive(socket, lambda message: reached(message, version + 1), "a newer version")


def test_who_says_too_much_is_told_to_wait(stack: Cloud) -> None:
    with stack.socket("chatterbox") as socket:
        # Enough also for a machine that takes hardly more than the ten a second that are allowed.
        for _ in range(ACTIONS_AT_ONCE * 8):
            socket.send({"action": "ping"})
        refused = receive(socket, of_type("error"), "the refusal")
        assert (refused["code"], refused["retryable"]) == ("RATE_LIMITED", True)


def report_fill(stack: Cloud, owner: Holder, symbol: str, fill_id: str) -> None:
    """Two more, bought at 101."""
    fill = {
        "fill_id": fill_id,
        "portfolio_id": owner.portfolio_id,
        "instrument_id": symbol,
        "side": "BUY",
        "quantity": 2,
        "fill_price": 101,
        "timestamp": now_ms(),
    }
    assert stack.rest(owner.name, ("fills:write",)).post("/api/v1/fills", fill)["accepted"] == 1


def after(price: int) -> Decimal:
    """The holder's total value after the fill, which has no fee."""
    return total(price) - 2 * 101 + 2 * price


def ids(seen: list[dict[str, object]]) -> set[object]:
    """Of the events among them."""
    return {message["event_id"] for message in seen if "event_id" in message}


def reached(message: dict[str, object], version: int) -> bool:
    """Whether it brings a state at least as new."""
    updates: Any = message.get("updates", [message] if message["type"] == "snapshot" else [])
    return any(update["version"] >= version for update in updates)


def everything_received(socket: Socket, seen: list[dict[str, object]], holds: Callable[[], bool]) -> None:
    """Receive into ``seen`` until all of it is there."""

    def noted(message: dict[str, Any]) -> bool:
        seen.append(message)
        return holds()

    receive(socket, noted, "what was missed")
