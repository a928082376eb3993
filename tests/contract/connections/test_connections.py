"""The life of a connection; run on the fake and on DynamoDB."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from foliostream.adapters import dynamodb_batch
from foliostream.adapters.dynamodb_connections import DynamoDbConnections
from foliostream.application.announcing import PACKED_MAX, packed
from foliostream.domain.notices import Channel
from foliostream.domain.sessions import Told
from foliostream.errors import NotFoundError
from foliostream.ports import Admitted, Connection, Connections, ConnectionView, Outgoing, Subscription, Watch
from tests.fakes.connections import FakeConnections
from tests.support.ministack import Emulator

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

NOW_MS = 1_767_225_600_500
ALICE = Connection("c1=", "alice|1", frozenset({"prices:write", "admin"}), NOW_MS, NOW_MS + 7_200_000)


@pytest.fixture(params=["fake", "dynamodb"])
def connections(request: pytest.FixtureRequest) -> Connections:
    if request.param == "fake":
        return FakeConnections()
    emulator: Emulator = request.getfixturevalue("ministack")
    return DynamoDbConnections(emulator.dynamodb(), emulator.table())


def view(connections: Connections, connection: Connection = ALICE) -> ConnectionView:
    found = connections.view(connection.connection_id, NOW_MS)
    assert found is not None
    return found


def watched(connections: Connections) -> list[str]:
    return [subscription.portfolio_id for subscription in view(connections).subscriptions]


def subscribe(connections: Connections, connection: Connection, portfolio_ids: Collection[str]) -> None:
    connections.subscribe(connection, [Subscription(name) for name in portfolio_ids])


def sent(connections: Connections, portfolio_id: str, version: int) -> None:
    """As the sender does it: by the subscription that is there."""
    found = [item for item in view(connections).subscriptions if item.portfolio_id == portfolio_id]
    connections.mark_sent(ALICE, [replace(item, sent_version=version, parts={"cash": "ab"}) for item in found])


def closed(connections: Connections, connection_id: str = "c1=") -> list[str]:
    """What a connection watched that is closed now."""
    return [item.portfolio_id for item in connections.close(connection_id).subscriptions]


def enqueue(connections: Connections, connection: Connection, *outgoing: Outgoing) -> None:
    letters = [(connection.connection_id, entry) for entry in outgoing]
    connections.enqueue(letters, connection.expires_at_ms)


def everything_watched(connections: Connections, limit: int) -> list[Watch]:
    found, cursor = [], None
    while True:
        page = connections.watches(cursor, limit)
        assert len(page.watches) <= limit
        found += page.watches
        if page.cursor is None:
            return found
        cursor = page.cursor


@pytest.mark.parametrize("limit", [1, 3, 500])
def test_all_subscriptions_of_all_connections_are_listed_page_by_page(connections: Connections, limit: int) -> None:
    bob = replace(ALICE, connection_id="c2=", owner="bob", expires_at_ms=NOW_MS + 1)
    assert everything_watched(connections, limit) == []
    for connection in (ALICE, bob):
        connections.open(connection)
        enqueue(connections, connection, Outgoing("1", b"hello"))
    subscribe(connections, ALICE, ["p1", "p2"])
    subscribe(connections, bob, ["p1"])
    found = everything_watched(connections, limit)
    assert {(watch.portfolio_id, watch.connection_id) for watch in found} == {
        ("p1", "c1="),
        ("p2", "c1="),
        ("p1", "c2="),
    }
    assert len(found) == 3
    for watch in found:
        leaves_at_ms = {"c1=": ALICE, "c2=": bob}[watch.connection_id].leaves_at_ms
        assert leaves_at_ms <= watch.lease_until_ms < leaves_at_ms + 1_000


def test_a_connection_is_seen_as_it_was_opened(connections: Connections) -> None:
    assert connections.view("c1=", NOW_MS) is None
    connections.open(ALICE)
    assert view(connections) == ConnectionView(ALICE, [], [])
    assert connections.view("c2=", NOW_MS) is None


def test_a_connection_without_scopes_is_one_too(connections: Connections) -> None:
    connections.open(replace(ALICE, scopes=frozenset()))
    assert view(connections).connection.scopes == frozenset()


def test_a_connection_is_gone_from_the_millisecond_it_leaves(connections: Connections) -> None:
    connections.open(ALICE)
    subscribe(connections, ALICE, ["p1"])
    connections.enqueue([("c1=", Outgoing("1", b"hello"))], ALICE.leaves_at_ms)
    last = connections.view("c1=", ALICE.leaves_at_ms - 1)
    assert last is not None
    assert (len(last.subscriptions), len(last.outbox)) == (1, 1)
    assert connections.view("c1=", ALICE.leaves_at_ms) is None
    assert connections.admit("c1=", ALICE.leaves_at_ms, 100, 400) == Admitted(None, is_allowed=False)


def test_messages_are_admitted_at_a_pace_and_some_at_once_after_a_silence(connections: Connections) -> None:
    assert connections.admit("c1=", NOW_MS, 100, 400) == Admitted(None, is_allowed=False)
    connections.open(ALICE)

    def admitted(now_ms: int) -> bool:
        found = connections.admit("c1=", now_ms, 100, 400)
        assert found.connection == ALICE
        return found.is_allowed

    assert [admitted(NOW_MS) for _ in range(6)] == [True] * 4 + [False] * 2
    assert not admitted(NOW_MS + 99)
    assert [admitted(NOW_MS + 100) for _ in range(2)] == [True, False]
    assert [admitted(NOW_MS + 10_000) for _ in range(5)] == [True] * 4 + [False]
    connections.close("c1=")
    assert connections.admit("c1=", NOW_MS + 20_000, 100, 400) == Admitted(None, is_allowed=False)


def test_messages_said_at_the_same_moment_are_all_counted(connections: Connections) -> None:
    connections.open(ALICE)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: connections.admit("c1=", NOW_MS, 100, 400).is_allowed, range(12)))
    assert sum(found) <= 4
    assert any(found)


def test_subscriptions_come_in_id_order_with_nothing_sent(connections: Connections) -> None:
    connections.open(ALICE)
    subscribe(connections, ALICE, ["p2", "p1"])
    subscribe(connections, ALICE, ["p0"])
    assert watched(connections) == ["p0", "p1", "p2"]
    assert {(s.sent_version, s.parts) for s in view(connections).subscriptions} == {(0, None)}


def test_a_hundred_and_fifty_subscriptions_fit(connections: Connections) -> None:
    connections.open(ALICE)
    subscribe(connections, ALICE, [f"p{number:03d}" for number in range(150)])
    assert watched(connections) == [f"p{number:03d}" for number in range(150)]
    assert len(closed(connections)) == 150


def test_what_was_sent_is_remembered(connections: Connections) -> None:
    connections.open(ALICE)
    subscribe(connections, ALICE, ["p1"])
    (subscription,) = view(connections).subscriptions
    parts = {"cash": "ab", "positions/M&M": "cd"}
    connections.mark_sent(ALICE, [replace(subscription, sent_version=17, parts=parts)])
    assert view(connections).subscriptions == [replace(subscription, sent_version=17, parts=parts)]
    connections.mark_sent(ALICE, [replace(subscription, sent_version=18, parts={})])
    assert view(connections).subscriptions == [replace(subscription, sent_version=18, parts={})]


def test_what_was_sent_of_many_subscriptions_is_remembered_together(connections: Connections) -> None:
    connections.open(ALICE)
    subscribe(connections, ALICE, [f"p{number:03d}" for number in range(100)])
    before = view(connections).subscriptions
    after = [replace(item, sent_version=number, parts={"cash": "ab"}) for number, item in enumerate(before)]
    connections.mark_sent(ALICE, after[:70])
    assert view(connections).subscriptions == after[:70] + before[70:]
    assert connections.close("c1=").subscriptions == after[:70] + before[70:]


def test_a_subscription_is_kept_as_it_was_asked_for(connections: Connections) -> None:
    connections.open(ALICE)
    asked = Subscription("p1", 17, {"cash": "ab"}, channels=("state", "margin"))
    connections.subscribe(ALICE, [asked, Subscription("p2", 16)])
    first, second = view(connections).subscriptions
    assert first == replace(asked, generation=first.generation)
    assert (second.sent_version, second.parts) == (16, None)
    connections.mark_sent(ALICE, [replace(first, sent_version=18, parts={})])
    [closed_first, _] = connections.close("c1=").subscriptions
    assert (closed_first.sent_version, closed_first.channels) == (18, ("state", "margin"))


def test_what_is_noted_about_a_connection_is_read_with_it(connections: Connections) -> None:
    asked = replace(ALICE, session_id="s1", told=Told(ended=3), touched_at_ms=NOW_MS, is_returning=True)
    connections.open(asked)
    assert view(connections).connection == asked
    connections.note_told("c1=", Told(4, 3, ("momentum",)))
    connections.note_touched("c1=", NOW_MS + 5)
    connections.note_restored("c1=")
    after = replace(asked, told=Told(4, 3, ("momentum",)), touched_at_ms=NOW_MS + 5, is_returning=False)
    assert view(connections).connection == after
    assert connections.admit("c1=", NOW_MS, 100, 400).connection == after
    assert connections.close("c1=").connection == after
    for note in (partial(connections.note_told, "c1=", Told()), partial(connections.note_restored, "c1=")):
        note()
    assert connections.view("c1=", NOW_MS) is None


def test_subscribing_again_starts_anew(connections: Connections) -> None:
    connections.open(ALICE)
    subscribe(connections, ALICE, ["p1"])
    sent(connections, "p1", 17)
    subscribe(connections, ALICE, ["p1"])
    (again,) = view(connections).subscriptions
    assert (again.sent_version, again.parts) == (0, None)


def test_what_was_sent_before_a_new_subscription_does_not_count_for_it(connections: Connections) -> None:
    connections.open(ALICE)
    subscribe(connections, ALICE, ["p1"])
    (before,) = view(connections).subscriptions
    subscribe(connections, ALICE, ["p1"])  # while the sender is posting
    connections.mark_sent(ALICE, [replace(before, sent_version=17, parts={})])
    assert view(connections).subscriptions[0].sent_version == 0


def test_marking_a_subscription_that_is_gone_does_not_bring_it_back(connections: Connections) -> None:
    connections.open(ALICE)
    subscribe(connections, ALICE, ["p1", "p2"])
    (gone, _) = view(connections).subscriptions
    connections.unsubscribe("c1=", ["p1", "unknown"])
    connections.mark_sent(ALICE, [replace(gone, sent_version=17, parts={})])
    assert watched(connections) == ["p2"]


def test_the_outbox_keeps_the_order_of_its_ids_and_loses_only_what_was_taken_out(connections: Connections) -> None:
    connections.open(ALICE)
    for entry_id in ("0003-c", "0001-a", "0002-b"):
        enqueue(connections, ALICE, Outgoing(entry_id, f'{{"n":"{entry_id} ü"}}'.encode()))
    assert [entry.entry_id for entry in view(connections).outbox] == ["0001-a", "0002-b", "0003-c"]
    assert view(connections).outbox[0].payload == '{"n":"0001-a ü"}'.encode()
    connections.dequeue("c1=", ["0001-a", "unknown"])
    connections.dequeue("c1=", [])
    assert [entry.entry_id for entry in view(connections).outbox] == ["0002-b", "0003-c"]


def test_a_notice_in_the_outbox_keeps_its_tags_and_is_there_once(connections: Connections) -> None:
    connections.open(ALICE)
    bob = replace(ALICE, connection_id="c2=")
    connections.open(bob)
    notice = Outgoing("0001-e", b"{}", event_id="e", portfolio_id="p1", channel="margin")
    for _ in range(2):
        connections.enqueue([("c1=", notice), ("c2=", notice)], ALICE.expires_at_ms)
    assert view(connections).outbox == [notice]
    assert view(connections, bob).outbox == [notice]


def test_an_entry_that_stands_for_several_notices_keeps_them_in_their_order(connections: Connections) -> None:
    connections.open(ALICE)
    kinds: list[Channel] = ["margin", "fills"]
    notices = [
        Outgoing(f"{number:04d}-e", b"x" * 1_900, f"e{number}", "p1", kinds[number % 2]) for number in range(PACKED_MAX)
    ]
    [entry] = packed(notices)
    enqueue(connections, ALICE, entry)
    assert view(connections).outbox == [entry]
    assert view(connections).outbox[0].notices == tuple(notices)
    assert [len(one.notices) for one in packed([*notices, notices[0]])] == [PACKED_MAX, 1]


def test_an_entry_of_the_outbox_goes_at_its_own_time(connections: Connections) -> None:
    connections.open(ALICE)
    connections.enqueue([("c1=", Outgoing("1", b"x"))], NOW_MS - 2_000)
    assert view(connections).outbox == []


def test_the_notices_sent_last_are_remembered_while_the_connection_is_there(connections: Connections) -> None:
    connections.note_events("c1=", ["a"])
    assert connections.view("c1=", NOW_MS) is None
    connections.open(ALICE)
    assert view(connections).connection.sent_events == ()
    connections.note_events("c1=", ["a", "b"])
    assert view(connections).connection == replace(ALICE, sent_events=("a", "b"))


def test_a_view_larger_than_one_page_is_whole(connections: Connections) -> None:
    connections.open(ALICE)
    subscribe(connections, ALICE, ["p1"])
    for number in range(24):
        enqueue(connections, ALICE, Outgoing(f"{number:04d}", bytes([number]) * 100_000))
    found = view(connections)
    assert [entry.payload[:1] for entry in found.outbox] == [bytes([number]) for number in range(24)]
    assert len(found.subscriptions) == 1
    assert closed(connections) == ["p1"]


def test_closing_deletes_everything_and_names_what_was_watched(connections: Connections) -> None:
    bob = replace(ALICE, connection_id="c1", owner="bob")
    for connection in (ALICE, bob):
        connections.open(connection)
        subscribe(connections, connection, ["p2", "p1"])
        for number in range(30):
            enqueue(connections, connection, Outgoing(f"{number}", b"x"))
    assert sorted(closed(connections)) == ["p1", "p2"]
    assert connections.view("c1=", NOW_MS) is None
    assert closed(connections) == []
    assert len(view(connections, bob).outbox) == 30
    connections.open(ALICE)
    assert view(connections) == ConnectionView(ALICE, [], [])


def test_nothing_brings_a_closed_connection_back(connections: Connections) -> None:
    connections.open(ALICE)
    connections.close("c1=")
    with pytest.raises(NotFoundError) as refused:
        subscribe(connections, ALICE, ["p1"])
    assert refused.value.code == "CONNECTION_CLOSED"
    connections.mark_sent(ALICE, [Subscription("p1", 3, {}, "1")])
    enqueue(connections, ALICE, Outgoing("1", b"x"))
    connections.unsubscribe("c1=", ["p1"])
    assert connections.view("c1=", NOW_MS) is None


def test_a_subscribe_that_races_with_close_leaves_nothing_behind(connections: Connections) -> None:
    def attempt(name: str) -> None:
        try:
            subscribe(connections, ALICE, [name])
        except NotFoundError:
            return

    connections.open(ALICE)
    with ThreadPoolExecutor(8) as pool:
        for number in range(40):
            pool.submit(attempt, f"p{number}")
        pool.submit(connections.close, "c1=")
    connections.open(ALICE)
    assert watched(connections) == []


class Conflicting:
    """The real client; its first update and its first transaction meet another transaction."""

    def __init__(self, client: DynamoDBClient) -> None:
        self._client = client
        self._met: set[str] = set()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the client has
        return getattr(self._client, name)

    def _meet(self, operation: str, code: str, reasons: list[dict[str, str]]) -> None:
        if operation not in self._met:
            self._met.add(operation)
            answer: Any = {"Error": {"Code": code}, "CancellationReasons": reasons}
            raise ClientError(answer, operation)

    def update_item(self, **request: Any) -> Any:  # noqa: ANN401
        self._meet("UpdateItem", "TransactionConflictException", [])
        return self._client.update_item(**request)

    def transact_write_items(self, **request: Any) -> Any:  # noqa: ANN401
        self._meet("TransactWriteItems", "TransactionCanceledException", [{"Code": "TransactionConflict"}])
        return self._client.transact_write_items(**request)


def test_meeting_another_transaction_is_tried_again(ministack: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dynamodb_batch, "PAUSE_MS_MAX", 1)
    client: Any = Conflicting(ministack.dynamodb())
    connections = DynamoDbConnections(client, ministack.table())
    connections.open(ALICE)
    subscribe(connections, ALICE, ["p1"])
    connections.note_events("c1=", ["e1"])
    assert view(connections).connection.sent_events == ("e1",)


def test_nothing_of_a_subscription_stays_when_it_ends(ministack: Emulator) -> None:
    client, table = ministack.dynamodb(), ministack.table()
    connections = DynamoDbConnections(client, table)
    connections.open(ALICE)
    subscribe(connections, ALICE, ["p1"])
    sent(connections, "p1", 1)
    connections.unsubscribe("c1=", ["p1"])
    items: Any = client.scan(TableName=table, ConsistentRead=True)["Items"]
    assert [item["sk"]["S"] for item in items] == ["CONNECTION"]


def test_every_item_tells_dynamodb_when_to_delete_it_and_never_too_early(ministack: Emulator) -> None:
    client, table = ministack.dynamodb(), ministack.table()
    connections = DynamoDbConnections(client, table)
    connections.open(ALICE)
    subscribe(connections, ALICE, ["p1"])
    enqueue(connections, ALICE, Outgoing("1", b"x"))
    sent(connections, "p1", 1)
    items: Any = client.scan(TableName=table, ConsistentRead=True)["Items"]
    assert len(items) == 4
    assert {int(item["expires_at"]["N"]) for item in items} == {
        -(-ALICE.expires_at_ms // 1000),
        -(-ALICE.leaves_at_ms // 1000),
    }
