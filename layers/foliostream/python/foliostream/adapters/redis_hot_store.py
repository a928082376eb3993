"""The hot store in Redis or Valkey: its parts over one connection."""

from __future__ import annotations

from foliostream.adapters.redis_connection import RedisConnection
from foliostream.adapters.redis_counters import RedisCounters
from foliostream.adapters.redis_holders import RedisHolders
from foliostream.adapters.redis_order_hints import RedisOrderHints
from foliostream.adapters.redis_paces import RedisPaces
from foliostream.adapters.redis_portfolios import RedisPortfolios
from foliostream.adapters.redis_prices import RedisPrices
from foliostream.adapters.redis_records import RedisDirtyRecords
from foliostream.ports import Clock


class RedisHotStore:
    """The ports ``HotStore``, ``Holders`` and ``Dependents``. Nothing is connected before the first call."""

    def __init__(self, connection: RedisConnection, clock: Clock) -> None:
        prices = RedisPrices(connection)
        self.get = prices.get
        self.put = prices.put

        holders = RedisHolders(connection)
        self.holders = holders.holders
        self.add = holders.add
        self.missing = holders.missing
        self.restore = holders.restore
        self.remove = holders.remove

        portfolios = RedisPortfolios(connection, clock)
        self.put_book = portfolios.put_book
        self.load = portfolios.load
        self.read = portfolios.read
        self.save = portfolios.save
        self.watch = portfolios.watch
        self.unwatch = portfolios.unwatch
        self.watchers = portfolios.watchers

        paces = RedisPaces(connection)
        self.paces = paces.paces
        self.pace = paces.pace

        records = RedisDirtyRecords(connection, clock)
        self.record = records.record
        self.forget = records.forget
        self.promised = records.promised

        counters = RedisCounters(connection, clock)
        self.count = counters.count
        self.counted = counters.counted

        hints = RedisOrderHints(connection)
        self.hinted = hints.hinted
        self.hint = hints.hint
        self.unhint = hints.unhint
