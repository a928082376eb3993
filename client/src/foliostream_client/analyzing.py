"""An analysis: metrics of a ticker, one by one as they are ready, all of one version of the portfolio."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Final
from uuid import uuid4

from msgspec import Struct

from foliostream_client.errors import AnalysisError, SocketError
from foliostream_client.transport import Json, Socket, pause_s

# For all of it: five metrics take a tenth of a second, a cold start some seconds.
TIMEOUT_S: Final = 60.0
MAX_CONNECTIONS: Final = 5
_POLL_S: Final = 0.25


class Started(Struct, frozen=True):
    """The run has begun; ``metrics`` are those that will come."""

    run_id: str
    portfolio_id: str
    ticker: str
    version: int
    metrics: list[str]


class Result(Struct, frozen=True):
    """A metric; ``value`` None where it cannot be computed, which ``reason`` says."""

    metric: str
    value: Decimal | None
    reason: str | None
    version: int
    content: Mapping[str, Json]


class Completed(Struct, frozen=True):
    """All results have come."""

    run_id: str


Analysis = Started | Result | Completed


def analysis(
    connect: Callable[[str], Socket],
    ticker: str,
    portfolio_id: str,
    *,
    pause: Callable[[float], None] = time.sleep,
) -> Iterator[Analysis]:
    """``Started``, a ``Result`` a metric, ``Completed``. A lost connection is opened again in the same session, which
    keeps the run and its results. Raises ``AnalysisError`` if it is refused, fails, or takes longer than
    ``TIMEOUT_S``; ``SocketError`` if no connection holds."""
    query, asked = f"session_id={uuid4().hex}", uuid4().hex
    run = _Run(ticker, portfolio_id, asked)
    deadline = time.monotonic() + TIMEOUT_S
    for failures in range(MAX_CONNECTIONS):
        try:
            with connect(query) as socket:
                socket.send(run.opening())
                yield from run.follow(socket, deadline)
                return
        except SocketError:
            if failures + 1 == MAX_CONNECTIONS:
                raise
            pause(pause_s(failures))


class _Run:
    """What has come of a run; a result that comes again is left out."""

    def __init__(self, ticker: str, portfolio_id: str, asked: str) -> None:
        self._ticker = ticker
        self._portfolio_id = portfolio_id
        self._asked = asked
        self._run_id: str | None = None
        self._metrics: set[str] = set()

    def opening(self) -> dict[str, Json]:
        """Ask for the run, or, where one has begun, only speak: the session brings back what it has."""
        if self._run_id is not None:
            return {"action": "ping"}
        asked = {"ticker": self._ticker, "portfolio_id": self._portfolio_id, "request_id": self._asked}
        return {"action": "analyze", **asked}

    def follow(self, socket: Socket, deadline: float) -> Iterator[Analysis]:
        """What comes until the run has ended."""
        while time.monotonic() < deadline:
            message = socket.receive(_POLL_S)
            if message is None:
                continue
            self._check(message)
            for event in self._of(message):
                yield event
                if isinstance(event, Completed):
                    return
        raise AnalysisError("TIMEOUT", f"the analysis has not ended within {TIMEOUT_S:.0f} s", retryable=True)

    def _check(self, message: Mapping[str, Json]) -> None:
        kind = message.get("type")
        ours = message.get("request_id") == self._asked or (
            self._run_id is not None and message.get("run_id") == self._run_id
        )
        if ours and kind in ("error", "analysis_failed"):
            code, text = str(message.get("code", "")), str(message.get("message", ""))
            raise AnalysisError(code, text, retryable=bool(message.get("retryable")))
        if ours and kind == "analysis_cancelled":
            raise AnalysisError("CANCELLED", "another analysis took its place", retryable=False)

    def _of(self, message: Mapping[str, Json]) -> Iterator[Analysis]:
        kind, run_id = message.get("type"), message.get("run_id")
        if kind == "analysis_started" and self._run_id is None:
            self._run_id = str(run_id)
            yield Started(
                self._run_id,
                message["portfolio_id"],
                message["ticker"],
                message["version"],
                list(message.get("metrics", ())),
            )
        elif run_id != self._run_id:
            return
        elif kind == "analysis_result" and message["metric"] not in self._metrics:
            self._metrics.add(message["metric"])
            yield _result(message)
        elif kind == "analysis_completed":
            yield Completed(str(run_id))


def _result(message: Mapping[str, Json]) -> Result:
    value = message["value"]
    return Result(
        metric=message["metric"],
        value=None if value is None else Decimal(value),
        reason=message.get("reason"),
        version=message["version"],
        content=message,
    )
