"""Metrics are lines that CloudWatch understands: the embedded metric format."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from foliostream import lambda_events, metrics
from foliostream.application.order_watch import OrderWatch
from foliostream.ports import Outgoing
from functions.price_update import app as price_update
from functions.push import app as push
from functions.recalculate import app as recalculate
from functions.sweep import app as sweep
from tests.fakes.queues import FakeOrderQueue
from tests.support.managers import managers
from tests.support.prices import price_taking
from tests.unit.api.client import NOW_MS, Client, buy
from tests.unit.application.system import System, one_by_one
from tests.unit.domain.examples import NOW

EVENTS = Path(__file__).parents[2] / "events"


def checked(text: str) -> dict[str, Any]:
    """A line, if it is as the format's specification says."""
    line: dict[str, Any] = json.loads(text)
    about = line["_aws"]
    assert isinstance(about["Timestamp"], int)
    (directive,) = about["CloudWatchMetrics"]
    assert directive["Namespace"] == "Foliostream"
    (dimensions,) = directive["Dimensions"]
    assert 0 < len(dimensions) <= 30
    assert all(isinstance(line[name], str) and line[name] for name in dimensions)
    assert 0 < len(directive["Metrics"]) <= 100
    for metric in directive["Metrics"]:
        assert metric["Unit"] in {"Count", "Milliseconds", "Percent"}
        values = line[metric["Name"]]
        assert isinstance(values, int) or (0 < len(values) <= 100 and all(isinstance(value, int) for value in values))
    assert set(line) == {"_aws", *dimensions, *(metric["Name"] for metric in directive["Metrics"])}
    return line


def test_a_line_names_its_figures_dimensions_and_units() -> None:
    line = checked(
        metrics.line(NOW, {"Stack": "s", "AccountType": "live"}, {"PortfoliosValued": 7, "DirtyAge": [9, 3]})
    )
    assert (line["PortfoliosValued"], line["DirtyAge"], line["AccountType"]) == (7, [3, 9], "live")
    units = {metric["Name"]: metric["Unit"] for metric in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]}
    assert units == {"PortfoliosValued": "Count", "DirtyAge": "Milliseconds"}


def test_of_very_many_values_the_largest_hundred_are_told_and_of_none_nothing() -> None:
    line = checked(metrics.line(NOW, {"Stack": "s"}, {"QueueAge": list(range(1_000)), "DirtyAge": [], "SweepFinds": 0}))
    assert line["QueueAge"] == list(range(900, 1_000))
    assert "DirtyAge" not in line
    assert line["SweepFinds"] == 0


class Parts:
    """The composition root as the three functions use it."""

    def __init__(self) -> None:
        system = System()
        self.system = system
        self.clock, self.hot, self.holders = system.clock, system.hot, system.hot
        self.instruments, self.marker, self.valuer = system.instruments, system.marker, system.valuer
        self.pacer, self.origins = system.pacer, system.marker.origins
        self.sender, self.each = system.sender, one_by_one
        self.managers = managers(self.clock, self.instruments, watch=OrderWatch(self.hot, FakeOrderQueue()))
        self.price_taking = price_taking(self.hot, self.instruments, self.marker, self.managers, self.clock)
        self.settings = SimpleNamespace(
            stack="prod", skew_ms=50, window_ms={"live": 200, "demo": 1_000, "paper": 3_000}
        )


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [checked(text) for text in capsys.readouterr().out.splitlines() if "CloudWatchMetrics" in text]


def queued(body: str, sent_ms: int) -> dict[str, Any]:
    attributes = {"ApproximateReceiveCount": "1", "SentTimestamp": str(sent_ms)}
    return {"Records": [{"messageId": "m", "body": body, "attributes": attributes}]}


def test_a_price_and_its_valuation_are_measured_on_their_way(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    parts = Parts()
    parts.system.open("one", "AAPL")
    for app in (price_update, recalculate):
        monkeypatch.setattr(app, "wiring", lambda: parts)
    now_ms = parts.clock.now_ms()
    update = {"symbol": "AAPL", "last": 120, "ts": now_ms}
    event = {"id": "e-1", "detail-type": "market_price_update", "detail": {"updates": [update, {"symbol": "NOPE"}]}}
    price_update.handler(queued(json.dumps(event), now_ms - 70), None)
    [line] = lines(capsys)
    figures = ("SymbolsProcessed", "PricesRefused", "HoldersResolved", "BundlesSent", "QueueAge")
    assert [line[name] for name in figures] == [1, 1, 1, 1, [70]]
    assert line["Stack"] == "prod"

    [bundle] = parts.system.queues.receive("live")
    recalculate.handler(queued(msgspec.json.encode(bundle.message).decode(), now_ms), None)
    told = [vars(record) for record in caplog.records if record.getMessage() in ("prices", "recalculated")]
    assert [line["origins"] for line in told] == [["e-1"], ["e-1"]]
    assert told[0]["symbols"] == ["AAPL"]
    [line] = lines(capsys)
    figures = ("PortfoliosValued", "PortfoliosSkipped", "PortfoliosDegraded", "PortfoliosFailed", "AccountType")
    assert [line[name] for name in figures] == [1, 0, 0, 0, "live"]
    # A window of 200 ms, the skew allowance, and no time for the work.
    assert line["DirtyAge"] == [250]
    counted = {"symbols_processed": 1, "users_affected_total": 1, "portfolios_valued": 1, "age_live_300": 1}
    assert parts.hot.counted().sums == counted


def test_a_price_is_measured_alike_by_whichever_way_it_comes_in(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client = Client()
    client.create()
    client.update(buy(1, 150))
    updates = [{"symbol": "AAPL", "last": 151, "ts": NOW_MS}, {"symbol": "AAPL", "last": -1, "ts": NOW_MS}, {}]
    monkeypatch.setattr(price_update, "wiring", lambda: client.parts)
    client.prices(*updates)
    [rest] = lines(capsys)
    price_update.handler({"updates": updates}, None)
    [direct] = lines(capsys)
    price_update.handler(queued(json.dumps({"detail": {"updates": updates}}), NOW_MS - 10), None)
    [queue] = lines(capsys)
    assert rest["SymbolsProcessed"] == rest["HoldersResolved"] == rest["BundlesSent"] == 1
    assert (rest["PricesRefused"], rest["OrdersTold"]) == (2, 0)
    figures = rest.keys() - {"_aws"}
    assert [{name: line[name] for name in figures} for line in (direct, queue)] == [
        {name: rest[name] for name in figures}
    ] * 2
    assert queue["QueueAge"] == [10]


def test_what_is_pushed_and_who_is_gone_is_measured_and_traced_to_its_cause(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    parts = Parts()
    monkeypatch.setattr(push, "wiring", lambda: parts)
    for connection_id in ("here", "left"):
        parts.system.connect(connection_id)
        letter = Outgoing("0", b"hello")
        parts.system.connections.enqueue([(connection_id, letter)], parts.clock.now_ms() + 60_000)
    parts.system.gateway.gone.add("left")
    body = {"window": 1, "window_end_ms": 0, "keys": ["here", "left"], "reason": "push"}
    event = queued(json.dumps(body), parts.clock.now_ms())
    event["Records"][0]["attributes"]["AWSTraceHeader"] = "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1"
    push.handler(event, None)
    [line] = lines(capsys)
    assert (line["MessagesPushed"], line["ConnectionsGone"], line["GonePercent"]) == (1, 1, 50)
    [told] = caplog.records
    assert vars(told)["causes"] == ["1-5759e988-bd862e3fe1be46a994272793"]
    push.handler({"Records": []}, None)
    [line] = lines(capsys)
    assert (line["MessagesPushed"], line["GonePercent"]) == (0, 0)


def test_of_many_messages_each_cause_is_told_once_and_of_very_many_causes_twenty() -> None:
    headers = [f"Self=x;Root=1-{number:08x}-0;Parent=y" for number in range(30) for _ in range(2)]
    records = [{"attributes": {"AWSTraceHeader": header}} for header in headers]
    assert lambda_events.causes({"Records": [{"attributes": {}}, *records]}) == [f"1-{n:08x}-0" for n in range(20)]


def test_the_sweep_tells_what_it_found(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.unit.application.test_sweep import Swept

    swept = Swept()
    parts = Parts()
    parts.sweep, parts.clock = swept.sweep, swept.system.clock  # type: ignore[attr-defined]
    monkeypatch.setattr(sweep, "wiring", lambda: parts)
    for name in ("sweep.schedule.json", "sweep.now.json"):
        answer = sweep.handler(json.loads((EVENTS / name).read_text()), None)
        assert (answer["late"], answer["failed"]) == (0, {})
        [line] = lines(capsys)
        assert (line["SweepFinds"], line["SweepFailedSteps"], line["Stack"]) == (0, 0, "prod")
