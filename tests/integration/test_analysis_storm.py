"""Two hundred sessions switch tickers at random on the real stores, with invocations that come twice and late."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from foliostream.adapters.dynamodb_connections import DynamoDbConnections
from foliostream.adapters.dynamodb_sessions import DynamoDbSessions
from foliostream.adapters.system_clock import SystemClock
from foliostream.application.computing import Computing
from foliostream.application.push import Sender
from foliostream.application.runs import Runs
from foliostream.domain import analysis_task
from foliostream.domain.analysis_task import METRIC_NAMES, Task
from foliostream.domain.sessions import Run, Session
from foliostream.ports import Connection
from tests.fakes.closes import FakeCloses
from tests.fakes.gateway import FakeGateway
from tests.support.ministack import Emulator
from tests.unit.application.system import System
from tests.unit.application.test_analyzing import check

SESSIONS = 200
SWITCHES = 3
TICKERS = ("AAPL", "MSFT")
VALUES: dict[str, Decimal | None] = {"AAPL": Decimal(1_100), "MSFT": Decimal(900)}


def one_by_one(work: Callable[[str], str | None], items: Iterable[str]) -> list[str | None]:
    return [work(item) for item in items]


@dataclass
class Storm:
    """Real sessions, connections and their senders; a flush follows every mark, one at a time for a connection, as the
    push queue's groups have it."""

    emulator: Emulator
    pool: ThreadPoolExecutor
    futures: list[Future[object]] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        table = self.emulator.table()
        client = self.emulator.client("dynamodb", connections=32)
        self.clock = SystemClock()
        self.sessions = DynamoDbSessions(client, table)  # type: ignore[arg-type]
        self.connections = DynamoDbConnections(client, table)  # type: ignore[arg-type]
        self.gateway = FakeGateway()
        self.system = System()
        self.turns: dict[str, threading.Lock] = defaultdict(threading.Lock)
        self.runs = Runs(self.sessions, self.connections, self, self.clock, lambda: self._id())  # type: ignore[arg-type]
        self.sender = Sender(
            self.connections, self.sessions, self.system.hot, self.system.valuer, self.gateway, self.clock
        )
        self._numbers = iter(range(10**9))
        self._numbering = threading.Lock()
        closes = FakeCloses()
        for symbol in TICKERS:
            random = Random(symbol)
            days = ((date(2025, 1, 1) + timedelta(day)).isoformat() for day in range(260))
            closes.merge(symbol, {day: Decimal(random.randint(90, 110)) for day in days})
        self.computing = Computing(
            sessions=self.sessions,
            runs=self.runs,
            instruments=self.system.instruments,
            price_history=closes,
            clock=self.clock,
            zone=ZoneInfo("America/New_York"),
            each=one_by_one,
        )

    def _id(self) -> str:
        with self._numbering:
            return f"{next(self._numbers):09d}"

    # --- what runs need of a marker -------------------------------------------------------------------------------

    def new_nonce(self) -> str:
        return self._id()

    def connections_now(self, connection_ids: Iterable[str]) -> None:
        for connection_id in connection_ids:
            self.futures.append(self.pool.submit(self.flush, connection_id))

    def flush(self, connection_id: str) -> None:
        with self.turns[connection_id]:
            self.sender.flush(connection_id, self.clock.now_ms() + 10_000)

    # --- what happens ---------------------------------------------------------------------------------------------

    def connect(self, connection_id: str) -> Connection:
        now_ms = self.clock.now_ms()
        self.sessions.open(connection_id, "alice", connection_id, now_ms, now_ms + 3_600_000)
        connection = Connection(
            connection_id, "alice", frozenset(), now_ms, now_ms + 3_600_000, session_id=connection_id
        )
        self.connections.open(connection)
        return connection

    def client(self, number: int) -> None:
        """Switches, mostly before the last run is done; its tasks are delivered late and sometimes twice."""
        random = Random(number)
        connection = self.connect(f"client-{number:03d}")
        for version in range(SWITCHES):
            delays_s = [random.choice([0, 0, 0.05, 0.4]) for _ in range(1 if random.random() < 0.6 else 2)]
            self.runs.open(
                connection,
                ticker=random.choice(TICKERS),
                portfolio_id="p1",
                version=version,
                metrics=METRIC_NAMES,
                start=lambda run, delays_s=delays_s: self.start(connection.session_id, run, delays_s),
            )
            time.sleep(random.choice([0, 0, 0.2]))
            if random.random() < 0.1:
                self.runs.cancel(connection.session_id)
            self.look(connection.session_id)

    def start(self, session_id: str, run: Run, delays_s: Iterable[float]) -> None:
        task = analysis_task.encode(Task(session_id, run, VALUES, {}))
        self.futures += [self.pool.submit(self.deliver, task, delay_s) for delay_s in delays_s]

    def deliver(self, task: bytes, delay_s: float) -> None:
        time.sleep(delay_s)
        decoded = msgspec.json.decode(task, type=analysis_task.Task)
        self.computing(decoded)
        self.look(decoded.session_id)

    def look(self, session_id: str) -> Session:
        """At the store: every result is of the run that is the current one."""
        session = self.sessions.view(session_id, self.clock.now_ms())
        assert session is not None
        current = session.run.run_id if session.run else None
        found = (json.loads(result.payload)["run_id"] for result in session.results)
        self.stale += [run_id for run_id in found if run_id != current]
        return session

    def settle(self) -> None:
        """Until nothing is under way: what is done may ask for more."""
        while self.futures:
            self.futures.pop().result(timeout=60)


@pytest.mark.timeout(240)
def test_no_stale_result_is_stored_or_sent(ministack: Emulator) -> None:
    with ThreadPoolExecutor(24) as pool, ThreadPoolExecutor(8) as clients:
        storm = Storm(ministack, pool)
        list(clients.map(storm.client, range(SESSIONS)))
        storm.settle()
        for number in range(SESSIONS):
            storm.flush(f"client-{number:03d}")
    assert storm.stale == []
    completed = 0
    for number in range(SESSIONS):
        name = f"client-{number:03d}"
        session = storm.look(name)
        messages: list[dict[str, Any]] = [json.loads(raw) for raw in storm.gateway.to(name)]
        check(messages)
        for message in messages:
            if message["type"] == "analysis_result":
                assert message["version"] < SWITCHES
        assert session.status in {"completed", "cancelled"}
        if session.status == "completed":
            completed += 1
            assert {result.metric for result in session.results} == set(METRIC_NAMES)
            assert messages[-1]["type"] == "analysis_completed"
            assert messages[-1]["run_id"] == (session.run.run_id if session.run else "")
    assert completed > SESSIONS // 2
