"""Bundles on SQS, and the feed's delayed messages to itself."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from foliostream.adapters.aws_errors import is_retryable, our_errors
from foliostream.adapters.dynamodb_batch import each, pause
from foliostream.domain.coalescing import Bundle, DirtyMessage
from foliostream.errors import CallerError, PermanentError, RetryableError
from foliostream.ports import Delayed

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageAttributeValueTypeDef, SendMessageBatchRequestEntryTypeDef

ENTRIES_MAX: Final = 10
# SQS takes 1 MiB a batch since 2025, 256 KiB before. Requests are billed by 64 KiB, so smaller batches cost nothing.
BATCH_BYTES_MAX: Final = 256 * 1024
TRIES_MAX: Final = 6
THREADS_MAX: Final = 8
REASON_CHARACTERS_MAX: Final = 1_000
DELAY_SECONDS_MAX: Final = 900
DELAYED: Final = "delayed"

# What SQS refuses in a message attribute: anything that is no character of XML 1.0. Compiled when something is given
# up: that takes longer than all else that is done when this module is loaded.
_NOT_ALLOWED: Final = "[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"


class SqsQueues:
    """Implements ``ports.Queues``.

    ``queue_urls``: by queue name (live, demo, paper, bulk, refresh, delayed, push); ``dead_letter_urls``: by the name
    of the queue whose messages are given up. A queue is FIFO if its URL ends in ``.fifo``, as SQS demands of the name.
    """

    def __init__(self, client: SQSClient, queue_urls: Mapping[str, str], dead_letter_urls: Mapping[str, str]) -> None:
        self._client = client
        self._queue_urls = dict(queue_urls)
        self._dead_letter_urls = dict(dead_letter_urls)

    def send(self, queue: str, bundles: Sequence[Bundle]) -> None:
        """All bundles, in batches, several batches at once; bundles of one call keep no order among themselves (they
        hold different keys), those of a later call follow.

        Entries that fail are sent again with the same deduplication id. ``PermanentError`` if SQS calls some of them
        our fault (the others are sent), ``RetryableError`` if some still fail after the tries.
        """
        self._send(queue, _batches(_address(self._queue_urls, queue), [Delayed(bundle, 0) for bundle in bundles]))

    def send_later(self, delayed: Sequence[Delayed]) -> None:
        """As ``send``, each with its own delay. The queue must be a standard one: a FIFO queue knows no delay of a
        single message. ``CallerError`` for a delay that SQS does not have."""
        for item in delayed:
            _checked_delay(item.delay_seconds)
        self._send(DELAYED, _batches(_address(self._queue_urls, DELAYED), delayed))

    def _send(self, queue: str, parts: Iterable[_Batch]) -> None:
        batches = list(parts)
        if len(batches) <= 1:
            refused = [send_entries(self._client, batch.url, batch.entries) for batch in batches]
        else:
            with ThreadPoolExecutor(min(THREADS_MAX, len(batches))) as pool:
                refused = each(pool, lambda batch: send_entries(self._client, batch.url, batch.entries), batches)
        reasons = [reason for part in refused for reason in part]
        if reasons:
            raise PermanentError(
                f"SQS refused {len(reasons)} bundles for queue {queue}: {reasons[0]}",
                details=[{"reason": reason} for reason in reasons],
            )

    def dead_letter(self, queue: str, message: DirtyMessage, reason: str) -> None:
        """Into the queue's dead-letter queue. A message given up twice within five minutes is there once."""
        url = _address(self._dead_letter_urls, queue)
        body = msgspec.json.encode(message)
        ids: dict[str, Any] = {}
        if _is_fifo(url):
            digest = blake2b(body, digest_size=16).hexdigest()
            ids = {"MessageGroupId": message.keys[0], "MessageDeduplicationId": digest}
        with our_errors(f"SQS, SendMessage to {url}"):
            self._client.send_message(
                QueueUrl=url,
                MessageBody=body.decode(),
                MessageAttributes={"reason": text_attribute(reason)},
                **ids,
            )


class SqsFeedTimer:
    """Implements ``ports.FeedTimer``; the message is ``{"slot": 57840000}``. The queue must be a standard one: a FIFO
    queue knows no delay of a single message."""

    def __init__(self, client: SQSClient, url: str) -> None:
        self._client = client
        self._url = url

    def wake(self, slot: int, delay_seconds: int) -> None:
        """``CallerError`` for a delay that SQS does not have."""
        _checked_delay(delay_seconds)
        body = msgspec.json.encode({"slot": slot}).decode()
        with our_errors(f"SQS, SendMessage to {self._url}"):
            self._client.send_message(QueueUrl=self._url, MessageBody=body, DelaySeconds=delay_seconds)


def send_entries(client: SQSClient, url: str, entries: Sequence[SendMessageBatchRequestEntryTypeDef]) -> list[str]:
    """One batch, its failed entries again with the same deduplication id; why the entries were refused that no retry
    can mend. ``RetryableError`` if some still fail after the tries."""
    waiting = {entry["Id"]: _traced(entry) for entry in entries}
    refused: dict[str, str] = {}
    reason = ""
    for number in range(TRIES_MAX):
        if number:
            pause(number)
        with our_errors(f"SQS, SendMessageBatch to {url}"):
            answer = client.send_message_batch(QueueUrl=url, Entries=list(waiting.values()))
        for failure in answer.get("Failed", []):
            reason = f"{failure['Code']}: {failure.get('Message', '')}"
            if failure["SenderFault"] and not is_retryable(failure["Code"]):
                refused[failure["Id"]] = reason
        # Only what the answer confirms is done: an entry it does not mention at all is sent again too.
        settled = refused.keys() | {sent["Id"] for sent in answer.get("Successful", [])}
        waiting = {name: entry for name, entry in waiting.items() if name not in settled}
        if not waiting:
            return list(refused.values())
    raise RetryableError(
        f"SQS, SendMessageBatch to {url}: {len(waiting)} messages failed {TRIES_MAX} times, last: {reason}"
    )


def _traced(entry: SendMessageBatchRequestEntryTypeDef) -> SendMessageBatchRequestEntryTypeDef:
    """With the trace of the invocation that sends it (Lambda renews the variable), so that who receives it can tell
    what caused it. Such an attribute is no part of the message's size."""
    trace = os.environ.get("_X_AMZN_TRACE_ID", "")
    if not trace:
        return entry
    return {**entry, "MessageSystemAttributes": {"AWSTraceHeader": {"DataType": "String", "StringValue": trace}}}


class _Batch(NamedTuple):
    """What one SendMessageBatch sends."""

    url: str
    entries: list[SendMessageBatchRequestEntryTypeDef]


def _address(urls: Mapping[str, str], queue: str) -> str:
    if queue not in urls:
        raise PermanentError(f"no queue is known for {queue}, only for {', '.join(sorted(urls))}")
    return urls[queue]


def _checked_delay(seconds: int) -> None:
    if not 0 <= seconds <= DELAY_SECONDS_MAX:
        raise CallerError(f"a delay is 0 to {DELAY_SECONDS_MAX} seconds, is {seconds}")


def _is_fifo(url: str) -> bool:
    return url.endswith(".fifo")


def _batches(url: str, delayed: Sequence[Delayed]) -> Iterator[_Batch]:
    entries: list[SendMessageBatchRequestEntryTypeDef] = []
    size = 0
    for bundle, delay_seconds in delayed:
        body = msgspec.json.encode(bundle.message)
        if entries and (len(entries) == ENTRIES_MAX or size + len(body) > BATCH_BYTES_MAX):
            yield _Batch(url, entries)
            entries, size = [], 0
        entry: SendMessageBatchRequestEntryTypeDef = {"Id": str(len(entries)), "MessageBody": body.decode()}
        if _is_fifo(url):
            entry["MessageGroupId"] = str(bundle.shard)
            entry["MessageDeduplicationId"] = bundle.deduplication_id
        if delay_seconds:
            entry["DelaySeconds"] = delay_seconds
        entries.append(entry)
        size += len(body)
    if entries:
        yield _Batch(url, entries)


def text_attribute(text: str) -> MessageAttributeValueTypeDef:
    """A message attribute as SQS takes it: no control characters, bounded, not empty."""
    value = re.sub(_NOT_ALLOWED, "?", text)[:REASON_CHARACTERS_MAX] or "unknown"
    return {"DataType": "String", "StringValue": value}
