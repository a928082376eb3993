"""Sessions in memory."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from foliostream.domain.notices import Channel
from foliostream.domain.sessions import RunStatus, Session, StoredResult
from foliostream.errors import ConflictError, UnauthorizedError
from foliostream.ports import Subscription


class FakeSessions:
    """Implements ``ports.Sessions``."""

    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}
        self._sent: dict[tuple[str, str], Subscription] = {}

    def open(self, session_id: str, owner: str, connection_id: str, now_ms: int, expires_at_ms: int) -> Session | None:
        before = self.view(session_id, now_ms)
        if before is not None and before.owner != owner:
            raise UnauthorizedError("the session belongs to somebody else", code="SESSION_NOT_YOURS")
        session = before or Session(session_id, owner, connection_id, expires_at_ms)
        self.sessions[session_id] = replace(session, connection_id=connection_id, expires_at_ms=expires_at_ms)
        return before

    def view(self, session_id: str, now_ms: int) -> Session | None:
        session = self.sessions.get(session_id)
        return session if session is not None and session.expires_at_ms > now_ms else None

    def touch(self, session_id: str, expires_at_ms: int) -> None:
        self._change(session_id, expires_at_ms=expires_at_ms)

    def remember(
        self, session_id: str, added: Mapping[str, Collection[Channel]], removed: Collection[str] = ()
    ) -> None:
        if session_id in self.sessions:
            kept = dict(self.sessions[session_id].portfolios) | {name: tuple(added[name]) for name in added}
            self._change(session_id, portfolios={name: kept[name] for name in kept if name not in removed})

    def keep_sent(self, session_id: str, sent: Sequence[Subscription], expires_at_ms: int) -> None:  # noqa: ARG002
        for item in sent:
            kept = Subscription(item.portfolio_id, item.sent_version, item.parts)
            self._sent[session_id, item.portfolio_id] = kept

    def sent(self, session_id: str, portfolio_id: str) -> Subscription | None:
        return self._sent.get((session_id, portfolio_id))

    def open_run(self, session: Session) -> None:
        stored, run = self.sessions.get(session.session_id), session.run
        if run is None:
            raise ValueError("a run to open is missing")
        if stored is None or (stored.run.number if stored.run else 0) != run.number - 1:
            raise ConflictError(f"session {session.session_id} has another run by now")
        self._change(
            session.session_id,
            run=run,
            status=session.status,
            opening=session.opening,
            results=(),
            ending=b"",
            superseded=session.superseded,
        )

    def put_result(self, session_id: str, run_id: str, metric: str, payload: bytes, now_ms: int) -> str | None:
        session = self._running(session_id, run_id)
        if session is None or metric in {result.metric for result in session.results}:
            return None
        results = sorted((*session.results, StoredResult(metric, now_ms, payload)))
        self._change(session_id, results=tuple(results))
        return session.connection_id

    def end_run(self, session_id: str, run_id: str, status: RunStatus, ending: bytes) -> str | None:
        session = self._running(session_id, run_id)
        if session is None:
            return None
        self._change(session_id, status=status, ending=ending)
        return session.connection_id

    def _running(self, session_id: str, run_id: str) -> Session | None:
        session = self.sessions.get(session_id)
        return session if session and session.running and session.running.run_id == run_id else None

    def _change(self, session_id: str, **changes: object) -> None:
        if session_id in self.sessions:
            self.sessions[session_id] = replace(self.sessions[session_id], **changes)  # type: ignore[arg-type]
