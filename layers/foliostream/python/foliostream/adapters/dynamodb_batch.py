"""DynamoDB in bulk: BatchGetItem and BatchWriteItem until everything is done, and AWS errors as ours.

Items and keys are in the client's own form (``{"pk": {"S": "..."}}``); every table has the string keys pk and sk.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, wait
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

from botocore.exceptions import BotoCoreError, ClientError, ConnectionClosedError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnectionError

from foliostream.errors import ConflictError, FoliostreamError, PermanentError, RetryableError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

T = TypeVar("T")
Result = TypeVar("Result")
Item: TypeAlias = dict[str, Any]

# What one call takes.
GET_ITEMS_MAX = 100
WRITE_ITEMS_MAX = 25
# Unprocessed keys mean throttling: 8 rounds, pauses of at most 25, 50, 100, ... 1,000 ms: given up after about 3 s.
ROUNDS_MAX = 8
PAUSE_MS_FIRST = 25
PAUSE_MS_MAX = 1_000

_RETRYABLE_CODES = frozenset({
    "InternalServerError",
    "InternalFailure",
    "ServiceUnavailable",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestTimeout",
    "ThrottlingException",
    "Throttling",
    "TransactionConflictException",
    "TransactionInProgressException",
})  # fmt: skip
# Cancellation reasons of a transaction that name another writer or throttling and no broken condition.
_RETRYABLE_REASONS = frozenset({"TransactionConflict", "ProvisionedThroughputExceeded", "ThrottlingError"})
_NO_ANSWER = (HTTPClientError, NoConnectionError)
_SERVER_ERROR = 500


def code_of(fault: ClientError) -> str:
    """``ConditionalCheckFailedException`` and the like."""
    return str(fault.response.get("Error", {}).get("Code", ""))


def cancellation_codes(fault: ClientError) -> list[str]:
    """Why each part of a cancelled transaction failed, in the order of its parts ("None": that part was fine);
    empty for any other error."""
    reasons: Any = fault.response.get("CancellationReasons", [])
    return [str(reason.get("Code", "None")) for reason in reasons]


def translated(fault: ClientError | BotoCoreError, doing: str) -> FoliostreamError:
    """The one place where an AWS error becomes one of ours. ``doing`` names the call in the message."""
    message = f"DynamoDB, {doing}: {fault}"
    if not isinstance(fault, ClientError):
        # No answer, or a broken one: nobody knows whether it was done. Anything else is our own request or setup.
        return RetryableError(message) if isinstance(fault, _NO_ANSWER) else PermanentError(message)
    code = code_of(fault)
    if code == "ConditionalCheckFailedException":
        return ConflictError(message)
    if code == "TransactionCanceledException":
        reasons = set(cancellation_codes(fault)) - {"None"}
        if "ConditionalCheckFailed" in reasons:
            return ConflictError(message)
        return RetryableError(message) if reasons & _RETRYABLE_REASONS else PermanentError(message)
    status = fault.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in _RETRYABLE_CODES or status >= _SERVER_ERROR:
        return RetryableError(message)
    return PermanentError(message)


@contextmanager
def our_errors(doing: str) -> Iterator[None]:
    """Calls inside raise errors of ``foliostream.errors`` only."""
    try:
        yield
    except (ClientError, BotoCoreError) as fault:
        raise translated(fault, doing) from fault


def refuse_half_answers(client: DynamoDBClient) -> DynamoDBClient:
    """The same client, for which an answer that ends early is an error.

    botocore asks again when the checksum is wrong, but takes what it has after its last try: half of an answer is no
    JSON, so it says nothing, and an item would count as one that is not there.
    """
    client.meta.events.register("after-call", _refuse_half)
    return client


def _refuse_half(http_response: Any, **_: object) -> None:  # noqa: ANN401 - botocore's event, without types
    announced = http_response.headers.get("content-length")
    if announced is not None and int(announced) != len(http_response.content):
        raise ConnectionClosedError(endpoint_url=http_response.url)


def pause(round_number: int) -> None:
    """Sleep before round 1, 2, ...: a random part of a growing limit, so that writers do not come back together."""
    limit_ms = min(PAUSE_MS_MAX, PAUSE_MS_FIRST << (round_number - 1))
    time.sleep(random.uniform(0, limit_ms) / 1000)  # noqa: S311 - spreads load, keeps no secret


def batch_get(
    client: DynamoDBClient,
    table: str,
    keys: Sequence[Mapping[str, Any]],
    *,
    projection: str = "",
    names: Mapping[str, str] | None = None,
    pool: Executor | None = None,
) -> list[Item]:
    """The items that exist, in no order, read strongly consistently; repeated keys are read once.

    ``projection`` and ``names`` are ProjectionExpression and ExpressionAttributeNames. With ``pool``, chunks go in
    parallel. ``RetryableError`` if some keys stayed unprocessed.
    """
    distinct = list({(key["pk"]["S"], key["sk"]["S"]): key for key in keys}.values())
    options: dict[str, Any] = {"ConsistentRead": True}
    if projection:
        options["ProjectionExpression"] = projection
    if names:
        options["ExpressionAttributeNames"] = dict(names)

    def read(chunk: Sequence[Mapping[str, Any]]) -> list[Item]:
        items: list[Item] = []

        def step(waiting: dict[str, Any]) -> dict[str, Any]:
            answer = client.batch_get_item(RequestItems=waiting)
            items.extend(answer["Responses"].get(table, []))
            return dict(answer.get("UnprocessedKeys", {}))

        _until_done(step, {table: {**options, "Keys": list(chunk)}}, f"BatchGetItem on {table}")
        return items

    return [item for part in each(pool, read, chunks(distinct, GET_ITEMS_MAX)) for item in part]


def batch_write(
    client: DynamoDBClient,
    table: str,
    *,
    puts: Sequence[Item] = (),
    deletes: Sequence[Mapping[str, Any]] = (),
    pool: Executor | None = None,
) -> None:
    """Put items and delete keys, each on its own and in no order; of several requests for one key the last counts,
    deletes after puts. ``RetryableError`` if some stayed unprocessed (the others are done)."""
    requests: dict[tuple[str, str], dict[str, Any]] = {_name(item): {"PutRequest": {"Item": item}} for item in puts}
    requests |= {_name(key): {"DeleteRequest": {"Key": key}} for key in deletes}

    def write(chunk: Sequence[Any]) -> None:
        def step(waiting: dict[str, Any]) -> dict[str, Any]:
            return dict(client.batch_write_item(RequestItems=waiting).get("UnprocessedItems", {}))

        _until_done(step, {table: list(chunk)}, f"BatchWriteItem on {table}")

    each(pool, write, chunks(list(requests.values()), WRITE_ITEMS_MAX))


class Attempt(NamedTuple):
    """A write under a condition: whether it ``held``, and the item that refused it (when it held: the item before it,
    if ``ReturnValues`` asked for that), ``{}`` for none."""

    held: bool
    item: Item


def conditional(write: Callable[..., Any], doing: str, arguments: Mapping[str, Any]) -> Attempt:
    """``client.put_item`` or ``client.update_item`` with a ConditionExpression that may well not hold."""
    with our_errors(doing):
        try:
            answer = write(**arguments, ReturnValuesOnConditionCheckFailure="ALL_OLD")
        except ClientError as fault:
            if code_of(fault) != "ConditionalCheckFailedException":
                raise
            refused: Any = fault.response
            return Attempt(held=False, item=refused.get("Item", {}))
    return Attempt(held=True, item=answer.get("Attributes", {}))


def chunks(items: Sequence[T], size: int) -> list[Sequence[T]]:
    """Consecutive parts of at most ``size``."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def each(pool: Executor | None, work: Callable[[T], Result], items: Sequence[T]) -> list[Result]:
    """The results in the order of ``items``; in parallel if there is a pool and more than one item. Every item is
    worked on; then the first error is raised. ``work`` itself must not use the pool: it would wait for itself."""
    if pool is None or len(items) <= 1:
        return [work(item) for item in items]
    futures = [pool.submit(work, item) for item in items]
    wait(futures)
    return [future.result() for future in futures]


def _name(item: Mapping[str, Any]) -> tuple[str, str]:
    return item["pk"]["S"], item["sk"]["S"]


def _until_done(step: Callable[[dict[str, Any]], dict[str, Any]], waiting: dict[str, Any], doing: str) -> None:
    for round_number in range(ROUNDS_MAX):
        if round_number:
            pause(round_number)
        with our_errors(doing):
            waiting = step(waiting)
        if not waiting:
            return
    raise RetryableError(f"DynamoDB, {doing}: still throttled after {ROUNDS_MAX} tries")
