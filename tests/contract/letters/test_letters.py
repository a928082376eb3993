"""Dead letters on the fake and on SQS: looked at without being lost, sent back under another id, deleted."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from foliostream.adapters.lambda_functions import LambdaFunctions
from foliostream.adapters.sqs_letters import SqsLetters
from foliostream.errors import PermanentError
from foliostream.ports import Letters
from tests.contract.queues.conftest import HIGH_THROUGHPUT
from tests.fakes.clock import FakeClock
from tests.fakes.letters import FakeLetters
from tests.support.ministack import Emulator, take_all

HOLD_SECONDS = 60


@dataclass(frozen=True)
class Subject:
    """``put`` gives up a body, one of fills in a group; ``received`` is what the consumer takes out of its queue."""

    letters: Letters
    put: Callable[[str, str, str], object]
    received: Callable[[str], list[str]]


@pytest.fixture(params=["fake", "sqs"])
def subject(request: pytest.FixtureRequest) -> Subject:
    if request.param == "sqs":
        return on_sqs(request.getfixturevalue("ministack"))
    fake = FakeLetters(FakeClock(), ("fills", "price", "sweep"), ("fills", "price"))

    def received(name: str) -> list[str]:
        found = [message.body for message in fake.sent_back if message.name == name]
        fake.sent_back.clear()
        return found

    return Subject(fake, lambda name, body, group: fake.put(name, body, group=group, reason="WHY"), received)


def on_sqs(ministack: Emulator) -> Subject:
    client: Any = ministack.client("sqs")

    def create(name: str, *, fifo: bool) -> str:
        full = f"{name}-{uuid.uuid4().hex}" + (".fifo" if fifo else "")
        return str(client.create_queue(QueueName=full, Attributes=HIGH_THROUGHPUT if fifo else {})["QueueUrl"])

    dead = {name: create(f"{name}-dead", fifo=name == "fills") for name in ("fills", "price", "sweep")}
    sources = {name: create(name, fifo=name == "fills") for name in ("fills", "price")}

    def put(name: str, body: str, group: str) -> None:
        ids = {"MessageGroupId": group, "MessageDeduplicationId": uuid.uuid4().hex} if group else {}
        attributes = {"reason": {"DataType": "String", "StringValue": "WHY"}}
        client.send_message(QueueUrl=dead[name], MessageBody=body, MessageAttributes=attributes, **ids)

    def received(name: str) -> list[str]:
        return [message["Body"] for message in take_all(client, sources[name])]

    return Subject(SqsLetters(client, dead, sources), put, received)


def test_a_letter_says_who_it_is_why_it_is_there_and_what_it_was(subject: Subject) -> None:
    subject.put("fills", '{"a":1}', "paper_a")
    (letter,) = subject.letters.hold("fills", HOLD_SECONDS)
    assert (letter.body, letter.attributes, letter.group, letter.receives) == (
        '{"a":1}',
        {"reason": "WHY"},
        "paper_a",
        1,
    )
    assert letter.letter_id
    assert letter.sent_at_ms > 1_700_000_000_000
    assert letter.first_received_at_ms >= letter.sent_at_ms


def test_what_is_held_nobody_else_gets_until_it_is_released(subject: Subject) -> None:
    subject.put("price", "{}", "")
    held = subject.letters.hold("price", HOLD_SECONDS)
    assert subject.letters.hold("price", HOLD_SECONDS) == []
    subject.letters.release("price", held)
    (again,) = subject.letters.hold("price", HOLD_SECONDS)
    assert again.letter_id == held[0].letter_id
    assert again.receives == 2


def test_more_than_ten_come_ten_at_a_time_and_are_released_together(subject: Subject) -> None:
    for number in range(25):
        subject.put("price", str(number), "")
    held = [letter for _ in range(3) for letter in subject.letters.hold("price", HOLD_SECONDS)]
    assert sorted(int(letter.body) for letter in held) == list(range(25))
    subject.letters.release("price", held)
    assert len(subject.letters.hold("price", HOLD_SECONDS)) == 10


def test_sent_back_twice_it_is_there_twice_since_no_id_is_used_again(subject: Subject) -> None:
    subject.put("fills", "{}", "paper_a")
    (letter,) = subject.letters.hold("fills", HOLD_SECONDS)
    for nonce in ("n1", "n2"):
        subject.letters.send_back("fills", letter, nonce)
    assert subject.received("fills") == ["{}", "{}"]
    subject.letters.delete("fills", letter)
    subject.letters.release("fills", [])
    assert subject.letters.hold("fills", HOLD_SECONDS) == []


def test_what_came_from_no_queue_cannot_be_sent_back(subject: Subject) -> None:
    subject.put("sweep", "{}", "")
    (letter,) = subject.letters.hold("sweep", HOLD_SECONDS)
    with pytest.raises(PermanentError, match="no queue"):
        subject.letters.send_back("sweep", letter, "n")


def test_a_function_that_is_not_there_is_nothing_to_try_again(ministack: Emulator) -> None:
    client: Any = ministack.client("lambda")
    with pytest.raises(PermanentError, match="nobody"):
        LambdaFunctions(lambda: client).start("nobody", b"{}")
