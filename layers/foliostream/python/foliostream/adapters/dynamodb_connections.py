"""Connections with their subscriptions and outboxes on DynamoDB; all items of one connection share a partition.

================  ===========================  =======================================================
pk                sk                           what
================  ===========================  =======================================================
CONNECTION#{id}   CONNECTION                   owner, scopes, connected_at_ms, expires_at_ms, session_id,
                                               sent_events, told (JSON), touched_at_ms, is_returning,
                                               allowed_at_ms
CONNECTION#{id}   SUBSCRIPTION#{portfolio_id}  generation, channels; sent_version, parts (JSON) as it was made
CONNECTION#{id}   SENT#{portfolio_id}          generation; sent_version, parts (JSON) since then
CONNECTION#{id}   OUTBOX#{entry_id}            payload; of a notice also event_id, portfolio_id, channel;
                                               of several in one: notices, a list of such
================  ===========================  =======================================================

Every item has ``expires_at``, epoch seconds, for DynamoDB's own deletion, which may come days late: reads check it.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import msgspec

from foliostream.adapters.dynamodb_batch import Attempt, batch_write, chunks, conditional, our_errors
from foliostream.adapters.dynamodb_transactions import retried, transact_write
from foliostream.domain.sessions import Told
from foliostream.errors import ConflictError, NotFoundError
from foliostream.ports import (
    Admitted,
    Closed,
    Connection,
    ConnectionView,
    Outgoing,
    Subscription,
    Watch,
    WatchPage,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_CONNECTION: Final = "CONNECTION"
_SUBSCRIPTION: Final = "SUBSCRIPTION#"
_SENT: Final = "SENT#"
_OUTBOX: Final = "OUTBOX#"
# A transaction has 100 items; one of them is the check that the connection is still there.
_SUBSCRIPTIONS_AT_ONCE: Final = 99
# Messages of one connection counted at the same moment.
_COUNTING_TRIES: Final = 5

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
            "touched_at_ms": {"N": str(connection.touched_at_ms)},
            "is_returning": {"BOOL": connection.is_returning},
        }
        with our_errors(f"PutItem on {self._table}"):
            self._client.put_item(TableName=self._table, Item=item)

    def view(self, connection_id: str, now_ms: int) -> ConnectionView | None:
        """One consistent query; subscriptions by portfolio id, the outbox in the order of sending."""
        items = {
            item["sk"]["S"]: item for item in self._items(connection_id) if int(item["expires_at"]["N"]) * 1000 > now_ms
        }
        row = items.pop(_CONNECTION, None)
        if row is None or (connection := _connection(connection_id, row)).leaves_at_ms <= now_ms:
            return None
        return ConnectionView(
            connection,
            _subscriptions(items),
            [_outgoing(sk.removeprefix(_OUTBOX), item) for sk, item in items.items() if sk.startswith(_OUTBOX)],
        )

    def admit(self, connection_id: str, now_ms: int, interval_ms: int, burst_ms: int) -> Admitted:
        """One write that counts and reads: ``allowed_at_ms`` is when the next message would come at an even pace."""
        is_due = "(attribute_not_exists(#at) OR #at <= :limit)"
        attempt = self._count(connection_id, now_ms + interval_ms, is_due, now_ms)
        for _ in range(_COUNTING_TRIES):
            if attempt.held or "owner" not in attempt.item:
                break
            paced_ms = int(attempt.item["allowed_at_ms"]["N"])
            if paced_ms + interval_ms > now_ms + burst_ms:
                break
            attempt = self._count(connection_id, max(paced_ms, now_ms) + interval_ms, "#at = :limit", paced_ms)
        connection = _connection(connection_id, attempt.item) if "owner" in attempt.item else None
        if connection is None or connection.leaves_at_ms <= now_ms:
            return Admitted(None, is_allowed=False)
        return Admitted(connection, attempt.held)

    def _count(self, connection_id: str, allowed_at_ms: int, condition: str, limit_ms: int) -> Attempt:
        return conditional(
            self._client.update_item,
            f"UpdateItem on {self._table}",
            {
                "TableName": self._table,
                "Key": _key(connection_id, _CONNECTION),
                "UpdateExpression": "SET #at = :allowed",
                "ConditionExpression": f"attribute_exists(pk) AND {condition}",
                "ExpressionAttributeNames": {"#at": "allowed_at_ms"},
                "ExpressionAttributeValues": {":allowed": {"N": str(allowed_at_ms)}, ":limit": {"N": str(limit_ms)}},
                "ReturnValues": "ALL_OLD",
            },
        )

    def close(self, connection_id: str) -> Closed:
        """Delete all of it.

        The connection's own row goes first: from then on nobody can subscribe, so the query after it sees everything.
        """
        row = _key(connection_id, _CONNECTION)
        with our_errors(f"DeleteItem on {self._table}"):
            answer: Any = self._client.delete_item(TableName=self._table, Key=row, ReturnValues="ALL_OLD")
        items = {item["sk"]["S"]: item for item in self._items(connection_id)}
        batch_write(self._client, self._table, deletes=[_key(connection_id, sk) for sk in items])
        gone = answer.get("Attributes")
        return Closed(
            _connection(connection_id, gone) if gone else None,
            _subscriptions(items),
        )

    def subscribe(self, connection: Connection, subscriptions: Collection[Subscription]) -> None:
        """Add or replace subscriptions; ``NotFoundError`` (``CONNECTION_CLOSED``) if the connection is gone, which
        this must not bring back."""
        generation = uuid.uuid4().hex
        fresh = [_subscribed(connection, item, generation) for item in subscriptions]
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
        keys = [_key(connection_id, kind + name) for name in portfolio_ids for kind in (_SUBSCRIPTION, _SENT)]
        batch_write(self._client, self._table, deletes=keys)

    def watches(self, after: str | None, limit: int) -> WatchPage:
        """A page of a scan: the table holds little but connections, and this is done once a rebuild."""
        scan: dict[str, Any] = {"TableName": self._table, "Limit": limit, "ProjectionExpression": "pk, sk, expires_at"}
        if after is not None:
            pk, _, sk = after.partition("|")
            scan["ExclusiveStartKey"] = {"pk": {"S": pk}, "sk": {"S": sk}}
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
        return WatchPage(found, f"{last['pk']['S']}|{last['sk']['S']}" if last else None)

    def mark_sent(self, connection: Connection, subscriptions: Sequence[Subscription]) -> None:
        """Items of their own, written together without a condition: one of another generation than the subscription's
        is left aside on reading."""
        batch_write(self._client, self._table, puts=[_sent(connection, item) for item in subscriptions])

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

    def note_touched(self, connection_id: str, touched_at_ms: int) -> None:
        """Remember when the session's end was moved."""
        self._note(connection_id, "touched_at_ms", {"N": str(touched_at_ms)})

    def note_restored(self, connection_id: str) -> None:
        """Its session is restored."""
        self._note(connection_id, "is_returning", {"BOOL": False})

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

    def _items(self, connection_id: str) -> Iterator[dict[str, Any]]:
        """Everything in the connection's partition, in the order of sk."""
        query: dict[str, Any] = {
            "TableName": self._table,
            "KeyConditionExpression": "pk = :pk",
            "ExpressionAttributeValues": {":pk": {"S": f"CONNECTION#{connection_id}"}},
            "ConsistentRead": True,
        }
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
    return _key(connection.connection_id, sk) | _expires_at(connection.leaves_at_ms)


def _expires_at(expires_at_ms: int) -> dict[str, Any]:
    # Rounded up: an item is never deleted before its time.
    return {"expires_at": {"N": str(-(-expires_at_ms // 1000))}}


def _contents(outgoing: Outgoing) -> dict[str, Any]:
    texts = {"event_id": outgoing.event_id, "portfolio_id": outgoing.portfolio_id, "channel": outgoing.channel}
    contents: dict[str, Any] = {name: {"S": text} for name, text in texts.items() if text}
    if outgoing.payload:
        contents["payload"] = {"B": outgoing.payload}
    if outgoing.notices:
        contents["notices"] = {"L": [{"M": _contents(one) | {"id": {"S": one.entry_id}}} for one in outgoing.notices]}
    return contents


def _outgoing(entry_id: str, item: dict[str, Any]) -> Outgoing:
    texts = {name: item[name]["S"] for name in ("event_id", "portfolio_id", "channel") if name in item}
    payload = item["payload"]["B"] if "payload" in item else b""
    notices = tuple(_outgoing(one["M"]["id"]["S"], one["M"]) for one in item.get("notices", {}).get("L", []))
    return Outgoing(entry_id, payload, **texts, notices=notices)


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
        touched_at_ms=int(row["touched_at_ms"]["N"]) if "touched_at_ms" in row else 0,
        is_returning=row.get("is_returning", {}).get("BOOL", False),
    )


def _subscribed(connection: Connection, subscription: Subscription, generation: str) -> dict[str, Any]:
    kept = _kept(connection, _SUBSCRIPTION, replace(subscription, generation=generation))
    return kept | {"channels": {"S": ",".join(subscription.channels)}}


def _sent(connection: Connection, subscription: Subscription) -> dict[str, Any]:
    return _kept(connection, _SENT, subscription)


def _kept(connection: Connection, kind: str, subscription: Subscription) -> dict[str, Any]:
    item = _item(connection, kind + subscription.portfolio_id) | {
        "generation": {"S": subscription.generation},
        "sent_version": {"N": str(subscription.sent_version)},
    }
    if subscription.parts is not None:
        item["parts"] = {"S": msgspec.json.encode(subscription.parts).decode()}
    return item


def _subscriptions(items: Mapping[str, dict[str, Any]]) -> list[Subscription]:
    """By portfolio id, from the items of a connection by sk."""
    found = []
    for sk, item in items.items():
        if sk.startswith(_SUBSCRIPTION):
            sent = items.get(_SENT + sk.removeprefix(_SUBSCRIPTION), item)
            found.append(_subscription(sk, item, sent if sent["generation"] == item["generation"] else item))
    return found


def _subscription(sk: str, item: dict[str, Any], sent: dict[str, Any]) -> Subscription:
    return Subscription(
        portfolio_id=sk.removeprefix(_SUBSCRIPTION),
        sent_version=int(sent["sent_version"]["N"]),
        parts=_parts.decode(sent["parts"]["S"]) if "parts" in sent else None,
        generation=item["generation"]["S"],
        **({"channels": tuple(item["channels"]["S"].split(","))} if "channels" in item else {}),
    )
