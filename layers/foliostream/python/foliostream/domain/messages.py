"""What goes to a client: messages of the contract's section 3, and what changed since the last one."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw

from foliostream.domain.times import iso

# API Gateway carries 32 KB in a frame (and 128 KB in a message, but each of its frames costs as much as a message).
MAX_FRAME_BYTES = 32_000
# Said by the envelope, or the same in every state of a portfolio.
_NOT_PARTS = frozenset({"portfolio_id", "version"})
_BULKY = frozenset({"positions", "weights"})
_POSITIONS = frozenset({"positions"})
_TRUST = frozenset({"portfolio_id", "version", "last_updated", "as_of", "calc_status", "unpriced", "stale"})
# Only as long as a frame in a portfolio of very many instruments; ``calc_status`` stays.
_LISTS = frozenset({"positions_removed", "unpriced", "stale", "daily_missing"})

_encoder = msgspec.json.Encoder(decimal_format="number")
_fields = msgspec.json.Decoder(dict[str, Raw])
_list = msgspec.json.Decoder(list[Raw])


class _Named(msgspec.Struct):
    instrument_id: str


_named = msgspec.json.Decoder(_Named)


class Update(NamedTuple):
    """One portfolio's share of a ``portfolio_update``: encoded, with the digests to compare the next state with."""

    encoded: bytes
    parts: dict[str, str]


def encode(message: Mapping[str, Any]) -> bytes:
    """JSON with exact decimals."""
    return _encoder.encode(message)


def message(kind: str, now_ms: int, **content: object) -> bytes:
    """A message with its ``type`` and ``timestamp``; contents that are None are left out."""
    filled = {name: value for name, value in content.items() if value is not None}
    return encode({"type": kind, "timestamp": iso(now_ms)} | filled)


def of_channels(body: bytes, channels: Collection[str]) -> bytes:
    """What of an encoded state goes to a subscription: all of it, with ``state`` alone no positions, with
    ``positions`` alone nothing else but what tells how far they can be trusted."""
    if "state" in channels and "positions" in channels:
        return body
    fields = _fields.decode(body)
    if "state" in channels:
        return encode({name: raw for name, raw in fields.items() if name not in _POSITIONS})
    return encode({name: raw for name, raw in fields.items() if name in _POSITIONS | _TRUST})


def resync(portfolio_id: str, reason: str, now_ms: int) -> bytes:
    """What a client has cannot be brought up to date: a snapshot follows."""
    return message("resync_required", now_ms, portfolio_id=portfolio_id, reason=reason)


def digests(body: bytes) -> dict[str, str]:
    """Of every part of an encoded state."""
    return _digests(_fields.decode(body))


def snapshot(portfolio_id: str, version: int, body: bytes, now_ms: int) -> Update:
    """The whole state; beyond a message's size without the bulky parts, saying where they are."""
    parts = _fields.decode(body)
    data: Any = Raw(body) if len(body) <= MAX_FRAME_BYTES else _summary(portfolio_id, parts)
    encoded = message("snapshot", now_ms, portfolio_id=portfolio_id, version=version, data=data)
    return Update(encoded, _digests(parts))


def update(portfolio_id: str, version: int, previous_version: int, body: bytes, sent: Mapping[str, str]) -> Update:
    """What changed since the state whose digests are ``sent``; ``encoded`` is empty if nothing did.

    ``data`` has the top-level fields that changed; ``positions`` only the changed ones (replace them by
    ``instrument_id``), ``positions_removed`` the instruments no longer held.
    """
    fields = _fields.decode(body)
    found = _digests(fields)
    data: dict[str, Any] = {
        name: fields[name] for name in fields if name not in _NOT_PARTS | {"positions"} and _moved(name, found, sent)
    }
    held = {_position_part(position): position for position in _positions(fields)}
    changed = [position for part, position in held.items() if _moved(part, found, sent)]
    known = (part for part in sent if part.startswith("positions/")) if "positions" in fields else ()
    removed = sorted(part.removeprefix("positions/") for part in known if part not in held)
    if changed:
        data["positions"] = changed
    if removed:
        data["positions_removed"] = removed
    if not data:
        return Update(b"", found)
    envelope = {"portfolio_id": portfolio_id, "version": version, "previous_version": previous_version}
    encoded = encode(envelope | {"data": data})
    if len(encoded) > MAX_FRAME_BYTES:
        encoded = encode(envelope | {"data": _summary(portfolio_id, data)})
    return Update(encoded, found)


class Batch(NamedTuple):
    """A ``portfolio_update`` message, and how many updates are in it."""

    encoded: bytes
    updates: int


def batched(updates: Sequence[bytes], now_ms: int) -> list[Batch]:
    """Messages of encoded updates, in their order: one, unless that would be larger than a frame."""
    groups: list[list[Raw]] = []
    size = 0
    for item in updates:
        if not groups or size + len(item) > MAX_FRAME_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(Raw(item))
        size += len(item) + 1
    return [Batch(message("portfolio_update", now_ms, updates=group), len(group)) for group in groups]


def _summary(portfolio_id: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    where = {"truncated": True, "positions_url": f"/api/v1/portfolio/{portfolio_id}/positions"}
    small = {name: value for name, value in fields.items() if name not in _BULKY} | where
    if len(encode(small)) <= MAX_FRAME_BYTES:
        return small
    return {name: value for name, value in small.items() if name not in _LISTS}


def _moved(part: str, found: Mapping[str, str], sent: Mapping[str, str]) -> bool:
    return sent.get(part) != found[part]


def _digests(fields: Mapping[str, Raw]) -> dict[str, str]:
    parts = {name: raw for name, raw in fields.items() if name not in _NOT_PARTS and name != "positions"}
    parts |= {_position_part(position): position for position in _positions(fields)}
    return {name: blake2b(bytes(raw), digest_size=8).hexdigest() for name, raw in parts.items()}


def _positions(fields: Mapping[str, Raw]) -> list[Raw]:
    return _list.decode(fields["positions"]) if "positions" in fields else []


def _position_part(position: Raw) -> str:
    return "positions/" + _named.decode(position).instrument_id
