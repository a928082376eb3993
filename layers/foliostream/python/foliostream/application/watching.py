"""What a WebSocket client may do: connect, subscribe, unsubscribe, ping, go. Everything else is an ``error``."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from foliostream.application.access import not_found
from foliostream.application.marking import Marker
from foliostream.application.push import Sender
from foliostream.domain import messages
from foliostream.domain.sessions import NOTHING_TOLD, Told
from foliostream.domain.times import iso
from foliostream.errors import CallerError, FoliostreamError, RefusedError, UnauthorizedError
from foliostream.ports import (
    Clock,
    Connection,
    Connections,
    Gateway,
    Ledger,
    Outgoing,
    Sessions,
    Snapshots,
)

MAX_SUBSCRIPTIONS = 50
MAX_CLIENT_MESSAGE_BYTES = 32_768
# API Gateway ends a connection after two hours.
MAX_CONNECTION_MS = 2 * 3_600_000
MAX_REQUEST_ID_LENGTH = 128
_RequestId = Annotated[str, Meta(max_length=MAX_REQUEST_ID_LENGTH)]
_PortfolioId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}\Z")]
_PortfolioIds = Annotated[list[_PortfolioId], Meta(min_length=1, max_length=MAX_SUBSCRIPTIONS)]


class Ping(Struct, tag_field="action", tag="ping", forbid_unknown_fields=True):
    """``{"action": "ping"}``."""

    request_id: _RequestId | None = None


class Subscribe(Struct, tag_field="action", tag="subscribe", forbid_unknown_fields=True):
    """``{"action": "subscribe", "portfolio_ids": [...]}``."""

    portfolio_ids: _PortfolioIds
    request_id: _RequestId | None = None


class Unsubscribe(Struct, tag_field="action", tag="unsubscribe", forbid_unknown_fields=True):
    """``{"action": "unsubscribe", "portfolio_ids": [...]}``."""

    portfolio_ids: _PortfolioIds
    request_id: _RequestId | None = None


Action = Ping | Subscribe | Unsubscribe
_actions: msgspec.json.Decoder[Action] = msgspec.json.Decoder(Action)


class _Envelope(Struct):
    """The parts of a message that help to answer it when the rest is wrong."""

    action: Any = None
    request_id: Any = None


_envelopes = msgspec.json.Decoder(_Envelope)


@dataclass(frozen=True)
class Watching:
    """The WebSocket's use cases. ``session_ms``: how long a session is kept after its client's last message."""

    connections: Connections
    sessions: Sessions
    snapshots: Snapshots
    ledger: Ledger
    gateway: Gateway
    marker: Marker
    sender: Sender
    clock: Clock
    session_ms: int

    def connect(
        self,
        connection_id: str,
        owner: str,
        scopes: Collection[str],
        token_expires_ms: int,
        session_id: str | None = None,
    ) -> None:
        """Remember who is behind the connection; nothing can be posted yet. Without a ``session_id`` the session has
        the connection's; ``UnauthorizedError`` (``SESSION_NOT_YOURS``) for one of somebody else."""
        now_ms = self.clock.now_ms()
        expires_ms = min(now_ms + MAX_CONNECTION_MS, token_expires_ms)
        session_id = session_id or connection_id
        before = self.sessions.open(session_id, owner, connection_id, now_ms, now_ms + self.session_ms)
        # The ends of older runs were told, or missed, by the connection before; the current one is told anew.
        told = Told(ended=before.run.number - 1) if before is not None and before.run is not None else NOTHING_TOLD
        connection = Connection(
            connection_id, owner, frozenset(scopes), now_ms, expires_ms, session_id=session_id, told=told
        )
        self.connections.open(connection)

    def disconnect(self, connection_id: str) -> None:
        """Forget the connection."""
        self.sender.forget(connection_id)

    def receive(self, connection_id: str, body: str) -> None:
        """Serve one client message. Whatever is wrong with it is answered with an ``error``; a failing store raises
        ``RetryableError`` after the client was told that trying again may help."""
        request_id = None
        try:
            envelope = _envelope(body)
            request_id = _repeatable(envelope.request_id)
            self._act(self._connection(connection_id), _action(body, envelope))
        except FoliostreamError as fault:
            self._answer_error(connection_id, fault, request_id)
            if not isinstance(fault, CallerError):
                raise

    def _connection(self, connection_id: str) -> Connection:
        view = self.connections.view(connection_id, self.clock.now_ms())
        if view is None:
            raise UnauthorizedError("the connection or its token has expired: connect again", code="TOKEN_EXPIRED")
        return view.connection

    def _act(self, connection: Connection, action: Action) -> None:
        if isinstance(action, Subscribe):
            self._subscribe(connection, action)
        elif isinstance(action, Unsubscribe):
            self._unsubscribe(connection, action)
        else:
            now_ms = self.clock.now_ms()
            pong = messages.message("pong", now_ms, server_time=iso(now_ms), request_id=action.request_id)
            self._post(connection.connection_id, pong)

    def _subscribe(self, connection: Connection, action: Subscribe) -> None:
        asked = list(dict.fromkeys(action.portfolio_ids))
        active = self._active(connection)
        if len(active | set(asked)) > MAX_SUBSCRIPTIONS:
            raise RefusedError(
                f"a connection watches at most {MAX_SUBSCRIPTIONS} portfolios, {len(active | set(asked))} asked",
                code="TOO_MANY_SUBSCRIPTIONS",
            )
        found = self.ledger.load(asked)
        own = [i for i in asked if i in found and found[i].owner == connection.owner]
        # Watch first: a snapshot written after this knows of the watcher, one written before is read by the sender.
        for portfolio_id in own:
            self.snapshots.watch(portfolio_id, connection.connection_id, connection.expires_at_ms)
        if own:
            self.connections.subscribe(connection, own)
            self._acknowledge(connection, "subscribed", active | set(own), action.request_id)
        for portfolio_id in asked:
            if portfolio_id not in own:
                self._answer_error(connection.connection_id, not_found(portfolio_id), action.request_id)

    def _unsubscribe(self, connection: Connection, action: Unsubscribe) -> None:
        self.connections.unsubscribe(connection.connection_id, action.portfolio_ids)
        for portfolio_id in set(action.portfolio_ids):
            self.snapshots.unwatch(portfolio_id, [connection.connection_id])
        left = self._active(connection) - set(action.portfolio_ids)
        self._acknowledge(connection, "unsubscribed", left, action.request_id)

    def _active(self, connection: Connection) -> set[str]:
        view = self.connections.view(connection.connection_id, self.clock.now_ms())
        return {subscription.portfolio_id for subscription in view.subscriptions} if view else set()

    def _acknowledge(self, connection: Connection, kind: str, active: set[str], request_id: str | None) -> None:
        """Through the outbox, since it must come before the snapshots it announces."""
        now_ms = self.clock.now_ms()
        payload = messages.message(kind, now_ms, portfolio_ids=sorted(active), request_id=request_id)
        entry = Outgoing(f"{now_ms:015d}-{self.marker.new_nonce()}", payload)
        self.connections.enqueue([(connection.connection_id, entry)], connection.expires_at_ms)
        self.marker.connections_now([connection.connection_id])

    def _answer_error(self, connection_id: str, fault: FoliostreamError, request_id: str | None) -> None:
        payload = messages.message(
            "error",
            self.clock.now_ms(),
            code=fault.code,
            message=fault.message,
            retryable=fault.retryable,
            details=fault.details or None,
            request_id=request_id,
        )
        self._post(connection_id, payload)

    def _post(self, connection_id: str, payload: bytes) -> None:
        if not self.gateway.post(connection_id, payload):
            self.sender.forget(connection_id)


def _envelope(body: str) -> _Envelope:
    raw = body.encode(errors="replace")
    if len(raw) > MAX_CLIENT_MESSAGE_BYTES:
        raise CallerError(f"a message has at most {MAX_CLIENT_MESSAGE_BYTES} bytes", code="MESSAGE_TOO_LARGE")
    try:
        return _envelopes.decode(raw)
    except (msgspec.MsgspecError, RecursionError) as fault:  # nested a thousand times
        raise CallerError(f"a message is a JSON object: {fault}", code="INVALID_JSON") from None


def _repeatable(request_id: object) -> str | None:
    """What an answer may carry: the answer to a too long one has to fit into a frame as well."""
    return request_id if isinstance(request_id, str) and len(request_id) <= MAX_REQUEST_ID_LENGTH else None


def _action(body: str, envelope: _Envelope) -> Action:
    known = ["ping", "subscribe", "unsubscribe"]  # a list: what is asked may be anything, also unhashable
    if envelope.action not in known:
        raise CallerError(f"action is one of {', '.join(known)}", code="UNKNOWN_ACTION")
    try:
        return _actions.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as fault:
        raise CallerError(str(fault), code="INVALID_MESSAGE") from None
