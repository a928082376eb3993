"""What a dead letter says: why it was given up, and what it was.

There are four kinds. A message of one of our queues, given up by SQS after so many receives (without a reason) or by
its consumer (attributes ``reason`` and perhaps ``detail``). A record of Lambda about an invocation nobody waited for,
with the event (``requestPayload``). A record of Lambda about a part of a stream or topic, which says only where it
was. A start that a rule or schedule could not deliver (attributes ``ERROR_CODE``, ``TARGET_ARN``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from foliostream.domain.times import SCHEDULED_TIME

BODY_CHARACTERS_MAX = 2_000
_LAMBDA = "lambda"


class Why(NamedTuple):
    """``reason``: a code or an exception's name; ``detail``: a sentence or nothing; ``attempts`` as far as known."""

    reason: str
    detail: str
    attempts: int


class Start(NamedTuple):
    """A function and the event it was, or was to be, invoked with."""

    function: str
    payload: bytes


class Part(NamedTuple):
    """A part of a DynamoDB stream that Lambda gave up: numbers of its first and last record."""

    stream: str
    shard: str
    first: str
    last: str


def why(body: str, attributes: Mapping[str, str], receives: int) -> Why:
    """As far as the letter says it."""
    if "reason" in attributes:
        attempt = _fields(body).get("attempt")
        return Why(
            attributes["reason"], attributes.get("detail", ""), attempt if isinstance(attempt, int) else receives
        )
    if "ERROR_CODE" in attributes:
        attempts = attributes.get("RETRY_ATTEMPTS", "")
        retries = int(attempts) if attempts.isdecimal() and len(attempts) < 10 else 0
        return Why(attributes["ERROR_CODE"], attributes.get("ERROR_MESSAGE", ""), retries + 1)
    record = _fields(body)
    context = _mapping(record, "requestContext")
    if context:
        answer = _mapping(record, "responsePayload")
        reason = str(answer.get("errorType") or context.get("condition") or "unknown")
        tries = context.get("approximateInvokeCount")
        return Why(reason, str(answer.get("errorMessage", "")), tries if isinstance(tries, int) else 1)
    return Why("RECEIVED_TOO_OFTEN", "its consumer failed each time, and its log says why", receives)


def start(body: str, attributes: Mapping[str, str]) -> Start | None:
    """The invocation to be made again; None where the letter is no invocation."""
    if function := _function(attributes.get("TARGET_ARN", "")):
        return Start(function, body.replace(SCHEDULED_TIME, attributes.get("SCHEDULED_TIME", SCHEDULED_TIME)).encode())
    record = _fields(body)
    function = _function(str(_mapping(record, "requestContext").get("functionArn", "")))
    if not function or "requestPayload" not in record:
        return None
    # The event as it stands there: through a decoder its amounts would become floats.
    return Start(function, bytes(_raw(body)["requestPayload"]))


def part(body: str) -> Part | None:
    """The part of a stream that the letter names; None where it is something else."""
    place = _mapping(_fields(body), "DDBStreamBatchInfo")
    names = ("streamArn", "shardId", "startSequenceNumber", "endSequenceNumber")
    found = [str(place.get(name, "")) for name in names]
    return Part(*found) if all(found) and found[2].isdecimal() and found[3].isdecimal() else None


def names_a_place_only(body: str) -> bool:
    """Whether it says where in a stream or topic something is, and not what."""
    record = _fields(body)
    return ("requestContext" in record and "requestPayload" not in record) or record.keys() == {"place", "bytes"}


def shown(body: str) -> object:
    """Decoded where it is JSON; beyond ``BODY_CHARACTERS_MAX`` its beginning, as text."""
    if len(body) > BODY_CHARACTERS_MAX:
        return body[:BODY_CHARACTERS_MAX] + f"... ({len(body)} characters)"
    try:
        return msgspec.Raw(body) if msgspec.json.decode(body) is not None else None
    except (msgspec.DecodeError, RecursionError):
        return body


def _function(arn: str) -> str:
    """``arn:aws:lambda:region:account:function:name:qualifier``: the name, without its qualifier; "" of anything
    else."""
    parts = arn.split(":")
    return parts[6] if len(parts) >= 7 and parts[2] == _LAMBDA else ""


def _fields(body: str) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _raw(body: str) -> dict[str, msgspec.Raw]:
    return msgspec.json.decode(body, type=dict[str, msgspec.Raw])


def _mapping(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = record.get(name)
    return found if isinstance(found, dict) else {}
