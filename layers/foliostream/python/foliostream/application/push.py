"""The one ordered sender of a connection: its outbox, then what changed in the portfolios it watches."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import islice
from typing import NamedTuple

import msgspec
from msgspec.structs import replace as replaced

from foliostream.application.marking import Marker
from foliostream.application.receiving import Opened, Received, attempts, wait_until_due
from foliostream.application.valuing import Valuer
from foliostream.domain import messages
from foliostream.domain.coalescing import MAX_ATTEMPTS
from foliostream.domain.sessions import untold
from foliostream.errors import BusyClientError, FoliostreamError, RetryableError
from foliostream.ports import (
    Clock,
    Connection,
    Connections,
    ConnectionView,
    Each,
    Gateway,
    Outgoing,
    Sessions,
    Snapshots,
    Subscription,
)

# A notice that is announced again comes soon after the first time: of older ones nobody repeats any.
SENT_EVENTS_MAX = 100
# Whoever lets more wait does not read: the connection is closed.
OUTBOX_MAX = 1_000
# What was posted is taken out of the outbox each so many: a function that is ended by its time-out begins there again,
# and comes to an end however slow the posts are.
POSTED_AT_ONCE = 100
# After so long a batch posts no more of what waits in outboxes, and has the rest asked for again: what changes comes in
# between, and however slow the posts are, the function comes to its end.
POSTED_MS = 10_000
# Connections of which a container remembers when it served them: a message that waited meanwhile asks for nothing more.
SERVED_MAX = 10_000
# For so long a session can go on from what its last connection was sent.
RESUMABLE_MS = 86_400_000


class Tally(NamedTuple):
    """What a sender did: messages posted, connections looked at, and those of them that were gone."""

    posted: int
    connections: int
    gone: int

    @property
    def gone_percent(self) -> int:
        """Of the connections looked at, rounded down; 0 of none."""
        return 100 * self.gone // self.connections if self.connections else 0


@dataclass
class Counts:
    """Filled by several threads; an append is atomic, an addition is not."""

    posts: list[bool] = field(default_factory=list)
    connections: list[str] = field(default_factory=list)

    def take(self) -> Tally:
        """What was counted since the last call."""
        tally = Tally(self.posts.count(True), len(self.connections), self.posts.count(False))
        self.posts.clear()
        self.connections.clear()
        return tally


@dataclass(frozen=True)
class Sender:
    """Sends a connection everything that is waiting for it. At most one sender of a connection may run at a time:
    the push queue's message groups see to it."""

    connections: Connections
    sessions: Sessions
    snapshots: Snapshots
    valuer: Valuer
    gateway: Gateway
    clock: Clock
    counts: Counts = field(default_factory=Counts)
    served_ms: dict[str, int] = field(default_factory=dict)

    def is_served(self, connection_id: str, since_ms: int) -> bool:
        """Whether a flush of this container that began after that came to its end: it has read all that was there."""
        return self.served_ms.get(connection_id, -1) > since_ms

    def flush(self, connection_id: str, ends_ms: int) -> bool:
        """Post what is waiting; a connection that is gone is removed with everything kept about it. False if that was
        not all when the time was over: it must be flushed again."""
        self.counts.connections.append(connection_id)
        now_ms = self.clock.now_ms()
        is_all = self._serve(connection_id, now_ms, ends_ms)
        if is_all:
            self._remember(connection_id, now_ms)
        return is_all

    def _serve(self, connection_id: str, now_ms: int, ends_ms: int) -> bool:
        view = self.connections.view(connection_id, now_ms)
        if view is None or len(view.outbox) > OUTBOX_MAX:
            # Nobody may wait on a line that nobody knows of: whoever is still there finds it closed, and comes again.
            self.gateway.close(connection_id)
            self.forget(connection_id)
            return True
        if view.connection.expires_at_ms <= now_ms:
            self.expire(connection_id)
            return True
        waiting = deque(_portions(view.outbox))
        if self._send_outbox(view, waiting, ends_ms) and (waiting or self._send_states(view)):
            return not waiting
        self.forget(connection_id)
        return True

    def _remember(self, connection_id: str, began_ms: int) -> None:
        if len(self.served_ms) >= SERVED_MAX:
            self.served_ms.clear()
        self.served_ms[connection_id] = began_ms

    def expire(self, connection_id: str) -> None:
        """Tell a client that its time is over, and close the connection."""
        fault = "the token or the connection has expired: connect again"
        goodbye = messages.message("error", self.clock.now_ms(), code="TOKEN_EXPIRED", message=fault, retryable=False)
        if self.gateway.post(connection_id, goodbye):
            self.gateway.close(connection_id)
        self.forget(connection_id)

    def forget(self, connection_id: str) -> None:
        """Delete a connection's rows and its leases on portfolios; its session keeps what was sent. Repeating it
        changes nothing."""
        closed = self.connections.close(connection_id)
        for item in closed.subscriptions:
            self.snapshots.unwatch(item.portfolio_id, [connection_id])
        sent = [item for item in closed.subscriptions if item.sent_version and item.parts is not None]
        if closed.connection is not None and sent:
            self.sessions.keep_sent(closed.connection.session_id, sent, self.clock.now_ms() + RESUMABLE_MS)

    def _send_outbox(self, view: ConnectionView, waiting: deque[list[Outgoing]], ends_ms: int) -> bool:
        """In order; a notice only to who is subscribed to its channel now, and only once. What is left when the time
        is over stays in ``waiting``."""
        sent = dict.fromkeys(view.connection.sent_events)
        # The session is read after the outbox: the first look finds what all such entries stand for.
        done_with = frozenset([entry.entry_id for entry in view.outbox if entry.is_signal][1:])
        while waiting and self.clock.now_ms() <= ends_ms:
            if not self._send_entries(view, waiting.popleft(), done_with, sent):
                return False
        return True

    def _send_entries(
        self, view: ConnectionView, entries: Iterable[Outgoing], done_with: Collection[str], sent: dict[str, None]
    ) -> bool:
        """Those of them that are not done with other ones; ``sent`` takes the events."""
        connection_id, before = view.connection.connection_id, len(sent)
        done: list[str] = []
        try:
            for entry in entries:
                if entry.entry_id not in done_with and not self._send_entry(view, entry, sent):
                    return False
                done.append(entry.entry_id)
        finally:
            # After the posts: a crash in between sends them again, and clients know the event ids.
            if len(sent) > before:
                self.connections.note_events(connection_id, list(sent)[-SENT_EVENTS_MAX:])
            if done:
                self.connections.dequeue(connection_id, done)
        return True

    def _send_entry(self, view: ConnectionView, entry: Outgoing, sent: dict[str, None]) -> bool:
        if entry.notices:
            return all(self._send_entry(view, notice, sent) for notice in entry.notices)
        if entry.is_signal:
            return self._send_session(view.connection)
        if entry.event_id:
            channels = [item.channels for item in view.subscriptions if item.portfolio_id == entry.portfolio_id]
            if _digest(entry.event_id) in sent or not channels or entry.channel not in channels[0]:
                return True
        is_there = self._post(view.connection.connection_id, entry.payload)
        if is_there and entry.event_id:
            sent[_digest(entry.event_id)] = None
        return is_there

    def _send_session(self, connection: Connection) -> bool:
        """What its session's runs have to say; to the session's own connection only."""
        session = self.sessions.view(connection.session_id, self.clock.now_ms())
        if session is None or session.connection_id != connection.connection_id:
            return True
        told = connection.told
        try:
            for payload, after in untold(session, told):
                if not self._post(connection.connection_id, payload):
                    return False
                told = after
        finally:
            if told != connection.told:
                self.connections.note_told(connection.connection_id, told)
        return True

    def _send_states(self, view: ConnectionView) -> bool:
        sent: list[Subscription] = []
        try:
            return self._post_states(view, sent)
        finally:
            # After the posts: a crash in between sends them again, and a client drops versions it has.
            if sent:
                self.connections.mark_sent(view.connection, sent)

    def _post_states(self, view: ConnectionView, sent: list[Subscription]) -> bool:
        """``sent`` takes the subscriptions as they are after each post."""
        connection_id = view.connection.connection_id
        wanted = [item for item in view.subscriptions if "state" in item.channels or "positions" in item.channels]
        stored = self.valuer.current([subscription.portfolio_id for subscription in wanted])
        updates: list[tuple[Subscription, bytes]] = []
        for subscription in wanted:
            newest = stored.get(subscription.portfolio_id)
            if newest is None or (newest.head.version <= subscription.sent_version and subscription.parts is not None):
                continue
            body = messages.of_channels(newest.body, subscription.channels)
            if subscription.parts is not None:
                updates.append(_update(subscription, newest.head.version, body))
            elif not self._begin(connection_id, subscription, newest.head.version, body, sent):
                return False
        changed = [(subscription, encoded) for subscription, encoded in updates if encoded]
        waiting = (subscription for subscription, _ in changed)
        for batch in messages.batched([encoded for _, encoded in changed], self.clock.now_ms()):
            if not self._post(connection_id, batch.encoded):
                return False
            sent.extend(islice(waiting, batch.updates))
        return True

    def _begin(
        self, connection_id: str, subscription: Subscription, version: int, body: bytes, sent: list[Subscription]
    ) -> bool:
        """The first look at a subscription: a snapshot, unless the client has just this version."""
        parts = messages.digests(body)
        if subscription.sent_version != version:
            now_ms = self.clock.now_ms()
            resync = messages.resync(subscription.portfolio_id, "GAP", now_ms)
            if subscription.sent_version and not self._post(connection_id, resync):
                return False
            first = messages.snapshot(subscription.portfolio_id, version, body, now_ms)
            if not self._post(connection_id, first.encoded):
                return False
            parts = first.parts
        sent.append(replace(subscription, sent_version=version, parts=parts))
        return True

    def _post(self, connection_id: str, payload: bytes) -> bool:
        try:
            is_there = self.gateway.post(connection_id, payload)
        except RetryableError as fault:
            raise BusyClientError(fault.message) from fault
        self.counts.posts.append(is_there)
        return is_there


def _portions(outbox: Iterable[Outgoing]) -> Iterator[list[Outgoing]]:
    """In their order, each about as many messages as are posted at once."""
    portion: list[Outgoing] = []
    posts = 0
    for entry in outbox:
        portion.append(entry)
        posts += max(len(entry.notices), 1)
        if posts >= POSTED_AT_ONCE:
            yield portion
            portion, posts = [], 0
    if portion:
        yield portion


def _digest(event_id: str) -> str:
    return blake2b(event_id.encode(), digest_size=8).hexdigest()


def _update(subscription: Subscription, version: int, body: bytes) -> tuple[Subscription, bytes]:
    """The subscription as it is once the update, encoded, was sent."""
    sent_version, parts = subscription.sent_version, subscription.parts or {}
    update = messages.update(subscription.portfolio_id, version, sent_version, body, parts)
    return replace(subscription, sent_version=version, parts=update.parts), update.encoded


def push(
    received: Sequence[Received], *, sender: Sender, marker: Marker, clock: Clock, each: Each, skew_ms: int
) -> list[str]:
    """Flush the connections the messages name; the ids of messages that could not be read.

    The flush window only gathers: what is sent is read now, and whatever changes later has a message of its own.
    Connections that were served since their message was made are left alone: what it stands for was read then. Clocks
    are at most ``skew_ms`` apart.
    A connection that cannot be served now is sent again alone; its messages count as done. Where a store has failed
    through all attempts, the messages are returned (``RetryableError``): given up, they would leave their clients
    behind until something changes again.
    """
    batch = wait_until_due(received, clock, skew_ms=0)
    marker.origins.begin(*(item.message.origins for item in batch.due))
    highest = attempts(_unserved(batch.due, sender, skew_ms))
    ends_ms = clock.now_ms() + POSTED_MS
    unserved: list[str] = []
    unfinished: list[str] = []

    def flush(connection_id: str) -> str | None:
        try:
            if not sender.flush(connection_id, ends_ms):
                unfinished.append(connection_id)
        except (FoliostreamError, msgspec.MsgspecError) as fault:
            return _again(fault, unserved, is_last=highest[connection_id] >= MAX_ATTEMPTS)
        return None

    for connection_id, fault in zip(highest, each(flush, highest), strict=True):
        if fault is not None:
            marker.retry_connection(connection_id, highest[connection_id], fault)
    if unfinished:
        marker.connections_now(unfinished)
    if unserved:
        raise RetryableError(f"a store fails for {len(unserved)} connections: {unserved[0]}")
    return batch.failed


def _unserved(opened: Iterable[Opened], sender: Sender, skew_ms: int) -> Iterator[Opened]:
    """The messages with those of their connections that were not served since."""
    for item in opened:
        # A message that waits for no window is numbered by its millisecond.
        made_ms = (item.message.window_end_ms or item.message.window) + skew_ms
        keys = [key for key in item.message.keys if not sender.is_served(key, made_ms)]
        yield Opened(item.received, replaced(item.message, keys=keys))


def _again(fault: Exception, unserved: list[str], *, is_last: bool) -> str | None:
    """Why a connection is to be tried again alone; ``unserved`` takes it instead if a store failed and this was the
    last of the attempts."""
    if is_last and isinstance(fault, RetryableError) and not isinstance(fault, BusyClientError):
        unserved.append(fault.message)
        return None
    return str(fault)
