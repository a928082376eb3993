"""The hot store in DynamoDB: its parts over one table (string keys pk and sk)."""

from __future__ import annotations

from concurrent.futures import Executor
from typing import TYPE_CHECKING

from foliostream.adapters.dynamodb_hot_counters import DynamoDbHotCounters
from foliostream.adapters.dynamodb_hot_order_hints import DynamoDbHotOrderHints
from foliostream.adapters.dynamodb_hot_paces import DynamoDbHotPaces
from foliostream.adapters.dynamodb_hot_portfolios import DynamoDbHotPortfolios
from foliostream.adapters.dynamodb_hot_prices import DynamoDbHotPrices
from foliostream.adapters.dynamodb_hot_records import DynamoDbHotDirtyRecords
from foliostream.adapters.dynamodb_hot_shards import DynamoDbHotShards
from foliostream.adapters.dynamodb_hot_watchers import DynamoDbHotWatchers
from foliostream.ports import Clock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class DynamoDbHotStore:
    """The port ``HotStore``. ``pool`` runs calls side by side (a ThreadPoolExecutor starts no thread before its first
    task); ``shards``: fixed in the table at first use, ``SettingsError`` for another number."""

    def __init__(self, client: DynamoDBClient, hot_table: str, clock: Clock, pool: Executor, *, shards: int) -> None:
        prices = DynamoDbHotPrices(client, hot_table, pool)
        self.get = prices.get
        self.put = prices.put

        fixed_shards = DynamoDbHotShards(client, hot_table, shards)
        watchers = DynamoDbHotWatchers(client, hot_table, clock)
        self.watch = watchers.watch
        self.unwatch = watchers.unwatch
        self.watchers = watchers.watchers

        portfolios = DynamoDbHotPortfolios(client, hot_table, watchers, fixed_shards, pool)
        self.put_book = portfolios.put_book
        self.load = portfolios.load
        self.read = portfolios.read
        self.save = portfolios.save

        paces = DynamoDbHotPaces(client, hot_table, pool)
        self.paces = paces.paces
        self.pace = paces.pace

        records = DynamoDbHotDirtyRecords(client, hot_table, clock, fixed_shards, pool)
        self.record = records.record
        self.forget = records.forget
        self.promised = records.promised

        counters = DynamoDbHotCounters(client, hot_table, clock)
        self.count = counters.count
        self.counted = counters.counted

        hints = DynamoDbHotOrderHints(client, hot_table, pool)
        self.hinted = hints.hinted
        self.hint = hints.hint
        self.unhint = hints.unhint
