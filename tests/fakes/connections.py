"""Connections in memory."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import count

from foliostream.domain.sessions import Told
from foliostream.errors import NotFoundError
from foliostream.ports import Admitted, Closed, Connection, ConnectionView, Outgoing, Subscription, Watch, WatchPage


class FakeConnections:
    """Implements ``ports.Connections``."""

    def __init__(self) -> None:
        self._open: dict[str, Connection] = {}
        self._subscriptions: dict[tuple[str, str], Subscription] = {}
        self._outbox: dict[tuple[str, str], tuple[Outgoing, int]] = {}
        self._generations = count(1)
        self._allowed_at_ms: dict[str, int] = {}

    def open(self, connection: Connection) -> None:
        self._open[connection.connection_id] = connection

    def view(self, connection_id: str, now_ms: int) -> ConnectionView | None:
        connection = self._open.get(connection_id)
        if connection is None or connection.leaves_at_ms <= now_ms:
            return None
        return ConnectionView(
            connection,
            [self._subscriptions[key] for key in sorted(self._subscriptions) if key[0] == connection_id],
            [
                outgoing
                for key, (outgoing, expires_at_ms) in sorted(self._outbox.items())
                if key[0] == connection_id and -(-expires_at_ms // 1000) * 1000 > now_ms
            ],
        )

    def admit(self, connection_id: str, now_ms: int, interval_ms: int, burst_ms: int) -> Admitted:
        connection = self._open.get(connection_id)
        if connection is None or connection.leaves_at_ms <= now_ms:
            return Admitted(None, is_allowed=False)
        allowed_at_ms = max(self._allowed_at_ms.get(connection_id, 0), now_ms) + interval_ms
        is_allowed = allowed_at_ms <= now_ms + burst_ms
        if is_allowed:
            self._allowed_at_ms[connection_id] = allowed_at_ms
        return Admitted(connection, is_allowed)

    def close(self, connection_id: str) -> Closed:
        connection = self._open.pop(connection_id, None)
        gone = [self._subscriptions[key] for key in sorted(self._subscriptions) if key[0] == connection_id]
        self.unsubscribe(connection_id, [item.portfolio_id for item in gone])
        self.dequeue(connection_id, [name for owner, name in self._outbox if owner == connection_id])
        return Closed(connection, gone)

    def subscribe(self, connection: Connection, subscriptions: Collection[Subscription]) -> None:
        if connection.connection_id not in self._open:
            raise NotFoundError(f"connection {connection.connection_id} is closed", code="CONNECTION_CLOSED")
        generation = str(next(self._generations))
        for item in subscriptions:
            key = connection.connection_id, item.portfolio_id
            self._subscriptions[key] = replace(item, generation=generation)

    def unsubscribe(self, connection_id: str, portfolio_ids: Collection[str]) -> None:
        for name in portfolio_ids:
            self._subscriptions.pop((connection_id, name), None)

    def watches(self, after: str | None, limit: int) -> WatchPage:
        keys = sorted(key for key in self._subscriptions if after is None or "|".join(key) > after)
        page = keys[:limit]
        found = [
            Watch(name, owner, -(-self._open[owner].leaves_at_ms // 1000) * 1000)
            for owner, name in page
            if owner in self._open
        ]
        return WatchPage(found, "|".join(page[-1]) if len(keys) > limit else None)

    def mark_sent(self, connection: Connection, subscriptions: Sequence[Subscription]) -> None:
        for item in subscriptions:
            key = connection.connection_id, item.portfolio_id
            stored = self._subscriptions.get(key)
            if stored is not None and item.generation == stored.generation:
                parts = dict(item.parts or {})
                self._subscriptions[key] = replace(stored, sent_version=item.sent_version, parts=parts)

    def enqueue(self, letters: Sequence[tuple[str, Outgoing]], expires_at_ms: int) -> None:
        for connection_id, outgoing in letters:
            self._outbox[connection_id, outgoing.entry_id] = outgoing, expires_at_ms

    def dequeue(self, connection_id: str, entry_ids: Collection[str]) -> None:
        for name in entry_ids:
            self._outbox.pop((connection_id, name), None)

    def note_events(self, connection_id: str, event_ids: Sequence[str]) -> None:
        if connection_id in self._open:
            self._open[connection_id] = replace(self._open[connection_id], sent_events=tuple(event_ids))

    def note_told(self, connection_id: str, told: Told) -> None:
        if connection_id in self._open:
            self._open[connection_id] = replace(self._open[connection_id], told=told)

    def note_touched(self, connection_id: str, touched_at_ms: int) -> None:
        if connection_id in self._open:
            self._open[connection_id] = replace(self._open[connection_id], touched_at_ms=touched_at_ms)

    def note_restored(self, connection_id: str) -> None:
        if connection_id in self._open:
            self._open[connection_id] = replace(self._open[connection_id], is_returning=False)
