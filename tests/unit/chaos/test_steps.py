"""Functions that `make chaos` ends in the middle of a call, and clocks that differ."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from local.processes import poll
from local.services import HOST
from tests.chaos.deployment import CLOCKS, CLOCKS_APART_MS
from tests.chaos.proxy import Answer, Passed, Request
from tests.chaos.steps import Step, Steps, function_of, process_at

CALL = "import socket, sys; s = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); s.recv(1)"
NAME = "x-PushFunction-1"


class Caller:
    """A process that runs a function and has a connection to somebody who never answers."""

    def __init__(self, server: socket.socket) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", CALL, str(server.getsockname()[1]), NAME])
        self.connection, (_, self.port) = server.accept()

    def request(self, operation: str = "dynamodb:PutItem") -> Asked:
        return Asked("POST", "/", {}, b"", operation, Random(1), 0, self.port)

    def close(self) -> None:
        self.connection.close()
        self.process.kill()
        self.process.wait()


class Asked(Request):
    def forward(self, content: object = None) -> Answer:
        assert content is None
        return Answer(200, b"done")


@pytest.fixture
def caller() -> Iterator[Caller]:
    with socket.create_server((HOST, 0)) as server:
        found = Caller(server)
        yield found
        found.close()


def steps(signal_number: int, limit: int = 9) -> Steps:
    return Steps(os.getpid(), signal_number, pause_s=0, limit=limit)


def test_who_makes_a_call_is_known_by_the_connection(caller: Caller) -> None:
    assert process_at(caller.port, [os.getpid(), caller.process.pid]) == caller.process.pid
    assert process_at(caller.port, []) is None
    assert process_at(1, [caller.process.pid]) is None
    assert function_of(caller.process.pid) == "Push"


def test_a_function_is_killed_before_its_call_is_done(caller: Caller) -> None:
    found = steps(signal.SIGKILL)
    assert found.ended_in_a_step(caller.request()) is None
    assert caller.process.wait(5) == -signal.SIGKILL
    assert set(found.had) == {Step("Push", "dynamodb:PutItem", is_done=False)}
    assert found.left() == {Step("Push", "dynamodb:PutItem", is_done=True)}


def test_a_function_stands_still_in_each_step_once_and_only_so_many_do(caller: Caller) -> None:
    found = steps(signal.SIGSTOP, limit=3)
    answers = [found.ended_in_a_step(caller.request()) for _ in range(3)]
    assert answers[:2] == [None, Answer(200, b"done")], "before the call is done, then after it"
    assert isinstance(answers[2], Passed), "then it is left alone"
    assert poll(lambda: " T " in Path(f"/proc/{caller.process.pid}/stat").read_text(), 5)
    assert found.ended_in_a_step(caller.request("sqs:SendMessage")) is None
    assert isinstance(found.ended_in_a_step(caller.request("sqs:SendMessage")), Passed), "three are enough"


def test_who_is_no_function_is_left_alone(caller: Caller) -> None:
    found = Steps(1, signal.SIGKILL, pause_s=0, limit=9)
    assert isinstance(found.ended_in_a_step(caller.request()), Passed)
    assert caller.process.poll() is None


def test_the_clocks_of_functions_are_behind_by_parts_of_what_they_may_differ_by() -> None:
    told = {process_clock(name) for name in ("AWS_LAMBDA_FUNCTION_NAME",) * 4}
    assert all(0 <= behind_ms <= CLOCKS_APART_MS for behind_ms in told)
    assert len(told) > 1
    assert process_clock("SOMETHING_ELSE") < 1, "the emulator's own is right"


def process_clock(name: str) -> float:
    """How many milliseconds the clock of a new process is behind, by a clock that all share."""
    code = (
        "import time; now = time.clock_gettime_ns(time.CLOCK_REALTIME);"
        "print((now - time.time_ns()) / 1e6, (now / 1e9 - time.time()) * 1e3)"
    )
    given = {"PYTHONPATH": str(CLOCKS), "CHAOS_CLOCKS_APART_MS": str(CLOCKS_APART_MS), name: "x"}
    answer = subprocess.run([sys.executable, "-c", code], env=given, capture_output=True, text=True, check=True)
    by_ns, by_s = map(float, answer.stdout.split())
    assert by_ns == pytest.approx(by_s, abs=2)
    return max(by_ns, 0.0)
