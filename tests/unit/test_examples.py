"""The example clients say what the protocol understands, and follow what it answers. That they run is not tested here:
no network in unit tests."""

from __future__ import annotations

import argparse
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from examples.analyze import ASK_AGAIN_SECONDS, ASKED_MAX, Client

EXAMPLES = Path(__file__).parents[2] / "examples"
RESUME = {"action": "resume", "portfolio_id": "one", "last_version": 18}


class Socket:
    """Keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.is_closed = False

    def send(self, text: str) -> None:
        self.sent.append(json.loads(text))

    def close(self) -> None:
        self.is_closed = True

    def actions(self) -> list[str]:
        return [message["action"] for message in self.sent]


def client() -> Client:
    return Client(argparse.Namespace(rest="http://rest", token="t", portfolio="one", tickers=["AAPL", "MSFT"]))


def test_the_program_switches_in_the_middle_and_ends_with_the_last_run() -> None:
    socket: Any = Socket()
    program = client()
    program.begin(socket)
    assert socket.actions() == ["subscribe", "analyze"]
    assert program.take(socket, {"type": "snapshot", "version": 17})
    assert program.take(socket, {"type": "analysis_result", "ticker": "AAPL"})
    assert [message.get("ticker") for message in socket.sent] == [None, "AAPL", "MSFT"]
    assert program.take(socket, {"type": "analysis_completed", "ticker": "AAPL"})  # through before it could give way
    assert program.take(socket, {"type": "analysis_result", "ticker": "MSFT"})
    assert not program.take(socket, {"type": "analysis_completed", "ticker": "MSFT"})


def test_the_program_goes_on_from_its_version_and_knows_events_again() -> None:
    socket: Any = Socket()
    program = client()
    program.take(socket, {"type": "portfolio_update", "updates": [{"version": 18}]})
    program.begin(socket)
    assert socket.sent == [RESUME]
    for _ in range(2):
        assert program.take(socket, {"type": "fill", "event_id": "fill:one:1"})
    assert list(program.events) == ["fill:one:1"]


def test_the_program_asks_again_from_the_version_it_had_until_that_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    socket: Any = Socket()
    program = client()
    program.take(socket, {"type": "snapshot", "version": 18})

    def waits(seconds: int) -> None:
        for _ in range(seconds):
            program.check(socket)
            clock[0] += 1

    program.begin(socket)
    program.take(socket, {"type": "snapshot", "version": 20})  # of the session, before anybody has read the `resume`
    waits(ASKED_MAX * ASK_AGAIN_SECONDS)
    assert (socket.sent, socket.is_closed) == ([RESUME] * ASKED_MAX, False)
    waits(1)
    assert socket.is_closed
    socket = Socket()
    program.begin(socket)
    waits(ASK_AGAIN_SECONDS + 1)
    assert (socket.sent, socket.is_closed) == ([RESUME] * 2, False)
    program.take(socket, {"type": "resumed"})
    waits(ASKED_MAX * ASK_AGAIN_SECONDS)
    assert (socket.sent, socket.is_closed) == ([RESUME] * 2, False)


def test_the_page_says_the_same_actions_as_the_program() -> None:
    said = {
        name: set(re.findall(r'say\((?:socket, )?"([a-z]+)"', (EXAMPLES / name).read_text()))
        for name in ("analyze.py", "analyze.html")
    }
    assert said["analyze.html"] == said["analyze.py"] == {"subscribe", "analyze", "resume"}
