"""The liquidation queue: on the fake and on SQS."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from foliostream.adapters.sqs_liquidations import REPEAT_MS, SqsLiquidations
from foliostream.domain.liquidation import Close, Liquidation
from foliostream.ports import Liquidations
from tests.contract.queues.conftest import HIGH_THROUGHPUT
from tests.fakes.clock import FakeClock
from tests.fakes.liquidations import FakeLiquidations
from tests.support.ministack import Emulator, take_all


@dataclass(frozen=True)
class Subject:
    """A queue, and what a consumer takes out of it."""

    queue: Liquidations
    receive: Callable[[], list[str]]
    clock: FakeClock = field(default_factory=FakeClock)


@pytest.fixture
def sqs(ministack: Emulator) -> Subject:
    client: Any = ministack.client("sqs")
    url = str(client.create_queue(QueueName=f"{uuid.uuid4().hex}.fifo", Attributes=HIGH_THROUGHPUT)["QueueUrl"])
    clock = FakeClock()
    return Subject(
        SqsLiquidations(client, url, clock), lambda: [message["Body"] for message in take_all(client, url)], clock
    )


@pytest.fixture(params=["fake", "sqs"])
def subject(request: pytest.FixtureRequest) -> Subject:
    if request.param == "fake":
        fake = FakeLiquidations()
        return Subject(fake, lambda: [message.body for message in fake.receive()])
    found: Subject = request.getfixturevalue("sqs")
    return found


def order(portfolio_id: str = "a.b-c_D", version: int = 7, *, closes: int = 2) -> Liquidation:
    close = Close("STOP_OUT:demo:a:1:7:0f", "M&M", Decimal("-0.000001"), Decimal("123.4500"), Decimal("1.10"))
    plan_id = f"demo:{portfolio_id}:1:{version}"
    return Liquidation(portfolio_id, "demo", plan_id, 1, version, False, 1_772_101_800_000, True, (close,) * closes)


def decode(body: str) -> Liquidation:
    return msgspec.json.decode(body, type=Liquidation)


def test_an_order_arrives_with_every_field_and_digit(subject: Subject) -> None:
    subject.queue.send([order()])
    (body,) = subject.receive()
    assert decode(body) == order()
    assert str(decode(body).closes[0].price) == "123.4500"


def test_many_orders_all_arrive(subject: Subject) -> None:
    sent = [order(f"p{number}") for number in range(25)]
    subject.queue.send(sent)
    assert sorted(decode(body).portfolio_id for body in subject.receive()) == sorted(item.portfolio_id for item in sent)


def test_the_plan_of_one_book_is_queued_again_after_a_while_and_that_of_the_next_book_at_once(sqs: Subject) -> None:
    for _ in range(3):
        sqs.queue.send([order()])
    assert len(sqs.receive()) == 1
    sqs.queue.send([order(version=8), order(closes=0)])
    assert len(sqs.receive()) == 2
    sqs.clock.advance(REPEAT_MS)
    sqs.queue.send([order()])
    assert len(sqs.receive()) == 1
