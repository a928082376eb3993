"""Price updates as they come in: JSON of the shape of ``POST /api/v1/prices``, each update judged on its own."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta, Raw, Struct

from foliostream.application.reading import decoded
from foliostream.application.receiving import Received
from foliostream.domain import keys, times
from foliostream.domain.price import PriceUpdate, Refused
from foliostream.errors import CallerError

MAX_UPDATES = 1_000
# Of one message of a publisher or a topic, which nobody can send again in parts: memory, not a rule.
MESSAGE_UPDATES_MAX = 20_000
MAX_SEQ = 2**53 - 1


class _Body(Struct):
    updates: list[Raw]


class _Updates(Struct):
    updates: list[Raw] | None = None


class _Event(Struct):
    detail: _Body


class _Named(Struct):
    id: str = ""


class _Update(Struct):
    symbol: str
    ts: int | str
    seq: Annotated[int, Meta(ge=0, le=MAX_SEQ)] | None = None
    bid: Decimal | None = None
    ask: Decimal | None = None
    last: Decimal | None = None
    open: Decimal | None = None
    previous_close: Decimal | None = None


class _Symbol(Struct):
    symbol: str = "?"


_bodies = msgspec.json.Decoder(_Body)
_events = msgspec.json.Decoder(_Event)
_named = msgspec.json.Decoder(_Named)
_updates = msgspec.json.Decoder(_Update)
_symbols = msgspec.json.Decoder(_Symbol)
_lists = msgspec.json.Decoder(list[Raw])
_objects = msgspec.json.Decoder(_Updates)


class Parsed(NamedTuple):
    """What could be read, and what not with the reason."""

    updates: list[PriceUpdate]
    refused: list[Refused]


def from_body(body: str | bytes) -> Parsed:
    """A request body ``{"updates": [...]}``; ``CallerError`` if it is no such document or has too many updates."""
    items = decoded(_bodies, body).updates
    if len(items) > MAX_UPDATES:
        raise CallerError(
            f"updates has at most {MAX_UPDATES} entries, not {len(items)}",
            code="TOO_MANY_UPDATES",
            details=[{"limit": MAX_UPDATES, "value": len(items)}],
        )
    return _parse(items)


def from_event(event: str | bytes) -> Parsed:
    """An EventBridge event whose ``detail`` is such a body; ``CallerError`` if it is not."""
    return _parse(decoded(_events, event).detail.updates)


def from_message(message: bytes) -> Parsed:
    """A publisher's message: ``{"updates": [...]}``, a list of updates or a single one; ``CallerError`` if it is none
    of them or has too many."""
    items = decoded(_lists, message) if message.lstrip()[:1] == b"[" else decoded(_objects, message).updates
    if items is None:
        return _parse([Raw(message)])
    if len(items) > MESSAGE_UPDATES_MAX:
        raise CallerError(
            f"a message has at most {MESSAGE_UPDATES_MAX} updates, not {len(items)}", code="TOO_MANY_UPDATES"
        )
    return _parse(items)


def _parse(items: list[Raw]) -> Parsed:
    parsed = Parsed([], [])
    for raw in items:
        try:
            parsed.updates.append(_one(raw))
        except (msgspec.MsgspecError, RecursionError, CallerError) as fault:
            parsed.refused.append(Refused(_symbol_of(raw), "INVALID", str(fault)))
    return parsed


def _one(raw: Raw) -> PriceUpdate:
    item = _updates.decode(raw)
    return PriceUpdate(
        symbol=keys.symbol(item.symbol),
        ts_ms=times.epoch_ms(item.ts),
        seq=item.seq or 0,
        bid=item.bid,
        ask=item.ask,
        last=item.last,
        open=item.open,
        previous_close=item.previous_close,
    )


def _symbol_of(raw: Raw) -> str:
    try:
        return _symbols.decode(raw).symbol[:80]
    except (msgspec.MsgspecError, RecursionError):
        return "?"


def from_messages(messages: Iterable[Received]) -> tuple[Parsed, list[str]]:
    """The updates of queued EventBridge events in order, and the ids of messages that are no such event."""
    parsed = Parsed([], [])
    broken = []
    for message in messages:
        try:
            one = from_event(message.body)
        except CallerError:
            broken.append(message.message_id)
        else:
            parsed.updates.extend(one.updates)
            parsed.refused.extend(one.refused)
    return parsed, broken


def event_id(event: str | bytes) -> str:
    """The id that EventBridge gave an event; "" where there is none."""
    try:
        return _named.decode(event).id
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return ""
