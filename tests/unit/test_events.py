"""The sample events in events/ go through the parsers that the functions use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from foliostream import lambda_events
from foliostream.application import price_input
from foliostream.application.receiving import wait_until_due
from tests.fakes.clock import FakeClock

EVENTS = Path(__file__).parents[2] / "events"


def event(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((EVENTS / name).read_text())
    return loaded


def test_the_queued_sample_gives_its_updates_exactly_and_names_the_message_that_is_no_event() -> None:
    messages = lambda_events.received(event("price_update.queue.json"))
    parsed, broken = price_input.from_messages(messages)
    assert [(str(update.symbol), str(update.last)) for update in parsed.updates] == [
        ("AAPL", "150.25"),
        ("MSFT", "410.10"),
    ]
    assert parsed.updates[0].ts_ms == parsed.updates[1].ts_ms
    assert lambda_events.failures(broken) == {"batchItemFailures": [{"itemIdentifier": messages[1].message_id}]}


@pytest.mark.parametrize("name", ["price_update.eventbridge.json", "price_update.direct.json"])
def test_a_directly_invoked_sample_parses_without_a_refusal(name: str) -> None:
    raw = (EVENTS / name).read_text()
    parsed = price_input.from_event(raw) if "detail" in event(name) else price_input.from_body(raw)
    assert parsed.updates
    assert not parsed.refused


@pytest.mark.parametrize("name", ["recalculate.dirty.json", "recalculate.refresh.json", "push.queue.json"])
def test_queued_samples_are_dirty_messages(name: str) -> None:
    batch = wait_until_due(lambda_events.received(event(name)), FakeClock(1_772_101_800_000), 50)
    assert len(batch.due) == 1
    assert not batch.failed
