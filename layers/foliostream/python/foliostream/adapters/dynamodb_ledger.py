"""The books on DynamoDB: one TransactWriteItems per change.

==========================  ============================  ====================================================
pk                          sk                            what
==========================  ============================  ====================================================
PORTFOLIO#{id}              PORTFOLIO                     version, owner, account_type, book, request_digest
PORTFOLIO#{id}              TRANSACTION#{transaction_id}  version (that it made), record; never changed or deleted
PORTFOLIO#{id}              CHANGE#{version}              record of a change of status or settings; the same
PORTFOLIO#{id}              DAY#{2026-02-26}              record of a closed day; the same
PORTFOLIO#{id}              ORDER#{order_id}              state, record (``dynamodb_orders``)
OWNER#{owner}               PORTFOLIO#{id}                the owner's index
as ``dynamodb_accounts``                                  which portfolios are on which broker's account
as ``dynamodb_holders``                                   who is to be valued when a symbol's price changes
==========================  ============================  ====================================================

The index ``by_sequence`` (listing, sequence) holds portfolios, transactions, instruments (``dynamodb_instruments``) and
open orders (``dynamodb_orders``) only: they alone have its two attributes. Both never change in an item, so an update
of a book costs the index nothing, and the book is not in it.

==========================  ============================
listing                     sequence
==========================  ============================
PORTFOLIO#{id}              that of the transaction: 1, 2, ... without a gap
PORTFOLIOS#{bucket}         a hash of the portfolio's id
INSTRUMENTS#{bucket}        a hash of the symbol
OPEN_ORDERS#{bucket}        a hash of the symbol
==========================  ============================
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from foliostream.adapters.dynamodb_accounts import account_items
from foliostream.adapters.dynamodb_batch import ROUNDS_MAX, batch_get, our_errors, pause
from foliostream.adapters.dynamodb_holders import holder_key
from foliostream.adapters.dynamodb_orders import order_writes
from foliostream.adapters.dynamodb_transactions import CONDITION_FAILED, transact_write
from foliostream.domain import changes, cursors, history
from foliostream.domain import portfolio as books
from foliostream.domain.changes import Change
from foliostream.domain.history import Day
from foliostream.domain.keys import stable_hash
from foliostream.domain.portfolio import Portfolio, Transaction
from foliostream.errors import ConflictError, RefusedError, RetryableError
from foliostream.ports import WALK_BUCKETS, Booking, OrderChange, Page

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# What DynamoDB takes, checked before it is asked so that the refusal can name the value.
ITEMS_MAX: Final = 100
ITEM_BYTES_MAX: Final = 400 * 1024
# Everything in a portfolio item but its book: names, key, owner (128), digest; rounded up.
ITEM_OVERHEAD_BYTES: Final = 1_024

_PORTFOLIO: Final = "PORTFOLIO"
INDEX: Final = "by_sequence"
_UNSEEN: Final = "attribute_not_exists(pk)"


class DynamoDbLedger:
    """Implements ``ports.Ledger``. All reads but those of the index are strongly consistent."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def load(self, portfolio_ids: Collection[str]) -> dict[str, Portfolio]:
        """Those that exist, by id."""
        keys = [_portfolio_key(portfolio_id) for portfolio_id in portfolio_ids]
        items = batch_get(self._client, self._table, keys, projection="book")
        found = (books.decode(item["book"]["S"]) for item in items)
        return {portfolio.portfolio_id: portfolio for portfolio in found}

    def create(self, portfolio: Portfolio, transactions: Sequence[Transaction], request_digest: str) -> None:
        """Portfolio, first transactions, owner's index entry and holder items, all or nothing."""
        attributes = _portfolio_attributes(portfolio) | {
            "owner": {"S": portfolio.owner},
            "account_type": {"S": portfolio.account_type},
            "request_digest": {"S": request_digest},
            **_walked(portfolio.portfolio_id),
        }
        broken = self._write(
            self._put(_portfolio_key(portfolio.portfolio_id) | attributes, _UNSEEN),
            *self._transactions(portfolio, transactions),
            self._put(_owned_key(portfolio.owner, portfolio.portfolio_id)),
            *self._opened(portfolio, portfolio.symbols),
            *account_items(self._table, portfolio),
        )
        if broken and broken[0] != CONDITION_FAILED and portfolio.broker is not None:
            raise ConflictError(
                f"account {portfolio.broker.account} is somebody else's already", code="BROKER_ACCOUNT_TAKEN"
            )
        if broken:
            raise ConflictError(f"portfolio {portfolio.portfolio_id} exists", code="PORTFOLIO_EXISTS")

    def request_digest(self, portfolio_id: str) -> str | None:
        """What ``create`` was given for it; None if there is no such portfolio."""
        with our_errors(f"GetItem on {self._table}"):
            answer = self._client.get_item(
                TableName=self._table,
                Key=_portfolio_key(portfolio_id),
                ConsistentRead=True,
                ProjectionExpression="request_digest",
            )
        item: dict[str, Any] | None = answer.get("Item")
        return item["request_digest"]["S"] if item else None

    def commit(
        self,
        portfolio: Portfolio,
        transactions: Sequence[Transaction],
        opened: Collection[str],
        closed: Collection[str],
        order: OrderChange | None = None,
    ) -> None:
        """The portfolio's next version with its transactions, holder items and order, all or nothing."""
        # A symbol named on both sides stays: one dependent too many costs a valuation, one missing loses updates.
        removed = set(closed) - set(opened)
        broken = self._write(
            self._next_version(portfolio),
            *self._transactions(portfolio, transactions),
            *self._opened(portfolio, opened),
            *self._closed(portfolio, removed),
            *(order_writes(self._table, order) if order else ()),
        )
        if broken:
            raise _conflict(portfolio, transactions, broken)

    def commit_together(self, bookings: Sequence[Booking]) -> None:
        """The next versions of several portfolios, all or nothing."""
        parts = [
            [
                self._next_version(item.portfolio),
                *self._transactions(item.portfolio, item.transactions),
                *self._opened(item.portfolio, item.opened),
                *self._closed(item.portfolio, set(item.closed) - set(item.opened)),
            ]
            for item in bookings
        ]
        codes = self._write(*(write for part in parts for write in part))
        if not codes:
            return
        for item, part in zip(bookings, parts, strict=True):
            own, codes = codes[: len(part)], codes[len(part) :]
            if CONDITION_FAILED in own:
                raise _conflict(item.portfolio, item.transactions, own)
        raise _moved_on(bookings[0].portfolio)

    def transactions(self, portfolio_id: str, transaction_ids: Collection[str]) -> dict[str, Transaction]:
        """Those already booked, by transaction id."""
        keys = [_transaction_key(portfolio_id, transaction_id) for transaction_id in transaction_ids]
        items = batch_get(self._client, self._table, keys)
        found = (books.decode_transaction(item["record"]["S"]) for item in items)
        return {transaction.entry.transaction_id: transaction for transaction in found}

    def owned(self, owner: str, cursor: str | None, limit: int) -> Page:
        """The owner's portfolio ids in id order."""
        after = cursors.decode(owner, cursor) if cursor is not None else None
        found = list(self._owned_ids(owner, after, limit + 1))  # one more tells whether there is another page
        page = found[:limit]
        return Page(page, cursors.encode(owner, page[-1]) if len(found) > limit else None)

    def newest(self, portfolio_id: str, sequence: int, limit: int) -> list[Transaction]:
        """From ``sequence`` down. The index may lag behind the books by some milliseconds; since sequences have no
        gaps, what is missing shows, and is waited for."""
        expected = list(range(sequence, max(sequence - limit, 0), -1))
        if not expected:
            return []
        for number in range(ROUNDS_MAX):
            if number:
                pause(number)
            found = self._listed(portfolio_id, expected[-1], sequence)
            if [transaction.sequence for transaction in found] == expected:
                return found
        raise RetryableError(f"the index {INDEX} of {self._table} does not show all transactions of {portfolio_id} yet")

    def _listed(self, portfolio_id: str, first: int, last: int) -> list[Transaction]:
        items = self._query(
            IndexName=INDEX,
            KeyConditionExpression="listing = :listing AND #sequence BETWEEN :first AND :last",
            ExpressionAttributeNames={"#sequence": "sequence", "#record": "record"},
            ExpressionAttributeValues={
                ":listing": {"S": f"PORTFOLIO#{portfolio_id}"},
                ":first": {"N": str(first)},
                ":last": {"N": str(last)},
            },
            ProjectionExpression="#record",
            ScanIndexForward=False,
        )
        return [books.decode_transaction(item["record"]["S"]) for item in items]

    def amend(self, portfolio: Portfolio, change: Change) -> None:
        """The portfolio's next version and the record of its change, all or nothing."""
        key = _change_key(portfolio.portfolio_id, change.ledger_version)
        record = {"record": {"S": changes.encode(change).decode()}}
        if self._write(self._next_version(portfolio), self._put(key | record, _UNSEEN)):
            raise _moved_on(portfolio)

    def close_day(self, portfolio: Portfolio, day: Day | None, closed: Collection[str] = ()) -> None:
        """The portfolio's next version, the day's row and holder items, all or nothing."""
        items = [self._next_version(portfolio)]
        if day is not None:
            key = _day_key(portfolio.portfolio_id, day.day)
            items.append(self._put(key | {"record": {"S": history.encode(day).decode()}}, _UNSEEN))
        broken = self._write(*items, *self._closed(portfolio, closed))
        if broken and broken[0] != CONDITION_FAILED:
            raise ConflictError(f"{portfolio.portfolio_id} has a row of that day already", code="DAY_EXISTS")
        if broken:
            raise _moved_on(portfolio)

    def days(self, portfolio_id: str, first: str, last: str) -> list[Day]:
        """Rows in the order of their days."""
        items = self._query(
            KeyConditionExpression="pk = :pk AND sk BETWEEN :first AND :last",
            ExpressionAttributeNames={"#record": "record"},
            ExpressionAttributeValues={
                ":pk": _day_key(portfolio_id, first)["pk"],
                ":first": _day_key(portfolio_id, first)["sk"],
                ":last": _day_key(portfolio_id, last)["sk"],
            },
            ProjectionExpression="#record",
            ConsistentRead=True,
        )
        return [history.decode(item["record"]["S"]) for item in items]

    def last_day(self, portfolio_id: str) -> Day | None:
        """The newest row."""
        with our_errors(f"Query on {self._table}"):
            answer: Any = self._client.query(
                TableName=self._table,
                KeyConditionExpression="pk = :pk AND begins_with(sk, :prefix)",
                ExpressionAttributeValues={":pk": _portfolio_key(portfolio_id)["pk"], ":prefix": {"S": "DAY#"}},
                ScanIndexForward=False,
                Limit=1,
                ConsistentRead=True,
            )
        return history.decode(answer["Items"][0]["record"]["S"]) if answer["Items"] else None

    def walk(self, bucket: int, after: str | None, limit: int) -> Page:
        """A page of a bucket in the order of the ids' hashes; the cursor is the page's last id."""
        start: dict[str, Any] = {}
        if after is not None:
            start["ExclusiveStartKey"] = _portfolio_key(after) | _walked(after)
        with our_errors(f"Query on {self._table}"):
            answer: Any = self._client.query(
                TableName=self._table,
                IndexName=INDEX,
                KeyConditionExpression="listing = :listing",
                ExpressionAttributeValues={":listing": {"S": _bucket(bucket)}},
                ProjectionExpression="pk",
                Limit=limit,
                **start,
            )
        ids = [item["pk"]["S"].partition("#")[2] for item in answer["Items"]]
        return Page(ids, ids[-1] if ids and "LastEvaluatedKey" in answer else None)

    def _query(self, **query: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - the client's own arguments
        """All items, over as many pages as DynamoDB makes of them."""
        while True:
            with our_errors(f"Query on {self._table}"):
                answer: Any = self._client.query(TableName=self._table, **query)
            yield from answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return
            query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def _owned_ids(self, owner: str, after: str | None, count: int) -> Iterator[str]:
        query: dict[str, Any] = {
            "TableName": self._table,
            "KeyConditionExpression": "pk = :pk",
            "ExpressionAttributeValues": {":pk": {"S": f"OWNER#{owner}"}},
            "ProjectionExpression": "sk",
            "ConsistentRead": True,
        }
        if after is not None:
            query["ExclusiveStartKey"] = _owned_key(owner, after)
        while count > 0:
            with our_errors(f"Query on {self._table}"):
                answer: Any = self._client.query(**query, Limit=count)
            yield from (item["sk"]["S"].partition("#")[2] for item in answer["Items"])
            if "LastEvaluatedKey" not in answer:
                return
            count -= len(answer["Items"])
            query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def _put(self, item: dict[str, Any], condition: str | None = None) -> dict[str, Any]:
        put: dict[str, Any] = {"TableName": self._table, "Item": item}
        return {"Put": put | ({"ConditionExpression": condition} if condition else {})}

    def _next_version(self, portfolio: Portfolio) -> dict[str, Any]:
        """An update, not a put: what ``create`` stored beside the book stays."""
        attributes = _portfolio_attributes(portfolio)
        return {
            "Update": {
                "TableName": self._table,
                "Key": _portfolio_key(portfolio.portfolio_id),
                "UpdateExpression": "SET #version = :version, book = :book",
                "ConditionExpression": "#version = :previous",
                "ExpressionAttributeNames": {"#version": "version"},
                "ExpressionAttributeValues": {
                    ":version": attributes["version"],
                    ":book": attributes["book"],
                    ":previous": {"N": str(portfolio.version - 1)},
                },
            }
        }

    def _transactions(self, portfolio: Portfolio, transactions: Sequence[Transaction]) -> Iterator[dict[str, Any]]:
        for transaction in transactions:
            item = _transaction_key(portfolio.portfolio_id, transaction.entry.transaction_id) | {
                "version": {"N": str(transaction.ledger_version)},
                "record": {"S": books.encode_transaction(transaction).decode()},
                "listing": {"S": f"PORTFOLIO#{portfolio.portfolio_id}"},
                "sequence": {"N": str(getattr(transaction, "sequence", 0))},
            }
            yield self._put(item, _UNSEEN)

    def _opened(self, portfolio: Portfolio, symbols: Collection[str]) -> Iterator[dict[str, Any]]:
        for symbol in sorted(set(symbols)):
            yield self._put(holder_key(symbol, portfolio.account_type, portfolio.key))

    def _closed(self, portfolio: Portfolio, symbols: Collection[str]) -> Iterator[dict[str, Any]]:
        for symbol in sorted(symbols):
            key = holder_key(symbol, portfolio.account_type, portfolio.key)
            yield {"Delete": {"TableName": self._table, "Key": key}}

    def _write(self, *items: dict[str, Any]) -> list[str]:
        """One transaction; when a condition did not hold, a code for each item in its place."""
        if len(items) > ITEMS_MAX:
            raise RefusedError(
                f"one change writes at most {ITEMS_MAX} items, this one needs {len(items)}: send fewer at once",
                code="TOO_MANY_ITEMS",
                details=[{"limit": ITEMS_MAX, "value": len(items)}],
            )
        return transact_write(self._client, items, f"TransactWriteItems on {self._table}")


def _conflict(portfolio: Portfolio, transactions: Sequence[Transaction], codes: Sequence[str]) -> ConflictError:
    """Why a commit was refused: its transactions' codes follow that of the portfolio.

    Known transactions go first: who repeats a request finds the version moved as well, by the first try.
    """
    ids = [transaction.entry.transaction_id for transaction in transactions]
    known = [name for name, code in zip(ids, codes[1:], strict=False) if code == CONDITION_FAILED]
    if known:
        return ConflictError(
            f"already booked: {', '.join(known)}",
            code="TRANSACTION_EXISTS",
            details=[{"transaction_id": name} for name in known],
        )
    if CONDITION_FAILED in codes[1 + len(ids) :]:  # holder items have no condition, orders have
        return ConflictError(f"an order of {portfolio.portfolio_id} changed meanwhile", code="ORDER_CHANGED")
    return _moved_on(portfolio)


def _moved_on(portfolio: Portfolio) -> ConflictError:
    return ConflictError(
        f"portfolio {portfolio.portfolio_id} is not at version {portfolio.version - 1} any more",
        code="VERSION_CONFLICT",
    )


def _portfolio_attributes(portfolio: Portfolio) -> dict[str, Any]:
    """Version and book; ``RefusedError`` if the item would be larger than DynamoDB takes."""
    book = books.encode(portfolio)
    size = len(book) + ITEM_OVERHEAD_BYTES
    if size >= ITEM_BYTES_MAX:
        raise RefusedError(
            f"portfolio {portfolio.portfolio_id} needs {size} bytes, {ITEM_BYTES_MAX} is the limit",
            code="PORTFOLIO_TOO_LARGE",
            details=[{"limit": ITEM_BYTES_MAX, "value": size, "positions": len(portfolio.positions)}],
        )
    return {"version": {"N": str(portfolio.version)}, "book": {"S": book.decode()}}


def _portfolio_key(portfolio_id: str) -> dict[str, Any]:
    return {"pk": {"S": f"PORTFOLIO#{portfolio_id}"}, "sk": {"S": _PORTFOLIO}}


def _transaction_key(portfolio_id: str, transaction_id: str) -> dict[str, Any]:
    return {"pk": {"S": f"PORTFOLIO#{portfolio_id}"}, "sk": {"S": f"TRANSACTION#{transaction_id}"}}


def _owned_key(owner: str, portfolio_id: str) -> dict[str, Any]:
    return {"pk": {"S": f"OWNER#{owner}"}, "sk": {"S": f"PORTFOLIO#{portfolio_id}"}}


def _change_key(portfolio_id: str, version: int) -> dict[str, Any]:
    return {"pk": {"S": f"PORTFOLIO#{portfolio_id}"}, "sk": {"S": f"CHANGE#{version:012d}"}}


def _day_key(portfolio_id: str, day: str) -> dict[str, Any]:
    return {"pk": {"S": f"PORTFOLIO#{portfolio_id}"}, "sk": {"S": f"DAY#{day}"}}


def _walked(portfolio_id: str) -> dict[str, Any]:
    """What puts a portfolio into the walk; an id's place never changes."""
    number = stable_hash(portfolio_id)
    return {"listing": {"S": _bucket(number % WALK_BUCKETS)}, "sequence": {"N": str(number)}}


def _bucket(bucket: int) -> str:
    return f"PORTFOLIOS#{bucket}"
