"""The fills queue: on the fake and on SQS."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from foliostream.adapters.sqs_fills import SqsFills
from foliostream.domain.fills import Fill
from foliostream.ports import FillQueue
from tests.contract.queues.conftest import HIGH_THROUGHPUT
from tests.fakes.fills import FakeFillQueue
from tests.support.ministack import Emulator, take_all


@dataclass(frozen=True)
class Subject:
    """A queue, what a consumer takes out of it, and (source, body, reason, detail) of what was given up."""

    queue: FillQueue
    receive: Callable[[], list[str]]
    given_up: Callable[[], list[tuple[str, str, str, str]]]


@dataclass(frozen=True)
class Sqs:
    """The queues of the template on the emulator."""

    client: Any
    urls: dict[str, str]

    def take(self, name: str) -> list[dict[str, Any]]:
        return take_all(self.client, self.urls[name])

    def given_up(self) -> list[tuple[str, str, str, str]]:
        return [
            (source, message["Body"], _text(message, "reason"), _text(message, "detail"))
            for source in ("fills", "order_filled")
            for message in self.take(f"{source}-dead")
        ]


def _text(message: dict[str, Any], name: str) -> str:
    return str(message["MessageAttributes"][name]["StringValue"])


@pytest.fixture
def sqs(ministack: Emulator) -> Sqs:
    client: Any = ministack.client("sqs")

    def create(name: str, *, fifo: bool) -> str:
        full = f"{name}-{uuid.uuid4().hex}" + (".fifo" if fifo else "")
        return str(client.create_queue(QueueName=full, Attributes=HIGH_THROUGHPUT if fifo else {})["QueueUrl"])

    names = {"fills": True, "live_fills": True, "fills-dead": True, "order_filled-dead": False}
    return Sqs(client, {name: create(name, fifo=fifo) for name, fifo in names.items()})


@pytest.fixture(params=["fake", "sqs"])
def subject(request: pytest.FixtureRequest) -> Subject:
    if request.param == "fake":
        fake = FakeFillQueue()
        return Subject(
            fake,
            lambda: [message.body for message in fake.receive()],
            lambda: [(item.source, item.body, item.code, item.reason) for item in fake.given_up],
        )
    sqs: Sqs = request.getfixturevalue("sqs")
    return Subject(
        made(sqs),
        lambda: [message["Body"] for name in ("live_fills", "fills") for message in sqs.take(name)],
        sqs.given_up,
    )


def made(sqs: Sqs) -> SqsFills:
    dead = {"fills": sqs.urls["fills-dead"], "order_filled": sqs.urls["order_filled-dead"]}
    return SqsFills(sqs.client, sqs.urls["fills"], sqs.urls["live_fills"], dead)


def fill(number: int = 1, portfolio_id: str = "paper_a.b-c_D") -> Fill:
    return Fill(
        fill_id=f"kite:2026-02-26:{number}|x",
        portfolio_id=portfolio_id,
        instrument_id="M&M",
        side="SELL",
        quantity=Decimal("0.000001"),
        price=Decimal("123456789012345.123456"),
        timestamp_ms=1_772_101_800_000,
        fee=Decimal("1.50"),
        fee_currency="INR",
        owner="zoë",
        new_owner="zoë",
        tag="späť",
    )


def decode(body: str) -> Fill:
    return msgspec.json.decode(body, type=Fill)


def test_a_fill_arrives_with_every_field_and_digit(subject: Subject) -> None:
    subject.queue.send([fill()])
    (body,) = subject.receive()
    assert decode(body) == fill()
    assert str(decode(body).fee) == "1.50"


def test_five_and_twenty_fills_of_a_portfolio_arrive_in_their_order(subject: Subject) -> None:
    sent = [fill(number) for number in range(25)]
    subject.queue.send(sent)
    assert [decode(body) for body in subject.receive()] == sent


def test_the_same_fill_sent_again_is_a_message_again_only_the_ledger_knows_it(subject: Subject) -> None:
    for _ in range(3):
        subject.queue.send([fill(), fill()])
    assert len(subject.receive()) == 6


def test_what_is_given_up_is_in_the_dead_letters_as_it_came_with_code_and_reason(subject: Subject) -> None:
    subject.queue.give_up("fills", "{not a fill", "m1", "INVALID", "not JSON\0")
    subject.queue.give_up("fills", "{}", "m2", "CONFLICT", "booked", group="paper_a")
    subject.queue.give_up("order_filled", '{"detail":{}}', "m3", "FILL_ID_MISSING", "why")
    given_up = [(source, body, reason) for source, body, reason, _ in subject.given_up()]
    assert sorted(given_up) == [
        ("fills", "{not a fill", "INVALID"),
        ("fills", "{}", "CONFLICT"),
        ("order_filled", '{"detail":{}}', "FILL_ID_MISSING"),
    ]


def test_the_group_is_the_portfolio(sqs: Sqs) -> None:
    made(sqs).send([fill(1), fill(2, "zerodha_x")])
    groups = [message["Attributes"]["MessageGroupId"] for message in sqs.take("fills")]
    assert sorted(groups) == ["paper_a.b-c_D", "zerodha_x"]


def test_fills_of_live_accounts_do_not_stand_behind_those_of_paper(sqs: Sqs) -> None:
    sent = [fill(1), replace(fill(2, "zerodha_x"), live=True), fill(3), replace(fill(4, "zerodha_x"), live=True)]
    made(sqs).send(sent)
    assert [decode(message["Body"]) for message in sqs.take("live_fills")] == [sent[1], sent[3]]
    assert [decode(message["Body"]) for message in sqs.take("fills")] == [sent[0], sent[2]]


def test_a_message_given_up_twice_is_there_once(sqs: Sqs) -> None:
    for _ in range(2):
        made(sqs).give_up("fills", "{}", "m1", "CONFLICT", "booked", group="paper_a")
    assert len(sqs.take("fills-dead")) == 1
