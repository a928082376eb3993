"""What Lambda hands over, and what it wants back."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterable, Mapping
from typing import Any

from foliostream.application import streaming
from foliostream.application.receiving import Amended, Booked, Change, Received, TopicRecord

# Traces told in one line of a log: a message of each is enough to go on from.
CAUSES_MAX = 20


def received(event: Mapping[str, Any]) -> list[Received]:
    """The messages of an SQS event, in order."""
    return [
        Received(record["messageId"], record["body"], int(record["attributes"]["ApproximateReceiveCount"]))
        for record in event["Records"]
    ]


def queue_ages_ms(event: Mapping[str, Any], now_ms: int) -> list[int]:
    """How long each message of an SQS event waited, its queue's delay included."""
    sent = [int(record["attributes"].get("SentTimestamp", now_ms)) for record in event["Records"]]
    return [max(now_ms - sent_ms, 0) for sent_ms in sent]


def causes(event: Mapping[str, Any]) -> list[str]:
    """The traces (``1-5759e988-bd862e3fe1be46a994272793``) of the invocations that sent the messages of an SQS event:
    each once, in order, at most ``CAUSES_MAX``. Of a chain of queues each link is told by the log of its consumer."""
    headers = (record["attributes"].get("AWSTraceHeader", "") for record in event["Records"])
    parts = (part.strip() for header in headers for part in header.split(";"))
    roots = dict.fromkeys(part.removeprefix("Root=") for part in parts if part.startswith("Root="))
    return list(roots)[:CAUSES_MAX]


def changes(event: Mapping[str, Any]) -> list[Change]:
    """The portfolio items of a DynamoDB stream event, in order; others (transactions, holders) are left out."""
    return streaming.changes(event["Records"])


def amended(event: Mapping[str, Any]) -> list[Amended]:
    """The records of changes of status or settings in the same event, in order."""
    return streaming.amended(event["Records"])


def booked_fills(event: Mapping[str, Any]) -> list[Booked]:
    """The transactions of fills, reported and simulated ones, in the same event, in order."""
    return streaming.booked_fills(event["Records"])


def topic_records(event: Mapping[str, Any]) -> list[TopicRecord]:
    """The records of a Kafka event (of MSK or of brokers elsewhere), each partition's in their order."""
    return [
        TopicRecord(
            f"{record['topic']}-{record['partition']}@{record['offset']}",
            b64decode(record.get("value") or ""),
            json.dumps(record),
        )
        for partition in event["records"].values()
        for record in partition
    ]


def failures(message_ids: Iterable[str]) -> dict[str, list[dict[str, str]]]:
    """The answer that makes SQS deliver only these messages again (a stream: from the first of these on)."""
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in message_ids]}
