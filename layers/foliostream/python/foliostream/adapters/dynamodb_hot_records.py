"""Promised bundles in the hot table: pk ``DIRTY#live#17``, sk the bundle's id."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING

from foliostream.adapters.dynamodb_batch import Item, batch_write
from foliostream.adapters.dynamodb_hot_shards import DynamoDbHotShards
from foliostream.adapters.hot_codec import DirtyRecord, encode_record
from foliostream.domain.coalescing import Bundle
from foliostream.ports import Clock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class DynamoDbHotDirtyRecords:
    """The port ``DirtyRecords``."""

    def __init__(
        self, client: DynamoDBClient, hot_table: str, clock: Clock, shards: DynamoDbHotShards, pool: Executor
    ) -> None:
        self._client = client
        self._table = hot_table
        self._clock = clock
        self._shards = shards
        self._pool = pool

    def record(self, account_type: str, bundles: Sequence[Bundle]) -> None:
        """Before they are sent."""
        self._shards.check()
        now_ms = self._clock.now_ms()
        items = [
            _key(account_type, bundle.shard, bundle.bundle_id)
            | {"record": {"B": encode_record(DirtyRecord(now_ms, bundle.message))}}
            for bundle in bundles
        ]
        batch_write(self._client, self._table, puts=items, pool=self._pool)

    def forget(self, account_type: str, bundle_ids: Collection[tuple[int, str]]) -> None:
        """After their snapshots are written."""
        self._shards.check()
        keys = [_key(account_type, shard, bundle_id) for shard, bundle_id in bundle_ids]
        batch_write(self._client, self._table, deletes=keys, pool=self._pool)


def _key(account_type: str, shard: int, bundle_id: str) -> Item:
    return {"pk": {"S": f"DIRTY#{account_type}#{shard}"}, "sk": {"S": bundle_id}}
