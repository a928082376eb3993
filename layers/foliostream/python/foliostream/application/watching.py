"""A client's connection: it comes, says something, goes. Whatever cannot be served is answered with an ``error``."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from foliostream.application import protocol
from foliostream.application.analyzing import Analyzing
from foliostream.application.answering import Answers
from foliostream.application.protocol import (
    ACTIONS_AT_ONCE,
    ACTIONS_PER_SECOND,
    Action,
    Analyze,
    Cancel,
    Refresh,
    Resume,
    Subscribe,
    Unsubscribe,
)
from foliostream.application.subscribing import Subscribing
from foliostream.domain.sessions import NOTHING_TOLD, Session, Told
from foliostream.domain.times import iso
from foliostream.errors import CallerError, FoliostreamError, ThrottledError, UnauthorizedError
from foliostream.ports import Connection, Connections, Gateway, Sessions

# API Gateway ends a connection after two hours.
MAX_CONNECTION_MS = 2 * 3_600_000
_SESSION_ID = re.compile(r"[A-Za-z0-9_.=-]{8,128}")
# A session's end is moved at most so often, and so much further.
TOUCH_EVERY_MS = 60_000


@dataclass(frozen=True)
class Watching:
    """The WebSocket's use cases. ``session_ms``: how long a session is kept after its client's last message."""

    connections: Connections
    sessions: Sessions
    gateway: Gateway
    subscribing: Subscribing
    analyzing: Analyzing
    answers: Answers
    session_ms: int

    def connect(
        self,
        connection_id: str,
        owner: str,
        scopes: Collection[str],
        token_expires_ms: int,
        session_id: str | None = None,
    ) -> None:
        """Remember who is behind the connection; nothing can be posted to it yet.

        What the session was subscribed to is restored by the client's first message. Without a ``session_id`` the
        session has the connection's; ``CallerError`` (``INVALID_SESSION_ID``) for one that cannot be,
        ``UnauthorizedError`` (``SESSION_NOT_YOURS``) for one of somebody else.
        """
        if session_id is not None and not _SESSION_ID.fullmatch(session_id):
            raise CallerError("a session_id has 8 to 128 characters of A-Za-z0-9_.=-", code="INVALID_SESSION_ID")
        now_ms = self.answers.clock.now_ms()
        session_id = session_id or connection_id
        before = self.sessions.open(session_id, owner, connection_id, now_ms, self._session_end(now_ms))
        if before is not None and before.connection_id != connection_id:
            self._take_over(before)
        # The ends of older runs were told, or missed, by the connection before; the current one is told anew.
        told = Told(ended=before.run.number - 1) if before is not None and before.run is not None else NOTHING_TOLD
        connection = Connection(
            connection_id,
            owner,
            frozenset(scopes),
            now_ms,
            min(now_ms + MAX_CONNECTION_MS, token_expires_ms),
            session_id=session_id,
            told=told,
            touched_at_ms=now_ms,
            is_returning=before is not None,
        )
        self.connections.open(connection)

    def disconnect(self, connection_id: str) -> None:
        """Forget the connection; its session stays."""
        self.answers.sender.forget(connection_id)

    def receive(self, connection_id: str, body: str) -> None:
        """Serve one client message. Whatever is wrong with it is answered with an ``error``; a failing store raises
        ``RetryableError`` after the client was told that trying again may help."""
        request_id = None
        try:
            connection = self._admitted(connection_id)
            if connection is None:
                self.answers.sender.expire(connection_id)
                return
            said = protocol.envelope(body)
            request_id = said.request_id
            self._act(connection, protocol.action(said))
        except FoliostreamError as fault:
            self.answers.error(connection_id, fault, request_id)
            if not isinstance(fault, CallerError):
                raise

    def _admitted(self, connection_id: str) -> Connection | None:
        """Who speaks, if not too much; None for a connection that is over. A client that came back finds its
        subscriptions, and any message moves the end of its session."""
        now_ms = self.answers.clock.now_ms()
        interval_ms = 1000 // ACTIONS_PER_SECOND
        admitted = self.connections.admit(connection_id, now_ms, interval_ms, ACTIONS_AT_ONCE * interval_ms)
        connection = admitted.connection
        if connection is None or connection.expires_at_ms <= now_ms:
            return None
        if not admitted.is_allowed:
            raise ThrottledError(f"at most {ACTIONS_PER_SECOND} messages a second", code="RATE_LIMITED")
        if connection.is_returning:
            self.subscribing.restore(connection)
            self.connections.note_restored(connection_id)
        if now_ms - connection.touched_at_ms >= TOUCH_EVERY_MS:
            self.sessions.touch(connection.session_id, self._session_end(now_ms))
            self.connections.note_touched(connection_id, now_ms)
        return connection

    def _act(self, connection: Connection, action: Action) -> None:
        if isinstance(action, Subscribe):
            self.subscribing.subscribe(connection, action)
        elif isinstance(action, Unsubscribe):
            self.subscribing.unsubscribe(connection, action)
        elif isinstance(action, Resume):
            self.subscribing.resume(connection, action)
        elif isinstance(action, Refresh):
            self._refresh(connection, action)
        elif isinstance(action, Analyze):
            self.analyzing.analyze(connection, action)
        elif isinstance(action, Cancel):
            self.analyzing.cancel(connection, action)
        else:
            server_time = iso(self.answers.clock.now_ms())
            self.answers.now(connection.connection_id, "pong", action.request_id, server_time=server_time)

    def _refresh(self, connection: Connection, action: Refresh) -> None:
        portfolio = self.subscribing.portfolio(connection, action.portfolio_id)
        self.answers.marker.refresh(portfolio.key)
        name = portfolio.portfolio_id
        self.answers.now(connection.connection_id, "refresh_accepted", action.request_id, portfolio_id=name)

    def _take_over(self, before: Session) -> None:
        """The connection that had the session is told, closed and forgotten; most often it is gone already."""
        fault = UnauthorizedError("another connection has opened this session", code="SESSION_TAKEN_OVER")
        self.answers.error(before.connection_id, fault, None)
        self.gateway.close(before.connection_id)
        self.answers.sender.forget(before.connection_id)

    def _session_end(self, now_ms: int) -> int:
        return now_ms + self.session_ms + TOUCH_EVERY_MS
