"""Ordered liquidations on SQS FIFO: a group a portfolio."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from foliostream.adapters.dynamodb_batch import chunks
from foliostream.adapters.sqs_queues import ENTRIES_MAX, send_entries
from foliostream.domain.liquidation import Liquidation
from foliostream.errors import PermanentError
from foliostream.ports import Clock

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef

# A stop-out that goes on is ordered by every valuation: so often the queue takes it, although it would swallow the
# same id for five minutes.
REPEAT_MS: Final = 10_000

_encoder = msgspec.json.Encoder(decimal_format="string")


def encode(order: Liquidation) -> str:
    """JSON with every Decimal as a string: lossless."""
    return _encoder.encode(order).decode()


class SqsLiquidations:
    """Implements ``ports.Liquidations``."""

    def __init__(self, client: SQSClient, url: str, clock: Clock) -> None:
        self._client = client
        self._url = url
        self._clock = clock

    def send(self, orders: Sequence[Liquidation]) -> None:
        """One batch after the other."""
        part_of_time = self._clock.now_ms() // REPEAT_MS
        refused = [
            reason
            for part in chunks(orders, ENTRIES_MAX)
            for reason in send_entries(
                self._client, self._url, [_entry(number, order, part_of_time) for number, order in enumerate(part)]
            )
        ]
        if refused:
            raise PermanentError(f"SQS refused {len(refused)} of {len(orders)} liquidations: {refused[0]}")


def _entry(number: int, order: Liquidation, part_of_time: int) -> SendMessageBatchRequestEntryTypeDef:
    return {
        "Id": str(number),
        "MessageBody": encode(order),
        # Characters and length of a portfolio id are those SQS takes.
        "MessageGroupId": order.portfolio_id,
        "MessageDeduplicationId": f"{order.ledger_version}-{order.breach}-{len(order.closes)}-{part_of_time}",
    }
