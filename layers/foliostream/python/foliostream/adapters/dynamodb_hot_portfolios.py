"""Books and snapshots in the hot table: pk ``PORTFOLIO#12345``, sk ``BOOK`` or ``SNAPSHOT``."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

from foliostream.adapters.dynamodb_batch import Item, batch_get, conditional, each
from foliostream.adapters.dynamodb_hot_shards import DynamoDbHotShards
from foliostream.adapters.dynamodb_hot_watchers import DynamoDbHotWatchers, leases, snapshot_key
from foliostream.adapters.hot_codec import head_of, write_token
from foliostream.domain import account
from foliostream.domain import snapshot as snapshots
from foliostream.domain.account import Portfolio
from foliostream.ports import Candidate, Head, Saved, Stored, StoredSnapshot

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# Writes are paid per KB and an item ends at 400 KB, which a thousand positions as JSON exceed: bodies above a write
# unit are compressed. zlib's first byte is none that JSON begins with, so a body says itself what it is.
_COMPRESS_FROM_BYTES = 1_000
_COMPRESSION_LEVEL = 1
_HEAD = {
    "#version": "version",
    "#ledger_version": "ledger_version",
    "#read_at_ms": "read_at_ms",
    "#fresh_until_ms": "fresh_until_ms",
    "#owner": "owner",
    "#margin": "margin",
}
# Of one version only what became of a margin account's events can change.
_COMPARED = tuple(name for name in Head._fields if name != "margin")
_NUMBERS = _COMPARED[:-1]


class DynamoDbHotPortfolios:
    """The ports ``Books`` and ``Snapshots``, but for watching."""

    def __init__(
        self,
        client: DynamoDBClient,
        hot_table: str,
        watchers: DynamoDbHotWatchers,
        shards: DynamoDbHotShards,
        pool: Executor,
    ) -> None:
        self._client = client
        self._table = hot_table
        self._watchers = watchers
        self._shards = shards
        self._pool = pool

    def put_book(self, portfolio: Portfolio) -> None:
        """Store it unless the stored one is as new or newer."""
        version = {"N": str(portfolio.version)}
        body = {"B": _packed(account.encode(portfolio))}
        conditional(
            self._client.put_item,
            f"PutItem book {portfolio.portfolio_id} in {self._table}",
            {
                "TableName": self._table,
                "Item": {**_book_key(portfolio.portfolio_id), "version": version, "body": body},
                "ConditionExpression": "attribute_not_exists(#version) OR #version < :version",
                "ExpressionAttributeNames": {"#version": "version"},
                "ExpressionAttributeValues": {":version": version},
            },
        )

    def load(self, portfolio_ids: Sequence[str]) -> dict[str, Stored]:
        """All heads, then all books: a batch promises no order among its items."""
        self._shards.check()
        # No body in the answer, though it is paid for; without a version there are watchers only.
        heads = self._items([snapshot_key(name) for name in portfolio_ids], [*_HEAD, "#pk"])
        books = self._items([_book_key(name) for name in portfolio_ids], ["#pk", "#body"])
        return {
            portfolio_id: Stored(_head(heads.get(portfolio_id, {})), _body(books.get(portfolio_id, {})))
            for portfolio_id in portfolio_ids
        }

    def read(self, portfolio_ids: Sequence[str]) -> dict[str, StoredSnapshot]:
        """Those that exist: all snapshots, then all books."""
        items = self._items([snapshot_key(name) for name in portfolio_ids], [*_HEAD, "#pk", "#body"])
        books = self._items([_book_key(name) for name in items], ["#pk", "#body"])
        found = {}
        for portfolio_id, item in items.items():
            head, body = _head(item), _body(item)
            if head is not None and body is not None:
                found[portfolio_id] = StoredSnapshot(head, body, _body(books.get(portfolio_id, {})))
        return found

    def save(self, candidates: Sequence[Candidate]) -> list[Saved]:
        """A conditional write each, side by side (batch writes take no condition); answers in the order given."""
        token = write_token()

        def save_one(candidate: Candidate) -> Saved:
            return self._save(candidate, token)

        return each(self._pool, save_one, candidates)

    def _save(self, candidate: Candidate, token: str) -> Saved:
        portfolio_id = candidate.snapshot.portfolio_id
        head = head_of(candidate.snapshot)
        attempt = conditional(
            self._client.update_item,
            f"UpdateItem snapshot {portfolio_id} in {self._table}",
            {
                "TableName": self._table,
                "Key": snapshot_key(portfolio_id),
                "ReturnValues": "ALL_OLD",
                **_replacing(candidate.expected, head, snapshots.encode(candidate.snapshot), token),
            },
        )
        # With our token, it is our own write that refuses: its answer was lost and the client repeated it.
        if not attempt.held and attempt.item.get("token") != {"S": token}:
            return Saved(written=False, watchers=[], current=_head(attempt.item))
        live = self._watchers.live(portfolio_id, leases(attempt.item), candidate.snapshot.read_at_ms)
        return Saved(written=True, watchers=live, current=None)

    def _items(self, keys: Sequence[Item], attributes: Sequence[str]) -> dict[str, Item]:
        names = {attribute: attribute.removeprefix("#") for attribute in attributes}
        items = batch_get(
            self._client, self._table, keys, projection=", ".join(attributes), names=names, pool=self._pool
        )
        return {item["pk"]["S"].removeprefix("PORTFOLIO#"): item for item in items}


def _replacing(expected: Head | None, head: Head, body: bytes, token: str) -> dict[str, Any]:
    """Arguments that put a snapshot in the place of the expected one and leave its watchers alone."""
    values = {f":{name}": value for name, value in _values(head).items()}
    condition = "attribute_not_exists(#version)"
    if expected is not None:
        condition = " AND ".join(f"#{name} = :expected_{name}" for name in _COMPARED)
        compared = _values(expected)
        values |= {f":expected_{name}": compared[name] for name in _COMPARED}
    changes = [f"#{name} = :{name}" for name in (*Head._fields, "body", "token")]
    return {
        "UpdateExpression": f"SET {', '.join(changes)}",
        "ConditionExpression": condition,
        "ExpressionAttributeNames": {**_HEAD, "#body": "body", "#token": "token"},
        "ExpressionAttributeValues": {**values, ":body": {"B": _packed(body)}, ":token": {"S": token}},
    }


def _values(head: Head) -> Item:
    numbers = {name: {"N": str(getattr(head, name))} for name in _NUMBERS}
    return {**numbers, "owner": {"S": head.owner}, "margin": {"S": head.margin}}


def _head(item: Item) -> Head | None:
    if "version" not in item:
        return None
    version, ledger_version, read_at_ms, fresh_until_ms = (int(item[name]["N"]) for name in _NUMBERS)
    margin = item.get("margin", {"S": ""})["S"]
    return Head(version, ledger_version, read_at_ms, fresh_until_ms, item["owner"]["S"], margin)


def _book_key(portfolio_id: str) -> Item:
    return {"pk": {"S": f"PORTFOLIO#{portfolio_id}"}, "sk": {"S": "BOOK"}}


def _packed(body: bytes) -> bytes:
    return zlib.compress(body, _COMPRESSION_LEVEL) if len(body) >= _COMPRESS_FROM_BYTES else body


def _body(item: Item) -> bytes | None:
    if "body" not in item:
        return None
    raw: bytes = item["body"]["B"]
    return raw if raw.startswith((b"{", b"[")) else zlib.decompress(raw)
