"""Turns on DynamoDB: one item a limit, pk ``TURN#{name}``, moved on by whoever gets the turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foliostream.adapters.dynamodb_batch import our_errors
from foliostream.errors import ConflictError
from foliostream.ports import Clock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class DynamoDbTurns:
    """Implements ``ports.Turns``."""

    def __init__(self, client: DynamoDBClient, table: str, clock: Clock) -> None:
        self._client = client
        self._table = table
        self._clock = clock

    def take(self, name: str, gap_ms: int) -> int:
        """A turn that lies further ahead than a gap was set by a clock that is wrong: it does not count."""
        now_ms = self._clock.now_ms()
        try:
            with our_errors(f"UpdateItem turn {name} in {self._table}"):
                self._client.update_item(
                    TableName=self._table,
                    Key={"pk": {"S": f"TURN#{name}"}, "sk": {"S": "TURN"}},
                    UpdateExpression="SET next_at = :next",
                    ConditionExpression="attribute_not_exists(next_at) OR next_at <= :now OR next_at > :far",
                    ExpressionAttributeValues={
                        ":next": {"N": str(now_ms + gap_ms)},
                        ":now": {"N": str(now_ms)},
                        ":far": {"N": str(now_ms + 2 * gap_ms)},
                    },
                )
        except ConflictError:
            return gap_ms
        return 0
