"""Orders on DynamoDB, in the ledger's table.

====================  ============================================  ================================================
pk                    sk                                            what
====================  ============================================  ================================================
PORTFOLIO#{id}        ORDER#{order_id}                              state, record
PORTFOLIO#{id}        ORDERS                                        open_orders: how many
OPEN_ORDERS#{symbol}  {side}#{price}#{portfolio_id}#{order_id}      record; only while it is OPEN
====================  ============================================  ================================================

All are written together, in one transaction with the books where there is a fill. Open orders are sorted by price, so
that a tick reads those it fills and no others; in the ledger's index they are listed under a hash of their symbol.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from foliostream.adapters.dynamodb_batch import Item, our_errors
from foliostream.adapters.dynamodb_transactions import CONDITION_FAILED, transact_write
from foliostream.domain import orders
from foliostream.domain.fills import Side
from foliostream.domain.keys import stable_hash
from foliostream.domain.orders import MAX_OPEN, Order, State
from foliostream.errors import ConflictError, RefusedError
from foliostream.ports import OrderChange, OrderPage

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# Looked at for one page: an order has half a kilobyte, so a page of a rare state costs one call of at most 1 MB.
LOOKED_AT_MAX: Final = 1_000
BUCKETS: Final = 16
INDEX: Final = "by_sequence"
# 15 digits, the point, 10 decimals: as many as a price may have. The texts of two prices sort as the prices do.
_PRICE: Final = "026.10f"
_LAST: Final = "~"


def order_writes(table: str, change: OrderChange) -> list[dict[str, Any]]:
    """The part of a transaction that changes an order: the conditions say that it is new, or still is OPEN."""
    before, after = change
    item = _key(after.portfolio_id, after.order_id) | {
        "state": {"S": after.state},
        "record": {"S": orders.encode(after).decode()},
    }
    put: dict[str, Any] = {"TableName": table, "Item": item, "ConditionExpression": "attribute_not_exists(pk)"}
    if before is not None:
        put |= {
            "ConditionExpression": "#state = :open",
            "ExpressionAttributeNames": {"#state": "state"},
            "ExpressionAttributeValues": {":open": {"S": "OPEN"}},
        }
    writes: list[dict[str, Any]] = [{"Put": put}]
    if before is None and after.state == "OPEN":
        writes += [_counted(table, after, 1), {"Put": {"TableName": table, "Item": _open_item(after)}}]
    elif before is not None:
        writes += [_counted(table, after, -1), {"Delete": {"TableName": table, "Key": _open_key(before)}}]
    return writes


def _counted(table: str, order: Order, step: int) -> dict[str, Any]:
    update: dict[str, Any] = {
        "TableName": table,
        "Key": {"pk": _key(order.portfolio_id, "")["pk"], "sk": {"S": "ORDERS"}},
        "UpdateExpression": "ADD open_orders :step",
        "ExpressionAttributeValues": {":step": {"N": str(step)}},
    }
    if step > 0:
        update["ConditionExpression"] = "attribute_not_exists(open_orders) OR open_orders < :limit"
        update["ExpressionAttributeValues"][":limit"] = {"N": str(MAX_OPEN)}
    return {"Update": update}


class DynamoDbOrders:
    """Implements ``ports.Orders``."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def get(self, portfolio_id: str, order_id: str) -> Order | None:
        """None if there never was one."""
        with our_errors(f"GetItem order on {self._table}"):
            answer = self._client.get_item(TableName=self._table, Key=_key(portfolio_id, order_id), ConsistentRead=True)
        item: Any = answer.get("Item")
        return orders.decode(item["record"]["S"]) if item else None

    def page(self, portfolio_id: str, state: State | None, after: str | None, limit: int) -> OrderPage:
        """Those of one state are filtered by DynamoDB out of at most ``LOOKED_AT_MAX``."""
        query: dict[str, Any] = {
            "KeyConditionExpression": "pk = :pk AND begins_with(sk, :prefix)",
            "ExpressionAttributeNames": {"#record": "record"},
            "ExpressionAttributeValues": {":pk": _key(portfolio_id, "")["pk"], ":prefix": {"S": "ORDER#"}},
            "ProjectionExpression": "sk, #record",
        }
        if state is not None:
            query["FilterExpression"] = "#state = :state"
            query["ExpressionAttributeNames"]["#state"] = "state"
            query["ExpressionAttributeValues"][":state"] = {"S": state}
        if after is not None:
            query["ExclusiveStartKey"] = _key(portfolio_id, after)
        answer = self._query(
            ConsistentRead=True, ScanIndexForward=False, Limit=LOOKED_AT_MAX if state else limit + 1, **query
        )
        found = [orders.decode(item["record"]["S"]) for item in answer["Items"]]
        if len(found) > limit:
            return OrderPage(found[:limit], found[limit - 1].order_id)
        rest = answer.get("LastEvaluatedKey")
        return OrderPage(found, rest["sk"]["S"].partition("#")[2] if rest else None)

    def change(self, change: OrderChange) -> None:
        """One transaction; the second condition of a new order is that of the count."""
        writes = order_writes(self._table, change)
        codes = transact_write(self._client, writes, f"TransactWriteItems order on {self._table}")
        name = change.after.portfolio_id
        if codes and codes[0] == CONDITION_FAILED:
            raise ConflictError(f"order {change.after.order_id} of {name} changed meanwhile", code="ORDER_CHANGED")
        if codes:
            raise RefusedError(
                f"{name} has {MAX_OPEN} open orders, which is the limit",
                code="TOO_MANY_ORDERS",
                details=[{"limit": MAX_OPEN}],
            )

    def within(self, symbol: str, side: Side, price: Decimal, limit: int) -> list[Order]:
        """Purchases from the price on, sales up to it."""
        first, last = (f"{side}#{price:{_PRICE}}", f"{side}#{_LAST}")
        if side == "SELL":
            first, last = f"{side}#", f"{side}#{price:{_PRICE}}{_LAST}"
        answer = self._query(
            KeyConditionExpression="pk = :pk AND sk BETWEEN :first AND :last",
            ExpressionAttributeNames={"#record": "record"},
            ExpressionAttributeValues={":pk": _partition(symbol), ":first": {"S": first}, ":last": {"S": last}},
            ProjectionExpression="#record",
            ConsistentRead=True,
            Limit=limit,
        )
        return [orders.decode(item["record"]["S"]) for item in answer["Items"]]

    def are_open(self, symbol: str) -> bool:
        """Looks for one."""
        answer = self._query(
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": _partition(symbol)},
            ProjectionExpression="pk",
            ConsistentRead=True,
            Limit=1,
        )
        return bool(answer["Items"])

    def symbols(self) -> Iterator[str]:
        """Symbol by symbol in the order of their hashes: a query each, however many orders it has."""
        for bucket in range(BUCKETS):
            after = -1
            while True:
                answer = self._query(
                    IndexName=INDEX,
                    KeyConditionExpression="listing = :listing AND #sequence > :after",
                    ExpressionAttributeNames={"#sequence": "sequence"},
                    ExpressionAttributeValues={":listing": {"S": _bucket(bucket)}, ":after": {"N": str(after)}},
                    ProjectionExpression="pk, #sequence",
                    Limit=1,
                )
                if not answer["Items"]:
                    break
                [item] = answer["Items"]
                after = int(item["sequence"]["N"])
                yield item["pk"]["S"].partition("#")[2]

    def _query(self, **query: Any) -> Any:  # noqa: ANN401 - the client's own arguments and answer
        with our_errors(f"Query orders on {self._table}"):
            return self._client.query(TableName=self._table, **query)


def _key(portfolio_id: str, order_id: str) -> Item:
    return {"pk": {"S": f"PORTFOLIO#{portfolio_id}"}, "sk": {"S": f"ORDER#{order_id}"}}


def _open_key(order: Order) -> Item:
    request = order.request
    place = f"{request.side}#{request.limit_price:{_PRICE}}#{order.portfolio_id}#{order.order_id}"
    return {"pk": _partition(request.instrument_id), "sk": {"S": place}}


def _open_item(order: Order) -> Item:
    number = stable_hash(order.request.instrument_id)
    return _open_key(order) | {
        "record": {"S": orders.encode(order).decode()},
        "listing": {"S": _bucket(number % BUCKETS)},
        "sequence": {"N": str(number)},
    }


def _partition(symbol: str) -> Item:
    return {"S": f"OPEN_ORDERS#{symbol}"}


def _bucket(bucket: int) -> str:
    return f"OPEN_ORDERS#{bucket}"
