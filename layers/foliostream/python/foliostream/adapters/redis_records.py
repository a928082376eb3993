"""Promised bundles in Redis: a hash ``dirty:{s17}:live`` per shard and account type, bundle id -> record."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from foliostream.adapters.hot_codec import DirtyRecord, encode_record
from foliostream.adapters.redis_connection import RedisConnection, command
from foliostream.domain.coalescing import Bundle
from foliostream.ports import Clock


class RedisDirtyRecords:
    """The port ``DirtyRecords``."""

    def __init__(self, connection: RedisConnection, clock: Clock) -> None:
        self._redis = connection
        self._clock = clock

    def record(self, account_type: str, bundles: Sequence[Bundle]) -> None:
        """Before they are sent."""
        now_ms = self._clock.now_ms()
        by_shard: dict[int, list[str | bytes]] = {}
        for bundle in bundles:
            record = encode_record(DirtyRecord(now_ms, bundle.message))
            by_shard.setdefault(bundle.shard, []).extend((bundle.bundle_id, record))
        self._redis.call_all([command("HSET", _key(shard, account_type), *pairs) for shard, pairs in by_shard.items()])

    def forget(self, account_type: str, bundle_ids: Collection[tuple[int, str]]) -> None:
        """After their snapshots are written."""
        by_shard: dict[int, list[str]] = {}
        for shard, bundle_id in bundle_ids:
            by_shard.setdefault(shard, []).append(bundle_id)
        self._redis.call_all([command("HDEL", _key(shard, account_type), *ids) for shard, ids in by_shard.items()])


def _key(shard: int, account_type: str) -> str:
    return f"dirty:{{s{shard}}}:{account_type}"
