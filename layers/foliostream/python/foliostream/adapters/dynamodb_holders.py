"""Dependents in the ledger table: an item per symbol and portfolio, written by the ledger's own transactions.

Not a GSI, which cannot be read consistently (design section 4, step 4): pk ``HOLDERS#AAPL#live#2``, sk ``live:12345``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from typing import TYPE_CHECKING, Any, NamedTuple

from foliostream.adapters.dynamodb_batch import Item, our_errors
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
    """The port ``Holders`` on the ledger table."""

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


def _partition(symbol: str, account_type: str, bucket: int) -> str:
    return f"HOLDERS#{symbol}#{account_type}#{bucket}"
