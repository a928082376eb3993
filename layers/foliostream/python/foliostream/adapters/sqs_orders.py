"""Symbols whose open orders are to be looked at, on a standard queue."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Final

import msgspec

from foliostream.adapters.aws_errors import our_errors
from foliostream.adapters.dynamodb_batch import chunks

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

# Looked at one after the other, within the time of one function.
SYMBOLS_MAX: Final = 100


class SqsOrders:
    """Implements ``ports.OrderQueue``."""

    def __init__(self, client: SQSClient, url: str) -> None:
        self._client = client
        self._url = url

    def send(self, symbols: Collection[str]) -> None:
        """A hundred a message: few symbols have open orders at any time."""
        for part in chunks(sorted(symbols), SYMBOLS_MAX):
            with our_errors(f"SQS, SendMessage to {self._url}"):
                self._client.send_message(
                    QueueUrl=self._url, MessageBody=msgspec.json.encode({"symbols": part}).decode()
                )
