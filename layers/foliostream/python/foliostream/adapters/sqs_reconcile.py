"""Accounts to be reconciled, on SQS FIFO: a group an account, so that nobody looks at one twice at the same time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from foliostream.adapters.dynamodb_batch import chunks
from foliostream.adapters.sqs_queues import ENTRIES_MAX, send_entries
from foliostream.domain.account import BrokerAccount
from foliostream.domain.reconciliation import Turn
from foliostream.errors import PermanentError

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


class SqsReconcile:
    """Implements ``ports.ReconcileQueue``."""

    def __init__(self, client: SQSClient, url: str) -> None:
        self._client = client
        self._url = url

    def send(self, accounts: Sequence[BrokerAccount], slot: int) -> None:
        """The same account and slot twice within five minutes is there once."""
        refused = []
        for part in chunks(accounts, ENTRIES_MAX):
            entries = [
                {
                    "Id": str(number),
                    "MessageBody": msgspec.json.encode(Turn(item.name, item.account, slot)).decode(),
                    "MessageGroupId": f"{item.name}:{item.account}",
                    "MessageDeduplicationId": f"{item.name}:{item.account}:{slot}",
                }
                for number, item in enumerate(part)
            ]
            refused += send_entries(self._client, self._url, entries)  # type: ignore[arg-type]
        if refused:
            raise PermanentError(f"SQS refused {len(refused)} of {len(accounts)} accounts: {refused[0]}")
