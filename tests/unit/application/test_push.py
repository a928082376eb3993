"""The one sender of a connection: order, conflation, connections that are gone or unreachable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from foliostream.application.marking import CONNECTION_GROUPS_MAX
from foliostream.domain.coalescing import MAX_ATTEMPTS
from foliostream.errors import BusyClientError, RetryableError
from foliostream.ports import Connection, ConnectionView, Subscription
from tests.fakes.connections import FakeConnections
from tests.unit.application.system import BOB, SKEW_MS, System, connected_to_two, received
from tests.unit.domain.watcher import Watcher


@pytest.fixture
def system() -> System:
    return connected_to_two()


def moved(system: System, symbol: str, last: str) -> None:
    system.clock.advance(5000)
    system.tick(symbol, last)
    system.settle()


def kinds(system: System, connection_id: str = "c1") -> list[str]:
    return [message["type"] for message in system.messages(connection_id)]


def test_the_acknowledgement_comes_before_the_snapshots_it_announces(system: System) -> None:
    system.subscribe("one", "two", request_id="r1")
    assert kinds(system) == [], "nothing is posted but by the sender"
    system.flush()
    acknowledged, *snapshots = system.messages()
    assert (acknowledged["type"], acknowledged["portfolio_ids"]) == ("subscribed", ["one", "two"])
    assert acknowledged["request_id"] == "r1"
    assert [(item["type"], item["portfolio_id"]) for item in snapshots] == [("snapshot", "one"), ("snapshot", "two")]
    assert snapshots[0]["data"]["total_value"] == 10_000
    assert snapshots[0]["version"] == snapshots[0]["data"]["version"]


def test_what_waits_goes_out_as_outbox_then_snapshot_then_update(system: System) -> None:
    system.subscribe("one")
    system.flush()
    system.messages()
    moved(system, "AAPL", "110")
    system.subscribe("two")
    system.flush()
    assert kinds(system) == ["subscribed", "snapshot", "portfolio_update"]


def test_nothing_is_sent_when_nothing_changed(system: System) -> None:
    system.subscribe("one")
    system.flush()
    system.messages()
    system.sender.flush("c1", system.clock.now_ms())
    system.marker.connections(["c1"])
    system.flush()
    assert kinds(system) == []


def test_an_update_follows_the_version_that_was_sent_before_it(system: System) -> None:
    system.subscribe("one")
    system.flush()
    first = system.messages()[1]
    moved(system, "AAPL", "110")
    system.flush()
    (message,) = system.messages()
    (update,) = message["updates"]
    assert (update["portfolio_id"], update["previous_version"]) == ("one", first["version"])
    assert update["version"] == system.state("one").version
    assert update["data"]["total_value"] == 10_100


def test_many_changes_between_two_flushes_are_one_update_with_the_newest(system: System) -> None:
    system.subscribe("one", "two")
    system.flush()
    system.messages()
    for number in range(5):
        moved(system, "AAPL", f"{120 + number}")
        moved(system, "MSFT", f"{120 + number}")
    system.flush()
    (message,) = system.messages()
    assert [update["data"]["total_value"] for update in message["updates"]] == [10_240, 10_240]


def test_what_a_client_was_sent_in_order_is_the_newest_state(system: System) -> None:
    system.subscribe("one")
    system.flush()
    watcher = Watcher()
    watcher.state = system.messages()[1]["data"]
    for last in ("110", "0.000001", "110"):
        moved(system, "AAPL", last)
        system.flush()
        for message in system.messages():
            for update in message["updates"]:
                watcher.takes(update)
    newest = system.state("one")
    assert watcher.state["version"] == newest.version
    assert watcher.state["total_value"] == newest.total_value
    assert watcher.state["weights"] == newest.weights


def test_a_flush_waits_for_the_flush_windows_end(system: System) -> None:
    system.subscribe("one")
    system.flush()
    moved(system, "AAPL", "110")
    before = system.clock.now_ms()
    system.flush()
    assert system.clock.now_ms() == before // 100 * 100 + 100


def test_a_change_after_a_flush_by_a_clock_ahead_is_not_swallowed_by_it(system: System) -> None:  # G1
    system.subscribe("one")
    system.flush()
    moved(system, "AAPL", "110")
    before = system.clock.now_ms()
    system.flush()
    system.messages()
    system.clock.time_ms = before  # whoever marks is still in the flush window that is served already
    system.tick("AAPL", "111")
    assert system.valuer.value(["one"]).written == ["one"]
    system.flush()
    [update] = system.messages()
    assert update["updates"][0]["data"]["total_value"] == system.state("one").total_value


def test_what_a_flush_has_seen_is_not_looked_for_again_by_the_messages_that_waited(system: System) -> None:
    system.subscribe("one")
    system.flush()
    moved(system, "AAPL", "110")
    system.marker.connections_now(["c1"])
    waiting = received(system.queues.receive("push"))
    system.clock.advance(1_000)
    system.sender.counts.take()
    looked = []
    for message in waiting:
        assert system.push([message]) == []
        looked.append(system.sender.counts.take().connections)
    assert looked == [1] + [0] * (len(waiting) - 1)
    assert len(waiting) > 1
    assert kinds(system)[-1] == "portfolio_update"


@pytest.mark.parametrize("late_ms", [-SKEW_MS, 0, SKEW_MS])
def test_a_change_made_while_a_flush_may_have_read_already_is_looked_for(system: System, late_ms: int) -> None:  # G1
    system.sender.flush("c1", system.clock.now_ms())
    system.sender.counts.take()
    system.clock.time_ms += late_ms
    system.marker.connections_now(["c1"])
    system.flush()
    assert system.sender.counts.take().connections == 1


def test_a_flush_that_failed_is_not_remembered(system: System) -> None:
    system.subscribe("one")
    system.gateway.failing = {"c1"}
    made_ms = system.clock.now_ms()
    system.clock.advance(1_000)
    with pytest.raises(BusyClientError):
        system.sender.flush("c1", system.clock.now_ms())
    assert not system.sender.is_served("c1", made_ms)


def test_however_many_watch_a_change_is_at_most_sixteen_messages_of_which_each_connection_has_one(
    system: System,
) -> None:
    watching = [f"c{number}" for number in range(1_000)]
    marker = replace(system.marker, shards=64)
    for mark in (marker.connections, marker.connections_now):
        mark(watching)
        messages = [bundle.message for bundle in system.queues.receive("push")]
        assert 8 < len(messages) <= CONNECTION_GROUPS_MAX
        assert sorted(key for message in messages for key in message.keys) == sorted(watching)


def test_an_acknowledgement_waits_for_nothing(system: System) -> None:
    system.subscribe("one")
    system.flush()
    assert system.clock.waited_until[-1] == 0


def test_a_gone_connection_is_forgotten_with_its_leases(system: System) -> None:
    system.subscribe("one", "two")
    system.gateway.gone = {"c1"}
    system.flush()
    assert system.connections.view("c1", system.clock.now_ms()) is None
    assert system.watchers() == {}
    moved(system, "AAPL", "110")
    assert system.queues.receive("push") == []


def test_a_client_whose_connection_nobody_knows_any_more_is_cut_off_so_that_it_comes_again(system: System) -> None:
    system.subscribe("one")
    system.connections.close("c1")
    system.flush()
    assert system.gateway.gone == {"c1"}


@pytest.mark.parametrize("after", ["subscribed", "snapshot"])
def test_a_connection_gone_in_the_middle_is_forgotten_too(system: System, after: str) -> None:
    system.subscribe("one", "two")
    post = system.gateway.post

    def last_words(connection_id: str, payload: bytes) -> bool:
        delivered = post(connection_id, payload)
        if after.encode() in payload[:40]:
            system.gateway.gone = {"c1"}
        return delivered

    system.gateway.post = last_words  # type: ignore[method-assign]
    system.flush()
    assert system.connections.view("c1", system.clock.now_ms()) is None
    assert system.watchers() == {}


def test_an_expired_connection_is_told_closed_and_forgotten(system: System) -> None:
    system.subscribe("one")
    system.flush()
    system.messages()
    system.clock.advance(3_600_000)
    system.tick("AAPL", "120")
    system.settle()
    system.flush()
    (goodbye,) = system.messages()
    assert (goodbye["type"], goodbye["code"], goodbye["retryable"]) == ("error", "TOKEN_EXPIRED", False)
    assert system.gateway.gone == {"c1"}
    assert system.watchers() == {}


def test_a_connection_nobody_heard_of_for_long_is_forgotten_and_sent_nothing(system: System) -> None:
    system.subscribe("one")
    system.clock.advance(2 * 3_600_000)
    system.flush()
    assert kinds(system) == []
    assert system.watchers() == {}


def test_an_unreachable_connection_is_retried_alone_and_the_others_are_served(system: System) -> None:
    system.connect("c2")
    system.subscribe("one")
    system.subscribe("two", connection_id="c2")
    system.gateway.failing = {"c1"}
    system.flush()
    assert kinds(system, "c2") == ["subscribed", "snapshot"]
    (again,) = system.queues.receive("push")
    assert (again.message.keys, again.message.attempt) == (["c1"], 1)
    system.gateway.failing = set()
    assert system.push(received([again])) == []
    assert kinds(system) == ["subscribed", "snapshot"], "nothing of it is lost"


def test_a_connection_unreachable_five_times_more_is_a_dead_letter_with_its_reason(system: System) -> None:
    system.subscribe("one")
    system.gateway.failing = {"c1"}
    for _ in range(MAX_ATTEMPTS + 1):
        system.flush()
    assert system.queues.receive("push") == []
    (given_up,) = system.queues.given_up
    assert (given_up.queue, given_up.message.keys) == ("push", ["c1"])
    assert "posting to c1 fails" in given_up.reason


def test_a_store_that_fails_through_all_attempts_returns_the_message_rather_than_giving_it_up(system: System) -> None:
    system.subscribe("one")
    system.flush()
    moved(system, "AAPL", "101")
    view = system.connections.view

    def failing(connection_id: str, now_ms: int) -> ConnectionView | None:
        raise RetryableError(f"no view of {connection_id} at {now_ms}")

    system.connections.view = failing  # type: ignore[method-assign]
    for _ in range(MAX_ATTEMPTS):
        system.flush()
    last = received(system.queues.receive("push"))
    with pytest.raises(RetryableError, match="a store fails for 1 connections: no view of c1"):
        system.push(last)
    assert system.queues.given_up == []
    system.connections.view = view  # type: ignore[method-assign]
    assert system.push(last) == []
    assert kinds(system)[-1] == "portfolio_update"


def test_what_could_not_be_posted_is_sent_whole_by_the_next_flush(system: System) -> None:
    system.subscribe("one")
    system.flush()
    first = system.messages()[1]
    moved(system, "AAPL", "110")
    system.gateway.failing = {"c1"}
    system.flush()
    system.gateway.failing = set()
    moved(system, "AAPL", "120")
    system.flush()
    updates = [update for message in system.messages() for update in message["updates"]]
    assert (updates[0]["previous_version"], updates[0]["data"]["total_value"]) == (first["version"], 10_200)


def test_a_crash_after_the_post_sends_the_update_again_and_not_never(system: System) -> None:
    system.subscribe("one")
    system.flush()
    system.messages()
    moved(system, "AAPL", "110")
    bundles = system.queues.receive("push")
    remember = FakeConnections.mark_sent

    def crash(*_: object) -> None:
        raise RetryableError("the store fails")

    system.connections.mark_sent = crash  # type: ignore[method-assign]
    system.push(received(bundles))
    system.connections.mark_sent = remember.__get__(system.connections)  # type: ignore[method-assign]
    system.flush()
    first, again = (message["updates"][0] for message in system.messages())
    assert first == again


def test_a_client_that_takes_no_more_after_some_snapshots_is_sent_only_the_others_again(system: System) -> None:
    system.subscribe("one", "two")
    post, posted = system.gateway.post, []

    def busy_at_the_third(connection_id: str, payload: bytes) -> bool:
        posted.append(payload)
        if len(posted) == 3:
            raise RetryableError("the client reads slowly")
        return post(connection_id, payload)

    system.gateway.post = busy_at_the_third  # type: ignore[method-assign]
    system.flush()
    system.flush()
    told = [(message["type"], message.get("portfolio_id")) for message in system.messages()]
    assert told == [("subscribed", None), ("snapshot", "one"), ("snapshot", "two")]


def test_what_one_flush_sent_is_remembered_in_one_write(system: System) -> None:
    system.subscribe("one", "two")
    writes: list[int] = []
    remember = system.connections.mark_sent

    def counted(connection: Connection, subscriptions: Sequence[Subscription]) -> None:
        writes.append(len(subscriptions))
        remember(connection, subscriptions)

    system.connections.mark_sent = counted  # type: ignore[method-assign]
    system.flush()
    assert writes == [2]


def test_a_subscription_renewed_while_it_is_served_gets_its_snapshot(system: System) -> None:
    system.subscribe("one")
    view = system.connections.view("c1", system.clock.now_ms())
    assert view is not None
    post, renewed = system.gateway.post, []

    def renew(connection_id: str, payload: bytes) -> bool:
        if not renewed:
            renewed.append(1)
            system.connections.subscribe(view.connection, [Subscription("one")])
        return post(connection_id, payload)

    system.gateway.post = renew  # type: ignore[method-assign]
    system.flush()
    system.messages()
    system.sender.flush("c1", system.clock.now_ms())
    assert kinds(system) == ["snapshot"], "what was sent for the old subscription does not count"


def test_a_subscription_to_a_portfolio_that_is_gone_stops_nobody(system: System) -> None:
    system.subscribe("one", "two")
    system.hot.snapshots.pop("two")
    system.hot.books.pop("two")
    system.ledger.load = lambda _: {}  # type: ignore[method-assign]
    system.flush()
    assert kinds(system) == ["subscribed", "snapshot"]


def test_a_message_that_cannot_be_read_comes_back_alone(system: System) -> None:
    system.subscribe("one")
    messages = received(system.queues.receive("push"))
    broken = messages[0]._replace(message_id="broken", body="{}")
    assert system.push([broken, *messages]) == ["broken"]
    assert kinds(system) == ["subscribed", "snapshot"]


def test_nobody_is_sent_what_another_owner_watches(system: System) -> None:  # G11
    system.connect("c2", owner=BOB.subject)
    system.subscribe("one")
    system.subscribe("one", connection_id="c2")
    system.flush()
    moved(system, "AAPL", "110")
    system.flush()
    assert kinds(system) == ["subscribed", "snapshot", "portfolio_update"]
    assert kinds(system, "c2") == ["error"]
