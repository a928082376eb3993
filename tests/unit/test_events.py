"""The sample events in events/ go through the parsers that the functions use."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

from foliostream import lambda_events
from foliostream.application import authorize, book_swaps, fill_input, price_input, protocol, topic_input
from foliostream.application.close_day import Part
from foliostream.application.reading import asked
from foliostream.application.receiving import wait_until_due
from foliostream.domain import analysis_task, changes, portfolio, swaps
from foliostream.domain.analysis_task import METRIC_NAMES
from foliostream.domain.fills import Fill
from foliostream.domain.history import parse_day
from foliostream.domain.liquidation import Liquidation
from foliostream.domain.reconciliation import Turn
from foliostream.domain.times import epoch_ms
from foliostream.ports import Claims
from foliostream.queues import all_dead_letter_urls
from foliostream.settings import Settings
from tests.fakes.clock import FakeClock
from tests.fakes.fills import FakeFillQueue
from tests.infra.cloudformation import FUNCTION, function_setting, referenced, resources, template

EVENTS = Path(__file__).parents[2] / "events"
T = TypeVar("T")

FUNCTIONS = {str(body["CodeUri"]).removeprefix("functions/"): name for name, body in resources(FUNCTION).items()}
SAMPLES = [path.name for path in sorted(EVENTS.glob("*.*.json")) if path.name != "env.local.json"]


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


def test_the_streamed_sample_gives_its_portfolios_and_leaves_other_items_out() -> None:
    first, poison = lambda_events.changes(event("project_ledger.stream.json"))
    assert (first.sequence_number, first.key) == ("4421584500000000017450439091", "live:growth")
    assert first.book is not None
    book = portfolio.decode(first.book)
    assert (book.key, book.version, str(book.positions["AAPL"].quantity)) == ("live:growth", 2, "500")
    assert (poison.key, poison.book) == ("demo:poison", b"{")


@pytest.mark.parametrize("name", [path.name for path in sorted(EVENTS.glob("websocket.*.json"))])
def test_what_a_sample_client_says_is_the_action_of_its_route(name: str) -> None:
    sample = event(name)
    route = sample["requestContext"]["routeKey"]
    if route in protocol.ACTIONS:
        action = protocol.action(protocol.envelope(sample["body"]))
        assert action.__struct_config__.tag == route


def test_the_streamed_sample_has_a_fill_and_leaves_other_transactions_out() -> None:
    (booked,) = lambda_events.booked_fills(event("project_ledger.stream.json"))
    assert booked.record is not None
    assert portfolio.decode_transaction(booked.record).entry.transaction_id == "fill:f-1"


def test_the_fill_of_a_simulated_order_is_one_too() -> None:
    sample = event("project_ledger.stream.json")
    for record in sample["Records"]:
        key = record["dynamodb"]["Keys"]["sk"]
        key["S"] = key["S"].replace("TRANSACTION#fill:", "TRANSACTION#order:")
    assert len(lambda_events.booked_fills(sample)) == 1


def test_the_streamed_sample_has_the_record_of_a_change_of_status() -> None:
    (told,) = lambda_events.amended(event("project_ledger.stream.json"))
    assert told.record is not None
    change = changes.decode(told.record)
    assert (change.portfolio_id, change.ledger_version, change.after.status) == ("growth", 3, "SUSPENDED")


def test_a_deleted_portfolio_and_one_without_a_book_are_told_apart() -> None:
    record = event("project_ledger.stream.json")["Records"][0]
    del record["dynamodb"]["NewImage"]["book"]
    assert lambda_events.changes({"Records": [record]})[0].book is None
    assert lambda_events.changes({"Records": [record | {"eventName": "REMOVE"}]}) == []


def test_the_queued_sample_of_a_rebuild_names_its_run_and_bucket() -> None:
    (message,) = lambda_events.received(event("rebuild_hot.queue.json"))
    assert json.loads(message.body) == {"run_id": "5f1c", "bucket": 3}


@pytest.mark.parametrize(
    ("name", "reason", "attempt"),
    [
        ("recalculate.dirty", "price", 0),
        ("recalculate.ledger", "ledger", 0),
        ("recalculate.again", "bulk", 2),
        ("recalculate.bulk", "bulk", 0),
        ("recalculate.refresh", "refresh", 0),
        ("recalculate.delayed", "price", 0),
        ("push.queue", "push", 0),
    ],
)
def test_queued_samples_are_dirty_messages(name: str, reason: str, attempt: int) -> None:
    batch = wait_until_due(lambda_events.received(event(f"{name}.json")), FakeClock(1_772_101_800_000), 50)
    (due,) = batch.due
    assert (due.message.reason, due.message.attempt) == (reason, attempt)
    assert not batch.failed


def test_the_fill_samples_are_a_fill_that_can_be_read_and_one_without_its_id() -> None:
    messages = lambda_events.received(event("accept_fills.queue.json"))
    bodies = [message.body for message in messages] + [(EVENTS / "accept_fills.eventbridge.json").read_text()]
    parsed = fill_input.parse([fill_input.from_event(body) for body in bodies])
    assert [item.fill.portfolio_id for item in parsed.fills] == ["paper_momentum", "paper_momentum"]
    assert [refused.code for refused in parsed.refused] == ["FILL_ID_MISSING"]


def test_the_queued_fills_are_those_that_accept_fills_sends() -> None:
    accepted = fill_input.parse([fill_input.from_event((EVENTS / "accept_fills.eventbridge.json").read_text())])
    first, second = (
        msgspec.json.decode(message.body, type=Fill)
        for message in lambda_events.received(event("record_fill.queue.json"))
    )
    assert first == msgspec.structs.replace(accepted.fills[0].fill, new_owner="alice")
    assert second.portfolio_id == first.portfolio_id


def test_the_queued_liquidation_is_an_order() -> None:
    (message,) = lambda_events.received(event("liquidate.queue.json"))
    order = msgspec.json.decode(message.body, type=Liquidation)
    assert (order.ledger_version, order.suffices) == (7, True)
    (close,) = order.closes
    assert (close.symbol, close.quantity, str(close.price)) == ("EURUSD", -1, "1.08123")


def test_the_samples_of_the_daily_close_name_a_day_a_time_and_a_part() -> None:
    assert epoch_ms(event("close_day.schedule.json")["scheduled_time"]) == 1_772_143_200_000
    assert parse_day(event("close_day.day.json")["day"]) == "2026-02-26"
    assert part("close_day.part", Part) == Part(day="2026-02-26", bucket=3)
    assert part("close_day.instruments", Part) == Part(day="2026-02-26", symbols=3)
    assert part("close_day.alone", Part) == Part(day="2026-02-26", portfolio_ids=["12345"])


def test_the_samples_of_the_nightly_swap_name_a_night_a_time_and_a_part() -> None:
    night = swaps.latest(epoch_ms(event("book_swaps.schedule.json")["scheduled_time"]))
    assert event("book_swaps.night.json")["night"] == night.day.isoformat() == "2026-02-26"
    assert part("book_swaps.part", book_swaps.Part) == book_swaps.Part(night="2026-02-26", bucket=3)
    assert part("book_swaps.alone", book_swaps.Part) == book_swaps.Part(night="2026-02-26", portfolio_ids=["fx-1"])


def part(name: str, kind: type[T]) -> T:
    """Of the one message of a sample."""
    (message,) = lambda_events.received(event(f"{name}.json"))
    return msgspec.json.decode(message.body, type=kind)


def test_the_topic_of_prices_gives_its_updates_in_order_and_names_the_record_that_is_none() -> None:
    dead_letters = FakeFillQueue()
    found = topic_input.prices(lambda_events.topic_records(event("price_update.kafka.json")), dead_letters)
    assert [(update.symbol, str(update.last)) for update in found.parsed.updates] == [
        ("AAPL", "150.25"),
        ("MSFT", "410.10"),
        ("AAPL", "150.35"),
        ("M&M", "3000.05"),
    ]
    assert [refused.symbol for refused in found.unreadable] == ["market-prices-0@16"]
    assert [letter.source for letter in dead_letters.given_up] == ["price"]


def test_the_topic_of_fills_has_two_a_record_without_an_id_and_one_that_is_no_text() -> None:
    records = lambda_events.topic_records(event("accept_fills.kafka.json"))
    assert [record.place for record in records] == [f"broker-fills-0@{offset}" for offset in range(41, 45)]
    parsed = fill_input.parse([msgspec.Raw(record.value) for record in records])
    assert [item.fill.side for item in parsed.fills] == ["BUY", "SELL"]
    assert [(refused.number, refused.code) for refused in parsed.refused] == [(1, "FILL_ID_MISSING"), (3, "INVALID")]


def test_the_queued_sample_of_a_reconciliation_names_account_and_slot() -> None:
    (message,) = lambda_events.received(event("reconcile.queue.json"))
    assert msgspec.json.decode(message.body, type=Turn) == Turn("zerodha", "AB1001", 5_907_006)


def test_the_queued_sample_of_orders_names_symbols() -> None:
    (message,) = lambda_events.received(event("fill_orders.queue.json"))
    assert json.loads(message.body) == {"symbols": ["AAPL", "M&M"]}
    assert "Records" not in event("fill_orders.schedule.json")


def test_the_sample_of_an_analysis_is_a_task() -> None:
    task = asked(event("analyze.task.json"), analysis_task.Task)
    assert task.run.metrics == METRIC_NAMES
    assert task.run.ticker in task.values


def test_there_is_a_sample_of_each_thing_a_rebuild_a_feed_and_the_dead_letters_are_asked_for() -> None:
    assert {event(f"rebuild_hot.{case}.json")["action"] for case in ("start", "progress", "resume")} == {
        "start",
        "progress",
        "resume",
    }
    assert event("market_feed.start.json")["start"] is True
    assert json.loads(lambda_events.received(event("market_feed.tick.json"))[0].body)["slot"] > 0
    asked = {event(f"dead_letters.{case}.json")["action"] for case in ("list", "show", "replay", "replay_all")}
    assert asked == {"list", "show", "replay"}


@pytest.mark.parametrize("name", [name for name in SAMPLES if "Records" in event(name)])
def test_a_message_of_a_sample_is_as_its_queue_would_have_summed_it_up(name: str) -> None:
    for record in event(name)["Records"]:
        if "md5OfBody" in record:
            digest = hashlib.md5(record["body"].encode(), usedforsecurity=False).hexdigest()
            assert record["md5OfBody"] == digest


def kind(sample: dict[str, Any]) -> str:
    """What brought a sample, by the parser that takes it."""
    if "methodArn" in sample:
        claims = Claims("alice", frozenset({"admin"}), 1_772_101_800)
        keys = {"people": "key-of-people", "systems": "key-of-systems"}
        assert authorize.policy(claims, sample["methodArn"], keys)["principalId"] == "alice"
        return "Authorizer"
    if "routeKey" in sample.get("requestContext", {}):
        return "WebSocket"
    if "httpMethod" in sample:
        return "Api"
    if "records" in sample:
        assert lambda_events.topic_records(sample)
        return "Kafka"
    if "Records" not in sample:
        return "Invocation"
    if "dynamodb" in sample["Records"][0]:
        assert lambda_events.changes(sample)
        return "DynamoDB"
    assert lambda_events.received(sample)
    return "SQS"


@pytest.mark.parametrize("name", SAMPLES)
def test_every_sample_is_named_after_its_function_and_can_be_taken_apart(name: str) -> None:
    assert name.partition(".")[0] in FUNCTIONS
    assert kind(event(name))


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_a_function_has_a_sample_of_each_thing_that_calls_it(function: str) -> None:
    shown = {kind(event(name)) for name in SAMPLES if name.partition(".")[0] == function}
    assert shown
    assert callers(FUNCTIONS[function]) <= shown


def callers(logical_id: str) -> set[str]:
    """What the template lets call a function, as kinds of samples."""
    found = {body["Type"] for body in (function_setting(logical_id, "Events") or {}).values()}
    for mapping in resources("AWS::Lambda::EventSourceMapping").values():
        if referenced(mapping["FunctionName"]) == logical_id:
            found.add("DynamoDB" if "Stream" in str(mapping["EventSourceArn"]) else "Kafka")
    for schedule in resources("AWS::Scheduler::Schedule").values():
        if referenced(schedule["Target"]["Arn"]) == logical_id:
            found.add("Invocation")
    return found


def test_every_route_of_the_websocket_has_a_sample() -> None:
    (api,) = resources("AWS::Serverless::WebSocketApi").values()
    shown = {event(name)["requestContext"]["routeKey"] for name in SAMPLES if name.startswith("websocket.")}
    assert set(api["Routes"]) <= shown


def test_the_environment_for_samples_is_the_whole_environment_of_the_functions() -> None:
    given = event("env.local.json")["Parameters"]
    settings = Settings.read({name: value for name, value in given.items() if name.startswith("PORTFOLIO_")})
    assert (settings.stack, settings.hot_store) == ("foliostream", "dynamodb")
    # The template has no AWS_ENDPOINT_URL, since nobody wants one on AWS.
    variables = template()["Globals"]["Function"]["Environment"]["Variables"]
    assert given.keys() - {"AWS_ENDPOINT_URL"} == {name for name in variables if not name.startswith("POWERTOOLS_")}


@pytest.mark.parametrize("name", ["list", "show", "replay", "replay_all"])
def test_the_samples_of_dead_letters_ask_for_a_queue_there_is(name: str) -> None:
    asked = event(f"dead_letters.{name}.json")
    assert asked["action"] == name.partition("_")[0]
    assert asked.get("queue", "fills") in all_dead_letter_urls("")
