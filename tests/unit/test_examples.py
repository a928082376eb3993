"""The example clients say what the protocol understands, and follow what it answers. That they run is not tested here:
no network in unit tests."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

from examples.analyze import Client

EXAMPLES = Path(__file__).parents[2] / "examples"


class Socket:
    """Keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def send(self, text: str) -> None:
        self.sent.append(json.loads(text))

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
    assert socket.sent == [{"action": "resume", "portfolio_id": "one", "last_version": 18}]
    for _ in range(2):
        assert program.take(socket, {"type": "fill", "event_id": "fill:one:1"})
    assert list(program.events) == ["fill:one:1"]


def test_the_page_says_the_same_actions_as_the_program() -> None:
    said = {
        name: set(re.findall(r'say\((?:socket, )?"([a-z]+)"', (EXAMPLES / name).read_text()))
        for name in ("analyze.py", "analyze.html")
    }
    assert said["analyze.html"] == said["analyze.py"] == {"subscribe", "analyze", "resume"}
