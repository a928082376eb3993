"""Orders on DynamoDB, in the ledger's table: pk ``PORTFOLIO#{id}``, sk ``ORDER#{order_id}``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from foliostream.adapters.dynamodb_batch import Item, our_errors
from foliostream.domain import orders
from foliostream.domain.orders import Order, State
from foliostream.ports import OrderPage

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# Looked at for one page: an order has half a kilobyte, so a page of a rare state costs one call of at most 1 MB.
LOOKED_AT_MAX: Final = 1_000


def order_write(table: str, order: Order) -> list[dict[str, Any]]:
    """The part of a transaction that stores an order, if its id was never seen."""
    item = _key(order.portfolio_id, order.order_id) | {
        "state": {"S": order.state},
        "record": {"S": orders.encode(order).decode()},
    }
    return [{"Put": {"TableName": table, "Item": item, "ConditionExpression": "attribute_not_exists(pk)"}}]


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
        with our_errors(f"Query orders on {self._table}"):
            answer: Any = self._client.query(
                TableName=self._table,
                ConsistentRead=True,
                ScanIndexForward=False,
                Limit=LOOKED_AT_MAX if state else limit + 1,
                **query,
            )
        found = [orders.decode(item["record"]["S"]) for item in answer["Items"]]
        if len(found) > limit:
            return OrderPage(found[:limit], found[limit - 1].order_id)
        rest = answer.get("LastEvaluatedKey")
        return OrderPage(found, rest["sk"]["S"].partition("#")[2] if rest else None)


def _key(portfolio_id: str, order_id: str) -> Item:
    return {"pk": {"S": f"PORTFOLIO#{portfolio_id}"}, "sk": {"S": f"ORDER#{order_id}"}}
