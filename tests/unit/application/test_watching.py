"""What a client may say on its socket, and what it is answered."""

from __future__ import annotations

import json

import pytest

from foliostream.application.protocol import MAX_CLIENT_MESSAGE_BYTES, MAX_SUBSCRIPTIONS
from foliostream.application.watching import MAX_CONNECTION_MS
from foliostream.domain.times import iso
from foliostream.errors import RetryableError
from foliostream.ports import IDLE_MS
from tests.unit.application.system import BOB, System
from tests.unit.domain.examples import NOW

FRAME = 32_768


@pytest.fixture
def system() -> System:
    system = System()
    system.open("one", "AAPL")
    system.open("two", "MSFT")
    system.open("bobs", "AAPL", caller=BOB)
    system.clock.time_ms = NOW + 60_000
    system.connect()
    return system


def said(system: System, body: str | dict[str, object]) -> list[dict[str, object]]:
    """What the client is answered at once."""
    system.watching.receive("c1", body if isinstance(body, str) else json.dumps(body))
    assert all(len(raw) < FRAME for raw in system.gateway.to("c1")), "an answer fits into a frame"
    return system.messages()


def error(system: System, body: str | dict[str, object]) -> dict[str, object]:
    (answer,) = said(system, body)
    assert answer["type"] == "error"
    assert answer["timestamp"] == iso(system.clock.now_ms())
    return answer


def test_a_ping_is_answered_with_the_servers_time(system: System) -> None:
    assert said(system, {"action": "ping", "request_id": "r"}) == [
        {
            "type": "pong",
            "timestamp": "2026-02-26T10:31:00.000Z",
            "server_time": "2026-02-26T10:31:00.000Z",
            "request_id": "r",
        }
    ]
    assert "request_id" not in said(system, {"action": "ping"})[0]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("", "INVALID_JSON"),
        ("{", "INVALID_JSON"),
        ("hello", "INVALID_JSON"),
        ("[]", "INVALID_JSON"),
        ("null", "INVALID_JSON"),
        ("\ud800", "INVALID_JSON"),
        ('{"action": "ping", "request_id": "\\ud800"}', "INVALID_JSON"),
        ('{"action": ' + "[" * 15_000 + "]" * 15_000 + "}", "INVALID_JSON"),
        ('{"other": ' + "[" * 15_000 + "]" * 15_000 + "}", "INVALID_JSON"),
        ("{}", "UNKNOWN_ACTION"),
        ({"action": "dance"}, "UNKNOWN_ACTION"),
        ({"action": None}, "UNKNOWN_ACTION"),
        ({"action": []}, "UNKNOWN_ACTION"),
        ({"action": {"a": 1}}, "UNKNOWN_ACTION"),
        ({"action": 7}, "UNKNOWN_ACTION"),
        ({"action": "PING"}, "UNKNOWN_ACTION"),
        ({"action": "ping", "more": 1}, "INVALID_MESSAGE"),
        ({"action": "ping", "request_id": 7}, "INVALID_MESSAGE"),
        ({"action": "ping", "request_id": "x" * 30_000}, "INVALID_MESSAGE"),
        ({"action": "subscribe"}, "PORTFOLIO_NEEDED"),
        ({"action": "subscribe", "portfolio_ids": ["one"], "channels": []}, "INVALID_MESSAGE"),
        ({"action": "subscribe", "portfolio_ids": ["one"], "channels": ["news"]}, "INVALID_MESSAGE"),
        ({"action": "resume", "portfolio_id": "one"}, "INVALID_MESSAGE"),
        ({"action": "resume", "portfolio_id": "one", "last_version": -1}, "INVALID_MESSAGE"),
        ({"action": "resume", "portfolio_id": "one", "last_version": "17"}, "INVALID_MESSAGE"),
        ({"action": "resume", "portfolio_id": "one", "last_version": 17.0}, "INVALID_MESSAGE"),
        ({"action": "resume", "portfolio_id": "one", "last_version": 2**53 + 1}, "INVALID_MESSAGE"),
        ({"action": "resume", "portfolio_id": "bobs", "last_version": 1}, "PORTFOLIO_NOT_FOUND"),
        ({"action": "resume", "last_version": 1}, "PORTFOLIO_NEEDED"),
        ({"action": "refresh", "portfolio_id": "bobs"}, "PORTFOLIO_NOT_FOUND"),
        ({"action": "refresh", "portfolio_id": ["one"]}, "INVALID_MESSAGE"),
        ({"action": "refresh"}, "PORTFOLIO_NEEDED"),
        ({"action": "subscribe", "portfolio_ids": []}, "INVALID_MESSAGE"),
        ({"action": "subscribe", "portfolio_ids": "one"}, "INVALID_MESSAGE"),
        ({"action": "subscribe", "portfolio_ids": [1]}, "INVALID_MESSAGE"),
        ({"action": "subscribe", "portfolio_ids": [""]}, "INVALID_MESSAGE"),
        ({"action": "subscribe", "portfolio_ids": ["x" * 30_000]}, "INVALID_MESSAGE"),
        ({"action": "subscribe", "portfolio_ids": ["one\n"]}, "INVALID_MESSAGE"),
        ({"action": "subscribe", "portfolio_ids": ["x"] * 51}, "INVALID_MESSAGE"),
        ({"action": "unsubscribe", "portfolio_ids": []}, "INVALID_MESSAGE"),
        ("x" * (MAX_CLIENT_MESSAGE_BYTES + 1), "MESSAGE_TOO_LARGE"),
        ("é" * MAX_CLIENT_MESSAGE_BYTES, "MESSAGE_TOO_LARGE"),
    ],
)
def test_whatever_is_wrong_is_answered_with_an_error_and_the_connection_lives_on(
    system: System, body: str | dict[str, object], code: str
) -> None:
    answer = error(system, body)
    assert (answer["code"], answer["retryable"]) == (code, False)
    assert said(system, {"action": "ping"})[0]["type"] == "pong"


def test_an_error_repeats_the_request_id_where_there_is_one(system: System) -> None:
    assert error(system, {"action": "dance", "request_id": "r7"})["request_id"] == "r7"
    assert "request_id" not in error(system, {"action": "dance", "request_id": ["r7"]})


def test_a_foreign_portfolio_and_an_unknown_one_are_answered_alike(system: System) -> None:  # G11
    foreign = error(system, {"action": "subscribe", "portfolio_ids": ["bobs"], "request_id": "r"})
    unknown = error(system, {"action": "subscribe", "portfolio_ids": ["nobs"], "request_id": "r"})
    assert foreign == {
        "type": "error",
        "timestamp": "2026-02-26T10:31:00.000Z",
        "code": "PORTFOLIO_NOT_FOUND",
        "message": "no portfolio bobs",
        "retryable": False,
        "request_id": "r",
    }
    assert unknown == foreign | {"message": "no portfolio nobs"}


def test_nobody_watches_what_is_not_theirs(system: System) -> None:  # G11
    said(system, {"action": "subscribe", "portfolio_ids": ["bobs", "one"]})
    assert system.watchers() == {"one": {"c1": NOW + 60_000 + 3_600_000 + IDLE_MS}}
    view = system.connections.view("c1", system.clock.now_ms())
    assert view is not None
    assert [item.portfolio_id for item in view.subscriptions] == ["one"]


def test_own_portfolios_are_watched_though_another_in_the_list_is_refused(system: System) -> None:
    answers = said(system, {"action": "subscribe", "portfolio_ids": ["bobs", "one", "one"]})
    assert [answer["code"] for answer in answers] == ["PORTFOLIO_NOT_FOUND"]
    system.flush()
    assert [message["type"] for message in system.messages()] == ["subscribed", "snapshot"]


def test_the_watcher_is_registered_before_the_subscription_is_acknowledged(system: System) -> None:
    order: list[str] = []
    for store, name in ((system.hot, "watch"), (system.connections, "subscribe"), (system.connections, "enqueue")):
        setattr(store, name, noting(order, name, getattr(store, name)))
    system.subscribe("one")
    assert order == ["watch", "subscribe", "enqueue"]


def noting(order: list[str], name: str, call: object) -> object:
    def noted(*arguments: object) -> object:
        order.append(name)
        return call(*arguments)  # type: ignore[operator]

    return noted


def test_subscribing_again_sends_the_snapshot_again(system: System) -> None:
    system.subscribe("one")
    system.flush()
    system.messages()
    system.subscribe("one")
    system.flush()
    assert [message["type"] for message in system.messages()] == ["subscribed", "snapshot"]


def test_an_acknowledgement_names_all_that_is_now_active(system: System) -> None:
    system.subscribe("one")
    system.subscribe("two")
    system.watching.receive("c1", json.dumps({"action": "unsubscribe", "portfolio_ids": ["one", "ghost"]}))
    system.flush()
    acknowledged = [m for m in system.messages() if m["type"] in {"subscribed", "unsubscribed"}]
    assert [(m["type"], m["portfolio_ids"]) for m in acknowledged] == [
        ("subscribed", ["one"]),
        ("subscribed", ["one", "two"]),
        ("unsubscribed", ["two"]),
    ]


def test_after_unsubscribing_nothing_more_is_sent_of_it(system: System) -> None:
    system.subscribe("one")
    system.flush()
    system.watching.receive("c1", json.dumps({"action": "unsubscribe", "portfolio_ids": ["one"]}))
    system.flush()
    system.messages()
    system.tick("AAPL", "150")
    system.settle()
    assert system.queues.receive("push") == []
    assert system.watchers() == {}


def test_a_connection_watches_fifty_portfolios_and_no_more(system: System) -> None:
    names = [f"p{number}" for number in range(MAX_SUBSCRIPTIONS)]
    for name in names:
        system.open(name)
    assert said(system, {"action": "subscribe", "portfolio_ids": names}) == []
    assert said(system, {"action": "subscribe", "portfolio_ids": names}) == [], "the same again are no more"
    answer = error(system, {"action": "subscribe", "portfolio_ids": ["one"]})
    assert answer["code"] == "TOO_MANY_SUBSCRIPTIONS"
    assert "51 asked" in str(answer["message"])


def test_a_connection_expires_with_its_token(system: System) -> None:
    system.connect(lives_ms=10_000)
    system.clock.advance(9_999)
    assert said(system, {"action": "ping"})[0]["type"] == "pong"
    system.clock.advance(1)
    (answer,) = said(system, {"action": "subscribe", "portfolio_ids": ["one"]})
    assert (answer["type"], answer["code"]) == ("error", "TOKEN_EXPIRED")
    assert system.watchers() == {}


def test_no_connection_outlives_what_the_gateway_allows(system: System) -> None:
    system.connect(lives_ms=10 * MAX_CONNECTION_MS)
    view = system.connections.view("c1", system.clock.now_ms())
    assert view is not None
    assert view.connection.expires_at_ms == system.clock.now_ms() + MAX_CONNECTION_MS


def test_a_connection_nobody_opened_is_told_to_connect(system: System) -> None:
    system.watching.receive("c9", '{"action": "ping"}')
    assert [message["code"] for message in system.messages("c9")] == ["TOKEN_EXPIRED"]


def test_a_failing_store_is_told_to_the_client_and_raised(system: System) -> None:
    def fail(_: object) -> dict[str, object]:
        raise RetryableError("the ledger fails")

    system.ledger.load = fail  # type: ignore[method-assign, assignment]
    with pytest.raises(RetryableError):
        system.subscribe("one")
    (answer,) = system.messages()
    assert (answer["code"], answer["retryable"]) == ("UNAVAILABLE", True)


def test_a_client_that_left_is_forgotten(system: System) -> None:
    system.subscribe("one")
    system.watching.disconnect("c1")
    system.watching.disconnect("c1")
    assert system.connections.view("c1", system.clock.now_ms()) is None
    assert system.watchers() == {}


def test_a_client_that_is_gone_when_answered_is_forgotten(system: System) -> None:
    system.subscribe("one")
    system.gateway.gone = {"c1"}
    system.watching.receive("c1", '{"action": "ping"}')
    assert system.connections.view("c1", system.clock.now_ms()) is None
    assert system.watchers() == {}
