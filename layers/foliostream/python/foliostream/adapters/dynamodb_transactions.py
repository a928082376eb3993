"""DynamoDB transactions: sent again when they only met another writer, answered item by item when a condition broke."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from botocore.exceptions import ClientError

from foliostream.adapters.dynamodb_batch import cancellation_codes, our_errors, pause
from foliostream.errors import ConflictError, RetryableError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Result = TypeVar("Result")

CONDITION_FAILED: Final = "ConditionalCheckFailed"
# With the pauses of dynamodb_batch at most 2 s of waiting; the second limit is for calls that hang.
TRIES_MAX: Final = 8
SECONDS_MAX: Final = 5.0


def retried(call: Callable[[], Result], doing: str) -> Result:
    """The call's result; a conflict with another writer, throttling or a missing answer is tried again.

    Only for calls that may be repeated. ``RetryableError`` after the last try; other errors at once.
    """
    deadline = time.monotonic() + SECONDS_MAX
    for number in range(1, TRIES_MAX):
        try:
            with our_errors(doing):
                return call()
        except RetryableError:
            if time.monotonic() > deadline:
                raise
        pause(number)
    with our_errors(doing):
        return call()


def transact_write(client: DynamoDBClient, items: Sequence[dict[str, Any]], doing: str) -> list[str]:
    """All items or none. Empty when they are written; when a condition did not hold, a code for each item in its
    place (``CONDITION_FAILED`` for those to blame).

    All tries carry one token: when the answer to a try was lost, DynamoDB takes the next one for a repeat (for ten
    minutes) instead of judging its conditions by what the first has written.
    """
    token = str(uuid.uuid4())
    try:
        retried(lambda: client.transact_write_items(TransactItems=list(items), ClientRequestToken=token), doing)  # type: ignore[arg-type]
    except ConflictError as error:
        if isinstance(error.__cause__, ClientError):
            return cancellation_codes(error.__cause__)
        raise
    return []
