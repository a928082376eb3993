"""Who watches what: subscribing, unsubscribing, going on where a client left off, coming back to a session."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from foliostream.application.access import not_found
from foliostream.application.announcing import outgoing, packed
from foliostream.application.answering import Answers
from foliostream.application.protocol import MAX_SUBSCRIPTIONS, Resume, Subscribe, Unsubscribe
from foliostream.domain.notices import CHANNELS, Channel
from foliostream.domain.portfolio import Portfolio
from foliostream.errors import CallerError, NotFoundError, RefusedError
from foliostream.ports import (
    Clock,
    Connection,
    Connections,
    ConnectionView,
    Ledger,
    Notices,
    Outgoing,
    Sessions,
    Snapshots,
    Subscription,
)

# A version is about the time of its valuation, and a notice kept before that was sent before it: with this much to
# spare for clocks and slow stores. What comes twice is known by its id.
REPLAY_SLACK_MS = 60_000
REPLAYED_MAX = 500


@dataclass(frozen=True)
class Subscribing:
    """``kept_ms``: how long notices are kept for replay."""

    connections: Connections
    sessions: Sessions
    notices: Notices
    snapshots: Snapshots
    ledger: Ledger
    answers: Answers
    clock: Clock
    kept_ms: int

    def subscribe(self, connection: Connection, action: Subscribe) -> None:
        """From the newest snapshot on; what is not the client's is answered with an error, the rest is served."""
        asked = self._asked(connection, action.portfolio_ids)
        active = self.active(connection)
        self._check_room(active.keys() | set(asked))
        own = self._own(connection, asked)
        channels = _sorted(action.channels or CHANNELS)
        self._watch(connection, [Subscription(name, channels=channels) for name in own])
        if own:
            self._acknowledge(connection, "subscribed", active | dict.fromkeys(own, channels), action.request_id)
        for portfolio_id in asked:
            if portfolio_id not in own:
                self.answers.error(connection.connection_id, not_found(portfolio_id), action.request_id)

    def unsubscribe(self, connection: Connection, action: Unsubscribe) -> None:
        """From some channels, or altogether."""
        subscriptions = self._view(connection).subscriptions
        asked = list(dict.fromkeys(action.portfolio_ids or self._only(connection, subscriptions)))
        dropped = set(action.channels or CHANNELS)
        kept = [
            replace(item, channels=left)
            for item in subscriptions
            if item.portfolio_id in asked and (left := _sorted(set(item.channels) - dropped))
        ]
        gone = [name for name in asked if name not in {item.portfolio_id for item in kept}]
        self.connections.unsubscribe(connection.connection_id, gone)
        for portfolio_id in gone:
            self.snapshots.unwatch(portfolio_id, [connection.connection_id])
        if kept:
            self.connections.subscribe(connection, kept)
        self.sessions.remember(connection.session_id, {item.portfolio_id: item.channels for item in kept}, gone)
        active = {item.portfolio_id: item.channels for item in subscriptions if item.portfolio_id not in gone}
        active |= {item.portfolio_id: item.channels for item in kept}
        self._acknowledge(connection, "unsubscribed", active, action.request_id)

    def resume(self, connection: Connection, action: Resume) -> None:
        """Go on from ``last_version``: with an update where it is known what the client has, else with a snapshot;
        notices since then are sent again. Asked again before that is sent, it changes nothing."""
        [portfolio_id] = self._asked(connection, None if action.portfolio_id is None else [action.portfolio_id])
        if not self._own(connection, [portfolio_id]):
            raise not_found(portfolio_id)
        view = self._view(connection)
        if _is_on_its_way(view, portfolio_id, action.last_version):
            return
        active = _channels(view)
        self._check_room(active.keys() | {portfolio_id})
        channels = active.get(portfolio_id, CHANNELS)
        since_ms = action.last_version - REPLAY_SLACK_MS
        saved = self.sessions.sent(connection.session_id, portfolio_id)
        parts = saved.parts if saved is not None and saved.sent_version == action.last_version else None
        resumed = Subscription(portfolio_id, action.last_version, parts, channels=channels)
        # Watch first: what is announced after this knows of the watcher, what was announced before it is kept by now.
        self._watch(connection, [resumed])
        replayed = self._replayed(portfolio_id, since_ms)
        lost = self._lost(action.last_version, replayed)
        letters = list(packed(replayed))
        if lost:
            self.connections.subscribe(connection, [Subscription(portfolio_id, channels=channels)])
            letters.append(self.answers.letter("resync_required", portfolio_id=portfolio_id, reason=lost))
        active = active | {portfolio_id: channels}
        acknowledgement = _acknowledgement(connection, active) | {"portfolio_id": portfolio_id}
        letter = self.answers.letter("resumed", action.request_id, **acknowledgement)
        entry_id = letter.entry_id + _answering(action.last_version)
        letters.append(letter._replace(entry_id=entry_id, portfolio_id=portfolio_id))
        self.answers.letters(connection, letters)

    def restore(self, connection: Connection) -> None:
        """What the session was subscribed to and its current analysis, for a client that came back."""
        session = self.sessions.view(connection.session_id, self.clock.now_ms())
        if session is None:
            return
        own = self._own(connection, session.portfolios)
        self._watch(connection, [Subscription(name, channels=session.portfolios[name]) for name in own])
        self.sessions.remember(connection.session_id, {}, [name for name in session.portfolios if name not in own])
        active = {name: session.portfolios[name] for name in own}
        letters = [self.answers.letter("subscribed", None, **_acknowledgement(connection, active), restored=True)]
        if session.run is not None:
            letters.append(self.answers.entry(b""))
        self.answers.letters(connection, letters)

    def active(self, connection: Connection) -> dict[str, tuple[Channel, ...]]:
        """The channels it is subscribed to, by portfolio."""
        return _channels(self._view(connection))

    def portfolio(self, connection: Connection, portfolio_id: str | None) -> Portfolio:
        """The client's portfolio of this id, or its only one; ``NotFoundError``, or ``CallerError``
        (``PORTFOLIO_NEEDED``)."""
        [asked] = self._asked(connection, None if portfolio_id is None else [portfolio_id])
        found = self.ledger.load([asked]).get(asked)
        if found is None or found.owner != connection.owner:
            raise not_found(asked)
        return found

    def _asked(self, connection: Connection, named: Sequence[str] | None) -> list[str]:
        """The portfolios named, or the only one: that is subscribed to, else that the client has."""
        if named is not None:
            return list(dict.fromkeys(named))
        return self._only(connection, self._view(connection).subscriptions)

    def _only(self, connection: Connection, subscriptions: Sequence[Subscription]) -> list[str]:
        only = [item.portfolio_id for item in subscriptions]
        if len(only) != 1:
            only = self.ledger.owned(connection.owner, None, 2).portfolio_ids
        if len(only) != 1:
            raise CallerError("name the portfolio: there is more than one, or none", code="PORTFOLIO_NEEDED")
        return only

    def _own(self, connection: Connection, asked: Collection[str]) -> list[str]:
        found = self.ledger.load(asked) if asked else {}
        return [name for name in asked if name in found and found[name].owner == connection.owner]

    def _watch(self, connection: Connection, subscriptions: Sequence[Subscription]) -> None:
        # Watch first: a snapshot written after this knows of the watcher, one written before is read by the sender.
        for item in subscriptions:
            self.snapshots.watch(item.portfolio_id, connection.connection_id, connection.leaves_at_ms)
        if subscriptions:
            self.connections.subscribe(connection, subscriptions)
            added = {item.portfolio_id: item.channels for item in subscriptions}
            self.sessions.remember(connection.session_id, added)

    def _replayed(self, portfolio_id: str, since_ms: int) -> list[Outgoing]:
        kept = self.notices.since(portfolio_id, since_ms, REPLAYED_MAX, self.clock.now_ms())
        first = {notice.event_id: notice for notice in reversed(kept)}
        return [outgoing(notice) for notice in reversed(first.values())]

    def _lost(self, last_version: int, replayed: Sequence[Outgoing]) -> Literal["TOO_OLD", "TOO_MANY_EVENTS"] | None:
        """Why notices may be missing, for ever."""
        if last_version < self.clock.now_ms() - self.kept_ms:
            return "TOO_OLD"
        return "TOO_MANY_EVENTS" if len(replayed) >= REPLAYED_MAX else None

    def _check_room(self, wanted: Collection[str]) -> None:
        if len(wanted) > MAX_SUBSCRIPTIONS:
            raise RefusedError(
                f"a connection watches at most {MAX_SUBSCRIPTIONS} portfolios, {len(wanted)} asked",
                code="TOO_MANY_SUBSCRIPTIONS",
            )

    def _view(self, connection: Connection) -> ConnectionView:
        view = self.connections.view(connection.connection_id, self.clock.now_ms())
        if view is None:
            raise NotFoundError(f"connection {connection.connection_id} is closed", code="CONNECTION_CLOSED")
        return view

    def _acknowledge(
        self, connection: Connection, kind: str, active: Mapping[str, tuple[Channel, ...]], request_id: str | None
    ) -> None:
        """Through the outbox, since it must come before the snapshots it announces."""
        letter = self.answers.letter(kind, request_id, **_acknowledgement(connection, active))
        self.answers.letters(connection, [letter])


def _channels(view: ConnectionView) -> dict[str, tuple[Channel, ...]]:
    return {item.portfolio_id: item.channels for item in view.subscriptions}


def _is_on_its_way(view: ConnectionView, portfolio_id: str, last_version: int) -> bool:
    """Whether the answer to the same question waits to be sent: of all letters only that one names a portfolio."""
    return portfolio_id in _channels(view) and any(
        entry.portfolio_id == portfolio_id and entry.entry_id.endswith(_answering(last_version))
        for entry in view.outbox
        if not entry.event_id
    )


def _answering(last_version: int) -> str:
    """The end of the id of an answer to ``resume``."""
    return f"-from-{last_version}"


def _acknowledgement(connection: Connection, active: Mapping[str, tuple[Channel, ...]]) -> dict[str, object]:
    """What a connection watches now."""
    return {
        "session_id": connection.session_id,
        "portfolio_ids": sorted(active),
        "channels": {name: active[name] for name in sorted(active)},
    }


def _sorted(channels: Collection[Channel]) -> tuple[Channel, ...]:
    return tuple(channel for channel in CHANNELS if channel in channels)
