"""The shard count, fixed in the hot table by whoever asks first: pk ``STORE``, sk ``SHARDS``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foliostream.adapters.dynamodb_batch import Item, conditional, our_errors
from foliostream.errors import SettingsError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_KEY: Item = {"pk": {"S": "STORE"}, "sk": {"S": "SHARDS"}}


class DynamoDbHotShards:
    """Asks once per process."""

    def __init__(self, client: DynamoDBClient, hot_table: str, shards: int) -> None:
        self._client = client
        self._table = hot_table
        self.count = shards
        self._is_checked = False

    def check(self) -> None:
        """``SettingsError`` where the store was filled with another number."""
        if self._is_checked:
            return
        stored = self._stored() or self._fix()
        if stored != self.count:
            raise SettingsError(
                f"PORTFOLIO_SHARDS: the hot store was filled with {stored} shards, the setting is {self.count}; "
                "another number needs a rebuild of the store"
            )
        self._is_checked = True

    def _stored(self) -> int | None:
        with our_errors(f"GetItem shards in {self._table}"):
            answer = self._client.get_item(TableName=self._table, Key=_KEY, ConsistentRead=True)
        return int(answer["Item"]["shards"]["N"]) if "Item" in answer else None

    def _fix(self) -> int:
        attempt = conditional(
            self._client.put_item,
            f"PutItem shards in {self._table}",
            {
                "TableName": self._table,
                "Item": {**_KEY, "shards": {"N": str(self.count)}},
                "ConditionExpression": "attribute_not_exists(pk)",
            },
        )
        return self.count if attempt.held else int(attempt.item["shards"]["N"])
