"""Errors of SQS, EventBridge and API Gateway as ours (DynamoDB's, with its cancellations: ``dynamodb_batch``)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError  # noqa: A004 - not the builtin

from foliostream.errors import FoliostreamError, PermanentError, RetryableError

_TOO_MANY_REQUESTS = 429
_SERVER_ERROR = 500
_RETRYABLE_CODES = frozenset({
    "InternalError",
    "InternalException",
    "InternalFailure",
    "KmsThrottled",
    "LimitExceededException",
    "OverLimit",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestTimeout",
    "ServiceUnavailable",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
})  # fmt: skip


def is_retryable(code: str, http_status: int = 0) -> bool:
    """Whether an error code (of a call, or of one entry of a batch) or a status says that later it may work."""
    name = code.rpartition(".")[2]  # SQS still writes some codes as AWS.SimpleQueueService.Name
    return name in _RETRYABLE_CODES or http_status >= _SERVER_ERROR or http_status == _TOO_MANY_REQUESTS


def status_of(fault: ClientError) -> int:
    """The HTTP status of the answer; 0 if there was none."""
    return int(fault.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def code_of(fault: ClientError) -> str:
    """``GoneException`` and the like."""
    return str(fault.response.get("Error", {}).get("Code", ""))


def translated(fault: ClientError | BotoCoreError, doing: str) -> FoliostreamError:
    """``RetryableError`` for throttling, faults of the service and missing answers, else ``PermanentError``."""
    message = f"{doing}: {fault}"
    if isinstance(fault, ClientError):
        later = is_retryable(code_of(fault), status_of(fault))
    else:
        later = isinstance(fault, HTTPClientError | ConnectionError)  # no answer; else our own request or setup
    return RetryableError(message) if later else PermanentError(message)


@contextmanager
def our_errors(doing: str) -> Iterator[None]:
    """Calls inside raise errors of ``foliostream.errors`` only; ``doing`` names the service and the call."""
    try:
        yield
    except (ClientError, BotoCoreError) as fault:
        raise translated(fault, doing) from fault
