"""Symbols that may have open orders, in the hot table: pk ``ORDERS#AAPL``, sk ``ORDERS``."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import Executor
from typing import TYPE_CHECKING

from foliostream.adapters.dynamodb_batch import Item, batch_get, batch_write

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class DynamoDbHotOrderHints:
    """The port ``OrderHints``."""

    def __init__(self, client: DynamoDBClient, hot_table: str, pool: Executor) -> None:
        self._client = client
        self._table = hot_table
        self._pool = pool

    def hinted(self, symbols: Collection[str]) -> set[str]:
        """One read unit a symbol, a hundred symbols a call; a tick costs twelve for its holders."""
        keys = [_key(symbol) for symbol in symbols]
        found = batch_get(self._client, self._table, keys, projection="pk", pool=self._pool)
        return {item["pk"]["S"].partition("#")[2] for item in found}

    def hint(self, symbols: Collection[str]) -> None:
        """Add them."""
        batch_write(self._client, self._table, puts=[_key(symbol) for symbol in symbols])

    def unhint(self, symbols: Collection[str]) -> None:
        """Remove them."""
        batch_write(self._client, self._table, deletes=[_key(symbol) for symbol in symbols])


def _key(symbol: str) -> Item:
    return {"pk": {"S": f"ORDERS#{symbol}"}, "sk": {"S": "ORDERS"}}
