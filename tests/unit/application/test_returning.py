"""Clients that come back: with a session, with a version they have, or with both; and what they may leave out."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest

from foliostream.application.announcing import PACKED_MAX
from foliostream.application.protocol import (
    ACTIONS,
    ACTIONS_AT_ONCE,
    ACTIONS_PER_SECOND,
    ERROR_CODES,
)
from foliostream.application.push import OUTBOX_MAX
from foliostream.application.subscribing import REPLAYED_MAX
from foliostream.application.watching import TOUCH_EVERY_MS
from foliostream.domain.notices import Notice
from foliostream.errors import CallerError, PermanentError, UnauthorizedError
from tests.unit.application.system import BOB, KEPT_MS, LEVELS, System, received, uncomputed
from tests.unit.domain.examples import NOW
from tests.unit.domain.watcher import Watcher

SESSION = "session-of-alice"
METRICS = ("portfolio_risk", "momentum")


@pytest.fixture
def system() -> System:
    system = System()
    system.open("one", "AAPL")
    system.open("two", "MSFT")
    system.open("bobs", "AAPL", caller=BOB)
    system.clock.time_ms = NOW + 60_000
    system.tick("AAPL", "100")
    system.tick("MSFT", "100")
    system.settle()
    system.queues.receive("push")
    connect(system)
    return system


def connect(system: System, connection_id: str = "c1", owner: str = "alice") -> None:
    system.watching.connect(connection_id, owner, (), system.clock.now_ms() + 3_600_000, SESSION)


def say(system: System, action: str, connection_id: str = "c1", **content: object) -> list[dict[str, Any]]:
    system.watching.receive(connection_id, json.dumps({"action": action} | content))
    return told(system, connection_id)


def told(system: System, connection_id: str = "c1") -> list[dict[str, Any]]:
    """All that is to be sent, in as many flushes as it takes."""
    messages: list[dict[str, Any]] = []
    while found := system.queues.receive("push"):
        assert system.push(received(found)) == []
        messages += system.messages(connection_id)
    return messages + system.messages(connection_id)


def kinds(messages: list[dict[str, Any]]) -> list[str]:
    return [message["type"] for message in messages]


def move(system: System, last: str, symbol: str = "AAPL") -> None:
    system.clock.advance(5_000)
    system.tick(symbol, last)
    system.settle()


def call(number: int, portfolio_id: str = "one") -> Notice:
    return Notice(
        portfolio_id,
        f"margin_call:{portfolio_id}:{number}",
        "margin_call",
        NOW,
        LEVELS | {"level_percent": Decimal(number)},
    )


# --- resume ----------------------------------------------------------------------------------------------------------


def test_who_has_the_newest_version_is_sent_only_what_changes_from_now_on(system: System) -> None:
    version = system.state("one").version
    resumed = say(system, "resume", portfolio_id="one", last_version=version, request_id="r")
    assert kinds(resumed) == ["resumed"]
    assert (resumed[0]["portfolio_id"], resumed[0]["portfolio_ids"], resumed[0]["request_id"]) == ("one", ["one"], "r")
    move(system, "110")
    system.flush()
    ((update,),) = [message["updates"] for message in system.messages()]
    assert (update["previous_version"], update["version"]) == (version, system.state("one").version)
    assert "portfolio_name" not in update["data"], "only what changed"


def test_a_gap_of_which_it_is_known_what_the_client_has_is_filled_by_one_update(system: System) -> None:
    say(system, "subscribe", portfolio_ids=["one"])
    move(system, "110")
    system.flush()
    watcher = Watcher()
    version = system.messages()[0]["updates"][0]["version"]
    watcher.state = {"version": version}
    system.watching.disconnect("c1")
    move(system, "120")
    connect(system, "c2")
    system.watching.receive("c2", json.dumps({"action": "resume", "portfolio_id": "one", "last_version": version}))
    system.flush()
    last = system.messages("c2")[-1]
    assert last["type"] == "portfolio_update"
    (update,) = last["updates"]
    assert (update["previous_version"], update["version"]) == (version, system.state("one").version)
    assert update["data"]["total_value"] == 10_200
    assert "portfolio_name" not in update["data"], "only what changed"


@pytest.mark.parametrize("behind", [-1, 5, 10_000])
def test_a_gap_that_cannot_be_filled_is_said_and_a_snapshot_follows(system: System, behind: int) -> None:
    version = system.state("one").version
    resumed = say(system, "resume", portfolio_id="one", last_version=version - behind)
    assert kinds(resumed) == ["resumed", "resync_required", "snapshot"]
    assert (resumed[1]["portfolio_id"], resumed[1]["reason"]) == ("one", "GAP")
    assert resumed[2]["version"] == version


def test_a_version_before_the_one_sent_last_is_no_known_one(system: System) -> None:
    say(system, "subscribe", portfolio_ids=["one"])
    version = system.state("one").version
    move(system, "110")
    system.flush()
    system.watching.disconnect("c1")
    connect(system, "c2")
    resumed = say(system, "resume", "c2", portfolio_id="one", last_version=version)
    assert kinds(resumed)[-2:] == ["resync_required", "snapshot"], "the last update may never have arrived"


def test_notices_since_the_version_are_sent_again_in_order_each_once(system: System) -> None:
    say(system, "subscribe", portfolio_ids=["one"])
    system.announce([call(1)])
    move(system, "110")
    system.flush()
    (update,) = [message for message in system.messages() if message["type"] == "portfolio_update"]
    version = update["updates"][0]["version"]
    system.watching.disconnect("c1")
    for number in (2, 3, 3, 4):
        system.clock.advance(30_000)
        system.announce([call(number)])
    connect(system, "c2")
    resumed = say(system, "resume", "c2", portfolio_id="one", last_version=version)
    events = [message["event_id"] for message in resumed if "event_id" in message]
    assert events[-3:] == [f"margin_call:one:{number}" for number in (2, 3, 4)]
    assert len(set(events)) == len(events)


def test_what_is_announced_while_a_client_resumes_is_not_lost(system: System) -> None:
    since = system.notices.since

    def announced_meanwhile(*arguments: Any) -> Any:  # noqa: ANN401 - whatever the port has
        found = since(*arguments)
        system.announce([call(9)])
        return found

    system.notices.since = announced_meanwhile  # type: ignore[method-assign]
    resumed = say(system, "resume", portfolio_id="one", last_version=system.state("one").version)
    assert [message["event_id"] for message in resumed if "event_id" in message] == ["margin_call:one:9"]


def test_notices_go_only_to_the_channels_asked_for(system: System) -> None:
    say(system, "subscribe", portfolio_ids=["one"], channels=["fills"])
    system.announce([call(1)])
    system.flush()
    assert system.messages() == []
    resumed = say(system, "resume", portfolio_id="one", last_version=system.state("one").version)
    assert kinds(resumed) == ["resumed"], "it keeps its channels"
    assert resumed[0]["channels"] == {"one": ["fills"]}


def test_too_many_notices_are_said_and_the_newest_are_sent(system: System) -> None:
    for number in range(REPLAYED_MAX + 1):
        system.announce([call(number)])
        system.clock.advance(1)
    resumed = say(system, "resume", portfolio_id="one", last_version=system.state("one").version)
    assert [m["reason"] for m in resumed if m["type"] == "resync_required"] == ["TOO_MANY_EVENTS"]
    assert kinds(resumed).count("margin_call") == REPLAYED_MAX
    assert kinds(resumed)[-1] == "snapshot"


def test_what_was_missed_of_many_portfolios_comes_whole_however_much_it_is(system: System) -> None:
    names = ["one", "two", "three", "four"]
    for name in names[2:]:
        system.open(name, "AAPL")
    system.settle()
    versions = {name: system.state(name).version for name in names}
    for number in range(REPLAYED_MAX - 1):
        system.clock.advance(1)
        system.announce([call(number, name) for name in names])
    for name in names:
        body = {"action": "resume", "portfolio_id": name, "last_version": versions[name]}
        system.watching.receive("c1", json.dumps(body))
    messages = told(system)
    events = [message["event_id"] for message in messages if "event_id" in message]
    assert sorted(events) == sorted(f"margin_call:{name}:{n}" for name in names for n in range(REPLAYED_MAX - 1))
    for name in names:
        of_it = [message for message in messages if message.get("portfolio_id") == name]
        assert kinds(of_it) == ["margin_call"] * (REPLAYED_MAX - 1) + ["resumed"], name
    assert len(events) > OUTBOX_MAX


@pytest.mark.parametrize("missed", [PACKED_MAX + 50, REPLAYED_MAX + 1])
def test_what_is_asked_again_before_it_is_answered_comes_once(system: System, missed: int) -> None:
    version = system.state("one").version
    for number in range(missed):
        system.clock.advance(1)
        system.announce([call(number)])
    asked = json.dumps({"action": "resume", "portfolio_id": "one", "last_version": version})
    for _ in range(3):
        system.watching.receive("c1", asked)
        system.clock.advance(1_000)
    counts = Counter(kinds(told(system)))
    assert (counts["margin_call"], counts["resumed"]) == (min(missed, REPLAYED_MAX), 1)
    system.watching.receive("c1", asked)
    assert "resumed" in kinds(told(system)), "it was answered: this is another question"


def test_who_unsubscribed_while_an_answer_waits_is_subscribed_when_asking_again(system: System) -> None:
    asked = {"action": "resume", "portfolio_id": "one", "last_version": system.state("one").version}
    for body in (asked, {"action": "unsubscribe", "portfolio_ids": ["one"]}, asked):
        system.watching.receive("c1", json.dumps(body))
    told(system)
    move(system, "101")
    system.settle()
    assert kinds(told(system)) == ["portfolio_update"]


def test_another_version_than_the_one_waiting_to_be_answered_is_another_question(system: System) -> None:
    version = system.state("one").version
    for last_version in (version - 1, version):
        system.watching.receive(
            "c1", json.dumps({"action": "resume", "portfolio_id": "one", "last_version": last_version})
        )
    assert kinds(told(system)) == ["resumed", "resumed"], "nothing is to be sent to who has the newest"


def test_a_version_older_than_what_is_kept_is_said_and_a_snapshot_follows(system: System) -> None:
    old = system.clock.now_ms() - KEPT_MS - 1
    resumed = say(system, "resume", portfolio_id="one", last_version=old)
    assert kinds(resumed) == ["resync_required", "resumed", "snapshot"]
    assert resumed[0]["reason"] == "TOO_OLD"


# --- sessions --------------------------------------------------------------------------------------------------------


def test_a_client_that_comes_back_finds_its_subscriptions_at_its_first_message(system: System) -> None:
    say(system, "subscribe", portfolio_ids=["one"], channels=["state", "margin"])
    say(system, "subscribe", portfolio_ids=["two"])
    system.watching.disconnect("c1")
    assert system.watchers() == {}
    connect(system, "c2")
    assert system.watchers() == {}, "nothing can be posted before the connection stands"
    came_back = say(system, "ping", "c2")
    assert sorted(kinds(came_back)) == ["pong", "snapshot", "snapshot", "subscribed"]
    (acknowledged,) = [message for message in came_back if message["type"] == "subscribed"]
    assert (acknowledged["portfolio_ids"], acknowledged["restored"]) == (["one", "two"], True)
    assert acknowledged["channels"]["one"] == ["state", "margin"]
    assert acknowledged["session_id"] == SESSION
    assert kinds(say(system, "ping", "c2")) == ["pong"], "once"


def test_a_client_that_comes_back_finds_its_analysis_with_its_results(system: System) -> None:
    view = system.connections.view("c1", system.clock.now_ms())
    assert view is not None
    old, run = (
        system.runs.open(
            view.connection, ticker=ticker, portfolio_id="one", version=17, metrics=METRICS, start=uncomputed
        )
        for ticker in ("MSFT", "AAPL")
    )
    system.runs.result(SESSION, run, METRICS[0], {"value": 1})
    system.flush()
    system.messages()
    system.watching.disconnect("c1")
    system.runs.result(SESSION, run, METRICS[1], {"value": 2})
    connect(system, "c2")
    came_back = say(system, "ping", "c2")
    assert kinds(came_back) == ["pong", "subscribed", "analysis_started", "analysis_result", "analysis_result"]
    assert old.run_id not in str(came_back), "what was given up is over"


def test_what_was_left_is_not_found_again(system: System) -> None:
    say(system, "subscribe", portfolio_ids=["one", "two"])
    say(system, "unsubscribe", portfolio_ids=["one"])
    system.watching.disconnect("c1")
    connect(system, "c2")
    (acknowledged,) = [message for message in say(system, "ping", "c2") if message["type"] == "subscribed"]
    assert acknowledged["portfolio_ids"] == ["two"]


def test_nobody_else_takes_a_session(system: System) -> None:  # G11
    say(system, "subscribe", portfolio_ids=["one"])
    with pytest.raises(UnauthorizedError) as refused:
        connect(system, "c2", owner="mallory")
    assert refused.value.code == "SESSION_NOT_YOURS"
    assert system.connections.view("c2", system.clock.now_ms()) is None


@pytest.mark.parametrize("session_id", ["", "short", "x" * 129, "session of alice", "sessión-1", "session-1\n"])
def test_a_session_id_that_cannot_be_is_refused(system: System, session_id: str) -> None:
    with pytest.raises(CallerError) as refused:
        system.watching.connect("c2", "alice", (), system.clock.now_ms() + 3_600_000, session_id)
    assert refused.value.code == "INVALID_SESSION_ID"


def test_a_portfolio_that_is_somebody_elses_by_now_is_not_restored(system: System) -> None:  # G11
    say(system, "subscribe", portfolio_ids=["one", "two"])
    system.sessions.remember(SESSION, {"bobs": ("state",)})
    system.watching.disconnect("c1")
    connect(system, "c2")
    (acknowledged,) = [message for message in say(system, "ping", "c2") if message["type"] == "subscribed"]
    assert acknowledged["portfolio_ids"] == ["one", "two"]
    assert set(system.watchers()) == {"one", "two"}


def test_the_newest_connection_has_the_session_and_the_one_before_is_told(system: System) -> None:
    say(system, "subscribe", portfolio_ids=["one"])
    connect(system, "c2")
    (told,) = system.messages()
    assert (told["type"], told["code"]) == ("error", "SESSION_TAKEN_OVER")
    assert "c1" in system.gateway.gone
    assert system.watchers() == {}
    assert sorted(kinds(say(system, "ping", "c2"))) == ["pong", "snapshot", "subscribed"]


def test_a_session_ends_a_day_after_the_last_message_and_market_updates_do_not_move_that(system: System) -> None:
    say(system, "subscribe", portfolio_ids=["one"])
    system.clock.advance(10 * TOUCH_EVERY_MS)
    said_at_ms = system.clock.now_ms()
    say(system, "ping")
    for number in range(30):
        move(system, f"{110 + number}")
        system.flush()
    system.watching.disconnect("c1")
    end_ms = system.sessions.sessions[SESSION].expires_at_ms
    assert said_at_ms + KEPT_MS <= end_ms <= said_at_ms + KEPT_MS + TOUCH_EVERY_MS
    system.clock.time_ms = end_ms
    connect(system, "c2")
    assert kinds(say(system, "ping", "c2")) == ["pong"]


def test_a_connection_without_a_session_id_is_told_one_that_it_can_come_back_with(system: System) -> None:
    system.watching.connect("c9", "alice", (), system.clock.now_ms() + 3_600_000)
    (acknowledged, _) = say(system, "subscribe", "c9", portfolio_ids=["one"])
    assert acknowledged["session_id"] == "c9"


# --- what may be left out, what is too much ---------------------------------------------------------------------------


def test_the_portfolio_may_be_left_out_where_there_is_one(system: System) -> None:
    system.watching.connect("b1", "bob", (), system.clock.now_ms() + 3_600_000)
    assert kinds(say(system, "refresh", "b1")) == ["refresh_accepted"]
    assert kinds(say(system, "subscribe", "b1")) == ["subscribed", "snapshot"]
    assert kinds(say(system, "unsubscribe", "b1")) == ["unsubscribed"]
    say(system, "subscribe", portfolio_ids=["two"])
    (accepted,) = say(system, "refresh")
    assert accepted["portfolio_id"] == "two", "the one that is subscribed to"


def test_a_refresh_is_promised_ahead_of_everything(system: System) -> None:
    (accepted,) = say(system, "refresh", portfolio_id="one", request_id="r")
    assert (accepted["type"], accepted["portfolio_id"], accepted["request_id"]) == ("refresh_accepted", "one", "r")
    assert [bundle.message.keys for bundle in system.queues.receive("refresh")] == [["live:one"]]


def test_channels_are_left_one_by_one_and_the_rest_goes_on(system: System) -> None:
    say(system, "subscribe", portfolio_ids=["one"])
    (left,) = say(system, "unsubscribe", portfolio_ids=["one"], channels=["positions", "fills"])
    assert left["channels"] == {"one": ["state", "margin"]}
    move(system, "110")
    system.flush()
    ((update,),) = [message["updates"] for message in system.messages()]
    assert "total_value" in update["data"]
    assert "positions" not in update["data"]
    (left,) = say(system, "unsubscribe", portfolio_ids=["one"], channels=["state", "margin"])
    assert left["portfolio_ids"] == []
    assert system.watchers() == {}


def test_positions_alone_come_without_the_state(system: System) -> None:
    _, first = say(system, "subscribe", portfolio_ids=["one"], channels=["positions"])
    assert "total_value" not in first["data"]
    assert [item["instrument_id"] for item in first["data"]["positions"]] == ["AAPL", "CASH:USD"]


def test_margin_and_fills_alone_come_without_any_state(system: System) -> None:
    assert kinds(say(system, "subscribe", portfolio_ids=["one"], channels=["margin", "fills"])) == ["subscribed"]
    move(system, "110")
    system.announce([call(1)])
    system.flush()
    assert kinds(system.messages()) == ["margin_call"]


def test_too_many_messages_a_second_are_refused_and_later_ones_are_served(system: System) -> None:
    for _ in range(ACTIONS_AT_ONCE):
        assert kinds(say(system, "ping")) == ["pong"]
    (refused,) = say(system, "ping")
    assert (refused["code"], refused["retryable"]) == ("RATE_LIMITED", True)
    system.clock.advance(1_000)
    answers = [say(system, "ping")[0]["type"] for _ in range(ACTIONS_PER_SECOND + 1)]
    assert answers == ["pong"] * ACTIONS_PER_SECOND + ["error"]


def test_an_expired_client_that_speaks_is_told_and_closed(system: System) -> None:
    system.clock.advance(3_600_000)
    (goodbye,) = say(system, "ping")
    assert (goodbye["type"], goodbye["code"]) == ("error", "TOKEN_EXPIRED")
    assert "c1" in system.gateway.gone


def test_what_is_broken_on_our_side_names_no_inner_code(system: System) -> None:
    def broken(*_: object) -> dict[str, object]:
        raise PermanentError("table sessions-1x2y is gone", code="DYNAMODB")

    system.ledger.load = broken  # type: ignore[method-assign, assignment]
    system.watching.connect("b1", "bob", (), system.clock.now_ms() + 3_600_000)
    with pytest.raises(PermanentError):
        system.watching.receive("b1", '{"action": "refresh", "portfolio_id": "bobs"}')
    (answer,) = system.messages("b1")
    assert answer["code"] == "INTERNAL"
    assert "sessions-1x2y" not in answer["message"]


def test_every_code_has_a_meaning_and_every_action_a_name() -> None:
    assert all(code.meaning.endswith(".") for code in ERROR_CODES.values())
    assert len(set(ACTIONS)) == len(ACTIONS)
