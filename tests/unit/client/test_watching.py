"""Watching and analysing against a server that misbehaves."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from itertools import pairwise
from typing import Any, Self, TypeVar

import pytest
from websockets.sync.server import ServerConnection

from foliostream_client import AnalysisError, SocketError, analyzing, merging
from foliostream_client.errors import ClientError
from foliostream_client.merging import Known
from foliostream_client.transport import Json, Socket
from foliostream_client.watching import (
    AFTER_BURST_S,
    ASK_AGAIN_S,
    ASKED_MAX,
    MAX_FAILURES,
    MAX_PORTFOLIOS,
    Connected,
    Disconnected,
    Event,
    Happening,
    Problem,
    Resync,
    Snapshot,
    Update,
    Watch,
)
from tests.unit.client.servers import said, say, websocket
from tests.unit.client.states import position, state

T = TypeVar("T")
Heard = queue.SimpleQueue[Json]


def no_fetch(portfolio_id: str) -> Mapping[str, Json]:
    raise AssertionError(f"{portfolio_id} was fetched")


@contextmanager
def watched(
    handle: Callable[[ServerConnection], None],
    *ids: str,
    fetch: Callable[[str], Mapping[str, Json]] = no_fetch,
) -> Iterator[Iterator[Event]]:
    with websocket(handle) as url:
        watch = Watch(lambda query: Socket(url, query=query), fetch, ids or ("growth",), pause=lambda _: None)
        events = watch.events()
        yield events
        events.close()  # type: ignore[attr-defined]


def the(kind: type[T], events: Iterator[Event]) -> T:
    """The next event, which is of this kind."""
    event = next(events)
    assert isinstance(event, kind), event
    return event


def snapshot(version: int, *positions: dict[str, Any], **more: object) -> dict[str, Any]:
    data = state(*positions, version=version, **more)
    return {"type": "snapshot", "portfolio_id": "growth", "version": version, "data": data}


def update(version: int, previous: int, **data: object) -> dict[str, Any]:
    entry = {"portfolio_id": "growth", "version": version, "previous_version": previous, "data": data}
    return {"type": "portfolio_update", "updates": [entry]}


def resume(portfolio_id: str, last_version: int) -> dict[str, Any]:
    request_id = f"resume:{portfolio_id}"
    return {
        "action": "resume",
        "portfolio_id": portfolio_id,
        "last_version": last_version,
        "request_id": request_id,
    }


def resumed(portfolio_id: str = "growth") -> dict[str, Any]:
    return {"type": "resumed", "portfolio_id": portfolio_id, "request_id": f"resume:{portfolio_id}"}


def subscribe(*ids: str) -> dict[str, Any]:
    return {"action": "subscribe", "portfolio_ids": list(ids), "request_id": "subscribe"}


def until_closed(connection: ServerConnection) -> None:
    for _ in connection:
        pass


def test_updates_are_merged_into_the_whole_state() -> None:
    def handle(connection: ServerConnection) -> None:
        assert said(connection) == subscribe("growth")
        say(connection, **snapshot(7, position("AAPL", 1), position("MSFT", 2), total_value=100))
        changed = [position("AAPL", 5), position("IBM", 3)]
        say(connection, **update(8, 7, total_value=120, positions=changed, positions_removed=["MSFT"]))
        until_closed(connection)

    with watched(handle) as events:
        the(Connected, events)
        first = the(Snapshot, events)
        assert (first.state.version, first.state.total_value) == (7, 100)
        second = the(Update, events)
    assert second.changed == {"total_value", "positions", "positions_removed"}
    assert second.instruments == {"AAPL", "IBM", "MSFT"}
    assert {item.instrument_id: item.quantity for item in second.state.positions} == {"AAPL": 5, "IBM": 3}
    assert (second.state.version, second.state.total_value, second.state.portfolio_name) == (8, 120, "Growth")


def test_an_update_that_is_known_already_is_dropped_and_a_gap_is_asked_for_once() -> None:
    heard: Heard = queue.SimpleQueue()

    def handle(connection: ServerConnection) -> None:
        said(connection)
        say(connection, **snapshot(7, total_value=1))
        say(connection, **update(7, 6, total_value=0))
        say(connection, **update(9, 8, total_value=0))
        say(connection, **update(10, 9, total_value=0))
        heard.put(said(connection))
        say(connection, type="resync_required", portfolio_id="growth", reason="GAP")
        say(connection, **snapshot(10, total_value=3))
        say(connection, **update(11, 10, total_value=4))
        until_closed(connection)

    with watched(handle) as events:
        the(Connected, events)
        assert the(Snapshot, events).state.version == 7
        assert the(Resync, events).reason == "GAP"
        assert the(Snapshot, events).state.total_value == 3
        assert the(Update, events).state.total_value == 4
    assert heard.get(timeout=5) == resume("growth", 7)
    assert heard.empty()


def test_after_a_lost_connection_it_goes_on_in_the_same_session_from_the_version_it_has() -> None:
    heard: Heard = queue.SimpleQueue()

    def handle(connection: ServerConnection) -> None:
        assert connection.request is not None
        heard.put(connection.request.path)
        heard.put(said(connection))
        if heard.qsize() == 2:
            say(connection, **snapshot(7, total_value=1))
            return
        heard.put(said(connection))
        say(connection, **update(9, 7, total_value=2))
        until_closed(connection)

    with watched(handle, "growth", "other") as events:
        the(Connected, events)
        the(Snapshot, events)
        assert "closed" in the(Disconnected, events).reason
        the(Connected, events)
        assert the(Update, events).state.total_value == 2
    first, _, second, *asked = [heard.get(timeout=5) for _ in range(5)]
    assert first == second
    assert "session_id=" in first
    assert asked == [
        subscribe("other"),
        resume("growth", 7),
    ]


def test_until_it_is_answered_it_goes_on_from_what_it_had_whatever_snapshot_came_meanwhile() -> None:
    heard: Heard = queue.SimpleQueue()
    answers: list[list[dict[str, Any]]] = [
        [snapshot(7)],
        [snapshot(9)],  # of the session, before anybody has read the `resume`, and then the connection is lost
        [snapshot(9), resumed(), update(10, 9, total_value=4)],
        [],
    ]

    def handle(connection: ServerConnection) -> None:
        heard.put(said(connection))
        for answer in answers.pop(0):
            say(connection, **answer)

    with watched(handle) as events:
        for _ in range(4):
            the(Connected, events)
            for event in events:
                if isinstance(event, Disconnected):
                    break
    asked = [heard.get(timeout=5) for _ in range(4)]
    assert [one.get("last_version") for one in asked] == [None, 7, 7, 10]


class Line:
    """A connection to nobody: what is put into ``coming`` comes, and where nothing does, the time that is waited for it
    is over at once, but for ``step_s`` at a time. It is lost ``ends_s`` after the clock's beginning."""

    def __init__(self) -> None:
        self.coming: list[dict[str, Any]] = []
        self.asked: list[tuple[float, dict[str, Any]]] = []
        self.now_s = 0.0
        self.step_s = 1.0
        self.ends_s = 20 * ASK_AGAIN_S

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.coming.clear()

    def send(self, message: dict[str, Any]) -> None:
        if message["action"] != "ping":
            self.asked.append((self.now_s, message))

    def receive(self, timeout_s: float) -> dict[str, Any] | None:
        if self.coming:
            return self.coming.pop(0)
        self.now_s += min(timeout_s, self.step_s)
        if self.now_s > self.ends_s:
            raise SocketError("the line is cut")
        # Something comes all the time, but not what was asked for.
        return {"type": "pong"}

    def take(self) -> list[dict[str, Any]]:
        taken = [message for _, message in self.asked]
        self.asked.clear()
        return taken


@pytest.fixture
def line() -> Line:
    return Line()


def over(line: Line, ids: Sequence[str]) -> Iterator[Event]:
    anything: Any = line
    return Watch(lambda _: anything, no_fetch, ids, pause=lambda _: None, clock=lambda: line.now_s).events()


@pytest.fixture
def slow(line: Line) -> Iterator[Event]:
    """What a watch of ``growth`` over the line tells."""
    return over(line, ["growth"])


def test_what_is_not_answered_is_asked_again_after_a_time_and_then_on_another_connection(
    line: Line, slow: Iterator[Event]
) -> None:
    the(Connected, slow)
    assert "asked 3 times" in the(Disconnected, slow).reason
    the(Connected, slow)
    *tries, anew = line.asked
    assert tries == [(ASK_AGAIN_S * number, subscribe("growth")) for number in range(ASKED_MAX)]
    assert anew == (ASK_AGAIN_S * ASKED_MAX, subscribe("growth"))


class BusyLine(Line):
    """A fill every twenty seconds, for six hundred."""

    def receive(self, timeout_s: float) -> dict[str, Any] | None:
        message = super().receive(timeout_s)
        number, seconds = divmod(self.now_s, 20)
        if seconds or number > 30:
            return message
        return {"type": "fill", "event_id": f"f{number}", "portfolio_id": "growth", "timestamp": "2026-01-05T10:00:00Z"}


def test_as_long_as_events_come_the_connection_is_kept() -> None:
    line = BusyLine()
    events = over(line, ["growth"])
    the(Connected, events)
    lost = next(event for event in events if not isinstance(event, Happening))
    assert isinstance(lost, Disconnected)
    assert 600 < line.now_s < 600 + 2 * ASK_AGAIN_S
    assert {str(asked) for asked in line.take()} == {str(subscribe("growth"))}


def test_a_resume_is_asked_again_from_what_it_had_until_that_is_answered(line: Line, slow: Iterator[Event]) -> None:
    the(Connected, slow)
    line.coming += [snapshot(7), {"type": "subscribed", "request_id": "subscribe"}]
    the(Snapshot, slow)
    line.coming += [{"type": "error", "code": "UNAVAILABLE", "message": "later", "retryable": True}]
    the(Disconnected, slow)
    line.take()
    the(Connected, slow)
    # Of the session, before anybody has read the `resume`; and a gap behind that, which is no other question.
    line.coming += [snapshot(9), update(11, 10, total_value=1)]
    the(Snapshot, slow)
    the(Disconnected, slow)
    assert line.take() == [resume("growth", 7)] * ASKED_MAX
    the(Connected, slow)
    line.coming += [resumed(), update(11, 10, total_value=1), snapshot(11)]
    the(Snapshot, slow)
    assert line.take() == [resume("growth", 7), resume("growth", 9)]


@pytest.mark.parametrize(
    "answer",
    [
        {"type": "subscribed"},
        {"type": "error", "code": "PORTFOLIO_NOT_FOUND", "message": "no", "retryable": False},
    ],
)
def test_what_was_answered_is_not_asked_again(line: Line, slow: Iterator[Event], answer: dict[str, Any]) -> None:
    the(Connected, slow)
    line.coming += [answer | {"request_id": "subscribe"}]
    line.ends_s = ASK_AGAIN_S * (ASKED_MAX + 1)
    told = next(event for event in slow if not isinstance(event, Problem))
    assert isinstance(told, Disconnected)
    assert told.reason == "the line is cut"
    assert line.take() == [subscribe("growth")]


def test_time_in_which_nobody_took_an_event_is_no_waiting_for_an_answer(line: Line, slow: Iterator[Event]) -> None:
    the(Connected, slow)
    line.coming += [snapshot(7), snapshot(8), snapshot(9), {"type": "subscribed", "request_id": "subscribe"}]
    line.coming += [snapshot(10)]
    for _ in range(4):
        the(Snapshot, slow)
        line.now_s += ASK_AGAIN_S
    assert line.take() == [subscribe("growth")]


def test_very_many_questions_are_not_asked_again_at_once(line: Line) -> None:
    ids = [f"p{number}" for number in range(MAX_PORTFOLIOS)]
    events = over(line, ids)
    the(Connected, events)
    line.coming += [snapshot(7) | {"portfolio_id": name} for name in ids]
    line.coming += [{"type": "subscribed", "request_id": "subscribe"}]
    line.coming += [{"type": "error", "code": "UNAVAILABLE", "message": "later", "retryable": True}]
    the(Disconnected, (event for event in events if not isinstance(event, Snapshot)))
    line.take()
    line.step_s = 0.01
    the(Connected, events)
    line.ends_s = line.now_s + 1.5 * ASK_AGAIN_S
    the(Disconnected, events)
    again = [at_s for at_s, _ in line.asked[MAX_PORTFOLIOS:]]
    assert len(again) == MAX_PORTFOLIOS
    assert all(after - before >= AFTER_BURST_S for before, after in pairwise(again))


def test_an_event_that_comes_again_is_told_once() -> None:
    call = {"type": "margin_call", "event_id": "m1", "portfolio_id": "growth", "level_percent": 95.5}

    def handle(connection: ServerConnection) -> None:
        said(connection)
        for event_id in ("m1", "m1", "m2"):
            say(connection, **call | {"event_id": event_id})
        until_closed(connection)

    with watched(handle) as events:
        the(Connected, events)
        first, second = the(Happening, events), the(Happening, events)
    assert (first.kind, first.event_id, second.event_id) == ("margin_call", "m1", "m2")
    assert first.is_margin
    assert first.content == {"level_percent": Decimal("95.5")}


def test_a_state_that_was_too_large_for_a_message_is_fetched() -> None:
    whole = state(position("AAPL"), version=8, total_value=5)

    def handle(connection: ServerConnection) -> None:
        said(connection)
        say(connection, type="snapshot", portfolio_id="growth", version=7, data={"truncated": True})
        say(connection, **update(9, 8, truncated=True))
        until_closed(connection)

    fetched: list[str] = []

    def fetch(portfolio_id: str) -> Mapping[str, Json]:
        fetched.append(portfolio_id)
        return whole | {"version": 7 + len(fetched)}

    with watched(handle, fetch=fetch) as events:
        the(Connected, events)
        assert the(Snapshot, events).state.total_value == 5
        assert [item.instrument_id for item in the(Update, events).state.positions] == ["AAPL"]
    assert fetched == ["growth", "growth"]


def test_what_the_server_refuses_for_good_is_told_and_what_may_work_later_is_asked_again() -> None:
    heard: Heard = queue.SimpleQueue()

    def handle(connection: ServerConnection) -> None:
        heard.put(said(connection))
        if heard.qsize() == 1:
            say(connection, type="error", code="UNAVAILABLE", message="later", retryable=True)
        else:
            say(connection, type="error", code="PORTFOLIO_NOT_FOUND", message="no", retryable=False)
        until_closed(connection)

    with watched(handle) as events:
        the(Connected, events)
        assert "UNAVAILABLE" in the(Disconnected, events).reason
        the(Connected, events)
        assert the(Problem, events).code == "PORTFOLIO_NOT_FOUND"


def test_it_gives_up_after_many_failures_in_a_row() -> None:
    with watched(lambda _: None) as events:
        seen: list[Event] = []
        with pytest.raises(SocketError):
            seen.extend(events)
    assert [type(event) for event in seen].count(Disconnected) == MAX_FAILURES - 1


def test_another_connection_of_the_session_ends_it() -> None:
    def handle(connection: ServerConnection) -> None:
        said(connection)
        say(connection, type="error", code="SESSION_TAKEN_OVER", message="elsewhere", retryable=False)
        until_closed(connection)

    with watched(handle) as events, pytest.raises(SocketError, match="TAKEN_OVER"):
        list(events)


@pytest.mark.parametrize("ids", [[], [str(number) for number in range(51)]])
def test_one_to_fifty_portfolios_can_be_watched(ids: list[str]) -> None:
    with pytest.raises(ClientError, match="1 to 50"):
        Watch(lambda _: Socket(""), no_fetch, ids)


def test_merging_keeps_what_an_update_does_not_name() -> None:
    known = Known(1, {"total_value": 1, "positions": [position("A"), position("B")], "weights": {"A": 1}})
    after = merging.merged(known, {"version": 2, "data": {"total_value": 2, "truncated": False}})
    assert after == Known(2, {"total_value": 2, "positions": known.fields["positions"], "weights": {"A": 1}})


ABOUT = {"run_id": "r", "ticker": "AAPL", "portfolio_id": "growth", "version": 7}


def result(connection: ServerConnection, metric: str, **more: object) -> None:
    say(connection, **{"type": "analysis_result", "metric": metric, "value": 0.23, **ABOUT, **more})


@contextmanager
def analysed(handle: Callable[[ServerConnection], None]) -> Iterator[Iterator[analyzing.Analysis]]:
    with websocket(handle) as url:
        yield analyzing.analysis(lambda query: Socket(url, query=query), "AAPL", "growth", pause=lambda _: None)


def test_results_come_one_by_one_and_those_of_other_runs_do_not() -> None:
    def handle(connection: ServerConnection) -> None:
        asked = said(connection)
        assert (asked["action"], asked["ticker"], asked["portfolio_id"]) == ("analyze", "AAPL", "growth")
        say(connection, type="analysis_started", metrics=["momentum"], **ABOUT)
        result(connection, "momentum", run_id="older")
        result(connection, "momentum", value=None, reason="too few closes")
        result(connection, "momentum")
        result(connection, "correlation")
        say(connection, type="analysis_completed", **ABOUT)
        until_closed(connection)

    with analysed(handle) as events:
        started, first, second, completed = events
    assert isinstance(started, analyzing.Started)
    assert isinstance(first, analyzing.Result)
    assert isinstance(second, analyzing.Result)
    assert (first.metric, first.value, first.reason) == ("momentum", None, "too few closes")
    assert (second.metric, second.value) == ("correlation", Decimal("0.23"))
    assert completed == analyzing.Completed("r")


def test_a_lost_connection_does_not_lose_the_run() -> None:
    heard: Heard = queue.SimpleQueue()

    def handle(connection: ServerConnection) -> None:
        action = said(connection)["action"]
        heard.put(action)
        say(connection, type="analysis_started", metrics=["momentum"], **ABOUT)
        result(connection, "momentum")
        if action == "analyze":
            return
        result(connection, "correlation")
        say(connection, type="analysis_completed", **ABOUT)
        until_closed(connection)

    with analysed(handle) as events:
        metrics = [event.metric for event in events if isinstance(event, analyzing.Result)]
    assert metrics == ["momentum", "correlation"]
    assert [heard.get(), heard.get()] == ["analyze", "ping"]


@pytest.mark.parametrize("kind", ["error", "analysis_failed"])
def test_a_refused_or_failed_analysis_says_why(kind: str) -> None:
    def handle(connection: ServerConnection) -> None:
        request_id = said(connection)["request_id"]
        say(connection, type=kind, code="UNKNOWN_TICKER", message="not held", retryable=False, request_id=request_id)
        until_closed(connection)

    with analysed(handle) as events, pytest.raises(AnalysisError, match="UNKNOWN_TICKER: not held"):
        list(events)
