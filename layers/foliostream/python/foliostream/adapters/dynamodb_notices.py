"""Notices kept for replay, on DynamoDB.

======================  ============================  =======================
pk                      sk                            what
======================  ============================  =======================
NOTICES#{portfolio_id}  {kept_at_ms:015d}#{event_id}  kind, payload
======================  ============================  =======================

Items go by ``expires_at`` (epoch seconds), which reads check.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from foliostream.adapters.dynamodb_batch import batch_write, our_errors
from foliostream.ports import KeptNotice

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class DynamoDbNotices:
    """Implements ``ports.Notices``."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def keep(self, notices: Sequence[KeptNotice], expires_at_ms: int) -> None:
        """No condition, so that they go in bulk: one kept again is another item of the same event id."""
        expires_at = {"N": str(-(-expires_at_ms // 1000))}
        puts = [
            {
                "pk": {"S": f"NOTICES#{notice.portfolio_id}"},
                "sk": {"S": f"{notice.kept_at_ms:015d}#{notice.event_id}"},
                "kind": {"S": notice.kind},
                "payload": {"B": notice.payload},
                "expires_at": expires_at,
            }
            for notice in notices
        ]
        batch_write(self._client, self._table, puts=puts)

    def since(self, portfolio_id: str, after_ms: int, limit: int, now_ms: int) -> list[KeptNotice]:
        """The newest first from the index, turned round."""
        query: dict[str, Any] = {
            "TableName": self._table,
            "KeyConditionExpression": "pk = :pk AND sk >= :after",
            "FilterExpression": "expires_at > :now",
            "ExpressionAttributeValues": {
                ":pk": {"S": f"NOTICES#{portfolio_id}"},
                ":after": {"S": f"{max(after_ms, 0):015d}"},
                ":now": {"N": str(now_ms // 1000)},
            },
            "ConsistentRead": True,
            "ScanIndexForward": False,
        }
        found: list[KeptNotice] = []
        while len(found) < limit:
            with our_errors(f"Query on {self._table}"):
                answer: Any = self._client.query(**query, Limit=limit - len(found))
            found += [_notice(portfolio_id, item) for item in answer["Items"]]
            if "LastEvaluatedKey" not in answer:
                break
            query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
        return found[::-1]


def _notice(portfolio_id: str, item: dict[str, Any]) -> KeptNotice:
    kept_at_ms, _, event_id = item["sk"]["S"].partition("#")
    return KeptNotice(portfolio_id, event_id, item["kind"]["S"], int(kept_at_ms), bytes(item["payload"]["B"]))
