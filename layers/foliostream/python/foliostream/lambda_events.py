"""What Lambda hands over, and what it wants back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from foliostream.application.receiving import Received


def received(event: Mapping[str, Any]) -> list[Received]:
    """The messages of an SQS event, in order."""
    return [
        Received(record["messageId"], record["body"], int(record["attributes"]["ApproximateReceiveCount"]))
        for record in event["Records"]
    ]


def failures(message_ids: Iterable[str]) -> dict[str, list[dict[str, str]]]:
    """The answer that makes SQS deliver only these messages again."""
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in message_ids]}
