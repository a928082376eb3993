"""Names of queues, both ways."""

from __future__ import annotations

import pytest

from foliostream import queues
from foliostream.queues import Queue

BASE = "https://sqs.eu-west-1.amazonaws.com/123456789012/prod-"
ARN = "arn:aws:sqs:eu-west-1:123456789012:"


@pytest.mark.parametrize("queue", list(Queue))
def test_a_queue_is_found_by_its_arn(queue: Queue) -> None:
    assert queues.name_of(BASE, f"{ARN}prod-{queue}") == queue.name.lower()


@pytest.mark.parametrize("name", ["", "fills.fifo", "prod-live-live-fills.fifo", "prod-fills-dead.fifo"])
def test_another_queue_is_none_of_ours(name: str) -> None:
    assert queues.name_of(BASE, ARN + name) == ""
