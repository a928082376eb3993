"""Messages of a rebuild to itself, on a standard queue: ``{"run_id": "...", "bucket": 3}``."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import msgspec

from foliostream.adapters.aws_errors import our_errors

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


class SqsRebuildQueue:
    """Implements ``ports.RebuildQueue``. One call a message: there are a handful, now and then."""

    def __init__(self, client: SQSClient, url: str) -> None:
        self._client = client
        self._url = url

    def send(self, run_id: str, buckets: Collection[int], *, delay_seconds: int = 0) -> None:
        """A message that arrives twice is harmless, so a failed call may be repeated."""
        for bucket in buckets:
            body = msgspec.json.encode({"run_id": run_id, "bucket": bucket}).decode()
            with our_errors(f"SQS, SendMessage to {self._url}"):
                self._client.send_message(QueueUrl=self._url, MessageBody=body, DelaySeconds=delay_seconds)
