"""Runs of an analysis: what of them is stored, and what their client is sent, in which order."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from foliostream.application.watching import TOUCH_EVERY_MS
from foliostream.domain.sessions import MAX_METRICS, SUPERSEDED_MAX, Run
from foliostream.errors import NotFoundError, PermanentError, RetryableError
from foliostream.ports import Connection
from tests.unit.application.system import KEPT_MS, System, uncomputed
from tests.unit.domain.examples import NOW

METRICS = ("portfolio_risk", "concentration", "correlation", "momentum", "allocation_score")


@pytest.fixture
def system() -> System:
    system = System()
    system.clock.time_ms = NOW
    system.connect()
    return system


def connection(system: System, connection_id: str = "c1") -> Connection:
    view = system.connections.view(connection_id, system.clock.now_ms())
    assert view is not None
    return view.connection


def analyze(system: System, ticker: str = "AAPL", connection_id: str = "c1", request_id: str | None = None) -> Run:
    return system.runs.open(
        connection(system, connection_id),
        ticker=ticker,
        portfolio_id="one",
        version=17,
        metrics=METRICS,
        start=uncomputed,
        request_id=request_id,
    )


def told(system: System, connection_id: str = "c1") -> list[str]:
    """What arrived, as type and what matters of it."""
    system.flush()
    what = {"analysis_result": "metric", "analysis_cancelled": "superseded_by"}
    return [
        " ".join(str(message[name]) for name in ("type", "run_id", what.get(message["type"], "ticker")))
        for message in system.messages(connection_id)
    ]


def test_a_run_is_started_told_its_results_and_completed_in_order(system: System) -> None:
    run = analyze(system, request_id="q7")
    assert system.runs.result("c1", run, "momentum", {"value": None, "reason": "too little history"})
    system.clock.advance(5)
    assert system.runs.result("c1", run, "concentration", {"value": 0.25})
    assert system.runs.complete("c1", run)
    system.flush()
    started, momentum, concentration, completed = system.messages()
    about = {"ticker": "AAPL", "run_id": run.run_id, "portfolio_id": "one", "version": 17, "request_id": "q7"}
    at = {"timestamp": "2026-02-26T10:30:00.000Z"}
    assert started == {"type": "analysis_started", "metrics": list(METRICS)} | about | at
    reason = {"metric": "momentum", "value": None, "reason": "too little history"}
    assert momentum == {"type": "analysis_result"} | reason | about | at
    assert (concentration["metric"], float(concentration["value"])) == ("concentration", 0.25)
    assert (completed["type"], completed["metrics"]) == ("analysis_completed", list(METRICS))


def test_results_come_as_they_are_stored_each_once(system: System) -> None:
    run = analyze(system)
    assert told(system) == [f"analysis_started {run.run_id} AAPL"]
    for metric in METRICS[:2]:
        system.runs.result("c1", run, metric, {"value": 1})
        assert told(system) == [f"analysis_result {run.run_id} {metric}"]
    assert not system.runs.result("c1", run, METRICS[0], {"value": 2}), "a duplicate invocation stores nothing"
    assert told(system) == []


def test_nothing_of_a_run_that_gave_way_is_stored_or_sent(system: System) -> None:  # G10
    old = analyze(system, "AAPL")
    system.runs.result("c1", old, "momentum", {"value": 1})
    assert told(system)[-1] == f"analysis_result {old.run_id} momentum"
    system.runs.result("c1", old, "correlation", {"value": 1})  # stored, and not yet sent
    new = analyze(system, "MSFT")
    assert not system.runs.result("c1", old, "concentration", {"value": 1})
    assert not system.runs.complete("c1", old)
    assert told(system) == [f"analysis_cancelled {old.run_id} {new.run_id}", f"analysis_started {new.run_id} MSFT"]


def test_every_run_that_was_given_up_unseen_is_told_too(system: System) -> None:
    runs = [analyze(system, "AAPL") for _ in range(3)]
    assert told(system) == [
        f"analysis_cancelled {runs[0].run_id} {runs[1].run_id}",
        f"analysis_cancelled {runs[1].run_id} {runs[2].run_id}",
        f"analysis_started {runs[2].run_id} AAPL",
    ]


def test_what_is_kept_of_runs_given_up_is_bounded(system: System) -> None:
    for _ in range(SUPERSEDED_MAX + 10):
        analyze(system)
    assert len(system.sessions.sessions["c1"].superseded) == SUPERSEDED_MAX


def test_a_cancelled_run_takes_no_more_results(system: System) -> None:
    run = analyze(system, request_id="q1")
    assert system.runs.cancel("c1", "q2") == run
    assert system.runs.cancel("c1") is None
    assert not system.runs.result("c1", run, "momentum", {"value": 1})
    system.flush()
    started, cancelled = system.messages()
    assert (started["type"], cancelled["type"]) == ("analysis_started", "analysis_cancelled")
    assert (cancelled["superseded_by"], cancelled["request_id"]) == (None, "q2")


def test_a_failed_run_says_why(system: System) -> None:
    run = analyze(system)
    assert system.runs.fail("c1", run, code="UNAVAILABLE", message="no history", retryable=True)
    system.flush()
    failed = system.messages()[-1]
    assert (failed["type"], failed["code"], failed["retryable"]) == ("analysis_failed", "UNAVAILABLE", True)


def test_an_ended_run_followed_by_another_is_not_cancelled(system: System) -> None:
    old = analyze(system)
    system.runs.complete("c1", old)
    told(system)
    new = analyze(system, "MSFT")
    assert told(system) == [f"analysis_started {new.run_id} MSFT"]


def test_a_post_that_fails_in_the_middle_loses_nothing_and_repeats_nothing(system: System) -> None:
    run = analyze(system)
    for metric in METRICS:
        system.runs.result("c1", run, metric, {"value": 1})
        system.clock.advance(1)
    system.runs.complete("c1", run)
    post, failing = system.gateway.post, []

    def third_fails(connection_id: str, payload: bytes) -> bool:
        if len(system.gateway.to("c1")) == 3 and not failing:
            failing.append(1)
            raise RetryableError("throttled")
        return post(connection_id, payload)

    system.gateway.post = third_fails  # type: ignore[method-assign]
    system.flush()
    arrived = told(system)
    assert arrived == [
        f"analysis_started {run.run_id} AAPL",
        *[f"analysis_result {run.run_id} {metric}" for metric in METRICS],
        f"analysis_completed {run.run_id} AAPL",
    ]


def test_what_was_told_is_not_told_again_when_the_client_is_looked_at_again(system: System) -> None:
    run = analyze(system)
    system.runs.result("c1", run, "momentum", {"value": 1})
    system.runs.complete("c1", run)
    assert len(told(system)) == 3
    system.answers.letters(connection(system), [system.answers.entry(b"")])
    assert told(system) == []


def test_a_connection_that_lost_its_session_is_told_nothing_more_of_it(system: System) -> None:
    before = connection(system)
    system.sessions.open("c1", "alice", "c2", NOW, NOW + KEPT_MS)
    run = analyze(system)
    system.answers.letters(before, [system.answers.entry(b"")])
    system.runs.result("c1", run, "momentum", {"value": 1})
    assert told(system) == []


def test_a_session_that_is_gone_opens_no_run(system: System) -> None:
    found = connection(system)
    system.clock.advance(KEPT_MS + TOUCH_EVERY_MS)
    with pytest.raises(NotFoundError) as refused:
        system.runs.open(found, ticker="AAPL", portfolio_id="one", version=1, metrics=METRICS, start=uncomputed)
    assert refused.value.code == "SESSION_EXPIRED"


def test_what_is_too_large_or_too_much_is_refused(system: System) -> None:
    run = analyze(system)
    with pytest.raises(PermanentError):
        system.runs.result("c1", run, "momentum", {"value": 1, "detail": "x" * 33_000})
    with pytest.raises(PermanentError):
        system.runs.open(
            connection(system),
            ticker="A",
            portfolio_id="one",
            version=1,
            metrics=["m"] * (MAX_METRICS + 1),
            start=uncomputed,
        )


@pytest.mark.parametrize("seed", range(20))
def test_whatever_the_interleaving_nothing_old_follows_a_newer_start(seed: int) -> None:  # G10
    chance = random.Random(seed)
    system = System()
    system.connect()
    runs = [analyze(system)]
    steps = (
        lambda: runs.append(analyze(system, chance.choice(("AAPL", "MSFT")))),
        lambda: system.runs.cancel("c1"),
        lambda: system.runs.complete("c1", chance.choice(runs)),
        lambda: system.runs.result("c1", chance.choice(runs), chance.choice(METRICS), {"value": 1}),
        system.flush,
    )
    for _ in range(60):
        chance.choices(steps, (4, 2, 2, 6, 6))[0]()
        system.clock.advance(chance.randrange(3))
    system.flush()
    numbers = {run.run_id: run.number for run in runs}
    sent = [(numbers[message["run_id"]], message["type"], message.get("metric")) for message in system.messages()]
    assert len(set(sent)) == len(sent), "nothing is sent twice"
    for before, after in pairwise(sent):
        assert after[0] >= before[0], "nothing of an older run follows a newer one"
    ends = [number for number, kind, _ in sent if kind in {"analysis_cancelled", "analysis_completed"}]
    assert {*ends, runs[-1].number} == set(numbers.values()), "every run but the last has ended for its client"
    assert all(
        sent.index((number, kind, None)) == last_of(sent, number)
        for number, kind, _ in sent
        if number in ends and kind in {"analysis_cancelled", "analysis_completed"}
    )


def last_of(sent: list[tuple[int, str, str | None]], number: int) -> int:
    return max(index for index, item in enumerate(sent) if item[0] == number)
