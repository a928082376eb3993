"""Who watches a portfolio: a map of connection id -> end of its lease, in the snapshot's own item, so that the write
of a snapshot brings its watchers back without another read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from foliostream.adapters.dynamodb_batch import Attempt, Item, batch_get, conditional
from foliostream.adapters.hot_codec import WATCHERS_MAX, too_many_watchers
from foliostream.errors import RetryableError
from foliostream.ports import Clock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# Once after somebody else made the map, once after clearing a full one, and somebody may be faster each time.
_TRIES_MAX = 4


def snapshot_key(portfolio_id: str) -> Item:
    """The key of the item that holds snapshot and watchers."""
    return {"pk": {"S": f"PORTFOLIO#{portfolio_id}"}, "sk": {"S": "SNAPSHOT"}}


def leases(item: Item) -> dict[str, int]:
    """Connection id -> end of its lease."""
    return {name: int(value["N"]) for name, value in item.get("watchers", {}).get("M", {}).items()}


class DynamoDbHotWatchers:
    """Watching, of the port ``Snapshots``."""

    def __init__(self, client: DynamoDBClient, hot_table: str, clock: Clock) -> None:
        self._client = client
        self._table = hot_table
        self._clock = clock

    def watch(self, portfolio_id: str, connection_id: str, lease_until_ms: int) -> None:
        """Register a watcher, or move the end of its lease."""
        for _ in range(_TRIES_MAX):
            attempt = self._put(portfolio_id, connection_id, lease_until_ms)
            if not attempt.held and "watchers" not in attempt.item:
                attempt = self._put_first(portfolio_id, connection_id, lease_until_ms)
            if attempt.held:
                return
            found = leases(attempt.item)
            if len(found) >= WATCHERS_MAX and len(self.live(portfolio_id, found, self._clock.now_ms())) >= WATCHERS_MAX:
                raise too_many_watchers(portfolio_id)
        raise RetryableError(f"DynamoDB, watchers of {portfolio_id} in {self._table}: others changed them every time")

    def unwatch(self, portfolio_id: str, connection_ids: Collection[str]) -> None:
        """Remove watchers."""
        names = {f"#c{number}": connection_id for number, connection_id in enumerate(connection_ids)}
        if names:
            paths = ", ".join(f"#watchers.{name}" for name in names)
            self._update(portfolio_id, f"REMOVE {paths}", "attribute_exists(#watchers)", names, {})

    def watchers(self, portfolio_ids: Collection[str], at_ms: int) -> dict[str, list[str]]:
        """Those whose lease goes on after ``at_ms``."""
        keys = [snapshot_key(portfolio_id) for portfolio_id in portfolio_ids]
        items = batch_get(self._client, self._table, keys, projection="pk, watchers")
        found = {
            item["pk"]["S"].partition("#")[2]: [name for name, lease in leases(item).items() if lease > at_ms]
            for item in items
        }
        return {portfolio_id: live for portfolio_id, live in found.items() if live}

    def live(self, portfolio_id: str, found: Mapping[str, int], at_ms: int) -> list[str]:
        """Those whose lease goes on after ``at_ms``; the others are removed, unless renewed meanwhile."""
        ended = [connection_id for connection_id, lease in found.items() if lease <= at_ms]
        if ended:
            names = {f"#c{number}": connection_id for number, connection_id in enumerate(ended)}
            values = {f":l{number}": {"N": str(found[connection_id])} for number, connection_id in enumerate(ended)}
            paths = [f"#watchers.#c{number}" for number in range(len(ended))]
            unchanged = " AND ".join(f"{path} = :l{number}" for number, path in enumerate(paths))
            self._update(portfolio_id, f"REMOVE {', '.join(paths)}", unchanged, names, values)
        return [connection_id for connection_id, lease in found.items() if lease > at_ms]

    def _put(self, portfolio_id: str, connection_id: str, lease_until_ms: int) -> Attempt:
        """Refused where there is no map, or a full one."""
        return self._update(
            portfolio_id,
            "SET #watchers.#connection = :lease",
            "attribute_exists(#watchers.#connection) OR (attribute_exists(#watchers) AND size(#watchers) < :limit)",
            {"#connection": connection_id},
            {":lease": {"N": str(lease_until_ms)}, ":limit": {"N": str(WATCHERS_MAX)}},
        )

    def _put_first(self, portfolio_id: str, connection_id: str, lease_until_ms: int) -> Attempt:
        """Make the map with its first watcher."""
        watchers = {"M": {connection_id: {"N": str(lease_until_ms)}}}
        missing = "attribute_not_exists(#watchers)"
        return self._update(portfolio_id, "SET #watchers = :watchers", missing, {}, {":watchers": watchers})

    def _update(
        self, portfolio_id: str, change: str, condition: str, names: Mapping[str, str], values: Item
    ) -> Attempt:
        arguments: dict[str, Any] = {
            "TableName": self._table,
            "Key": snapshot_key(portfolio_id),
            "UpdateExpression": change,
            "ConditionExpression": condition,
            "ExpressionAttributeNames": {"#watchers": "watchers", **names},
        }
        if values:  # an empty one is refused
            arguments["ExpressionAttributeValues"] = values
        return conditional(self._client.update_item, f"UpdateItem watchers {portfolio_id} in {self._table}", arguments)
