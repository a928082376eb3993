"""Dependents in the ledger table: an item per symbol and portfolio, written by the ledger's own transactions.

Not a GSI, which cannot be read consistently (design section 4, step 4): pk ``HOLDERS#AAPL#live#2``, sk ``live:12345``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from typing import TYPE_CHECKING, Any, NamedTuple

from foliostream.adapters.dynamodb_batch import Item, batch_get, batch_write, our_errors
from foliostream.adapters.dynamodb_transactions import transact_write
from foliostream.domain.keys import split_key, stable_hash

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# A partition takes 1,000 writes a second, transactions count twice: 4 buckets let 2,000 portfolios a second open the
# same symbol, and are read side by side (3,000 read units a second each: a million holders in about two seconds).
# Every bucket costs a read unit per tick, symbol and account type, also an empty one: no more than that is worth it.
# Changing it needs a rewrite of all holder items.
HOLDER_BUCKETS = 4
# Pages asked for and not yet handed over; each is at most 1 MB.
PAGES_IN_FLIGHT_MAX = 16


def holder_key(symbol: str, account_type: str, portfolio_key: str) -> Item:
    """The whole item that makes the portfolio (``live:12345``) a dependent of the symbol."""
    _, portfolio_id = split_key(portfolio_key)
    bucket = stable_hash(portfolio_id) % HOLDER_BUCKETS
    return {"pk": {"S": _partition(symbol, account_type, bucket)}, "sk": {"S": portfolio_key}}


class DynamoDbHolders:
    """The ports ``Holders`` and ``Dependents`` on the ledger table."""

    def __init__(self, client: DynamoDBClient, ledger_table: str, pool: Executor) -> None:
        self._client = client
        self._table = ledger_table
        self._pool = pool

    def holders(self, symbols: Collection[str], account_type: str) -> Iterator[Sequence[str]]:
        """Portfolio keys a page at a time, all symbols and buckets side by side."""
        waiting = [
            _Position(_partition(symbol, account_type, bucket), None)
            for symbol in dict.fromkeys(symbols)
            for bucket in range(HOLDER_BUCKETS)
        ]
        in_flight: set[Future[_Answer]] = set()
        while waiting or in_flight:
            while waiting and len(in_flight) < PAGES_IN_FLIGHT_MAX:
                in_flight.add(self._pool.submit(self._page, waiting.pop(0)))
            done, in_flight = wait(in_flight, return_when=FIRST_COMPLETED)
            for future in done:
                answer = future.result()
                if answer.rest:
                    waiting.append(answer.rest)
                if answer.keys:
                    yield answer.keys

    def add(self, portfolio_key: str, symbols: Collection[str]) -> None:
        """Nothing is left to do: the commit that booked the positions wrote the items in its own transaction."""

    def missing(self, needs: Mapping[str, Collection[str]]) -> dict[str, list[str]]:
        """A read of every item that there should be."""
        asked = {
            _identity(item): (key, symbol)
            for key, symbols in needs.items()
            for symbol in symbols
            for item in (holder_key(symbol, split_key(key)[0], key),)
        }
        keys = [{"pk": {"S": pk}, "sk": {"S": sk}} for pk, sk in asked]
        stored = {_identity(item) for item in batch_get(self._client, self._table, keys, pool=self._pool)}
        found: dict[str, list[str]] = {}
        for identity, (key, symbol) in asked.items():
            if identity not in stored:
                found.setdefault(key, []).append(symbol)
        return found

    def restore(self, portfolio_key: str, symbols: Collection[str]) -> None:
        """Write the items a commit would have written."""
        account_type, _ = split_key(portfolio_key)
        items = [holder_key(symbol, account_type, portfolio_key) for symbol in symbols]
        batch_write(self._client, self._table, puts=items, pool=self._pool)

    def remove(self, portfolio_key: str, symbols: Collection[str], ledger_version: int | None) -> bool:
        """One transaction with a look at the portfolio's version: a commit is before it or after it."""
        account_type, portfolio_id = split_key(portfolio_key)
        check: Item = {
            "TableName": self._table,
            "Key": {"pk": {"S": f"PORTFOLIO#{portfolio_id}"}, "sk": {"S": "PORTFOLIO"}},
            "ConditionExpression": "attribute_not_exists(pk)",
        }
        if ledger_version is not None:
            check |= {
                "ConditionExpression": "#version = :version",
                "ExpressionAttributeNames": {"#version": "version"},
                "ExpressionAttributeValues": {":version": {"N": str(ledger_version)}},
            }
        deletes = [
            {"Delete": {"TableName": self._table, "Key": holder_key(symbol, account_type, portfolio_key)}}
            for symbol in symbols
        ]
        return not transact_write(
            self._client, [{"ConditionCheck": check}, *deletes], f"TransactWriteItems on {self._table}"
        )

    def _page(self, position: _Position) -> _Answer:
        options: dict[str, Any] = {"ExclusiveStartKey": position.after} if position.after else {}
        with our_errors(f"Query {position.partition} of {self._table}"):
            page = self._client.query(
                TableName=self._table,
                ConsistentRead=True,
                KeyConditionExpression="pk = :partition",
                ExpressionAttributeValues={":partition": {"S": position.partition}},
                ProjectionExpression="sk",
                **options,
            )
        after: Any = page.get("LastEvaluatedKey")
        rest = _Position(position.partition, after) if after else None
        return _Answer([item["sk"]["S"] for item in page["Items"]], rest)


class _Position(NamedTuple):
    """Where a partition is to be read on."""

    partition: str
    after: dict[str, Any] | None


class _Answer(NamedTuple):
    """A page, and where the next one begins."""

    keys: list[str]
    rest: _Position | None


def _identity(item: Item) -> tuple[str, str]:
    return item["pk"]["S"], item["sk"]["S"]


def _partition(symbol: str, account_type: str, bucket: int) -> str:
    return f"HOLDERS#{symbol}#{account_type}#{bucket}"
