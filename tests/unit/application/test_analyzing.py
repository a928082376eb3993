"""An analysis from the client's message to the client's screen, over fakes: switches, cancels, repeats, failures."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import date, timedelta
from decimal import Decimal
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foliostream.application.computing import Computing, Report
from foliostream.domain import analysis_task
from foliostream.domain.analysis_task import METRIC_NAMES, Task
from foliostream.domain.portfolio_metrics import METRICS
from foliostream.errors import FoliostreamError, PermanentError, RetryableError
from tests.fakes.closes import FakeCloses
from tests.unit.application.system import BOB, System

Each = Callable[[Callable[[str], str | None], Iterable[str]], list[str | None]]


class Analysis(System):
    """A system whose client c1 holds AAPL and MSFT, with a year of closes of both."""

    def __init__(self) -> None:
        super().__init__()
        self.closes = FakeCloses()
        self.between: Callable[[], None] = lambda: None
        random = Random(7)
        for symbol in ("AAPL", "MSFT"):
            start = date(2025, 1, 1)
            self.closes.merge(
                symbol, {(start + timedelta(day)).isoformat(): Decimal(random.randint(90, 110)) for day in range(260)}
            )
        self.open("p1", "AAPL", "MSFT")
        self.tick("AAPL", "110")
        self.tick("MSFT", "90")
        self.settle()
        self.connect()

    def say(self, connection_id: str = "c1", **message: object) -> None:
        self.clock.advance(100)
        self.watching.receive(connection_id, json.dumps(message))

    def analyze(self, ticker: str, **more: object) -> None:
        self.say(**({"action": "analyze", "ticker": ticker} | more))

    def compute(self, task: Task) -> Report:
        """As the function does: through its encoding."""
        computing = Computing(
            sessions=self.sessions,
            runs=self.runs,
            instruments=self.instruments,
            price_history=self.closes,
            clock=self.clock,
            zone=ZoneInfo("America/New_York"),
            each=self._each,
        )
        return computing(msgspec.json.decode(analysis_task.encode(task), type=analysis_task.Task))

    def _each(self, work: Callable[[str], str | None], items: Iterable[str]) -> list[str | None]:
        done = []
        for item in items:
            self.between()
            done.append(work(item))
        return done

    def told(self) -> list[dict[str, Any]]:
        self.flush()
        return self.messages()


@pytest.fixture
def system() -> Analysis:
    return Analysis()


def kinds(messages: Iterable[dict[str, Any]]) -> list[str]:
    return [message["type"] for message in messages]


WHOLE = ["analysis_started", *["analysis_result"] * 5, "analysis_completed"]


def test_the_names_of_the_metrics_are_those_that_are_computed() -> None:
    assert tuple(METRICS) == METRIC_NAMES


def test_an_analysis_is_announced_told_metric_by_metric_and_completed(system: Analysis) -> None:
    system.analyze("AAPL", request_id="r1")
    assert system.compute(system.starter.tasks[0]) == Report(
        ["concentration", "allocation_score", "portfolio_risk", "correlation", "momentum"], is_completed=True
    )
    messages = system.told()
    assert kinds(messages) == WHOLE
    about = {"ticker": "AAPL", "portfolio_id": "p1", "request_id": "r1", "version": messages[0]["version"]}
    assert all(about.items() <= message.items() and message["run_id"] for message in messages)
    assert messages[0]["version"] == system.state("p1").version
    assert messages[0]["metrics"] == list(METRIC_NAMES)
    results = {message["metric"]: message for message in messages if message["type"] == "analysis_result"}
    assert set(results) == set(METRIC_NAMES)
    assert results["concentration"]["value"] == Decimal("0.505")  # 1100 and 900
    assert results["concentration"]["detail"]["effective_number"] == Decimal("1.9802")
    assert results["allocation_score"]["value"] == Decimal("-0.05")
    assert results["momentum"]["detail"]["look_back"] == "12-1"
    assert all("reason" not in result for result in results.values())


def test_a_metric_that_cannot_be_computed_is_null_with_its_reason_and_the_others_still_come(system: Analysis) -> None:
    system.closes = FakeCloses()
    system.analyze("AAPL")
    system.compute(system.starter.tasks[0])
    messages = system.told()
    assert kinds(messages) == WHOLE
    values = {message["metric"]: message["value"] for message in messages[1:-1]}
    assert {name for name, value in values.items() if value is None} == {"portfolio_risk", "correlation", "momentum"}
    reasons = {message["metric"]: message.get("reason") for message in messages[1:-1]}
    assert reasons["portfolio_risk"] == "no daily closes of AAPL, MSFT"
    assert reasons["concentration"] is None


def test_a_position_without_a_price_leaves_what_needs_no_weights(system: Analysis) -> None:
    system.open("p2", "AAPL", "GOOGL")
    system.analyze("AAPL", portfolio_id="p2")
    system.compute(system.starter.tasks[0])
    results = {message["metric"]: message for message in system.told()[1:-1]}
    assert results["concentration"]["reason"] == "no price of GOOGL"
    assert results["momentum"]["value"] is not None


def test_every_result_is_of_the_snapshot_that_was_announced_whatever_is_valued_meanwhile(system: Analysis) -> None:
    system.analyze("AAPL")
    announced = system.starter.tasks[0].run.version
    system.tick("AAPL", "500")
    system.clock.advance(1_000)
    system.settle()
    system.compute(system.starter.tasks[0])
    messages = system.told()
    assert {message["version"] for message in messages} == {announced}
    values = {message["metric"]: message["value"] for message in messages[1:-1]}
    assert values["concentration"] == Decimal("0.505")


def test_the_targets_of_the_portfolio_count(system: Analysis) -> None:
    task = Task("c1", system_run(system), {"AAPL": Decimal(1), "MSFT": Decimal(1)}, {"AAPL": Decimal(1)})
    system.compute(task)
    results = {message["metric"]: message for message in system.told()[1:-1]}
    assert results["allocation_score"]["value"] == Decimal("0.5")


def system_run(system: Analysis) -> Any:  # noqa: ANN401 (the run of a task)
    system.analyze("AAPL")
    return system.starter.tasks[-1].run


# --- switching, cancelling, repeating -------------------------------------------------------------------------------


def test_after_a_switch_nothing_of_the_old_run_is_stored_or_sent(system: Analysis) -> None:
    system.analyze("AAPL")
    system.analyze("MSFT")
    old, new = system.starter.tasks
    assert system.compute(old) == Report([], is_completed=False)
    assert system.sessions.sessions["c1"].results == ()
    system.compute(new)
    messages = system.told()
    assert kinds(messages) == ["analysis_cancelled", *WHOLE]
    assert (messages[0]["run_id"], messages[0]["superseded_by"]) == (old.run.run_id, new.run.run_id)
    assert {message["ticker"] for message in messages[1:]} == {"MSFT"}


def test_a_switch_in_the_middle_of_the_metrics_ends_the_old_run_there(system: Analysis) -> None:
    system.analyze("AAPL")
    steps = iter([lambda: None, lambda: None, lambda: system.analyze("MSFT")])
    system.between = lambda: next(steps, lambda: None)()
    report = system.compute(system.starter.tasks[0])
    assert report == Report(["concentration", "allocation_score"], is_completed=False)
    system.compute(system.starter.tasks[1])
    messages = system.told()
    started = [number for number, message in enumerate(messages) if message["type"] == "analysis_started"][-1]
    assert {message["ticker"] for message in messages[started:]} == {"MSFT"}
    assert kinds(messages[started:]) == WHOLE


def test_a_cancelled_run_says_so_once_and_stores_nothing_more(system: Analysis) -> None:
    system.analyze("AAPL")
    system.say(action="cancel", request_id="stop")
    assert system.compute(system.starter.tasks[0]) == Report([], is_completed=False)
    messages = system.told()
    assert kinds(messages) == ["analysis_started", "analysis_cancelled"]
    assert (messages[1]["superseded_by"], messages[1]["request_id"]) == (None, "stop")
    system.say(action="cancel")
    assert [message["code"] for message in system.told()] == ["NOTHING_TO_CANCEL"]


def test_a_task_that_is_delivered_twice_runs_once(system: Analysis) -> None:
    system.analyze("AAPL")
    (task,) = system.starter.tasks
    system.compute(task)
    assert system.compute(task) == Report([], is_completed=False)
    assert kinds(system.told()) == WHOLE


def test_two_deliveries_at_the_same_time_store_each_metric_once(system: Analysis) -> None:
    system.analyze("AAPL")
    (task,) = system.starter.tasks
    seconds = iter([lambda: system.compute(task)])

    def second() -> None:
        next(seconds, lambda: None)()

    system.between = second
    system.compute(task)
    assert kinds(system.told()) == WHOLE


def test_a_second_try_goes_on_where_the_first_one_died(system: Analysis) -> None:
    system.analyze("AAPL")
    (task,) = system.starter.tasks
    steps = iter([lambda: None] * 3 + [dies])
    system.between = lambda: next(steps, lambda: None)()
    with pytest.raises(SystemExit):
        system.compute(task)
    assert system.compute(task).stored == ["portfolio_risk", "correlation", "momentum"]
    assert kinds(system.told()) == WHOLE


def dies() -> None:
    raise SystemExit


# --- what goes wrong ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ticker", ["GOOGL", "NONE", "CASH:USD", "aapl", "M M"])
def test_a_ticker_that_is_not_held_is_an_error_and_leaves_the_run_alone(system: Analysis, ticker: str) -> None:
    system.analyze("AAPL")
    system.analyze(ticker, request_id="r2")
    (error,) = [message for message in system.messages() if message["type"] == "error"]
    assert (error["code"], error["retryable"], error["request_id"]) == ("UNKNOWN_TICKER", False, "r2")
    assert len(system.starter.tasks) == 1
    system.compute(system.starter.tasks[0])
    assert kinds(system.told()) == WHOLE


def test_somebody_elses_portfolio_cannot_be_analyzed(system: Analysis) -> None:
    system.open("q1", "AAPL", caller=BOB)
    system.analyze("AAPL", portfolio_id="q1")
    assert [message["code"] for message in system.told()] == ["PORTFOLIO_NOT_FOUND"]


def test_the_computing_begins_before_the_client_is_told_to_look(system: Analysis) -> None:
    told_when_started: list[int] = []
    start = system.starter.start

    def looked_at(task: Task) -> None:
        told_when_started.append(len(system.queues.receive("push")))
        start(task)

    system.starter.start = looked_at  # type: ignore[method-assign]
    system.queues.receive("push")
    system.analyze("AAPL")
    assert told_when_started == [0]
    assert kinds(system.told()) == ["analysis_started"]


def test_what_needs_no_closes_is_stored_before_anything_is_read(system: Analysis) -> None:
    system.analyze("AAPL")
    stored: list[int] = []
    system.between = lambda: stored.append(len(system.sessions.sessions["c1"].results))
    system.compute(system.starter.tasks[0])
    assert stored[:4] == [0, 1, 2, 2], "two metrics, then the session, then the closes"


@pytest.mark.parametrize(
    ("fault", "retryable"), [(RetryableError("down"), True), (PermanentError("no such function"), False)]
)
def test_an_analysis_that_cannot_be_started_has_failed(
    system: Analysis, fault: FoliostreamError, retryable: bool
) -> None:
    system.starter.fault = fault
    system.analyze("AAPL")
    messages = system.told()
    assert kinds(messages) == ["analysis_started", "analysis_failed"]
    assert (messages[1]["code"], messages[1]["retryable"]) == ("UNAVAILABLE", retryable)


def test_a_failing_store_ends_the_run_and_the_client_is_told(system: Analysis) -> None:
    class Down(FakeCloses):
        def recent(self, symbols: object) -> Any:  # noqa: ANN401
            raise RetryableError(f"no closes of {symbols}")

    system.closes = Down()
    system.analyze("AAPL")
    report = system.compute(system.starter.tasks[0])
    assert (report.is_completed, report.stored) == (False, [])
    assert report.fault
    messages = system.told()
    assert kinds(messages)[-1] == "analysis_failed"
    assert messages[-1]["retryable"] is True
    assert system.compute(system.starter.tasks[0]) == Report([], is_completed=False)


@given(st.integers(0, 2**32))
def test_whatever_happens_in_whatever_order_no_stale_result_is_stored_or_sent(seed: int) -> None:
    random, system = Random(seed), Analysis()
    messages: list[dict[str, Any]] = []
    depth = 0

    def happens() -> None:
        """Something: a switch, a cancel, a late or repeated delivery, a flush; also while metrics are computed."""
        nonlocal depth
        depth += 1
        choice = random.random()
        if choice < 0.3:
            system.analyze(random.choice(["AAPL", "MSFT"]))
        elif choice < 0.4:
            system.say(action="cancel")
        elif choice < 0.7 and system.starter.tasks and depth < 4:
            system.compute(random.choice(system.starter.tasks))
        else:
            messages.extend(system.told())
        session = system.sessions.sessions["c1"]
        assert all(json.loads(item.payload)["run_id"] == session.run.run_id for item in session.results if session.run)
        depth -= 1

    system.between = lambda: happens() if random.random() < 0.3 and depth < 4 else None
    for _ in range(12):
        happens()
    system.between = lambda: None
    if system.starter.tasks:
        system.compute(system.starter.tasks[-1])
    messages.extend(system.told())
    check(messages)


def check(messages: Iterable[dict[str, Any]]) -> None:
    """What one client saw: nothing of an older run after the start of a newer one, nothing twice."""
    current, ended, seen = "", set[str](), set[tuple[str, str]]()
    for message in messages:
        if message["type"] == "analysis_started":
            current = message["run_id"]
        elif message["type"] == "analysis_result":
            assert message["run_id"] == current
            assert current not in ended
            assert (current, message["metric"]) not in seen
            seen.add((current, message["metric"]))
        elif message["type"].startswith("analysis_"):
            assert message["run_id"] not in ended
            ended.add(message["run_id"])
            if message["type"] == "analysis_completed":
                assert {metric for run_id, metric in seen if run_id == current} == set(METRIC_NAMES)
