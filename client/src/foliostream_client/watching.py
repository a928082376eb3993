"""Watching portfolios: one iterator of typed events over connections that come and go.

States are conflated (the newest wins), events are not: each comes once, by its ``event_id``. When a connection is lost
it is opened again in the same session, and every portfolio goes on from the version that is known.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final
from uuid import uuid4

from msgspec import Struct

from foliostream_client import merging
from foliostream_client.errors import ApiError, ClientError, SocketError
from foliostream_client.merging import Known
from foliostream_client.models import PortfolioState
from foliostream_client.transport import Json, Socket, pause_s

MAX_PORTFOLIOS: Final = 50
# Failures in a row, each after a longer pause; it takes a minute and a half, longer than a deployment's switch.
MAX_FAILURES: Final = 15
# An idle API Gateway connection ends after ten minutes; a lost one is noticed only by the missing answer.
PING_EVERY_S: Final = 60.0
# Of a connection's first messages the server takes 40 at once, then 10 a second.
BURST: Final = 30
AFTER_BURST_S: Final = 0.15
# What is not answered by then was lost: until the server takes a message up again whose function died, 35 seconds pass.
ASK_AGAIN_S: Final = 40.0
# After so many times without an answer it is the connection that is no good.
ASKED_MAX: Final = 3
# A repeat comes soon after, or on resume: then at most 500 a portfolio.
REMEMBERED: Final = MAX_PORTFOLIOS * 500
_POLL_S: Final = 0.25

_MARGIN: Final = frozenset({"margin_call", "margin_restored", "margin_unknown", "stop_out"})
_HAPPENINGS: Final = _MARGIN | {"fill", "reconciliation"}
# The server closes after these: it will not say anything else to this token or session.
_FINAL: Final = frozenset({"SESSION_TAKEN_OVER"})
_HANDSHAKE_FINAL: Final = frozenset({401, 403})


class Connected(Struct, frozen=True):
    """A connection stands; snapshots or updates follow."""


class Disconnected(Struct, frozen=True):
    """The connection was lost or could not be opened; it is tried again after ``retry_in_s``."""

    reason: str
    retry_in_s: float


class Snapshot(Struct, frozen=True):
    """The whole state of a portfolio: the first one, or one that replaces what was known."""

    portfolio_id: str
    state: PortfolioState


class Update(Struct, frozen=True):
    """The whole state after a change; ``changed`` names the fields that did, ``instruments`` the positions."""

    portfolio_id: str
    state: PortfolioState
    changed: frozenset[str]
    instruments: frozenset[str]


class Happening(Struct, frozen=True):
    """``kind`` margin_call, margin_restored, margin_unknown, stop_out, fill or reconciliation; ``content`` is what the
    message says beside, amounts as Decimal."""

    kind: str
    event_id: str
    portfolio_id: str
    timestamp: str
    content: Mapping[str, Any]

    @property
    def is_margin(self) -> bool:
        """Whether it is about margin."""
        return self.kind in _MARGIN


class Resync(Struct, frozen=True):
    """What was known of a portfolio cannot be brought up to date (``GAP``, ``TOO_OLD``, ``TOO_MANY_EVENTS``: events may
    be missing); a snapshot follows."""

    portfolio_id: str
    reason: str


class Problem(Struct, frozen=True):
    """The server refused something, such as a portfolio that is not the caller's; watching goes on."""

    code: str
    message: str
    retryable: bool


Event = Connected | Disconnected | Snapshot | Update | Happening | Resync | Problem


class _Question(Struct, frozen=True):
    """What was asked of a connection the ``times``-th time, and how long had been listened to it by then."""

    message: Mapping[str, Json]
    asked_at_s: float
    times: int


class Watch:
    """``connect`` opens a connection with a query string, ``fetch`` gets a state that was too large for a message.
    What is not answered is asked again after ``ASK_AGAIN_S``; after ``ASKED_MAX`` times another connection is tried,
    unless events come."""

    def __init__(
        self,
        connect: Callable[[str], Socket],
        fetch: Callable[[str], Mapping[str, Json]],
        portfolio_ids: Sequence[str],
        *,
        pause: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ids = list(dict.fromkeys(portfolio_ids))
        if not 1 <= len(self._ids) <= MAX_PORTFOLIOS:
            raise ClientError(f"1 to {MAX_PORTFOLIOS} portfolios can be watched at once, not {len(self._ids)}")
        self._connect = connect
        self._fetch = fetch
        self._pause = pause
        self._clock = clock
        self._query = f"session_id={uuid4().hex}"
        self._known: dict[str, Known] = {}
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._failures = 0
        # By ``request_id``, the oldest first.
        self._unanswered: dict[str, _Question] = {}
        # The time that whoever takes the events lets pass does not count: the answer may be there.
        self._listened_s = 0.0
        self._told_at_s = -ASK_AGAIN_S
        # What it goes on from, until that is answered: snapshots may come before, and bring no events.
        self._since: dict[str, int] = {}

    def events(self) -> Iterator[Event]:
        """Without an end. Raises ``SocketError`` after ``MAX_FAILURES`` connections in a row that brought nothing, or
        at once where the token or the session is refused."""
        while True:
            try:
                yield from self._connection()
            except SocketError as fault:
                self._failures += 1
                if fault.status in _HANDSHAKE_FINAL or self._failures >= MAX_FAILURES:
                    raise
                wait_s = pause_s(self._failures)
                yield Disconnected(str(fault), wait_s)
                self._pause(wait_s)

    def _connection(self) -> Iterator[Event]:
        with self._connect(self._query) as socket:
            self._ask(socket)
            yield Connected()
            heard = asked = self._clock()
            while True:
                began = self._clock()
                message = socket.receive(_POLL_S)
                now = self._clock()
                self._listened_s += now - began
                if message is not None:
                    heard = now
                    yield from self._take(socket, message)
                if now - heard > 2 * PING_EVERY_S:
                    raise SocketError(f"nothing came for {now - heard:.0f} s, not even an answer to a ping")
                if now - asked > PING_EVERY_S:
                    socket.send({"action": "ping"})
                    asked = now
                self._ask_again(socket)

    def _ask(self, socket: Socket) -> None:
        """Go on where a version is known, begin where none is."""
        self._unanswered.clear()
        new = [name for name in self._ids if name not in self._known]
        if new:
            self._put(socket, "subscribe", {"action": "subscribe", "portfolio_ids": new})
        for number, (name, known) in enumerate(self._known.items(), 1):
            self._since.setdefault(name, known.version)
            self._resume(socket, name, known)
            if number > BURST:
                self._pause(AFTER_BURST_S)

    def _resume(self, socket: Socket, portfolio_id: str, known: Known) -> None:
        """Once: what comes until it is answered says the same gap again."""
        request_id = f"resume:{portfolio_id}"
        if request_id not in self._unanswered:
            last_version = self._since.get(portfolio_id, known.version)
            asked = {"action": "resume", "portfolio_id": portfolio_id, "last_version": last_version}
            self._put(socket, request_id, asked)

    def _put(self, socket: Socket, request_id: str, message: Mapping[str, Json], times: int = 1) -> None:
        socket.send({**message, "request_id": request_id})
        self._unanswered[request_id] = _Question(message, self._listened_s, times)

    def _ask_again(self, socket: Socket) -> None:
        """What must have been lost, one by one: the server counts a connection's messages."""
        if not self._unanswered:
            return
        (request_id, oldest), newest = next(iter(self._unanswered.items())), next(reversed(self._unanswered.values()))
        is_lost = self._listened_s - oldest.asked_at_s >= ASK_AGAIN_S
        if not is_lost or self._listened_s - newest.asked_at_s < AFTER_BURST_S:
            return
        # As long as events come, a long answer may be on its way: another connection would begin it anew.
        if oldest.times >= ASKED_MAX and self._listened_s - self._told_at_s >= ASK_AGAIN_S:
            raise SocketError(f"{request_id} was asked {ASKED_MAX} times and not answered")
        del self._unanswered[request_id]  # What is asked again is the newest.
        self._put(socket, request_id, oldest.message, oldest.times + 1)

    def _take(self, socket: Socket, message: Mapping[str, Json]) -> Iterator[Event]:
        kind = message.get("type")
        if kind == "snapshot":
            yield self._snapshot(message)
        elif kind == "portfolio_update":
            for entry in message["updates"]:
                yield from self._update(socket, entry)
        elif kind in _HAPPENINGS:
            yield from self._happening(message)
        elif kind == "resync_required":
            yield Resync(message["portfolio_id"], str(message.get("reason", "")))
        elif kind == "error":
            yield self._problem(message)
            self._unanswered.pop(message.get("request_id", ""), None)
        elif kind in ("resumed", "subscribed"):
            self._failures = 0
            self._unanswered.pop(message.get("request_id", ""), None)
            self._since.pop(message.get("portfolio_id", ""), None)  # that `resumed` names

    def _snapshot(self, message: Mapping[str, Json]) -> Snapshot:
        portfolio_id = message["portfolio_id"]
        self._failures = 0
        if merging.is_shortened(message["data"]):
            return Snapshot(portfolio_id, self._fetched(portfolio_id))
        self._known[portfolio_id] = merging.snapshot(message)
        return Snapshot(portfolio_id, merging.typed(portfolio_id, self._known[portfolio_id]))

    def _update(self, socket: Socket, entry: Mapping[str, Json]) -> Iterator[Event]:
        portfolio_id, version, data = entry["portfolio_id"], entry["version"], entry["data"]
        known = self._known.get(portfolio_id)
        if known is None or version <= known.version:
            return
        if merging.is_shortened(data):
            yield _changed(portfolio_id, self._fetched(portfolio_id), data)
        elif entry["previous_version"] != known.version:
            self._resume(socket, portfolio_id, known)
        else:
            self._known[portfolio_id] = merging.merged(known, entry)
            yield _changed(portfolio_id, merging.typed(portfolio_id, self._known[portfolio_id]), data)

    def _fetched(self, portfolio_id: str) -> PortfolioState:
        """Over REST, what a frame does not hold."""
        fields = self._fetch(portfolio_id)
        version = fields.get("version")
        if not isinstance(version, int):
            raise ApiError(f"the state of {portfolio_id}", 200, "", "has no version")
        self._known[portfolio_id] = Known(version, fields)
        return merging.typed(portfolio_id, self._known[portfolio_id])

    def _happening(self, message: Mapping[str, Json]) -> Iterator[Event]:
        event_id = message["event_id"]
        self._told_at_s = self._listened_s
        if event_id in self._seen:
            self._seen.move_to_end(event_id)
            return
        self._seen[event_id] = None
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        said = {"type", "event_id", "portfolio_id", "timestamp"}
        content = {name: value for name, value in message.items() if name not in said}
        yield Happening(message["type"], event_id, message.get("portfolio_id", ""), message["timestamp"], content)

    def _problem(self, message: Mapping[str, Json]) -> Problem:
        problem = Problem(str(message.get("code", "")), str(message.get("message", "")), bool(message.get("retryable")))
        if problem.code in _FINAL:
            raise SocketError(f"{problem.code}: {problem.message}", status=403)
        if problem.retryable:
            # What was asked for was not done: everything is asked for again, on a new connection after a pause.
            raise SocketError(f"{problem.code}: {problem.message}")
        return problem


def _changed(portfolio_id: str, state: PortfolioState, data: Mapping[str, Json]) -> Update:
    instruments = {item["instrument_id"] for item in data.get("positions", ())}
    return Update(portfolio_id, state, frozenset(data), frozenset(instruments | set(data.get("positions_removed", ()))))
