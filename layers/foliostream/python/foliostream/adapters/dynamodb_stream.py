"""The ledger's DynamoDB stream, read again where Lambda gave a part of it up. It keeps a day."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final

from botocore.exceptions import ClientError

from foliostream.adapters.dynamodb_batch import our_errors
from foliostream.domain.letters import Part
from foliostream.errors import PermanentError, RetryableError

PAGE_SIZE: Final = 100
# Of a part: a batch of ours has 100 records, and pages may be empty on the way; ten seconds.
PAGES_MAX: Final = 40
# Five reads a second are allowed of a shard, and Lambda reads it too.
PAUSE_SECONDS: Final = 0.25
_GONE: Final = frozenset({"TrimmedDataAccessException", "ResourceNotFoundException"})


class DynamoDbStream:
    """Implements ``ports.LedgerStream``. ``client``: of ``dynamodbstreams``."""

    def __init__(self, client: Any) -> None:  # noqa: ANN401 - there are no types of it here
        self._client = client

    def records(self, part: Part) -> Iterator[Sequence[dict[str, Any]]]:
        """Page by page, from the first to the last number, both included."""
        iterator = self._iterator(part)
        for number in range(PAGES_MAX):
            if number:
                time.sleep(PAUSE_SECONDS)
            answer = self._ask(part, partial(self._client.get_records, ShardIterator=iterator, Limit=PAGE_SIZE))
            found = [item for item in answer["Records"] if _number(item) <= int(part.last)]
            if found:
                yield found
            iterator = answer.get("NextShardIterator", "")
            if not iterator or len(found) < len(answer["Records"]) or any(_number(i) == int(part.last) for i in found):
                return
        raise RetryableError(f"{part.shard} could not be read up to {part.last} in {PAGES_MAX} pages")

    def _iterator(self, part: Part) -> str:
        answer = self._ask(
            part,
            lambda: self._client.get_shard_iterator(
                StreamArn=part.stream,
                ShardId=part.shard,
                ShardIteratorType="AT_SEQUENCE_NUMBER",
                SequenceNumber=part.first,
            ),
        )
        return str(answer["ShardIterator"])

    def _ask(self, part: Part, call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        try:
            with our_errors(f"DynamoDB stream, shard {part.shard}"):
                return call()
        except (PermanentError, RetryableError) as fault:
            cause = fault.__cause__
            if isinstance(cause, ClientError) and cause.response["Error"]["Code"] in _GONE:
                raise PermanentError(
                    "the stream keeps a day and has it no more: the sweep finds what it was, rebuild_hot at once",
                    code="STREAM_TRIMMED",
                ) from fault
            raise


def _number(record: dict[str, Any]) -> int:
    return int(record["dynamodb"]["SequenceNumber"])
