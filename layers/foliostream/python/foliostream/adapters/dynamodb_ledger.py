"""The books on DynamoDB: one TransactWriteItems per change.

==========================  ============================  ====================================================
pk                          sk                            what
==========================  ============================  ====================================================
PORTFOLIO#{id}              PORTFOLIO                     version, owner, account_type, book, request_digest
PORTFOLIO#{id}              TRANSACTION#{transaction_id}  version (that it made), record; never changed or deleted
OWNER#{owner}               PORTFOLIO#{id}                the owner's index
as ``dynamodb_holders``                                   who is to be valued when a symbol's price changes
==========================  ============================  ====================================================
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Collection, Iterator, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from foliostream.adapters.dynamodb_batch import batch_get, our_errors
from foliostream.adapters.dynamodb_holders import holder_key
from foliostream.adapters.dynamodb_transactions import CONDITION_FAILED, transact_write
from foliostream.domain import portfolio as books
from foliostream.domain.portfolio import Portfolio, Transaction
from foliostream.errors import CallerError, ConflictError, RefusedError
from foliostream.ports import Page

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# What DynamoDB takes, checked before it is asked so that the refusal can name the value.
ITEMS_MAX: Final = 100
ITEM_BYTES_MAX: Final = 400 * 1024
# Everything in a portfolio item but its book: names, key, owner (128), digest; rounded up.
ITEM_OVERHEAD_BYTES: Final = 1_024

_PORTFOLIO: Final = "PORTFOLIO"
_CHECKSUM_BYTES: Final = 6
_UNSEEN: Final = "attribute_not_exists(pk)"


class DynamoDbLedger:
    """Implements ``ports.Ledger``. All reads are strongly consistent."""

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
        }
        broken = self._write(
            self._put(_portfolio_key(portfolio.portfolio_id) | attributes, _UNSEEN),
            *self._transactions(portfolio, transactions),
            self._put(_owned_key(portfolio.owner, portfolio.portfolio_id)),
            *self._opened(portfolio, portfolio.symbols),
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
    ) -> None:
        """The portfolio's next version with its transactions and holder items, all or nothing."""
        # A symbol named on both sides stays: one dependent too many costs a valuation, one missing loses updates.
        removed = set(closed) - set(opened)
        broken = self._write(
            self._next_version(portfolio),
            *self._transactions(portfolio, transactions),
            *self._opened(portfolio, opened),
            *self._closed(portfolio, removed),
        )
        if broken:
            raise _conflict(portfolio, transactions, broken)

    def transactions(self, portfolio_id: str, transaction_ids: Collection[str]) -> dict[str, Transaction]:
        """Those already booked, by transaction id."""
        keys = [_transaction_key(portfolio_id, transaction_id) for transaction_id in transaction_ids]
        items = batch_get(self._client, self._table, keys)
        found = (books.decode_transaction(item["record"]["S"]) for item in items)
        return {transaction.entry.transaction_id: transaction for transaction in found}

    def owned(self, owner: str, cursor: str | None, limit: int) -> Page:
        """The owner's portfolio ids in id order."""
        after = _cursor_id(owner, cursor) if cursor is not None else None
        found = list(self._owned_ids(owner, after, limit + 1))  # one more tells whether there is another page
        page = found[:limit]
        return Page(page, _cursor(owner, page[-1]) if len(found) > limit else None)

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
                "record": {"S": books.encode(transaction).decode()},
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


def _cursor(owner: str, portfolio_id: str) -> str:
    """URL-safe. The checksum finds cursors that were changed or are another owner's; safety does not rest on it:
    whatever a cursor says, only the owner's own index is read."""
    raw = portfolio_id.encode()
    return urlsafe_b64encode(_checksum(owner, raw) + raw).decode().rstrip("=")


def _cursor_id(owner: str, cursor: str) -> str:
    try:
        decoded = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        checksum, raw = decoded[:_CHECKSUM_BYTES], decoded[_CHECKSUM_BYTES:]
        known = checksum == _checksum(owner, raw) and cursor == _cursor(owner, raw.decode())
    except ValueError:  # not ASCII, not Base64, not UTF-8
        known = False
    if not known:
        raise CallerError("the cursor is not one of this list", code="INVALID_CURSOR")
    return raw.decode()


def _checksum(owner: str, raw: bytes) -> bytes:
    return blake2b(owner.encode() + b"\0" + raw, digest_size=_CHECKSUM_BYTES).digest()
