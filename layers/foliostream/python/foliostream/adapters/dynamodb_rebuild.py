"""How far a rebuild of the hot store has come, in the hot table (also where the hot store is another):

========  =============  ====================================================================================
pk        sk             what
========  =============  ====================================================================================
REBUILD   RUN            run_id, started_at_ms, segments (their number)
REBUILD   SEGMENT#003    run_id, cursor (none at its beginning and its end), finished, portfolios, broken
========  =============  ====================================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from foliostream.adapters.dynamodb_batch import Item, batch_get, batch_write, conditional
from foliostream.errors import ConflictError
from foliostream.ports import Rebuild, Segment

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_RUN: Final[Item] = {"pk": {"S": "REBUILD"}, "sk": {"S": "RUN"}}


class DynamoDbRebuildRecords:
    """Implements ``ports.RebuildRecords``; the next run writes over the last one's items."""

    def __init__(self, client: DynamoDBClient, hot_table: str) -> None:
        self._client = client
        self._table = hot_table

    def begin(self, run: Rebuild) -> None:
        """Segments first: a run is there once all of it is."""
        batch_write(self._client, self._table, puts=[_segment_item(run.run_id, segment) for segment in run.segments])
        head = {
            "run_id": {"S": run.run_id},
            "started_at_ms": {"N": str(run.started_at_ms)},
            "segments": {"N": str(len(run.segments))},
        }
        batch_write(self._client, self._table, puts=[_RUN | head])

    def current(self) -> Rebuild | None:
        """The run and its segments; None while its first items are written, too."""
        heads = batch_get(self._client, self._table, [_RUN])
        if not heads:
            return None
        run_id, count = heads[0]["run_id"]["S"], int(heads[0]["segments"]["N"])
        items = batch_get(self._client, self._table, [_segment_key(bucket) for bucket in range(count)])
        segments = [_segment(item) for item in items if item["run_id"]["S"] == run_id]
        if len(segments) < count:
            return None
        segments.sort(key=lambda segment: segment.bucket)
        return Rebuild(run_id, int(heads[0]["started_at_ms"]["N"]), segments)

    def segment(self, run_id: str, bucket: int) -> Segment | None:
        """None for a run that is over, or was lost with the table's items."""
        items = batch_get(self._client, self._table, [_segment_key(bucket)])
        return _segment(items[0]) if items and items[0]["run_id"]["S"] == run_id else None

    def advance(self, run_id: str, before: Segment, after: Segment) -> None:
        """A put if the stored item is the one that was read."""
        condition = "run_id = :run_id AND finished = :finished AND "
        values: Item = {":run_id": {"S": run_id}, ":finished": {"BOOL": before.is_finished}}
        if before.cursor is None:
            condition += "attribute_not_exists(#cursor)"
        else:
            condition += "#cursor = :cursor"
            values[":cursor"] = {"S": before.cursor}
        item = _segment_item(run_id, after)
        attempt = conditional(
            self._client.put_item,
            f"PutItem rebuild segment {after.bucket} in {self._table}",
            {
                "TableName": self._table,
                "Item": item,
                "ConditionExpression": condition,
                "ExpressionAttributeNames": {"#cursor": "cursor"},
                "ExpressionAttributeValues": values,
            },
        )
        # After a lost answer our own write refuses its repeat: then it stands as we wanted it.
        if not attempt.held and attempt.item != item:
            raise ConflictError(f"segment {after.bucket} of rebuild {run_id} has moved on", code="SEGMENT_MOVED")


def _segment_key(bucket: int) -> Item:
    return {"pk": {"S": "REBUILD"}, "sk": {"S": f"SEGMENT#{bucket:03d}"}}


def _segment_item(run_id: str, segment: Segment) -> Item:
    item = _segment_key(segment.bucket) | {
        "run_id": {"S": run_id},
        "portfolios": {"N": str(segment.portfolios)},
        "broken": {"N": str(segment.broken)},
        "finished": {"BOOL": segment.is_finished},
    }
    return item if segment.cursor is None else item | {"cursor": {"S": segment.cursor}}


def _segment(item: Item) -> Segment:
    return Segment(
        bucket=int(item["sk"]["S"].partition("#")[2]),
        cursor=item["cursor"]["S"] if "cursor" in item else None,
        portfolios=int(item["portfolios"]["N"]),
        broken=int(item["broken"]["N"]),
        is_finished=item["finished"]["BOOL"],
    )
