"""Price updates into the queue that price_update consumes, in the form in which EventBridge puts its events there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from foliostream.adapters.sqs_queues import BATCH_BYTES_MAX, ENTRIES_MAX, send_entries
from foliostream.domain.price import PriceUpdate
from foliostream.errors import PermanentError

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef

# Requests are billed by 64 KiB; 500 updates of one quote each have about 50. price_update takes ten messages at once.
MESSAGE_UPDATES_MAX: Final = 500
_HEAD: Final = b'{"detail-type":"market_price_update","source":"foliostream.bridge","detail":{"updates":['
_TAIL: Final = b"]}}"


class _Update(Struct, omit_defaults=True):
    """As POST /api/v1/prices takes it; amounts as strings, which hold whatever was published."""

    symbol: str
    ts: int
    seq: int = 0
    bid: Decimal | None = None
    ask: Decimal | None = None
    last: Decimal | None = None
    open: Decimal | None = None
    previous_close: Decimal | None = None


_encoder = msgspec.json.Encoder(decimal_format="string")


class SqsPrices:
    """Implements ``ports.PriceQueue``."""

    def __init__(self, client: SQSClient, url: str) -> None:
        self._client = client
        self._url = url

    def send(self, updates: Sequence[PriceUpdate]) -> None:
        """Messages of at most 500 updates, several in one request; failed entries again with jittered pauses."""
        refused = [
            reason
            for entries in _batches(_bodies(updates))
            for reason in send_entries(self._client, self._url, entries)
        ]
        if refused:
            raise PermanentError(f"SQS refused {len(refused)} price messages: {refused[0]}")


def _bodies(updates: Sequence[PriceUpdate]) -> Iterator[bytes]:
    for start in range(0, len(updates), MESSAGE_UPDATES_MAX):
        part = [_encoded(update) for update in updates[start : start + MESSAGE_UPDATES_MAX]]
        yield from _fitting(part)


def _fitting(part: list[bytes]) -> Iterator[bytes]:
    """One body; amounts of thousands of digits may make it two."""
    body = _HEAD + b",".join(part) + _TAIL
    if len(body) <= BATCH_BYTES_MAX or len(part) == 1:
        yield body
        return
    middle = len(part) // 2
    yield from _fitting(part[:middle])
    yield from _fitting(part[middle:])


def _encoded(update: PriceUpdate) -> bytes:
    amounts = (update.bid, update.ask, update.last, update.open, update.previous_close)
    return _encoder.encode(_Update(update.symbol, update.ts_ms, update.seq, *amounts))


def _batches(bodies: Iterator[bytes]) -> Iterator[list[SendMessageBatchRequestEntryTypeDef]]:
    entries: list[SendMessageBatchRequestEntryTypeDef] = []
    size = 0
    for body in bodies:
        if entries and (len(entries) == ENTRIES_MAX or size + len(body) > BATCH_BYTES_MAX):
            yield entries
            entries, size = [], 0
        entries.append({"Id": str(len(entries)), "MessageBody": body.decode()})
        size += len(body)
    if entries:
        yield entries
