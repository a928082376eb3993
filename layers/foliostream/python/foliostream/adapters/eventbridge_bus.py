"""Events on EventBridge."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from foliostream.adapters.aws_errors import is_retryable, our_errors
from foliostream.adapters.dynamodb_batch import pause
from foliostream.errors import PermanentError, RetryableError

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient

SOURCE: Final = "foliostream"
ENTRIES_MAX: Final = 10
# PutEvents counts source, detail-type and detail of all entries; 256 KB is what every region and emulator takes.
BYTES_MAX: Final = 256 * 1024
TRIES_MAX: Final = 6

_encoder = msgspec.json.Encoder(decimal_format="number")


class EventBridgeBus:
    """Implements ``ports.EventBus`` for the bus of this name. Details are JSON with exact decimal literals."""

    def __init__(self, client: EventBridgeClient, bus_name: str) -> None:
        self._client = client
        self._bus_name = bus_name

    def publish(self, detail_type: str, details: Sequence[Mapping[str, object]]) -> None:
        """One event each, source ``foliostream``. A failed entry may arrive after later ones.

        ``PermanentError`` for an event that is too large (then none is sent) or that EventBridge refuses for good
        (the others are sent); ``RetryableError`` if some could not be published within the tries.
        """
        entries = [self._entry(detail_type, detail) for detail in details]
        refused = [reason for batch in _batches(entries) for reason in self._put(batch)]
        if refused:
            raise PermanentError(
                f"EventBridge refused {len(refused)} of {len(entries)} {detail_type} events: {refused[0]}",
                details=[{"reason": reason} for reason in refused],
            )

    def _entry(self, detail_type: str, detail: Mapping[str, object]) -> dict[str, str]:
        entry = {
            "EventBusName": self._bus_name,
            "Source": SOURCE,
            "DetailType": detail_type,
            "Detail": _json(detail_type, detail),
        }
        if _size(entry) > BYTES_MAX:
            raise PermanentError(
                f"a {detail_type} event has {_size(entry)} bytes, EventBridge takes {BYTES_MAX}", code="EVENT_TOO_LARGE"
            )
        return entry

    def _put(self, entries: Sequence[dict[str, str]]) -> list[str]:
        """Publish a batch; why the entries were refused that no retry can mend."""
        waiting: list[Any] = list(entries)
        refused: list[str] = []
        reason = ""
        for number in range(TRIES_MAX):
            if number:
                pause(number)
            with our_errors(f"EventBridge, PutEvents on {self._bus_name}"):
                answer = self._client.put_events(Entries=waiting)
            failed = []
            for entry, result in zip(waiting, answer["Entries"], strict=True):
                code = result.get("ErrorCode")
                if not code:
                    continue
                reason = f"{code}: {result.get('ErrorMessage', '')}"
                if is_retryable(code):
                    failed.append(entry)
                else:
                    refused.append(reason)
            if not failed:
                return refused
            waiting = failed
        raise RetryableError(f"EventBridge, PutEvents: {len(waiting)} events failed {TRIES_MAX} times, last: {reason}")


def _json(detail_type: str, detail: Mapping[str, object]) -> str:
    encoded = _encoder.encode(detail)
    try:
        msgspec.json.decode(encoded, type=msgspec.Raw)
    except msgspec.DecodeError:  # the encoder writes a Decimal that is NaN or infinite as it is
        raise PermanentError(f"a {detail_type} event holds a number that is not finite") from None
    return encoded.decode()


def _batches(entries: Sequence[dict[str, str]]) -> Iterator[list[dict[str, str]]]:
    batch: list[dict[str, str]] = []
    size = 0
    for entry in entries:
        if batch and (len(batch) == ENTRIES_MAX or size + _size(entry) > BYTES_MAX):
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += _size(entry)
    if batch:
        yield batch


def _size(entry: dict[str, str]) -> int:
    return sum(len(text.encode()) for text in (entry["Source"], entry["DetailType"], entry["Detail"]))
