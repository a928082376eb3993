"""Analyses as clients meet them: the five metrics of a ticker, switched in the middle, on both hot stores."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from decimal import Decimal
from random import Random
from typing import Any

from foliostream.domain.analysis_task import METRIC_NAMES
from foliostream_client.transport import Socket
from tests.e2e.conftest import DEADLINE_S, Cloud, Holder
from tests.unit.application.test_analyzing import check

Message = dict[str, Any]
CLIENTS = 4
ENDS = ("analysis_completed", "analysis_failed")


def until(socket: Socket, run_kinds: tuple[str, ...], runs: int = 1) -> list[Message]:
    """What comes until so many messages of these kinds have come."""
    found: list[Message] = []
    deadline = time.monotonic() + DEADLINE_S
    while sum(message["type"] in run_kinds for message in found) < runs:
        assert time.monotonic() < deadline, found
        message = socket.receive(1.0)
        if message is not None:
            found.append(message)
    return found


def ask(owner: Holder, ticker: str, request_id: str = "r1") -> Message:
    return {"action": "analyze", "ticker": ticker, "portfolio_id": owner.portfolio_id, "request_id": request_id}


def test_five_metrics_of_one_snapshot_come_one_by_one(stack: Cloud, invested: Holder, symbol: str) -> None:
    with stack.socket(invested.name) as socket:
        socket.send(ask(invested, symbol))
        messages = until(socket, ENDS)
    assert [message["type"] for message in messages] == [
        "analysis_started",
        *["analysis_result"] * 5,
        "analysis_completed",
    ]
    assert {message["version"] for message in messages} == {messages[0]["version"]}
    values = {message["metric"]: message["value"] for message in messages[1:-1]}
    assert set(values) == set(METRIC_NAMES)
    assert (values["concentration"], values["allocation_score"]) == (Decimal("0.505"), Decimal("-0.05"))
    assert None not in values.values()
    assert {message["request_id"] for message in messages} == {"r1"}


def test_a_switch_leaves_nothing_of_the_old_ticker_after_the_new_ones_start(
    stack: Cloud, invested: Holder, symbol: str, other_symbol: str
) -> None:
    with stack.socket(invested.name) as socket:
        for number, ticker in enumerate((symbol, other_symbol, symbol, other_symbol)):
            socket.send(ask(invested, ticker, f"r{number}"))
        messages = until(socket, ENDS)
        while messages[-1]["request_id"] != "r3":
            messages += until(socket, ENDS)
        check(messages)
        assert messages[-1]["type"] == "analysis_completed"
        socket.send({"action": "cancel"})
        (error,) = until(socket, ("error",))
        assert error["code"] == "NOTHING_TO_CANCEL"
        socket.send(ask(invested, "NOTHELD"))
        (error,) = until(socket, ("error",))
        assert (error["code"], error["request_id"]) == ("UNKNOWN_TICKER", "r1")


def test_who_comes_back_finds_the_analysis_with_its_results(stack: Cloud, invested: Holder, symbol: str) -> None:
    query = f"session_id=session-{invested.name}"
    with stack.socket(invested.name, query=query) as socket:
        socket.send(ask(invested, symbol))
        before = until(socket, ENDS)
    with stack.socket(invested.name, query=query) as socket:
        socket.send({"action": "ping"})
        again = [message for message in until(socket, ENDS) if message["type"].startswith("analysis_")]
    assert (again[0], again[-1]) == (before[0], before[-1])
    assert sorted(map(str, again)) == sorted(map(str, before))


def test_a_repeated_delivery_of_a_run_that_is_over_does_nothing(stack: Cloud) -> None:
    task = json.loads((stack.settings.home.parents[1] / "events" / "analyze.task.json").read_text())
    answer = stack.aws("lambda").invoke(
        FunctionName=stack.outputs.resources["AnalyzeFunctionName"], Payload=json.dumps(task).encode()
    )
    body = json.loads(answer["Payload"].read())
    assert body == {"run_id": task["run"]["run_id"], "stored": [], "completed": False}


def test_clients_that_switch_at_random_see_no_stale_result(
    stack: Cloud, invested: Holder, symbol: str, other_symbol: str
) -> None:
    def client(seed: int) -> list[Message]:
        random, socket, found = Random(seed), sockets[seed], list[Message]()
        for _ in range(6):
            socket.send(ask(invested, random.choice([symbol, other_symbol])))
            deadline = time.monotonic() + random.random()
            while (left := deadline - time.monotonic()) > 0:
                if (message := socket.receive(left)) is not None:
                    found.append(message)
        socket.send(ask(invested, symbol) | {"request_id": "last"})
        while not (found and found[-1]["type"] in ENDS and found[-1].get("request_id") == "last"):
            found += until(socket, ENDS)
        return found

    with ExitStack() as closing:
        # One after the other: a handshake has to wait for the authorizer's cold start.
        sockets = [closing.enter_context(stack.socket(invested.name)) for _ in range(CLIENTS)]
        threads = closing.enter_context(ThreadPoolExecutor(CLIENTS))
        for messages in threads.map(client, range(CLIENTS)):
            check(messages)
            assert messages[-1]["type"] == "analysis_completed"
