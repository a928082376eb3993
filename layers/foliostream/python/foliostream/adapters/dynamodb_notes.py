"""Notes on DynamoDB, in whatever table they belong to: pk ``NOTE#compare``, sk ``NOTE``."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from foliostream.adapters.dynamodb_batch import Item, batch_get, our_errors
from foliostream.errors import PermanentError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_PREFIX: Final = "NOTE#"
NOTE_BYTES_MAX: Final = 300_000


class DynamoDbNotes:
    """Implements ``ports.Notes``; the last writer wins."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def read(self, name: str) -> bytes | None:
        """None if there is none."""
        with our_errors(f"GetItem note {name} in {self._table}"):
            answer = self._client.get_item(TableName=self._table, Key=_key(name), ConsistentRead=True)
        return bytes(answer["Item"]["note"]["B"]) if "Item" in answer else None

    def read_all(self, names: Collection[str]) -> dict[str, bytes]:
        """Those that there are."""
        items = batch_get(self._client, self._table, [_key(name) for name in names])
        return {item["pk"]["S"].removeprefix(_PREFIX): bytes(item["note"]["B"]) for item in items}

    def keep(self, name: str, note: bytes) -> None:
        """In the place of the last one."""
        if len(note) > NOTE_BYTES_MAX:
            raise PermanentError(
                f"note {name} has {len(note)} bytes, {NOTE_BYTES_MAX} is the limit",
                code="NOTE_TOO_LARGE",
                details=[{"limit": NOTE_BYTES_MAX, "value": len(note)}],
            )
        with our_errors(f"PutItem note {name} in {self._table}"):
            self._client.put_item(TableName=self._table, Item=_key(name) | {"note": {"B": note}})


def _key(name: str) -> Item:
    return {"pk": {"S": _PREFIX + name}, "sk": {"S": "NOTE"}}
