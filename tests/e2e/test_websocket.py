"""The WebSocket as its users meet it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from local.client import Rest, Socket, SocketError
from tests.e2e.conftest import Cloud, Holder, anything, eventually, of_type, post_price, receive


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
        ('{"action": "subscribe"}', "INVALID_MESSAGE"),
        ('{"action": "subscribe", "portfolio_ids": []}', "INVALID_MESSAGE"),
        ('{"action": "subscribe", "portfolio_ids": ["nobodys"]}', "PORTFOLIO_NOT_FOUND"),
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
        seen = [receive(socket, anything, "three messages") for _ in range(3)]
        assert {message["type"] for message in seen} == {"error", "subscribed", "snapshot"}
        by_type = {message["type"]: message for message in seen}
        assert by_type["error"]["code"] == "PORTFOLIO_NOT_FOUND"
        assert by_type["subscribed"]["portfolio_ids"] == [own.portfolio_id]
        post_price(admin, symbol, 3)
        update = receive(socket, of_type("portfolio_update"), "the update")
        assert [item["portfolio_id"] for item in update["updates"]] == [own.portfolio_id]


def test_several_portfolios_come_in_one_message_and_none_after_unsubscribing(
    stack: Cloud, admin: Rest, symbol: str, holder: Callable[[str], Holder]
) -> None:
    owner = holder("live")
    with stack.socket(owner.name) as socket:
        socket.send({"action": "subscribe", "portfolio_ids": [owner.portfolio_id]})
        receive(socket, of_type("snapshot"), "the snapshot")
        socket.send({"action": "unsubscribe", "portfolio_ids": [owner.portfolio_id], "request_id": "u"})
        gone = receive(socket, of_type("unsubscribed"), "the acknowledgement")
        assert gone["portfolio_ids"] == []
        post_price(admin, symbol, 4)
        eventually(owner.state, lambda state: state["calc_status"] == "ok", "the price")
        socket.send({"action": "ping"})
        assert receive(socket, anything, "only the pong")["type"] == "pong"


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
        return [item for item in scanned if owner.portfolio_id in str(item)]

    eventually(rows, lambda found: not found, "the rows of the connection")
