"""Connections with their subscriptions and outboxes on DynamoDB; all items of one connection share a partition.

================  ===========================  =======================================================
pk                sk                           what
================  ===========================  =======================================================
CONNECTION#{id}   CONNECTION                   owner, scopes, connected_at_ms, expires_at_ms, session_id,
                                               sent_events, told (JSON)
CONNECTION#{id}   SUBSCRIPTION#{portfolio_id}  sent_version, parts (JSON), generation
CONNECTION#{id}   OUTBOX#{entry_id}            payload; of a notice also event_id, portfolio_id, channel
================  ===========================  =======================================================

Every item has ``expires_at``, epoch seconds, for DynamoDB's own deletion, which may come days late: reads check it.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from foliostream.adapters.dynamodb_batch import batch_write, chunks, our_errors
from foliostream.adapters.dynamodb_transactions import retried, transact_write
from foliostream.domain.sessions import Told
from foliostream.errors import ConflictError, NotFoundError
from foliostream.ports import Connection, ConnectionView, Outgoing, Subscription, Watch, WatchPage

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_CONNECTION: Final = "CONNECTION"
_SUBSCRIPTION: Final = "SUBSCRIPTION#"
_OUTBOX: Final = "OUTBOX#"
# A transaction has 100 items; one of them is the check that the connection is still there.
_SUBSCRIPTIONS_AT_ONCE: Final = 99

_parts = msgspec.json.Decoder(dict[str, str])
_told = msgspec.json.Decoder(Told)


class DynamoDbConnections:
    """Implements ``ports.Connections``."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def open(self, connection: Connection) -> None:
        """At ``$connect``."""
        item = _item(connection, _CONNECTION) | {
            "owner": {"S": connection.owner},
            "scopes": {"L": [{"S": scope} for scope in sorted(connection.scopes)]},
            "connected_at_ms": {"N": str(connection.connected_at_ms)},
            "expires_at_ms": {"N": str(connection.expires_at_ms)},
            "session_id": {"S": connection.session_id},
            "told": {"S": msgspec.json.encode(connection.told).decode()},
        }
        with our_errors(f"PutItem on {self._table}"):
            self._client.put_item(TableName=self._table, Item=item)

    def view(self, connection_id: str, now_ms: int) -> ConnectionView | None:
        """One consistent query; subscriptions by portfolio id, the outbox in the order of sending."""
        items = {
            item["sk"]["S"]: item for item in self._items(connection_id) if int(item["expires_at"]["N"]) * 1000 > now_ms
        }
        row = items.pop(_CONNECTION, None)
        if row is None or int(row["expires_at_ms"]["N"]) <= now_ms:
            return None
        return ConnectionView(
            _connection(connection_id, row),
            [_subscription(sk, item) for sk, item in items.items() if sk.startswith(_SUBSCRIPTION)],
            [_outgoing(sk, item) for sk, item in items.items() if sk.startswith(_OUTBOX)],
        )

    def close(self, connection_id: str) -> list[str]:
        """Delete all of it; the portfolio ids it was subscribed to.

        The connection's own row goes first: from then on nobody can subscribe, so the query after it sees everything.
        """
        row = _key(connection_id, _CONNECTION)
        with our_errors(f"DeleteItem on {self._table}"):
            self._client.delete_item(TableName=self._table, Key=row)
        names = [item["sk"]["S"] for item in self._items(connection_id, projection="sk")]
        batch_write(self._client, self._table, deletes=[_key(connection_id, sk) for sk in names])
        return [sk.removeprefix(_SUBSCRIPTION) for sk in names if sk.startswith(_SUBSCRIPTION)]

    def subscribe(self, connection: Connection, portfolio_ids: Collection[str]) -> None:
        """Add or reset subscriptions; ``NotFoundError`` (``CONNECTION_CLOSED``) if the connection is gone, which
        this must not bring back."""
        generation = {"generation": {"S": uuid.uuid4().hex}}
        fresh = [
            _item(connection, _SUBSCRIPTION + portfolio_id) | generation | {"sent_version": {"N": "0"}}
            for portfolio_id in sorted(set(portfolio_ids))
        ]
        is_open = {
            "ConditionCheck": {
                "TableName": self._table,
                "Key": _key(connection.connection_id, _CONNECTION),
                "ConditionExpression": "attribute_exists(pk)",
            }
        }
        for part in chunks(fresh, _SUBSCRIPTIONS_AT_ONCE):
            puts = [{"Put": {"TableName": self._table, "Item": item}} for item in part]
            if transact_write(self._client, [is_open, *puts], f"TransactWriteItems on {self._table}"):
                raise NotFoundError(f"connection {connection.connection_id} is closed", code="CONNECTION_CLOSED")

    def unsubscribe(self, connection_id: str, portfolio_ids: Collection[str]) -> None:
        """Remove subscriptions; unknown ones are no error."""
        keys = [_key(connection_id, _SUBSCRIPTION + portfolio_id) for portfolio_id in portfolio_ids]
        batch_write(self._client, self._table, deletes=keys)

    def watches(self, after: str | None, limit: int) -> WatchPage:
        """A page of a scan: the table holds little but connections, and this is done once a rebuild."""
        scan: dict[str, Any] = {"TableName": self._table, "Limit": limit, "ProjectionExpression": "pk, sk, expires_at"}
        if after is not None:
            connection_id, _, sk = after.partition("|")
            scan["ExclusiveStartKey"] = _key(connection_id, sk)
        with our_errors(f"Scan of {self._table}"):
            answer: Any = self._client.scan(**scan)
        found = [
            Watch(
                item["sk"]["S"].removeprefix(_SUBSCRIPTION), _owner_of(item["pk"]), int(item["expires_at"]["N"]) * 1000
            )
            for item in answer["Items"]
            if item["sk"]["S"].startswith(_SUBSCRIPTION)
        ]
        last = answer.get("LastEvaluatedKey")
        return WatchPage(found, f"{_owner_of(last['pk'])}|{last['sk']['S']}" if last else None)

    def mark_sent(self, connection_id: str, subscription: Subscription) -> None:
        """Remember what was sent, if this very subscription still exists."""
        condition, values = "attribute_exists(pk)", {}
        if subscription.generation:
            condition, values = "generation = :generation", {":generation": {"S": subscription.generation}}
        values |= {
            ":version": {"N": str(subscription.sent_version)},
            ":parts": {"S": msgspec.json.encode(subscription.parts or {}).decode()},
        }
        try:
            retried(
                lambda: self._client.update_item(
                    TableName=self._table,
                    Key=_key(connection_id, _SUBSCRIPTION + subscription.portfolio_id),
                    UpdateExpression="SET sent_version = :version, parts = :parts",
                    ConditionExpression=condition,
                    ExpressionAttributeValues=values,
                ),
                f"UpdateItem on {self._table}",
            )
        except ConflictError:
            return  # unsubscribed, or subscribed anew: what was sent before does not count

    def enqueue(self, letters: Sequence[tuple[str, Outgoing]], expires_at_ms: int) -> None:
        """Put entries into outboxes; those of a connection that is gone are never read and expire."""
        expires_at = _expires_at(expires_at_ms)
        puts = [
            _key(connection_id, _OUTBOX + outgoing.entry_id) | expires_at | _contents(outgoing)
            for connection_id, outgoing in letters
        ]
        batch_write(self._client, self._table, puts=puts)

    def dequeue(self, connection_id: str, entry_ids: Collection[str]) -> None:
        """Remove sent entries; unknown ones are no error."""
        keys = [_key(connection_id, _OUTBOX + entry_id) for entry_id in entry_ids]
        batch_write(self._client, self._table, deletes=keys)

    def note_events(self, connection_id: str, event_ids: Sequence[str]) -> None:
        """Remember which notices were sent last."""
        self._note(connection_id, "sent_events", {"L": [{"S": event_id} for event_id in event_ids]})

    def note_told(self, connection_id: str, told: Told) -> None:
        """Remember what was sent of the session's runs."""
        self._note(connection_id, "told", {"S": msgspec.json.encode(told).decode()})

    def _note(self, connection_id: str, name: str, value: dict[str, Any]) -> None:
        update: dict[str, Any] = {
            "TableName": self._table,
            "Key": _key(connection_id, _CONNECTION),
            "UpdateExpression": f"SET {name} = :value",
            "ConditionExpression": "attribute_exists(pk)",
            "ExpressionAttributeValues": {":value": value},
        }
        try:
            retried(lambda: self._client.update_item(**update), f"UpdateItem on {self._table}")
        except ConflictError:
            return  # gone: nothing more is sent to it

    def _items(self, connection_id: str, projection: str = "") -> Iterator[dict[str, Any]]:
        """Everything in the connection's partition, in the order of sk."""
        query: dict[str, Any] = {
            "TableName": self._table,
            "KeyConditionExpression": "pk = :pk",
            "ExpressionAttributeValues": {":pk": {"S": f"CONNECTION#{connection_id}"}},
            "ConsistentRead": True,
        }
        if projection:
            query["ProjectionExpression"] = projection
        while True:
            with our_errors(f"Query on {self._table}"):
                answer: Any = self._client.query(**query)
            yield from answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return
            query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


def _owner_of(pk: dict[str, str]) -> str:
    return pk["S"].partition("#")[2]


def _key(connection_id: str, sk: str) -> dict[str, Any]:
    return {"pk": {"S": f"CONNECTION#{connection_id}"}, "sk": {"S": sk}}


def _item(connection: Connection, sk: str) -> dict[str, Any]:
    return _key(connection.connection_id, sk) | _expires_at(connection.expires_at_ms)


def _expires_at(expires_at_ms: int) -> dict[str, Any]:
    # Rounded up: an item is never deleted before its time.
    return {"expires_at": {"N": str(-(-expires_at_ms // 1000))}}


def _contents(outgoing: Outgoing) -> dict[str, Any]:
    texts = {"event_id": outgoing.event_id, "portfolio_id": outgoing.portfolio_id, "channel": outgoing.channel}
    return ({"payload": {"B": outgoing.payload}} if outgoing.payload else {}) | {
        name: {"S": text} for name, text in texts.items() if text
    }


def _outgoing(sk: str, item: dict[str, Any]) -> Outgoing:
    texts = {name: item[name]["S"] for name in ("event_id", "portfolio_id", "channel") if name in item}
    payload = item["payload"]["B"] if "payload" in item else b""
    return Outgoing(sk.removeprefix(_OUTBOX), payload, **texts)


def _connection(connection_id: str, row: dict[str, Any]) -> Connection:
    return Connection(
        connection_id=connection_id,
        owner=row["owner"]["S"],
        scopes=frozenset(scope["S"] for scope in row["scopes"]["L"]),
        connected_at_ms=int(row["connected_at_ms"]["N"]),
        expires_at_ms=int(row["expires_at_ms"]["N"]),
        sent_events=tuple(event["S"] for event in row.get("sent_events", {}).get("L", [])),
        session_id=row.get("session_id", {}).get("S", ""),
        told=_told.decode(row["told"]["S"]) if "told" in row else Told(),
    )


def _subscription(sk: str, item: dict[str, Any]) -> Subscription:
    return Subscription(
        portfolio_id=sk.removeprefix(_SUBSCRIPTION),
        sent_version=int(item["sent_version"]["N"]),
        parts=_parts.decode(item["parts"]["S"]) if "parts" in item else None,
        generation=item["generation"]["S"],
        **({"channels": tuple(item["channels"]["S"].split(","))} if "channels" in item else {}),
    )
