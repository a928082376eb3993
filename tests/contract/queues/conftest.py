"""The queues the suite runs on: the fake, and SQS with the attributes of the template."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from foliostream.adapters.sqs_queues import SqsQueues
from foliostream.domain.coalescing import DirtyMessage
from foliostream.ports import Queues
from tests.fakes.queues import FIFO, QUEUES, FakeQueues
from tests.support.ministack import Emulator, take_all

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

HIGH_THROUGHPUT = {
    "FifoQueue": "true",
    "DeduplicationScope": "messageGroup",
    "FifoThroughputLimit": "perMessageGroupId",
}


@dataclass(frozen=True)
class Subject:
    """Queues, and what a consumer takes out of them (which is then gone)."""

    queues: Queues
    receive: Callable[[str], list[DirtyMessage]]
    given_up: Callable[[str], list[tuple[DirtyMessage, str]]]


@dataclass(frozen=True)
class Cloud:
    """Queues of an emulator by name."""

    client: SQSClient
    urls: dict[str, str]
    dead_letter_urls: dict[str, str]

    def take(self, url: str) -> list[dict[str, Any]]:
        return take_all(self.client, url)


@pytest.fixture
def cloud(ministack: Emulator) -> Cloud:
    client: Any = ministack.client("sqs")

    def create(name: str, *, fifo: bool) -> str:
        full = f"{name}-{uuid.uuid4().hex}" + (".fifo" if fifo else "")
        url: str = client.create_queue(QueueName=full, Attributes=HIGH_THROUGHPUT if fifo else {})["QueueUrl"]
        return url

    return Cloud(
        client,
        {queue: create(queue, fifo=queue in FIFO) for queue in QUEUES},
        {queue: create(f"{queue}-dead", fifo=queue in FIFO) for queue in QUEUES},
    )


@pytest.fixture(params=["fake", "sqs"])
def subject(request: pytest.FixtureRequest) -> Subject:
    if request.param == "fake":
        fake = FakeQueues()
        return Subject(
            fake,
            lambda queue: [bundle.message for bundle in fake.receive(queue)],
            lambda queue: [(gone.message, gone.reason) for gone in fake.given_up if gone.queue == queue],
        )
    cloud: Cloud = request.getfixturevalue("cloud")
    return Subject(
        SqsQueues(cloud.client, cloud.urls, cloud.dead_letter_urls),
        lambda queue: [decode(message) for message in cloud.take(cloud.urls[queue])],
        lambda queue: [
            (decode(message), message["MessageAttributes"]["reason"]["StringValue"])
            for message in cloud.take(cloud.dead_letter_urls[queue])
        ],
    )


def decode(message: dict[str, Any]) -> DirtyMessage:
    return msgspec.json.decode(message["Body"], type=DirtyMessage)
