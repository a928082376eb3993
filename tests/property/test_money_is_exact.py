"""Amounts that no float can hold, through the deployed handlers: out as the very literals that came in (G12).

A float anywhere on the way would change their last digits.
"""

from __future__ import annotations

import json
import logging
from base64 import b64encode
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foliostream.domain import portfolio as books
from foliostream.domain.fills import Fill
from tests.property.strategies import moderate
from tests.support.handlers import NOW_MS, Fakes, handler, sample
from tests.unit.api.client import CONTEXT

CLIENT = "Zm9saW9zdHJlYW0="
ENCODER = msgspec.json.Encoder(decimal_format="number")


def no_float_holds(amount: Decimal) -> bool:
    return Decimal(repr(float(amount))) != amount and Decimal(float(amount)) != amount


amounts = st.decimals(10**11, 10**13, places=6, allow_nan=False).filter(no_float_holds)
# As a number or as a text: both are taken.
written = st.sampled_from(("{}", '"{}"'))


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def rest(parts: Fakes, method: str, path: str, body: str | None = None) -> str:
    """The text of an answer that is not a refusal."""
    event = sample("rest_api.state") | {"httpMethod": method, "path": path, "body": body}
    with handler("rest_api", parts) as handle:
        answer = handle(event, CONTEXT)
    assert answer["statusCode"] < 300, answer
    return str(answer["body"])


def literals(text: str | bytes) -> set[str]:
    """Every number of a document as it is written."""
    found: set[str] = set()

    def note(literal: str) -> str:
        found.add(literal)
        return literal

    json.loads(text, parse_float=note, parse_int=note)
    return found


def stream_of(parts: Fakes, portfolio_id: str) -> dict[str, Any]:
    """What DynamoDB says about a portfolio that has changed."""
    event = sample("project_ledger.stream")
    record = event["Records"][0]
    book = parts.ledger.load([portfolio_id])[portfolio_id]
    record["dynamodb"]["Keys"]["pk"]["S"] = f"PORTFOLIO#{portfolio_id}"
    record["dynamodb"]["NewImage"]["book"]["S"] = books.encode(book).decode()
    return event | {"Records": [record]}


@settings(moderate, max_examples=40)
@given(two=st.tuples(amounts, amounts).map(sorted), form=written)
def test_an_amount_goes_through_books_snapshots_answers_sockets_and_events_as_it_was_written(
    two: list[Decimal], form: str
) -> None:
    quantity, cash = two
    parts = Fakes()
    new = '{"portfolio_id": "p", "portfolio_name": "P", "account_type": "live", "account_kind": "cash", '
    new += f'"base_currency": "USD", "cost_basis": "average", "initial_cash": {form.format(cash)}}}'
    rest(parts, "POST", "/api/v1/portfolios", new)
    assert parts.ledger.load(["p"])["p"].cash == {"USD": cash}
    rest(parts, "POST", "/api/v1/prices", f'{{"updates": [{{"symbol": "AAPL", "last": 1, "ts": {NOW_MS}}}]}}')
    buy = '{"instrument_id": "AAPL", "price": 1, "transaction_type": "BUY", '
    buy += f'"quantity_change": {form.format(quantity)}}}'
    update = f'{{"portfolio_id": "p", "timestamp": {NOW_MS}, "updates": [{buy}]}}'
    rest(parts, "POST", "/api/v1/portfolio/p/update", update)
    book, left = parts.ledger.load(["p"])["p"], cash - quantity
    assert (book.positions["AAPL"].quantity, book.cash) == (quantity, {"USD": left})
    with handler("project_ledger", parts) as handle:
        handle(stream_of(parts, "p"), CONTEXT)
    parts.watching.connect(CLIENT, "alice", (), NOW_MS + 60_000)
    parts.watching.receive(CLIENT, '{"action": "subscribe", "portfolio_ids": ["p"]}')
    parts.sender.flush(CLIENT, NOW_MS)
    ((_, event),) = parts.bus.published
    said = parts.gateway.to(CLIENT)[-1]
    for text in (rest(parts, "GET", "/api/v1/portfolio/p/positions"), said, ENCODER.encode(event)):
        assert {quantity, left} <= {Decimal(literal) for literal in literals(text)}, text


@settings(moderate, max_examples=40)
@given(price=amounts, form=written, way=st.sampled_from(("rest", "queue", "topic")))
def test_a_price_is_stored_as_it_was_written_whichever_way_it_comes(price: Decimal, form: str, way: str) -> None:
    parts = Fakes()
    body = f'{{"updates": [{{"symbol": "AAPL", "last": {form.format(price)}, "ts": {NOW_MS}}}]}}'
    if way == "rest":
        rest(parts, "POST", "/api/v1/prices", body)
    elif way == "queue":
        give(parts, "price_update", queued(sample("price_update.queue"), f'{{"detail": {body}}}'))
    else:
        give(parts, "price_update", on_topic(sample("price_update.kafka"), body))
    assert parts.hot.get(["AAPL"])["AAPL"].last == price


@settings(moderate, max_examples=40)
@given(price=amounts, quantity=amounts, form=written, way=st.sampled_from(("rest", "queue", "topic")))
def test_a_fill_is_booked_as_it_was_written_whichever_way_it_comes(
    price: Decimal, quantity: Decimal, form: str, way: str
) -> None:
    parts = Fakes()
    fill = f'{{"fill_id": "f", "portfolio_id": "paper_p", "instrument_id": "AAPL", "side": "BUY", "owner": "alice", \
        "quantity": {form.format(quantity)}, "fill_price": {form.format(price)}, "timestamp": {NOW_MS}}}'
    if way == "rest":
        event = sample("rest_api.fills") | {"body": fill}
        with handler("rest_api", parts) as handle:
            assert json.loads(handle(event, CONTEXT)["body"])["accepted"] == 1
    elif way == "queue":
        give(parts, "accept_fills", queued(sample("accept_fills.queue"), f'{{"detail": {fill}}}'))
    else:
        give(parts, "accept_fills", on_topic(sample("accept_fills.kafka"), fill))
    (message,) = parts.fill_queue.receive()
    accepted = msgspec.json.decode(message.body, type=Fill)
    assert (accepted.quantity, accepted.price) == (quantity, price)
    give(parts, "record_fill", queued(sample("record_fill.queue"), message.body))
    position = parts.ledger.load(["paper_p"])["paper_p"].positions["AAPL"]
    assert position.quantity == quantity


def give(parts: Fakes, function: str, event: dict[str, Any]) -> None:
    with handler(function, parts) as handle:
        assert handle(event, CONTEXT) == {"batchItemFailures": []}


def queued(event: dict[str, Any], body: str) -> dict[str, Any]:
    """One message, as the queue hands it over."""
    return event | {"Records": [event["Records"][0] | {"body": body}]}


def on_topic(event: dict[str, Any], value: str) -> dict[str, Any]:
    """One record, as the topic hands it over."""
    partition, (first, *_) = next(iter(event["records"].items()))
    return event | {"records": {partition: [first | {"value": b64encode(value.encode()).decode()}]}}
