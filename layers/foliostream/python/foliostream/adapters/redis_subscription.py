"""A subscription to a Redis or Valkey channel over one connection that tells when it is lost.

redis-py's own PubSub reconnects and subscribes again without a word, but whoever must read what was published
meanwhile has to know; and its read buffer does not shrink while messages keep coming. So only the handshake is
redis-py's. In a cluster, PUBLISH reaches the subscribers of every node: one node is enough.
"""

from __future__ import annotations

import socket
import time
from collections import deque
from typing import Any, Final, TypeAlias

import redis

from foliostream.adapters.redis_connection import options_of, our_errors
from foliostream.errors import RetryableError
from foliostream.ports import Heard

READ_BYTES: Final = 256 * 1024
# A message of which more than this has come without its end is no tick.
WAITING_BYTES_MAX: Final = 16 * 1024 * 1024
SHORTEST_WAIT_SECONDS: Final = 0.001
_END: Final = b"\r\n"
_Reply: TypeAlias = "bytes | int | list[_Reply] | None"


class RedisSubscription:
    """Implements ``ports.Ticks``; subscribed once it is made, or ``RetryableError`` within about ``answer_seconds``."""

    def __init__(self, url: str, channel: str, *, iam: str = "", answer_seconds: float = 2.0) -> None:
        self._channel = channel
        self._waiting = bytearray()
        self._heard: deque[Heard] = deque()
        with our_errors("subscribe"):
            options = options_of(url, iam) | {"socket_keepalive": True}
            pool: Any = redis.Redis.from_url(url, **options).connection_pool
            self._connection = pool.make_connection()
            try:
                self._connection.connect()
                self._socket: socket.socket = self._connection._sock
                self._confirm(answer_seconds)
            except BaseException:
                self._connection.disconnect()
                raise

    def receive(self, seconds: float) -> Heard | None:
        """A message of which only a part has come is None too; the next call waits for its rest."""
        if not self._heard:
            self._read(seconds)
        return self._heard.popleft() if self._heard else None

    def ask(self) -> None:
        """Subscribes again, which a server that has the subscription only confirms: this proves both directions of the
        connection, and mends a subscription that a proxy has lost."""
        with our_errors("ask"):
            self._connection.send_command("SUBSCRIBE", self._channel)

    def close(self) -> None:
        """The server forgets the subscription with the connection."""
        self._connection.disconnect()

    def _confirm(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        self.ask()
        while (left := deadline - time.monotonic()) > 0:
            if self.receive(left) == Heard(None):
                return
        raise RetryableError(f"Redis, subscribe: no answer within {seconds} s")

    def _read(self, seconds: float) -> None:
        with our_errors("receive"):
            self._socket.settimeout(max(seconds, SHORTEST_WAIT_SECONDS))
            try:
                data = self._socket.recv(READ_BYTES)
            except TimeoutError:
                return
        if not data:
            raise RetryableError("Redis, receive: the server closed the connection")
        self._waiting += data
        self._heard.extend(_heard(reply) for reply in self._replies())
        if len(self._waiting) > WAITING_BYTES_MAX:
            raise RetryableError(f"Redis, receive: a message has more than {WAITING_BYTES_MAX} bytes")

    def _replies(self) -> list[_Reply]:
        """All that are complete; the rest stays."""
        buffer, replies, start = bytes(self._waiting), [], 0
        while (found := _parse(buffer, start)) is not None:
            reply, start = found
            replies.append(reply)
        del self._waiting[:start]
        return replies


def _heard(reply: _Reply) -> Heard:
    if isinstance(reply, list) and len(reply) == 3:
        kind, _, content = reply
        if kind == b"message" and isinstance(content, bytes):
            return Heard(content)
        if kind == b"subscribe":
            return Heard(None)
    raise RetryableError(f"Redis, receive: not subscribed, the server says {str(reply)[:200]}")


def _parse(buffer: bytes, start: int) -> tuple[_Reply, int] | None:
    """A reply of RESP2 and where the next one begins; None if it is not complete yet."""
    end = buffer.find(_END, start)
    if end < 0:
        return None
    kind, after = buffer[start : start + 1], end + len(_END)
    if kind in b"+-":
        return buffer[start:end], after
    if kind not in b":$*" or not buffer[start + 1 : end].lstrip(b"-").isdigit():
        raise RetryableError(f"Redis, receive: no reply of the protocol: {buffer[start : start + 100]!r}")
    number = int(buffer[start + 1 : end])
    if kind == b":":
        return number, after
    if number < 0:
        return None, after
    return _bulk(buffer, number, after) if kind == b"$" else _array(buffer, number, after)


def _bulk(buffer: bytes, length: int, start: int) -> tuple[bytes, int] | None:
    end = start + length
    return (buffer[start:end], end + len(_END)) if len(buffer) >= end + len(_END) else None


def _array(buffer: bytes, length: int, start: int) -> tuple[list[_Reply], int] | None:
    items: list[_Reply] = []
    for _ in range(length):
        found = _parse(buffer, start)
        if found is None:
            return None
        item, start = found
        items.append(item)
    return items, start
