"""Promised bundles in Redis: a hash ``dirty:{s17}:live`` per shard and account type, bundle id -> record."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from foliostream.adapters.hot_codec import DirtyRecord, encode_record, promised
from foliostream.adapters.redis_connection import RedisConnection, command
from foliostream.domain.coalescing import Bundle
from foliostream.ports import Clock, Promised

# Records are read in parts: a full one has 2,000 keys of up to 70 bytes, so at most 16 x 20 x 140 KB are in memory.
SHARDS_AT_ONCE = 16
RECORDS_PER_PART = 20


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

    def promised(self, account_type: str) -> Iterator[Sequence[Promised]]:
        """HSCAN of every shard, several shards a round trip."""
        waiting = [(shard, 0) for shard in range(self._redis.shards)]
        while waiting:
            now, waiting = waiting[:SHARDS_AT_ONCE], waiting[SHARDS_AT_ONCE:]
            answers = self._redis.call_all(
                [
                    command("HSCAN", _key(shard, account_type), cursor, "COUNT", RECORDS_PER_PART)
                    for shard, cursor in now
                ]
            )
            for (shard, _), (cursor, records) in zip(now, answers, strict=True):
                if int(cursor):
                    waiting.append((shard, int(cursor)))
                if records:
                    yield [promised(shard, name.decode(), raw) for name, raw in records.items()]


def _key(shard: int, account_type: str) -> str:
    return f"dirty:{{s{shard}}}:{account_type}"
