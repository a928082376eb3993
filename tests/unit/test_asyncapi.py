"""The document of the WebSocket says what the code does. That every message is as it says is looked at wherever tests
receive one: here in the use cases' tests, and end to end."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import pytest

from foliostream.application import protocol
from foliostream.domain.analysis_task import METRIC_NAMES
from foliostream.domain.liquidation import Close, Plan, detail
from foliostream.domain.margin import Margin, Required
from foliostream.domain.money import ZERO
from foliostream.domain.notices import CHANNELS, NoticeKind
from foliostream.domain.reconciliation import Report, notice
from foliostream.domain.reconciling import Discrepancy, Kind
from foliostream.domain.state import MarginState, PortfolioState, PositionState
from tests.support import asyncapi

README = (asyncapi.DOCUMENT.parent / "README.md").read_text()
EVENTS = Path(__file__).parents[2] / "events"
SAMPLES = {"last_version": 17, "ticker": "AAPL"}


def nodes(value: object) -> Iterator[dict[str, Any]]:
    """Every object in it."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from nodes(inner)


def test_every_reference_leads_somewhere() -> None:
    references = [node for node in nodes(asyncapi.document()) if "$ref" in node]
    assert references
    assert all(asyncapi.resolved(node) for node in references)
    named = {ref["$ref"] for ref in asyncapi.document()["channels"]["socket"]["messages"].values()}
    assert named == {f"#/components/messages/{name}" for name in asyncapi.document()["components"]["messages"]}


def test_nothing_is_left_open() -> None:
    for node in nodes(asyncapi.document()["components"]):
        if node.get("type") == "object":
            assert "additionalProperties" in node, node
            assert node["additionalProperties"] is not True, node


@pytest.mark.parametrize("operation", ["say", "tell"])
def test_every_message_has_examples_that_are_as_it_says(operation: str) -> None:
    for name in asyncapi.messages(operation):
        examples = asyncapi.document()["components"]["messages"][name]["examples"]
        assert examples, name
        for example in examples:
            assert asyncapi.faults(operation, example["payload"]) == []
            assert example["payload"]["action" if operation == "say" else "type"] == name


def test_every_message_of_the_contract_is_there() -> None:
    assert set(asyncapi.messages("tell")) == {
        *("analysis_started", "analysis_result", "analysis_completed", "analysis_cancelled", "analysis_failed"),
        *("subscribed", "unsubscribed", "resumed", "snapshot", "portfolio_update", "resync_required"),
        *("refresh_accepted", "pong", "error", *get_args(NoticeKind)),
    }


def test_the_details_of_metrics_and_discrepancies_are_those_of_the_code() -> None:
    schemas = asyncapi.document()["components"]["schemas"]
    assert schemas["Discrepancy"]["properties"]["kind"]["enum"] == list(get_args(Kind))
    told = asyncapi.messages("tell")["analysis_result"]["properties"]
    assert told["metric"]["enum"] == list(METRIC_NAMES)
    assert len(told["detail"]["anyOf"]) == len(METRIC_NAMES)


@pytest.mark.parametrize("is_found", [True, False])
def test_what_a_reconciliation_finds_is_told_as_the_document_says(is_found: bool) -> None:
    found = Discrepancy("quantity", "INFY", "NSE", "CNC", Decimal(10), Decimal(13))
    report = Report(
        broker="zerodha",
        account="AB1001",
        status="discrepancies" if is_found else "failed",
        checked_at_ms=1_772_101_800_000,
        reason=None if is_found else "BROKER_DOWN: no answer",
        discrepancies=(found,) * 60 if is_found else (),
    )
    told = json.loads(notice(report, "one", 1).payload)
    assert asyncapi.faults("tell", told) == []
    assert (told["discrepancy_count"], len(told["discrepancies"])) == ((60, 50) if is_found else (0, 0))


def test_a_plan_of_a_stop_out_is_told_as_the_document_says() -> None:
    flat = Margin(ZERO, None, ZERO, ZERO, ZERO, None, ZERO, None, Required(), {}, ())
    made = Plan(
        "p:1", (Close("f", "DAX.CFD", Decimal(-1), Decimal(92), fee=Decimal("0.5")),), ("FTSE.CFD",), flat, True
    )
    (example,) = (item["payload"] for item in asyncapi.document()["components"]["messages"]["stop_out"]["examples"])
    for reason in (None, "AUTO_LIQUIDATE_OFF", "NO_BROKER_EXECUTION"):
        assert asyncapi.faults("tell", example | {"plan": detail(made, reason)}) == []


def test_what_may_be_said_is_what_is_understood() -> None:
    assert set(asyncapi.messages("say")) == set(protocol.ACTIONS)
    for name, schema in asyncapi.messages("say").items():
        sample = {"action": name} | {field: SAMPLES[field] for field in schema["required"] if field != "action"}
        understood = protocol.action(protocol.envelope(json.dumps(sample)))
        assert set(understood.__struct_fields__) | {"action"} == set(schema["properties"]), name


@pytest.mark.parametrize("path", sorted(EVENTS.glob("websocket.*.json")), ids=lambda path: path.name)
def test_what_a_sample_client_says_is_as_the_document_says(path: Path) -> None:
    sample = json.loads(path.read_text())
    if sample["requestContext"]["routeKey"] in protocol.ACTIONS:
        assert asyncapi.faults("say", json.loads(sample["body"])) == []


def test_notices_errors_and_channels_are_those_of_the_code() -> None:
    told = asyncapi.messages("tell")
    assert set(get_args(NoticeKind)) <= set(told)
    assert told["error"]["properties"]["code"]["enum"] == list(protocol.ERROR_CODES)
    assert asyncapi.document()["components"]["schemas"]["Channel"]["enum"] == list(CHANNELS)


@pytest.mark.parametrize("shape", [PortfolioState, PositionState, MarginState])
def test_states_have_the_fields_of_the_code(shape: type) -> None:
    schema = asyncapi.document()["components"]["schemas"][shape.__name__]
    assert list(schema["properties"]) == list(shape.__struct_fields__)
    assert set(schema["required"]) == set(shape.__struct_fields__)


def test_the_page_names_every_error_code_and_whether_to_try_again() -> None:
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| (yes|no) \|", README, re.MULTILINE))
    assert rows == {name: "yes" if code.is_retryable else "no" for name, code in protocol.ERROR_CODES.items()}


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        ({"type": "gossip"}, "no message 'gossip'"),
        ({"type": "pong", "timestamp": "2026-02-26T10:30:00.000Z"}, "pong: server_time is missing"),
        ({"type": "pong", "timestamp": 5, "server_time": "2026-02-26T10:30:00Z"}, "pong.timestamp: 5 is no string"),
        (
            {"type": "pong", "timestamp": "now", "server_time": "2026-02-26T10:30:00Z"},
            "pong.timestamp: 'now' does not match",
        ),
        (
            {"type": "portfolio_update", "timestamp": "2026-02-26T10:30:00Z", "updates": []},
            "portfolio_update.updates: [] is beyond 1",
        ),
    ],
)
def test_a_message_that_is_otherwise_is_noticed(message: dict[str, Any], fault: str) -> None:
    (found,) = asyncapi.faults("tell", message)
    assert found.startswith(fault)
