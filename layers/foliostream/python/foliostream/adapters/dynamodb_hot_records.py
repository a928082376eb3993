"""Promised bundles in the hot table: pk ``DIRTY#live#17``, sk the bundle's id."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

from foliostream.adapters.dynamodb_batch import Item, batch_write, each, our_errors
from foliostream.adapters.dynamodb_hot_shards import DynamoDbHotShards
from foliostream.adapters.hot_codec import DirtyRecord, encode_record, promised
from foliostream.domain.coalescing import Bundle
from foliostream.ports import Clock, Promised

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# Shards read side by side; a page of each is at most 1 MB.
SHARDS_AT_ONCE = 16


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

    def promised(self, account_type: str) -> Iterator[Sequence[Promised]]:
        """A query a shard and page, several side by side; an empty shard costs a read unit."""
        self._shards.check()
        waiting: list[tuple[int, Item | None]] = [(shard, None) for shard in range(self._shards.count)]
        while waiting:
            now, waiting = waiting[:SHARDS_AT_ONCE], waiting[SHARDS_AT_ONCE:]
            pages = each(self._pool, lambda position: self._page(account_type, *position), now)
            for (shard, _), page in zip(now, pages, strict=True):
                if "LastEvaluatedKey" in page:
                    waiting.append((shard, page["LastEvaluatedKey"]))
                if page["Items"]:
                    yield [promised(shard, item["sk"]["S"], item["record"]["B"]) for item in page["Items"]]

    def _page(self, account_type: str, shard: int, after: Item | None) -> Item:
        options: dict[str, Any] = {"ExclusiveStartKey": after} if after else {}
        with our_errors(f"Query records of shard {shard} in {self._table}"):
            page: Any = self._client.query(
                TableName=self._table,
                ConsistentRead=True,
                KeyConditionExpression="pk = :pk",
                ExpressionAttributeValues={":pk": _key(account_type, shard, "")["pk"]},
                **options,
            )
        found: Item = page
        return found


def _key(account_type: str, shard: int, bundle_id: str) -> Item:
    return {"pk": {"S": f"DIRTY#{account_type}#{shard}"}, "sk": {"S": bundle_id}}
