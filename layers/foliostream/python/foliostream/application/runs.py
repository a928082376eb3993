"""Runs of an analysis: opened, filled with results and ended in the session, from where the one sender tells them.

Every change is stored first, under the condition that the run is still the current one, then the connection is told to
look. So whatever is stored of a run was current when it was stored, and what its client sees is in the session's order.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from foliostream.application.marking import Marker
from foliostream.domain import messages
from foliostream.domain.sessions import MAX_METRICS, Run, RunStatus, Session, with_run
from foliostream.domain.times import iso
from foliostream.errors import ConflictError, FoliostreamError, NotFoundError, PermanentError, RetryableError
from foliostream.ports import Clock, Connection, Connections, Outgoing, Sessions

# Two analyses asked for at the same moment: one of them reads again.
OPENING_TRIES = 5
# What stays in an outbox for a client that is not there; its session has it all the same.
SIGNAL_LIFE_MS = 2 * 3_600_000


@dataclass(frozen=True)
class Runs:
    """``new_id`` gives an id that was never used before."""

    sessions: Sessions
    connections: Connections
    marker: Marker
    clock: Clock
    new_id: Callable[[], str]

    def open(
        self,
        connection: Connection,
        *,
        ticker: str,
        portfolio_id: str,
        version: int,
        metrics: Collection[str],
        start: Callable[[Run], None],
        request_id: str | None = None,
    ) -> Run:
        """Make a new run the session's current one; the one before gives way, whatever it still had to say.

        ``start`` has it computed, without waiting for that, before its client is told to look: what the client waits
        for are the results. ``NotFoundError`` (``SESSION_EXPIRED``) if the session is gone.
        """
        if not 1 <= len(metrics) <= MAX_METRICS:
            raise PermanentError(f"a run has 1 to {MAX_METRICS} metrics, not {len(metrics)}")
        run_id = self.new_id()
        for _ in range(OPENING_TRIES):
            session = self._session(connection.session_id)
            number = session.run.number + 1 if session.run else 1
            now_ms = self.clock.now_ms()
            run = Run(number, run_id, ticker, portfolio_id, version, tuple(metrics), now_ms, request_id)
            after = with_run(session, run, _opening(run, now_ms), _cancelled(session.run, now_ms, run_id))
            try:
                self.sessions.open_run(after)
            except ConflictError:
                continue
            self._begin(after, run, start)
            return run
        raise RetryableError("others open runs in this session at the same time", code="SESSION_BUSY")

    def result(self, session_id: str, run: Run, metric: str, content: Mapping[str, object]) -> bool:
        """Store one metric (``content``: ``value`` and what belongs to it) and have it sent; False, and nothing
        happens, if the run is not the current one any more or has this metric already."""
        payload = messages.encode(_about(run, "analysis_result", self.clock.now_ms()) | {"metric": metric, **content})
        if len(payload) > messages.MAX_FRAME_BYTES:
            raise PermanentError(f"the result {metric} has {len(payload)} bytes and fits into no frame")
        return self._told(self.sessions.put_result(session_id, run.run_id, metric, payload, self.clock.now_ms()))

    def complete(self, session_id: str, run: Run) -> bool:
        """All its metrics are stored; False if the run is not running any more."""
        return self._end(session_id, run, "completed", {"metrics": run.metrics})

    def fail(self, session_id: str, run: Run, *, code: str, message: str, retryable: bool) -> bool:
        """Nothing more will come of it; False if the run is not running any more."""
        return self._end(session_id, run, "failed", {"code": code, "message": message, "retryable": retryable})

    def cancel(self, session_id: str, request_id: str | None = None) -> Run | None:
        """End the current run; None if none is running."""
        run = self._session(session_id).running
        if run is None:
            return None
        content: dict[str, object] = {"superseded_by": None}
        if request_id is not None:
            content["request_id"] = request_id
        return run if self._end(session_id, run, "cancelled", content) else None

    def _begin(self, session: Session, run: Run, start: Callable[[Run], None]) -> None:
        try:
            start(run)
        except FoliostreamError as fault:
            # Told in order, as the end of a run that has been announced.
            message = "the analysis could not be started"
            self.fail(session.session_id, run, code="UNAVAILABLE", message=message, retryable=fault.retryable)
        else:
            self._signal(session.connection_id)

    def _end(self, session_id: str, run: Run, status: RunStatus, content: Mapping[str, object]) -> bool:
        ending = messages.encode(_about(run, f"analysis_{status}", self.clock.now_ms()) | dict(content))
        return self._told(self.sessions.end_run(session_id, run.run_id, status, ending))

    def _session(self, session_id: str) -> Session:
        session = self.sessions.view(session_id, self.clock.now_ms())
        if session is None:
            raise NotFoundError("the session has expired: connect again", code="SESSION_EXPIRED")
        return session

    def _told(self, connection_id: str | None) -> bool:
        if connection_id is None:
            return False
        self._signal(connection_id)
        return True

    def _signal(self, connection_id: str) -> None:
        now_ms = self.clock.now_ms()
        entry = Outgoing(f"{now_ms:015d}-{self.marker.new_nonce()}", b"")
        self.connections.enqueue([(connection_id, entry)], now_ms + SIGNAL_LIFE_MS)
        self.marker.connections_now([connection_id])


def _opening(run: Run, now_ms: int) -> bytes:
    return messages.encode(_about(run, "analysis_started", now_ms) | {"metrics": run.metrics})


def _cancelled(run: Run | None, now_ms: int, superseded_by: str) -> bytes:
    if run is None:
        return b""
    return messages.encode(_about(run, "analysis_cancelled", now_ms) | {"superseded_by": superseded_by})


def _about(run: Run, kind: str, now_ms: int) -> dict[str, object]:
    about = {
        "type": kind,
        "ticker": run.ticker,
        "run_id": run.run_id,
        "portfolio_id": run.portfolio_id,
        "version": run.version,
        "timestamp": iso(now_ms),
    }
    return about | ({"request_id": run.request_id} if run.request_id is not None else {})
