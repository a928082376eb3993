"""Daily closes on DynamoDB: an item a symbol in the ledger's table, pk ``INSTRUMENT#{symbol}``, sk ``CLOSES``.

``closes`` has all of them, ``recent`` the newest again: the metrics of a portfolio read fifty symbols at once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from concurrent.futures import Executor
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from foliostream.adapters.dynamodb_batch import Item, batch_get, conditional, our_errors
from foliostream.domain import closes as daily
from foliostream.domain.closes import RECENT_CLOSES, Closes
from foliostream.errors import RetryableError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# Somebody else writes the same symbol: seldom, and never for long.
ROUNDS_MAX: Final = 5


class DynamoDbCloses:
    """Implements ``ports.PriceHistory``. ``pool`` reads chunks of many symbols side by side."""

    def __init__(self, client: DynamoDBClient, table: str, pool: Executor) -> None:
        self._client = client
        self._table = table
        self._pool = pool

    def merge(self, symbol: str, closes: Mapping[str, Decimal]) -> Closes:
        """Read, merged and written under the condition that nobody else has written meanwhile."""
        for _ in range(ROUNDS_MAX):
            item = self._item(symbol, "closes, version")
            stored = daily.decode(item["closes"]["B"]) if item else {}
            kept = daily.merged(stored, closes)
            if kept == stored or self._put(symbol, kept, int(item["version"]["N"]) if item else 0):
                return kept
        raise RetryableError(f"the closes of {symbol} changed {ROUNDS_MAX} times meanwhile")

    def all(self, symbol: str) -> Closes:
        """Oldest first."""
        item = self._item(symbol, "closes")
        return daily.decode(item["closes"]["B"]) if item else {}

    def recent(self, symbols: Collection[str]) -> dict[str, Closes]:
        """A batch of small reads."""
        keys = [_key(symbol) for symbol in symbols]
        items = batch_get(self._client, self._table, keys, projection="pk, recent", pool=self._pool)
        return {item["pk"]["S"].partition("#")[2]: daily.decode(item["recent"]["B"]) for item in items}

    def _item(self, symbol: str, projection: str) -> Item:
        with our_errors(f"GetItem closes of {symbol} in {self._table}"):
            answer: Any = self._client.get_item(
                TableName=self._table, Key=_key(symbol), ConsistentRead=True, ProjectionExpression=projection
            )
        item: Item = answer.get("Item", {})
        return item

    def _put(self, symbol: str, kept: Closes, version: int) -> bool:
        newest = dict(list(kept.items())[-RECENT_CLOSES:])
        item = _key(symbol) | {
            "version": {"N": str(version + 1)},
            "closes": {"B": daily.encode(kept)},
            "recent": {"B": daily.encode(newest)},
        }
        condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(pk)"}
        if version:
            condition = {
                "ConditionExpression": "#version = :version",
                "ExpressionAttributeNames": {"#version": "version"},
                "ExpressionAttributeValues": {":version": {"N": str(version)}},
            }
        arguments = {"TableName": self._table, "Item": item, **condition}
        return conditional(self._client.put_item, f"PutItem closes of {symbol} in {self._table}", arguments).held


def _key(symbol: str) -> Item:
    return {"pk": {"S": f"INSTRUMENT#{symbol}"}, "sk": {"S": "CLOSES"}}
