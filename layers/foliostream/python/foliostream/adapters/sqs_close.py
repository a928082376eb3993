"""Parts of the daily close, and of the nightly swap, on a standard queue each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from foliostream.adapters.aws_errors import our_errors

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


class SqsCloseQueue:
    """Implements ``ports.CloseQueue``. One call a message: a run starts with 80, then each page sends the next."""

    def __init__(self, client: SQSClient, url: str) -> None:
        self._client = client
        self._url = url

    def send(self, parts: Sequence[Mapping[str, object]]) -> None:
        """A part that is done twice is harmless, so a failed call may be repeated."""
        for part in parts:
            with our_errors(f"SQS, SendMessage to {self._url}"):
                self._client.send_message(QueueUrl=self._url, MessageBody=msgspec.json.encode(part).decode())
