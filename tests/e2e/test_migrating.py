"""The guides of docs/migrating.md do what they say, command by command."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.e2e.conftest import Cloud, eventually
from tests.e2e.test_inlets import heard
from tests.support import pages
from tests.support.valkey import valkey_server

PAGE = "docs/migrating.md"
CLIENT = "$PWD/.local/client/bin"


class Guide:
    """Somebody in a terminal, who has done what stands before the guides."""

    def __init__(self, stack: Cloud, bin_folder: Path) -> None:
        text, *_ = pages.blocks(PAGE)
        self.environment = pages.environment(stack.settings.home, bin_folder)
        self._before = text.replace(CLIENT, str(bin_folder))
        self._rest = stack.rest("alice")
        self.run(*pages.blocks(PAGE, "Books first"))

    def run(self, *blocks: str, **more: str) -> str:
        return pages.run("\n".join([self._before, *blocks]), self.environment | more)

    def moved(self) -> dict[str, Any]:
        state: dict[str, Any] = self._rest.get("/api/v1/portfolio/moved/state")
        return state

    def position(self, symbol: str) -> dict[str, Any]:
        found: dict[str, Any] = next(item for item in self.moved()["positions"] if item["instrument_id"] == symbol)
        return found


@pytest.fixture
def guide(stack: Cloud, tmp_path: Path) -> Guide:
    return Guide(stack, tmp_path)


@contextmanager
def in_a_terminal_of_its_own(command: str, environment: Mapping[str, str]) -> Iterator[None]:
    process = subprocess.Popen(["bash", "-c", command], cwd=pages.ROOT, env=environment, start_new_session=True)
    try:
        yield
        os.killpg(process.pid, signal.SIGINT)
        process.wait(20)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_a_listener_with_symbol_holders_finds_its_ticks_and_its_holders(
    stack: Cloud, guide: Guide, tmp_path: Path
) -> None:
    bridge, publish = pages.blocks(PAGE, "From a Redis pub/sub listener with `symbol_holders`")
    with valkey_server(tmp_path, cluster=False) as old:
        environment = guide.environment | {"OLD_REDIS": old}
        with in_a_terminal_of_its_own(bridge, environment):
            eventually(lambda: heard(old), bool, "the bridge on the channel")
            assert "1 listening\n" in guide.run(publish, OLD_REDIS=old)
            eventually(lambda: guide.position("MSFT")["mark"], lambda mark: mark == Decimal("410.1"), "the tick")
    if stack.settings.portfolio["PORTFOLIO_HOT_STORE"] == "valkey":
        with redis.Redis.from_url(stack.outputs.redis_url, protocol=2) as store:
            assert b"live:moved" in store.smembers("symbol_holders:MSFT:live")


def test_a_web_process_sends_prices_and_orders_and_gets_the_state_and_a_ticket(guide: Guide) -> None:
    printed = guide.run(*pages.blocks(PAGE, "From a debounced queue in a web process"))
    assert "PricesTaken(accepted=1, rejected=[])" in printed
    assert "ticket=" in printed
    eventually(lambda: guide.position("AAPL")["mark"], lambda mark: mark == Decimal("151.15"), "the price")


def test_an_analysis_server_has_its_closes_its_metrics_and_its_switch(guide: Guide) -> None:
    printed = guide.run(*pages.blocks(PAGE, "From an analysis server with sessions"))
    assert "MSFT: 754 closes given" in printed
    risk = next(line for line in printed.splitlines() if line.startswith("portfolio_risk\t"))
    assert Decimal(risk.split("\t")[1]) > 0
    assert '"type": "analysis_completed", "ticker": "AAPL"' in printed


def test_records_of_topics_are_tried_before_the_topics_are_named(guide: Guide) -> None:
    printed = guide.run(*pages.blocks(PAGE, "From Redpanda or Kafka topics"))
    assert printed.count('taken: 2 records {"batchItemFailures": []}') == 1
    assert "INVALID_JSON: market-prices-0@1" in printed
    eventually(lambda: guide.position("AAPL")["quantity"], lambda quantity: quantity in (45, 55), "the fill")
    eventually(lambda: guide.position("AAPL")["mark"], lambda mark: mark == Decimal("152.25"), "the price")
