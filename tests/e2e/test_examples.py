"""The example clients against the deployed stack: they connect, analyze, switch in the middle, and print messages as
the AsyncAPI document says."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect, sync_playwright

from local import browser, page_server
from local.environments import ROOT
from tests.e2e.conftest import Cloud, Holder
from tests.support import asyncapi
from tests.unit.application.test_analyzing import check

EXAMPLES = ROOT / "examples"
PATIENCE_S = 60


def shown(printed: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What a client said and what it was told, all of it as the document says."""
    lines = [line for line in printed.splitlines() if line[:2] in {"> ", "< "}]
    said = [json.loads(line[2:]) for line in lines if line[0] == ">"]
    told = [json.loads(line[2:]) for line in lines if line[0] == "<"]
    assert [fault for message in said for fault in asyncapi.faults("say", message)] == []
    assert [fault for message in told for fault in asyncapi.faults("tell", message)] == []
    return said, told


def is_whole(printed: str, first: str, second: str) -> None:
    """One analysis, and another one that began in its middle and was carried to its end."""
    said, told = shown(printed)
    assert [message["action"] for message in said] == ["subscribe", "analyze", "analyze"]
    kinds = [message["type"] for message in told]
    assert {"subscribed", "snapshot", "analysis_started", "analysis_result"} <= set(kinds)
    assert [message["ticker"] for message in told if message["type"] == "analysis_started"] == [first, second]
    analysis = [message for message in told if message["type"].startswith("analysis_")]
    check(analysis)
    assert (analysis[-1]["type"], analysis[-1]["ticker"]) == ("analysis_completed", second)
    assert [message["ticker"] for message in analysis if message["type"] == "analysis_result"][-5:] == [second] * 5


def test_the_program_analyzes_and_switches_in_the_middle(
    stack: Cloud, invested: Holder, symbol: str, other_symbol: str
) -> None:
    arguments = ["--rest", stack.outputs.rest_url, "--token", stack.token(invested.name)]
    arguments += ["--portfolio", invested.portfolio_id, "--tickers", symbol, other_symbol]
    ran = subprocess.run(
        [sys.executable, str(EXAMPLES / "analyze.py"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    is_whole(ran.stdout, symbol, other_symbol)


@pytest.fixture
def address(stack: Cloud, tmp_path: Path) -> Iterator[str]:
    """Of the examples, with the API behind the same address: the emulator allows no other origin."""

    class Served(page_server.Handler):
        def end_headers(self) -> None:
            """Without the page's policy: the example is one file with its script inside."""
            SimpleHTTPRequestHandler.end_headers(self)

    handler = partial(
        Served,
        rest_url=stack.outputs.rest_url,
        ws_url=stack.outputs.ws_url,
        entry=tmp_path / "entry",
        directory=str(EXAMPLES),
    )
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        serving.join()


def test_the_page_analyzes_and_switches_in_the_middle(
    stack: Cloud, invested: Holder, symbol: str, other_symbol: str, address: str
) -> None:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser.ensure(), args=list(browser.QUIET))
        window, faults = chromium.new_page(), list[str]()
        window.on("pageerror", lambda fault: faults.append(str(fault)))
        window.goto(f"{address}/analyze.html")
        window.get_by_label("REST address").fill(address)
        window.get_by_label("Token").fill(stack.token(invested.name))
        window.get_by_label("Portfolio").fill(invested.portfolio_id)
        window.get_by_label("Tickers").fill(f"{symbol} {other_symbol}")
        window.get_by_role("button", name="Connect and analyze").click()
        log = window.locator("#log")
        expect(log).to_contain_text('"type":"analysis_completed","ticker":"' + other_symbol, timeout=PATIENCE_S * 1000)
        window.get_by_role("button", name="Leave").click()
        printed = log.inner_text()
        chromium.close()
    assert faults == []
    is_whole(printed, symbol, other_symbol)
