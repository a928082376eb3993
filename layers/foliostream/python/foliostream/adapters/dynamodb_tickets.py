"""Tickets on DynamoDB.

===============  ======  ===================================================
pk               sk      what
===============  ======  ===================================================
TICKET#{digest}  TICKET  owner, scopes, token_expires_at, expires_at_ms
===============  ======  ===================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from foliostream.adapters.dynamodb_batch import our_errors
from foliostream.ports import Claims, TakenTicket

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class DynamoDbTickets:
    """Implements ``ports.Tickets``."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def put(self, digest: str, claims: Claims, expires_at_ms: int) -> None:
        """DynamoDB deletes it by ``expires_at``, some time later."""
        item = _key(digest) | {
            "owner": {"S": claims.subject},
            "scopes": {"L": [{"S": scope} for scope in sorted(claims.scopes)]},
            "token_expires_at": {"N": str(claims.expires_at)},
            "expires_at_ms": {"N": str(expires_at_ms)},
            "expires_at": {"N": str(-(-expires_at_ms // 1000))},
        }
        with our_errors(f"PutItem on {self._table}"):
            self._client.put_item(TableName=self._table, Item=item)

    def take(self, digest: str) -> TakenTicket | None:
        """One delete that answers with what it deleted: of two at once, one gets it."""
        with our_errors(f"DeleteItem on {self._table}"):
            answer: Any = self._client.delete_item(TableName=self._table, Key=_key(digest), ReturnValues="ALL_OLD")
        item = answer.get("Attributes")
        if not item:
            return None
        scopes = frozenset(scope["S"] for scope in item["scopes"]["L"])
        claims = Claims(item["owner"]["S"], scopes, int(item["token_expires_at"]["N"]))
        return TakenTicket(claims, int(item["expires_at_ms"]["N"]))


def _key(digest: str) -> dict[str, Any]:
    return {"pk": {"S": f"TICKET#{digest}"}, "sk": {"S": "TICKET"}}
