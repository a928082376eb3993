"""What made-up input has broken once, kept as it was (`make fuzz`)."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import pytest

from foliostream.domain import kite
from foliostream.errors import CallerError, FoliostreamError, RetryableError
from tests.support import asyncapi
from tests.support.handlers import NAMES, NOW_MS, Fakes, handler, sample, samples
from tests.unit.api.client import CONTEXT

Event = dict[str, Any]
NESTED = '{"keys":' + "[" * 100_000 + "]" * 100_000 + "}"
QUEUED = {name: [event for event in samples(name) if "body" in event.get("Records", [{}])[0]] for name in NAMES}


@pytest.mark.parametrize(
    "body", [NESTED, "{}", "null", "[]", '{"slot": "soon"}', '{"bucket": 99, "run_id": "x"}', "\ud800"]
)
@pytest.mark.parametrize("function", [name for name in NAMES if QUEUED[name]])
def test_a_message_that_cannot_be_read_does_not_send_its_neighbours_back(function: str, body: str) -> None:
    """Of nested ones, and those of a rebuild or a tick without their fields, the whole batch came again and again."""
    good = next(record for record in QUEUED[function][0]["Records"] if record["body"].startswith("{"))
    answers = []
    for records in ([good], [{**good, "messageId": "bad", "body": body}, good]):
        with handler(function, Fakes()) as handle:
            answers.append(handle({"Records": records}, CONTEXT)["batchItemFailures"])
    alone, beside = answers
    assert [one for one in beside if one != {"itemIdentifier": "bad"}] == alone


@pytest.mark.parametrize("text", [NESTED, "\ud800"])
def test_a_stored_book_that_cannot_be_read_stops_no_other_change(text: str) -> None:
    event = sample("project_ledger.stream")
    bad = json.loads(json.dumps(event["Records"][0]))
    bad["dynamodb"]["NewImage"]["book"]["S"] = text
    bad["dynamodb"]["SequenceNumber"] = "9"
    parts = Fakes()
    with handler("project_ledger", parts) as handle:
        assert handle({"Records": [bad, event["Records"][0]]}, CONTEXT) == {"batchItemFailures": []}
    assert [letter.queue for letter in parts.queues.given_up] == ["ledger"]


@pytest.mark.parametrize(
    "change",
    [
        {"order_timestamp": "9999-12-31 23:59:59-10:00"},
        {"order_timestamp": "0001-01-01 00:00:00+14:00"},
        {"exchange_update_timestamp": "0001-01-01 00:00:00"},
        {"filled_quantity": "1e999999"},
        {"average_price": "1e999999"},
    ],
)
def test_what_a_broker_says_with_figures_or_times_out_of_range_is_refused(change: dict[str, str]) -> None:
    order = json.loads(sample("broker_api.postback")["body"]) | change
    order["checksum"] = sha256(f"{order['order_id']}{order['order_timestamp']}secret".encode()).hexdigest()
    with pytest.raises(CallerError, match="out of range"):
        kite.postback(json.dumps(order), "secret")
    with pytest.raises(RetryableError, match="out of range"):
        kite.orders([order], [])


@pytest.mark.parametrize("attempts", ["²", "9" * 5_000, "-1", ""])
def test_a_dead_letter_of_an_odd_number_of_attempts_is_shown(attempts: str) -> None:
    parts = Fakes()
    parts.dead_letter_office.letters.put("sweep", "{}", ERROR_CODE="X", RETRY_ATTEMPTS=attempts)
    with handler("dead_letters", parts) as handle:
        (shown,) = handle({"action": "show", "queue": "sweep"}, CONTEXT)["letters"]
    assert (shown["reason"], shown["attempts"]) == ("X", 1)


@pytest.mark.parametrize(
    ("function", "event"),
    [
        ("analyze", {}),
        ("analyze", sample("analyze.task") | {"values": {"AAPL": "\ud800"}}),
        ("book_swaps", {"portfolio_ids": 5}),
        ("book_swaps", {"night": 20260226}),
        ("close_day", {"portfolio_ids": [None]}),
        ("close_day", {"scheduled_time": None}),
        ("dead_letters", {"action": "burn"}),
        ("rebuild_hot", {"action": "stop"}),
        ("rebuild_hot", {"action": []}),
        ("sweep", {"late_seconds": "soon"}),
        ("sweep", {"late_seconds": -1}),
        ("market_feed", {"start": "now"}),
    ],
)
def test_whoever_asks_for_what_there_is_not_is_told_so(function: str, event: Event) -> None:
    with handler(function, Fakes()) as handle, pytest.raises(FoliostreamError) as refused:
        handle(event, CONTEXT)
    assert refused.value.code == "INVALID"


@pytest.mark.parametrize("action", ["$connect", "$disconnect", "$default"])
def test_a_client_that_says_the_name_of_a_route_is_told_that_there_is_no_such_action(action: str) -> None:
    """Saying ``$disconnect``, it was forgotten without a word; saying ``$connect``, it was new again."""
    parts, event = Fakes(), sample("websocket.ping")
    client = event["requestContext"]["connectionId"]
    parts.watching.connect(client, "alice", (), NOW_MS + 60_000)
    before = parts.connections.view(client, NOW_MS)
    event["requestContext"]["routeKey"] = action
    event["body"] = json.dumps({"action": action})
    with handler("websocket", parts) as handle:
        assert handle(event, CONTEXT) == {"statusCode": 200}
    (told,) = (json.loads(payload) for payload in parts.gateway.to(client))
    assert asyncapi.faults("tell", told) == []
    assert told["code"] == "UNKNOWN_ACTION"
    assert parts.connections.view(client, NOW_MS) == before
