"""A client's session: what it watches, its current analysis with its results, and what of it was told already."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal, NamedTuple

from msgspec import Struct

from foliostream.domain.notices import Channel

RunStatus = Literal["running", "completed", "failed", "cancelled"]
# Runs that were given up before their client heard of it: whoever switches faster than that sees the newest only.
SUPERSEDED_MAX: Final = 20
MAX_METRICS: Final = 10


class Run(Struct, frozen=True):
    """An analysis of one ticker of one portfolio over one snapshot (``version``). ``number`` counts the session's runs
    from 1; ``metrics``: the names of the results to expect."""

    number: int
    run_id: str
    ticker: str
    portfolio_id: str
    version: int
    metrics: tuple[str, ...]
    started_at_ms: int
    request_id: str | None = None


class Told(Struct, frozen=True):
    """What one connection was told: the newest run whose start, and the newest whose end was sent, and the metrics
    sent of the run ``started``."""

    started: int = 0
    ended: int = 0
    metrics: tuple[str, ...] = ()


NOTHING_TOLD: Final = Told()


class Superseded(NamedTuple):
    """A run that gave way to another one; ``payload`` is the ``analysis_cancelled`` that says so."""

    number: int
    payload: bytes


class StoredResult(NamedTuple):
    """One metric of the current run; ``payload`` is the ``analysis_result`` as it goes out."""

    metric: str
    stored_at_ms: int
    payload: bytes


@dataclass(frozen=True)
class Session:
    """``connection_id``: who is connected to it, or was last. ``portfolios``: the channels subscribed to, by portfolio.
    ``opening`` and ``ending`` are the messages of the run's start and end (empty: not ended)."""

    session_id: str
    owner: str
    connection_id: str
    expires_at_ms: int
    portfolios: Mapping[str, tuple[Channel, ...]] = field(default_factory=dict)
    run: Run | None = None
    status: RunStatus = "completed"
    opening: bytes = b""
    results: tuple[StoredResult, ...] = ()
    ending: bytes = b""
    superseded: tuple[Superseded, ...] = ()

    @property
    def running(self) -> Run | None:
        """The run that still takes results."""
        return self.run if self.status == "running" else None


def untold(session: Session, told: Told) -> Iterator[tuple[bytes, Told]]:
    """The messages that the connection has not been sent, in order, each with what is told once it was sent.

    Ends of older runs, then the current run's start, its results as they were stored, its end: so nothing of an older
    run follows the start of a newer one.
    """
    for gone in sorted(session.superseded):
        if gone.number > told.ended:
            told = replace_told(told, ended=gone.number)
            yield gone.payload, told
    run = session.run
    if run is None or run.number <= told.ended:
        return
    if run.number > told.started:
        told = Told(run.number, told.ended, ())
        yield session.opening, told
    for result in sorted(session.results, key=lambda item: (item.stored_at_ms, item.metric)):
        if result.metric not in told.metrics:
            told = replace_told(told, metrics=(*told.metrics, result.metric))
            yield result.payload, told
    if session.ending:
        yield session.ending, replace_told(told, ended=run.number)


def replace_told(told: Told, *, ended: int | None = None, metrics: tuple[str, ...] | None = None) -> Told:
    """The same with other parts."""
    return Told(told.started, told.ended if ended is None else ended, told.metrics if metrics is None else metrics)


def with_run(session: Session, run: Run, opening: bytes, cancelled: bytes) -> Session:
    """The session once the run is its current one; ``cancelled`` says that the one before gave way.

    That goes to who has not heard of its end: also of a completed one, whose results may not all be sent yet.
    """
    superseded = session.superseded
    if session.run is not None:
        payload = cancelled if session.status in {"running", "completed"} else session.ending
        superseded = (*superseded, Superseded(session.run.number, payload))[-SUPERSEDED_MAX:]
    return replace(session, run=run, status="running", opening=opening, results=(), ending=b"", superseded=superseded)
