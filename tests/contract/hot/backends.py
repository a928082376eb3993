"""The hot stores the contract is held against, and how a test looks at what they keep."""

from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import redis

from foliostream.adapters.dynamodb_batch import batch_write
from foliostream.adapters.dynamodb_holders import DynamoDbHolders, holder_key
from foliostream.adapters.dynamodb_hot_store import DynamoDbHotStore
from foliostream.adapters.hot_codec import DirtyRecord, decode_record
from foliostream.adapters.redis_connection import RedisConnection
from foliostream.adapters.redis_hot_store import RedisHotStore
from foliostream.domain.keys import split_key
from foliostream.ports import Dependents, Holders, HotStore
from tests.fakes.clock import FakeClock
from tests.fakes.hot_store import FakeHotStore

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

SHARDS = 64
NOW_MS = 1_700_000_000_000


class Recorded(Protocol):
    """Reads the dirty records of one shard past the port, by bundle id."""

    def __call__(self, account_type: str, shard: int) -> dict[str, DirtyRecord]:
        """Those that stand."""


@dataclass(frozen=True)
class Backend:
    """An empty store. ``reopened`` is another process's view of the same store, maybe set to other shards."""

    store: HotStore
    holders: Holders
    dependents: Dependents
    recorded: Recorded
    clock: FakeClock
    reopened: Callable[[int], HotStore] | None = None


def fake() -> Backend:
    """In memory; nothing can be reopened."""
    clock = FakeClock(NOW_MS)
    store = FakeHotStore(clock)

    def recorded(account_type: str, shard: int) -> dict[str, DirtyRecord]:
        found = store.records.items()
        return {bundle_id: record for (kind, at, bundle_id), record in found if (kind, at) == (account_type, shard)}

    return Backend(store, store, store, recorded, clock)


@contextmanager
def valkey(url: str) -> Iterator[Backend]:
    """The server at the address, emptied first."""
    clock = FakeClock(NOW_MS)
    opened: list[RedisConnection] = []

    def reopened(shards: int) -> RedisHotStore:
        opened.append(RedisConnection(url, shards=shards))
        return RedisHotStore(opened[-1], clock)

    with redis.Redis.from_url(url, protocol=2) as direct:
        direct.flushall()

        def recorded(account_type: str, shard: int) -> dict[str, DirtyRecord]:
            stored = direct.execute_command("HGETALL", f"dirty:{{s{shard}}}:{account_type}")
            return {bundle_id.decode(): decode_record(raw) for bundle_id, raw in stored.items()}

        store = reopened(SHARDS)
        yield Backend(store, store, store, recorded, clock, reopened)
    for connection in opened:
        connection.close()


def dynamodb(client: "DynamoDBClient", hot_table: str, ledger_table: str, pool: Executor) -> Backend:
    """Empty tables."""
    clock = FakeClock(NOW_MS)

    def reopened(shards: int) -> DynamoDbHotStore:
        return DynamoDbHotStore(client, hot_table, clock, pool, shards=shards)

    def recorded(account_type: str, shard: int) -> dict[str, DirtyRecord]:
        page = client.query(
            TableName=hot_table,
            ConsistentRead=True,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": f"DIRTY#{account_type}#{shard}"}},
        )
        return {item["sk"]["S"]: decode_record(item["record"]["B"]) for item in page["Items"]}

    holders = HoldersOfALedger(client, ledger_table, pool)
    return Backend(reopened(SHARDS), holders, holders, recorded, clock, reopened)


class HoldersOfALedger(DynamoDbHolders):
    """Dependents come to be here by a ledger's commit; ``add`` writes what one would."""

    def add(self, portfolio_key: str, symbols: Collection[str]) -> None:
        account_type, _ = split_key(portfolio_key)
        items = [holder_key(symbol, account_type, portfolio_key) for symbol in symbols]
        batch_write(self._client, self._table, puts=items, pool=self._pool)
