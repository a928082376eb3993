"""The system's counters in the hot table: pk ``COUNTERS#3``, sk ``COUNTERS``."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from os import getpid
from typing import TYPE_CHECKING, Any, Final

from foliostream.adapters.dynamodb_batch import Item, batch_get, our_errors
from foliostream.ports import Clock, Counted

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# An item takes 1,000 writes a second; every invocation that counts is one. Whoever reads adds the items up.
ITEMS: Final = 8
_SINCE: Final = "since_ms"


class DynamoDbHotCounters:
    """The port ``Counters``."""

    def __init__(self, client: DynamoDBClient, hot_table: str, clock: Clock) -> None:
        self._client = client
        self._table = hot_table
        self._clock = clock
        self._turn = count(getpid())

    def count(self, figures: Mapping[str, int]) -> None:
        """Add to the sums of one of the items."""
        added = {name: number for name, number in figures.items() if number}
        if not added:
            return
        values: Item = {f":{name}": {"N": str(number)} for name, number in added.items()}
        with our_errors(f"UpdateItem counters in {self._table}"):
            self._client.update_item(
                TableName=self._table,
                Key=_key(next(self._turn) % ITEMS),
                UpdateExpression="SET #since = if_not_exists(#since, :since) ADD "
                + ", ".join(f"#{name} :{name}" for name in added),
                ExpressionAttributeNames={"#since": _SINCE} | {f"#{name}": name for name in added},
                ExpressionAttributeValues=values | {":since": {"N": str(self._clock.now_ms())}},
            )

    def counted(self) -> Counted:
        """The sums over all items."""
        sums: dict[str, int] = {}
        since: list[int] = []
        for item in batch_get(self._client, self._table, [_key(number) for number in range(ITEMS)]):
            figures: dict[str, Any] = {name: int(value["N"]) for name, value in item.items() if "N" in value}
            since.append(figures.pop(_SINCE))
            for name, number in figures.items():
                sums[name] = sums.get(name, 0) + number
        return Counted(min(since, default=0), sums)


def _key(number: int) -> Item:
    return {"pk": {"S": f"COUNTERS#{number}"}, "sk": {"S": "COUNTERS"}}
