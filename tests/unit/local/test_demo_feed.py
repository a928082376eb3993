"""The demo's WebSocket client against a real server that misbehaves."""

import json
import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from websockets.sync.server import ServerConnection

from foliostream_client.errors import SocketError
from foliostream_client.transport import Json, Socket
from local.demo_feed import Arrived, Event, Feed, Lost, Opened
from tests.unit.client.servers import websocket

WAIT_S = 10.0


@contextmanager
def running(feed: Feed) -> Iterator[Callable[[], Event]]:
    """The feed at work; gives its next event."""
    feed.start()
    try:
        yield lambda: feed.events.get(timeout=WAIT_S)
    finally:
        feed.stop()


def subscription(connection: ServerConnection) -> Json:
    return json.loads(connection.recv(timeout=WAIT_S))


def test_it_subscribes_to_everything_and_hands_on_what_arrives() -> None:
    asked: queue.SimpleQueue[Json] = queue.SimpleQueue()

    def handle(connection: ServerConnection) -> None:
        asked.put(
            (connection.request.headers["Authorization"] if connection.request else None, subscription(connection))
        )
        connection.send('{"type": "subscribed", "value": 1.10}')
        connection.recv()

    with websocket(handle) as url, running(Feed(lambda: Socket(url, "secret"), ["a", "b"])) as next_event:
        assert next_event() == Opened()
        arrived = next_event()
        assert isinstance(arrived, Arrived)
        assert str(arrived.message["value"]) == "1.10"
    assert asked.get() == ("Bearer secret", {"action": "subscribe", "portfolio_ids": ["a", "b"]})


def test_after_a_dropped_connection_it_connects_and_subscribes_again() -> None:
    connections: queue.SimpleQueue[Json] = queue.SimpleQueue()

    def handle(connection: ServerConnection) -> None:
        connections.put(subscription(connection))
        if connections.qsize() > 1:
            connection.recv()

    with websocket(handle) as url, running(Feed(lambda: Socket(url), ["a"])) as next_event:
        assert next_event() == Opened()
        lost = next_event()
        assert isinstance(lost, Lost)
        assert "was closed" in lost.reason
        assert next_event() == Opened()
    assert connections.qsize() == 2


def test_it_goes_on_trying_where_nobody_answers_and_says_why() -> None:
    with websocket(lambda _: None) as url:
        pass
    with running(Feed(lambda: Socket(url), ["a"])) as next_event:
        for _ in range(2):
            lost = next_event()
            assert isinstance(lost, Lost)
            assert "could not be opened" in lost.reason


def test_it_asks_for_a_fresh_snapshot_by_subscribing_once_more() -> None:
    asked: queue.SimpleQueue[Json] = queue.SimpleQueue()

    def handle(connection: ServerConnection) -> None:
        for _ in range(2):
            asked.put(subscription(connection))

    feed = Feed(lambda: Socket(url), ["a", "b"])
    with websocket(handle) as url, running(feed) as next_event:
        assert next_event() == Opened()
        asked.get(timeout=WAIT_S)
        feed.resubscribe(["b"])
        assert asked.get(timeout=WAIT_S) == {"action": "subscribe", "portfolio_ids": ["b"]}


@pytest.mark.parametrize("text", ["[1]", "nonsense"])
def test_a_message_that_is_no_object_ends_the_connection(text: str) -> None:
    with (
        websocket(lambda connection: connection.send(text)) as url,
        Socket(url) as socket,
        pytest.raises(SocketError, match="no JSON object"),
    ):
        socket.receive(WAIT_S)
