"""How heads and dirty records look at rest, for both hot stores, and the limits both keep."""

from __future__ import annotations

import os

import msgspec
from msgspec import Struct

from foliostream.domain import margin_status
from foliostream.domain.coalescing import DirtyMessage
from foliostream.domain.snapshot import Snapshot
from foliostream.errors import RefusedError
from foliostream.ports import Head, Promised

# A portfolio watched by more connections than this is a broadcast, which API Gateway has no call for.
WATCHERS_MAX = 200


class DirtyRecord(Struct, frozen=True):
    """A bundle that is promised: when it was recorded, and the message, so that it can be sent again."""

    recorded_at_ms: int
    message: DirtyMessage


encode_record = msgspec.json.Encoder().encode
decode_record = msgspec.json.Decoder(DirtyRecord).decode


def promised(shard: int, bundle_id: str, raw: bytes) -> Promised:
    """A record as the port gives it, also one that cannot be read."""
    try:
        record = decode_record(raw)
    except msgspec.MsgspecError:
        return Promised(shard, bundle_id, 0, None)
    return Promised(shard, bundle_id, record.recorded_at_ms, record.message)


def head_of(snapshot: Snapshot) -> Head:
    """The head a snapshot is stored under."""
    margin = margin_status.encode(snapshot.margin)
    return Head(
        snapshot.version,
        snapshot.ledger_version,
        snapshot.read_at_ms,
        snapshot.fresh_until_ms,
        snapshot.owner,
        margin,
    )


def write_token() -> str:
    """Names one attempt to write, so that its repeat after a lost answer is known for what it is. Two valuers in the
    same millisecond may make equal heads; their tokens differ."""
    return os.urandom(8).hex()


def too_many_watchers(portfolio_id: str) -> RefusedError:
    """The answer to one watcher too many."""
    return RefusedError(
        f"portfolio {portfolio_id} is watched by {WATCHERS_MAX} connections, which is the limit",
        code="TOO_MANY_WATCHERS",
        details=[{"portfolio_id": portfolio_id, "limit": WATCHERS_MAX}],
    )
