"""What a client finds again; run on the fake and on DynamoDB."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from foliostream.adapters.dynamodb_sessions import DynamoDbSessions
from foliostream.domain.sessions import Run, Session, StoredResult, Superseded
from foliostream.errors import ConflictError, UnauthorizedError
from foliostream.ports import Sessions
from tests.fakes.sessions import FakeSessions
from tests.support.ministack import Emulator

NOW_MS = 1_767_225_600_500
LATER_MS = NOW_MS + 86_400_000
METRICS = ("portfolio_risk", "momentum")


@pytest.fixture(params=["fake", "dynamodb"])
def sessions(request: pytest.FixtureRequest) -> Sessions:
    if request.param == "fake":
        return FakeSessions()
    emulator: Emulator = request.getfixturevalue("ministack")
    return DynamoDbSessions(emulator.dynamodb(), emulator.table())


def opened(sessions: Sessions, connection_id: str = "c1=") -> Session:
    sessions.open("s1", "alice", connection_id, NOW_MS, LATER_MS)
    return seen(sessions)


def seen(sessions: Sessions, now_ms: int = NOW_MS) -> Session:
    session = sessions.view("s1", now_ms)
    assert session is not None
    return session


def running(session: Session, number: int = 1, *superseded: Superseded) -> Session:
    run = Run(number, f"r{number}", "AAPL", "p1", 17, METRICS, NOW_MS, "q")
    return replace(session, run=run, status="running", opening=b"started", superseded=superseded)


def test_a_new_session_is_empty_and_belongs_to_who_opened_it(sessions: Sessions) -> None:
    assert sessions.view("s1", NOW_MS) is None
    assert sessions.open("s1", "alice", "c1=", NOW_MS, LATER_MS) is None
    assert seen(sessions) == Session("s1", "alice", "c1=", LATER_MS)


def test_opening_it_again_gives_what_was_there_and_takes_the_connection(sessions: Sessions) -> None:
    before = opened(sessions)
    assert sessions.open("s1", "alice", "c2=", NOW_MS, LATER_MS + 5) == before
    assert seen(sessions) == replace(before, connection_id="c2=", expires_at_ms=LATER_MS + 5)


def test_nobody_opens_the_session_of_somebody_else(sessions: Sessions) -> None:  # G11
    before = opened(sessions)
    with pytest.raises(UnauthorizedError) as refused:
        sessions.open("s1", "mallory", "c2=", NOW_MS, LATER_MS)
    assert refused.value.code == "SESSION_NOT_YOURS"
    assert seen(sessions) == before


def test_an_expired_session_is_gone_and_its_name_is_free(sessions: Sessions) -> None:
    session = opened(sessions)
    sessions.open_run(running(session))
    assert sessions.view("s1", LATER_MS - 1) is not None
    assert sessions.view("s1", LATER_MS) is None
    assert sessions.open("s1", "bob", "c9=", LATER_MS, LATER_MS + 10) is None
    assert seen(sessions, LATER_MS) == Session("s1", "bob", "c9=", LATER_MS + 10)


def test_touching_moves_the_end_and_nothing_else(sessions: Sessions) -> None:
    before = opened(sessions)
    sessions.touch("s1", LATER_MS + 1)
    assert seen(sessions) == replace(before, expires_at_ms=LATER_MS + 1)
    sessions.touch("unknown", LATER_MS)
    assert sessions.view("unknown", NOW_MS) is None


def test_portfolios_are_remembered_with_their_channels_and_forgotten(sessions: Sessions) -> None:
    opened(sessions)
    sessions.remember("s1", {"p.1": ("state", "fills"), "p2": ("margin",)})
    sessions.remember("s1", {"p.1": ("state",), "p3": ("state", "positions", "margin", "fills")}, ["p2", "unknown"])
    sessions.remember("s1", {})
    assert seen(sessions).portfolios == {"p.1": ("state",), "p3": ("state", "positions", "margin", "fills")}
    sessions.remember("unknown", {"p1": ("state",)})
    assert sessions.view("unknown", NOW_MS) is None


def test_a_run_is_stored_whole_and_the_next_one_takes_its_place(sessions: Sessions) -> None:
    session = running(opened(sessions))
    sessions.open_run(session)
    assert seen(sessions) == session
    assert sessions.put_result("s1", "r1", "momentum", b"m", NOW_MS) == "c1="
    second = running(session, 2, Superseded(1, b"cancelled"))
    sessions.open_run(second)
    assert seen(sessions) == second


@pytest.mark.parametrize("number", [1, 3])
def test_a_run_that_does_not_follow_the_stored_one_is_refused(sessions: Sessions, number: int) -> None:
    session = running(opened(sessions))
    sessions.open_run(session)
    with pytest.raises(ConflictError):
        sessions.open_run(running(session, number))
    with pytest.raises(ConflictError):
        sessions.open_run(replace(session, session_id="unknown"))
    assert seen(sessions) == session


def test_of_two_runs_opened_at_once_one_stands(sessions: Sessions) -> None:
    session = opened(sessions)

    def attempt(number: int) -> bool:
        run = running(session).run
        assert run is not None
        try:
            sessions.open_run(replace(running(session), run=Run(**{**run_fields(run), "run_id": f"x{number}"})))
        except ConflictError:
            return False
        return True

    def run_fields(run: Run) -> dict[str, object]:
        return {name: getattr(run, name) for name in run.__struct_fields__}

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(8))) == 1


def test_a_result_is_stored_once_and_only_while_its_run_is_running(sessions: Sessions) -> None:  # G10
    sessions.open_run(running(opened(sessions)))
    assert sessions.put_result("s1", "r1", "momentum", b"1", NOW_MS + 5) == "c1="
    assert sessions.put_result("s1", "r1", "momentum", b"2", NOW_MS + 6) is None
    assert sessions.put_result("s1", "r0", "portfolio_risk", b"old", NOW_MS) is None
    assert sessions.put_result("unknown", "r1", "portfolio_risk", b"x", NOW_MS) is None
    assert sessions.put_result("s1", "r1", "portfolio_risk", b"3", NOW_MS + 7) == "c1="
    expected = (StoredResult("momentum", NOW_MS + 5, b"1"), StoredResult("portfolio_risk", NOW_MS + 7, b"3"))
    assert seen(sessions).results == expected
    assert sessions.end_run("s1", "r1", "completed", b"done") == "c1="
    assert sessions.put_result("s1", "r1", "late", b"x", NOW_MS) is None
    assert (seen(sessions).status, seen(sessions).ending) == ("completed", b"done")


def test_a_run_ends_once(sessions: Sessions) -> None:
    sessions.open_run(running(opened(sessions)))
    assert sessions.end_run("s1", "r0", "failed", b"x") is None
    assert sessions.end_run("s1", "r1", "cancelled", b"cancelled") == "c1="
    assert sessions.end_run("s1", "r1", "completed", b"done") is None
    assert seen(sessions).ending == b"cancelled"


def test_results_tell_the_connection_that_has_the_session_now(sessions: Sessions) -> None:
    sessions.open_run(running(opened(sessions)))
    sessions.open("s1", "alice", "c2=", NOW_MS, LATER_MS)
    assert sessions.put_result("s1", "r1", "momentum", b"1", NOW_MS) == "c2="
