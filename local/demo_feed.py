"""The demo's WebSocket: a thread that keeps one connection subscribed and hands on whatever arrives."""

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from foliostream_client.errors import SocketError
from foliostream_client.transport import Json, Socket

RETRY_S = (0.5, 1.0, 2.0, 4.0, 8.0)
# An idle API Gateway connection ends after ten minutes; a lost one is noticed only by the missing answer.
PING_EVERY_S = 60.0
_POLL_S = 0.25


class Opened(NamedTuple):
    """A connection stands and is subscribed to everything."""


class Lost(NamedTuple):
    """The connection is gone, or could not be opened."""

    reason: str


class Arrived(NamedTuple):
    """A message, and when it was here (epoch milliseconds)."""

    at_ms: int
    message: Mapping[str, Json]


Event = Opened | Lost | Arrived


class Feed:
    """Subscribes to ``portfolio_ids`` and, when a connection ends (API Gateway: after two hours), does so again.

    ``connect`` opens a connection or raises ``SocketError``. Everything that happens is in ``events``, in order.
    """

    def __init__(self, connect: Callable[[], Socket], portfolio_ids: Sequence[str]) -> None:
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._connect = connect
        self._portfolio_ids = list(portfolio_ids)
        self._ended = threading.Event()
        self._again: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="demo-feed", daemon=True)

    def start(self) -> None:
        """Begin to connect."""
        self._thread.start()

    def stop(self) -> None:
        """Close the connection and wait for the thread."""
        self._ended.set()
        self._thread.join(timeout=10.0)

    def resubscribe(self, portfolio_ids: Sequence[str]) -> None:
        """Ask for fresh snapshots of these."""
        for portfolio_id in portfolio_ids:
            self._again.put(portfolio_id)

    def _run(self) -> None:
        failures = 0
        while not self._ended.is_set():
            started = time.monotonic()
            try:
                self._serve()
            except SocketError as fault:
                self.events.put(Lost(str(fault)))
            failures = 0 if time.monotonic() - started > RETRY_S[-1] else failures + 1
            self._ended.wait(RETRY_S[min(failures, len(RETRY_S) - 1)])

    def _serve(self) -> None:
        with self._connect() as socket:
            socket.send({"action": "subscribe", "portfolio_ids": self._portfolio_ids})
            self.events.put(Opened())
            heard = asked = time.monotonic()
            while not self._ended.is_set():
                message = socket.receive(_POLL_S)
                now = time.monotonic()
                if message is not None:
                    self.events.put(Arrived(time.time_ns() // 1_000_000, message))
                    heard = now
                if now - heard > 2 * PING_EVERY_S:
                    raise SocketError(f"nothing came for {now - heard:.0f} s, not even an answer to a ping")
                if now - asked > PING_EVERY_S:
                    socket.send({"action": "ping"})
                    asked = now
                self._ask_again(socket)

    def _ask_again(self, socket: Socket) -> None:
        ids = []
        while not self._again.empty():
            ids.append(self._again.get())
        if ids:
            # Subscribing once more starts the subscription anew, and it begins with a snapshot.
            socket.send({"action": "subscribe", "portfolio_ids": ids})
