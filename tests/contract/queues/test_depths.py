"""How much waits in a queue, as the emulator tells it."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from foliostream.adapters.sqs_depths import SqsDepths
from foliostream.errors import FoliostreamError
from foliostream.ports import QueueDepth
from tests.support.ministack import Emulator


def test_waiting_delayed_and_received_messages_are_told_apart(ministack: Emulator) -> None:
    client: Any = ministack.client("sqs")
    urls = {
        name: client.create_queue(QueueName=f"{name}-{uuid.uuid4().hex}", Attributes={"VisibilityTimeout": "60"})[
            "QueueUrl"
        ]
        for name in ("live", "push")
    }
    for _ in range(3):
        client.send_message(QueueUrl=urls["live"], MessageBody="x")
    client.send_message(QueueUrl=urls["live"], MessageBody="x", DelaySeconds=600)
    assert client.receive_message(QueueUrl=urls["live"], MaxNumberOfMessages=1)["Messages"]
    with ThreadPoolExecutor(2) as pool:
        assert SqsDepths(client, urls, pool).depths() == {"live": QueueDepth(3, 1), "push": QueueDepth(0, 0)}


def test_a_queue_that_is_not_there_is_an_error_of_ours(ministack: Emulator) -> None:
    client: Any = ministack.client("sqs")
    url = client.create_queue(QueueName=f"there-{uuid.uuid4().hex}")["QueueUrl"]
    with ThreadPoolExecutor(2) as pool, pytest.raises(FoliostreamError):
        SqsDepths(client, {"gone": url + "-not"}, pool).depths()
