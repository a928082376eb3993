"""Paces in the hot table: pk ``PORTFOLIO#12345``, sk ``PACE``."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

from foliostream.adapters.dynamodb_batch import Item, batch_get, conditional, each
from foliostream.domain import pacing
from foliostream.domain.pacing import Pace
from foliostream.ports import Paced

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class DynamoDbHotPaces:
    """The port ``Paces``."""

    def __init__(self, client: DynamoDBClient, hot_table: str, pool: Executor) -> None:
        self._client = client
        self._table = hot_table
        self._pool = pool

    def paces(self, portfolio_ids: Collection[str]) -> dict[str, Pace]:
        """Batches side by side."""
        items = batch_get(self._client, self._table, [_key(name) for name in portfolio_ids], pool=self._pool)
        return {item["pk"]["S"].removeprefix("PORTFOLIO#"): pacing.decode(item["pace"]["S"]) for item in items}

    def pace(self, changes: Sequence[Paced]) -> list[bool]:
        """A conditional write each, side by side (batch writes take no condition); answers in the order given."""
        return each(self._pool, self._pace, changes)

    def _pace(self, change: Paced) -> bool:
        after = _text(change.after)
        arguments: dict[str, Any] = {
            "TableName": self._table,
            "Item": {**_key(change.portfolio_id), "pace": after},
            "ConditionExpression": "attribute_not_exists(pk)",
        }
        if change.before is not None:
            arguments["ConditionExpression"] = "pace = :before"
            arguments["ExpressionAttributeValues"] = {":before": _text(change.before)}
        attempt = conditional(self._client.put_item, f"PutItem pace {change.portfolio_id} in {self._table}", arguments)
        # Refused by what we wrote ourselves: the answer was lost and the client repeated the call.
        return attempt.held or attempt.item.get("pace") == after


def _key(portfolio_id: str) -> Item:
    return {"pk": {"S": f"PORTFOLIO#{portfolio_id}"}, "sk": {"S": "PACE"}}


def _text(pace: Pace) -> dict[str, str]:
    return {"S": pacing.encode(pace).decode()}
