"""Kafka records through the functions' own handlers, over fakes."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from foliostream import lambda_events
from foliostream.application import fill_input, price_input
from foliostream.application.accept_fills import FillAccepter
from foliostream.application.order_watch import OrderWatch
from foliostream.application.topic_input import LETTER_BYTES_MAX
from foliostream.errors import RetryableError
from functions.accept_fills import app as accept_fills
from functions.price_update import app as price_update
from tests.fakes.fills import FakeFillQueue
from tests.fakes.queues import FakeOrderQueue
from tests.support.managers import managers
from tests.support.prices import price_taking
from tests.unit.application.system import System
from tests.unit.domain.examples import stock

EVENTS = Path(__file__).resolve().parents[2] / "events"
TS = 1_772_101_800_000
NO_FAILURES: dict[str, Any] = {"batchItemFailures": []}


def sample(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((EVENTS / name).read_text())
    return loaded


def records(*values: bytes | None) -> dict[str, Any]:
    """A partition with these values."""
    return {
        "eventSource": "SelfManagedKafka",
        "records": {
            "t-0": [
                {"topic": "t", "partition": 0, "offset": offset}
                | ({} if value is None else {"value": base64.b64encode(value).decode()})
                for offset, value in enumerate(values)
            ]
        },
    }


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    system, queue = System(), FakeFillQueue()
    system.instruments.put(stock("M&M"))
    system.clock.time_ms = TS + 60_000
    modes = managers(system.clock, system.instruments, watch=OrderWatch(system.hot, FakeOrderQueue()))
    made = SimpleNamespace(
        system=system,
        hot=system.hot,
        origins=system.marker.origins,
        price_taking=price_taking(system.hot, system.instruments, system.marker, modes, system.clock),
        dead_letters=queue,
        fill_queue=queue,
        fill_accepter=FillAccepter(system.ledger, system.instruments, queue, "desk"),
    )
    for app in (price_update, accept_fills):
        monkeypatch.setattr(app, "wiring", lambda: made)
    return made


def test_the_sample_prices_are_stored_the_broken_record_is_a_dead_letter(parts: SimpleNamespace) -> None:
    assert price_update.handler(sample("price_update.kafka.json"), None) == NO_FAILURES
    stored = parts.hot.get(["AAPL", "MSFT", "M&M"])
    assert {symbol: price.last for symbol, price in stored.items()} == {
        "AAPL": Decimal("150.35"),
        "MSFT": Decimal("410.10"),
        "M&M": Decimal("3000.05"),
    }
    (letter,) = parts.fill_queue.given_up
    assert (letter.source, letter.code) == ("price", "INVALID_JSON")
    assert letter.reason.startswith("market-prices-0@16: not JSON")
    assert json.loads(letter.body)["offset"] == 16


def test_the_sample_fills_are_queued_in_order_and_the_others_are_dead_letters(parts: SimpleNamespace) -> None:
    assert accept_fills.handler(sample("accept_fills.kafka.json"), None) == NO_FAILURES
    bodies = [json.loads(message.body) for message in parts.fill_queue.receive()]
    assert [(body["fill_id"], body["side"]) for body in bodies] == [
        ("T-20260226-000017", "BUY"),
        ("T-20260226-000018", "SELL"),
    ]
    letters = parts.fill_queue.given_up
    assert sorted((letter.source, letter.code, letter.message_id) for letter in letters) == [
        ("order_filled", "FILL_ID_MISSING", "broker-fills-0@42"),
        ("order_filled", "INVALID", "broker-fills-0@44"),
    ]


def test_a_dead_letter_that_is_json_is_what_its_queue_takes_again(parts: SimpleNamespace) -> None:
    accept_fills.handler(records(b'{"fill_id":"x","side":"BUY"}'), None)
    (fill,) = parts.fill_queue.given_up
    assert fill_input.parse([fill_input.from_event(fill.body)]).refused[0].fill_id == "x"
    price_update.handler(records(b'{"updates":7}'), None)
    assert json.loads(parts.fill_queue.given_up[1].body)["detail"] == {"updates": 7}
    many = json.dumps([{"symbol": "A", "last": 1, "ts": 1}] * (price_input.MESSAGE_UPDATES_MAX + 1)).encode()
    price_update.handler(records(many), None)
    assert parts.fill_queue.given_up[2].code == "TOO_MANY_UPDATES"
    assert json.loads(parts.fill_queue.given_up[2].body) == {"place": "t-0@0", "bytes": len(many)}
    assert all(len(letter.body) <= LETTER_BYTES_MAX for letter in parts.fill_queue.given_up)


@pytest.mark.parametrize("value", [None, b"", b"\xff", b"{", b"7", b'"AAPL"', b"[" * 100_000], ids=str)
@pytest.mark.parametrize("handler", [price_update.handler, accept_fills.handler], ids=["prices", "fills"])
def test_no_record_can_block_its_partition(
    parts: SimpleNamespace, handler: Callable[[dict[str, Any], object], dict[str, Any]], value: bytes | None
) -> None:
    assert handler(records(value), None) == NO_FAILURES
    assert len(parts.fill_queue.given_up) == 1


def test_an_update_that_is_refused_is_no_dead_letter_and_stops_no_other(parts: SimpleNamespace) -> None:
    good = b'{"symbol":"AAPL","last":1,"ts":1772101800000}'
    price_update.handler(records(b'{"symbol":"NOBODY","last":1,"ts":1}', b'{"symbol":"AAPL","ts":1}', good), None)
    assert parts.hot.get(["AAPL"])["AAPL"].last == 1
    assert parts.fill_queue.given_up == []


def test_a_store_that_fails_makes_the_whole_batch_come_again_and_nothing_is_given_up(parts: SimpleNamespace) -> None:
    parts.fill_queue.failing = 1
    event = records(*[record.value for record in lambda_events.topic_records(sample("accept_fills.kafka.json"))][:1])
    with pytest.raises(RetryableError):
        accept_fills.handler(event, None)
    assert accept_fills.handler(event, None) == NO_FAILURES
    assert len(parts.fill_queue.receive()) == 1
    assert parts.fill_queue.given_up == []


def test_partitions_keep_their_order_and_a_place_names_a_record_for_ever() -> None:
    found = lambda_events.topic_records(sample("price_update.kafka.json"))
    assert [record.place for record in found] == [
        "market-prices-0@15",
        "market-prices-0@16",
        "market-prices-0@17",
        "market-prices-1@3",
    ]
