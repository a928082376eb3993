"""What the consumers of the dirty, refresh and push queues share: decoding, waiting for windows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from foliostream.application.reading import decoded
from foliostream.domain import coalescing
from foliostream.domain.coalescing import DirtyMessage
from foliostream.errors import CallerError
from foliostream.ports import Clock

# No window is longer than 10 s: whoever promises a later end has a broken clock, and the message is returned.
MAX_WAIT_MS = 15_000

_decoder = msgspec.json.Decoder(DirtyMessage)


class Received(NamedTuple):
    """A queue message as delivered; ``receive_count`` 1 is the first delivery."""

    message_id: str
    body: str
    receive_count: int


class Change(NamedTuple):
    """A portfolio's item in the ledger after a change, as its stream delivers it. ``key`` names it as well as is known
    (``live:12345``); ``book`` is None where the item has none."""

    sequence_number: str
    key: str
    book: bytes | None


class TopicRecord(NamedTuple):
    """A record of a Kafka topic. ``place`` names it for ever (``prices-3@1729``); ``value`` is empty for a tombstone;
    ``delivered`` is the JSON in which it came."""

    place: str
    value: bytes
    delivered: str


class Amended(NamedTuple):
    """The record of a change of status or settings, as the ledger's stream delivers it; ``record`` as it is stored."""

    sequence_number: str
    key: str
    record: bytes | None


class Booked(NamedTuple):
    """A transaction of a fill, as the ledger's stream delivers it; ``record`` as it is stored."""

    sequence_number: str
    key: str
    record: bytes | None


class Opened(NamedTuple):
    """A received message that could be read."""

    received: Received
    message: DirtyMessage


class Batch(NamedTuple):
    """``due``: those whose window has ended by now; ``failed``: ids of messages that are broken or far too early."""

    due: list[Opened]
    failed: list[str]


def wait_until_due(received: Sequence[Received], clock: Clock, skew_ms: int) -> Batch:
    """Decode a batch and wait until the last window in it has ended (plus the skew allowance)."""
    opened, failed = [], []
    latest = clock.now_ms() + MAX_WAIT_MS
    for item in received:
        try:
            message = decoded(_decoder, item.body)
        except CallerError:
            failed.append(item.message_id)
            continue
        if not message.keys or coalescing.due_ms(message, skew_ms) > latest:
            failed.append(item.message_id)
        else:
            opened.append(Opened(item, message))
    clock.wait_until(max((coalescing.due_ms(item.message, skew_ms) for item in opened), default=0))
    return Batch(opened, failed)


def attempts(opened: Iterable[Opened]) -> dict[str, int]:
    """The highest attempt count of each key."""
    highest: dict[str, int] = {}
    for item in opened:
        for key in item.message.keys:
            highest[key] = max(highest.get(key, 0), item.message.attempt)
    return highest
