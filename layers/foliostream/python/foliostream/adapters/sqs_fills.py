"""Accepted fills on SQS FIFO: a group a portfolio, every accepted fill a message of its own; live accounts have a queue
of theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import msgspec

from foliostream.adapters.aws_errors import our_errors
from foliostream.adapters.dynamodb_batch import chunks
from foliostream.adapters.sqs_queues import ENTRIES_MAX, send_entries, text_attribute
from foliostream.domain.fills import Fill
from foliostream.errors import PermanentError

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef

_FIFO: Final = ".fifo"
_encoder = msgspec.json.Encoder(decimal_format="string")


def encode(fill: Fill) -> str:
    """JSON with every Decimal as a string: lossless."""
    return _encoder.encode(fill).decode()


class SqsFills:
    """Implements ``ports.FillQueue``. ``url``: of paper's and demo's fills, ``live_url``: of the others;
    ``dead_letter_urls``: by the name of the queue whose messages are given up."""

    def __init__(self, client: SQSClient, url: str, live_url: str, dead_letter_urls: Mapping[str, str]) -> None:
        self._client = client
        self._url = url
        self._live_url = live_url
        self._dead_letter_urls = dict(dead_letter_urls)

    def send(self, fills: Sequence[Fill]) -> None:
        """Live ones first; one batch after the other, so that a portfolio's fills keep their order."""
        refused = [
            reason
            for url, live in ((self._live_url, True), (self._url, False))
            for part in chunks([fill for fill in fills if fill.live == live], ENTRIES_MAX)
            for reason in send_entries(self._client, url, [_entry(number, fill) for number, fill in enumerate(part)])
        ]
        if refused:
            raise PermanentError(f"SQS refused {len(refused)} of {len(fills)} fills: {refused[0]}")

    def give_up(
        self, source: str, body: str, message_id: str, code: str, reason: str, *, group: str = "unread"
    ) -> None:
        """Given up twice within five minutes, a message of a FIFO queue is in its dead-letter queue once."""
        url = self._dead_letter_urls[source]
        ids: dict[str, Any] = {}
        if url.endswith(_FIFO):
            ids = {"MessageGroupId": group, "MessageDeduplicationId": message_id}
        with our_errors(f"SQS, SendMessage to {url}"):
            self._client.send_message(
                QueueUrl=url,
                MessageBody=body,
                MessageAttributes={"reason": text_attribute(code), "detail": text_attribute(reason)},
                **ids,
            )


def _entry(number: int, fill: Fill) -> SendMessageBatchRequestEntryTypeDef:
    return {
        "Id": str(number),
        "MessageBody": encode(fill),
        # Characters and length of a portfolio id are those SQS takes.
        "MessageGroupId": fill.portfolio_id,
        # SQS must not swallow anything: it forgets after five minutes, and it would not see another body under the id.
        "MessageDeduplicationId": uuid4().hex,
    }
