"""Brokers' accounts in the ledger's table.

====================  =======================  =======================================================
pk                    sk                       what
====================  =======================  =======================================================
ACCOUNTS              {broker}#{account}       the list of all accounts
ACCOUNT#{broker}#...  ACCOUNT                  owner: whose portfolios may be on it; never changed
ACCOUNT#{broker}#...  PORTFOLIO#{id}           tag; a portfolio on it
ACCOUNT#{broker}#...  STATE                    record: how its reconciliation stands
ACCOUNT#{broker}#...  ORDER#{day}#{order id}   record: what of an order became fills; expires_at
====================  =======================  =======================================================

The first three are written with the portfolio, in its transaction. The last ones are the only items of the table that
DynamoDB deletes by itself (``expires_at``, epoch seconds); ``order_fills`` takes no order of a day so long ago.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import msgspec

from foliostream.adapters.dynamodb_batch import Item, our_errors
from foliostream.domain.account import BrokerAccount, Portfolio
from foliostream.domain.order_fills import Booked, Member, kept_until_ms
from foliostream.domain.reconciliation import AccountState
from foliostream.ports import AccountPage

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_LIST: Final = "ACCOUNTS"
_encoder = msgspec.json.Encoder(decimal_format="string")
_booked = msgspec.json.Decoder(Booked)
_state = msgspec.json.Decoder(AccountState)


def account_items(table: str, portfolio: Portfolio) -> list[dict[str, Any]]:
    """Parts of the transaction that creates a portfolio on an account; the second one fails where the account has
    another owner."""
    if portfolio.broker is None:
        return []
    broker = portfolio.broker
    key = _key(broker.name, broker.account)
    return [
        {"Put": {"TableName": table, "Item": {"pk": {"S": _LIST}, "sk": {"S": f"{broker.name}#{broker.account}"}}}},
        {
            "Put": {
                "TableName": table,
                "Item": key | {"sk": {"S": "ACCOUNT"}, "owner": {"S": portfolio.owner}},
                "ConditionExpression": "attribute_not_exists(pk) OR #owner = :owner",
                "ExpressionAttributeNames": {"#owner": "owner"},
                "ExpressionAttributeValues": {":owner": {"S": portfolio.owner}},
            }
        },
        {
            "Put": {
                "TableName": table,
                "Item": key | {"sk": {"S": f"PORTFOLIO#{portfolio.portfolio_id}"}, "tag": {"S": broker.tag}},
            }
        },
    ]


class DynamoDbAccounts:
    """Implements ``ports.Accounts``; all reads are strongly consistent."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def page(self, after: str | None, limit: int) -> AccountPage:
        """In the order of their names."""
        start: dict[str, Any] = {} if after is None else {"ExclusiveStartKey": _listed(after)}
        with our_errors(f"Query accounts of {self._table}"):
            answer: Any = self._client.query(
                TableName=self._table,
                KeyConditionExpression="pk = :pk",
                ExpressionAttributeValues={":pk": {"S": _LIST}},
                ConsistentRead=True,
                Limit=limit,
                **start,
            )
        names = [item["sk"]["S"] for item in answer["Items"]]
        found = [BrokerAccount(broker, account) for broker, _, account in (name.partition("#") for name in names)]
        return AccountPage(found, names[-1] if names and "LastEvaluatedKey" in answer else None)

    def members(self, broker: str, account: str) -> list[Member]:
        """In the order of their ids."""
        items = self._query(broker, account, "PORTFOLIO#")
        return [Member(item["sk"]["S"].partition("#")[2], item["tag"]["S"]) for item in items]

    def state(self, broker: str, account: str) -> AccountState:
        """As new where there is none."""
        record = self._record(broker, account, "STATE")
        return AccountState() if record is None else _state.decode(record)

    def keep_state(self, broker: str, account: str, state: AccountState) -> None:
        """The last writer wins: the account's turn has kept others away for a second."""
        item = _key(broker, account) | {"sk": {"S": "STATE"}, "record": {"S": _encoder.encode(state).decode()}}
        with our_errors(f"PutItem state in {self._table}"):
            self._client.put_item(TableName=self._table, Item=item)

    def booked(self, broker: str, account: str, day: str) -> dict[str, Booked]:
        """By order id."""
        items = self._query(broker, account, f"ORDER#{day}#")
        return {item["sk"]["S"].split("#", 2)[2]: _booked.decode(item["record"]["S"]) for item in items}

    def booked_order(self, broker: str, account: str, day: str, order_id: str) -> Booked:
        """Nothing where it is not known."""
        record = self._record(broker, account, f"ORDER#{day}#{order_id}")
        return Booked() if record is None else _booked.decode(record)

    def book(self, broker: str, account: str, order: tuple[str, str], before: Booked, after: Booked) -> None:
        """``ConflictError`` where it is not ``before`` any more."""
        condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(pk)"}
        if before != Booked():
            condition = {
                "ConditionExpression": "#record = :before",
                "ExpressionAttributeNames": {"#record": "record"},
                "ExpressionAttributeValues": {":before": {"S": _encoder.encode(before).decode()}},
            }
        item = _key(broker, account) | {
            "sk": {"S": "ORDER#" + "#".join(order)},
            "record": {"S": _encoder.encode(after).decode()},
            "expires_at": {"N": str(kept_until_ms(order[0]) // 1000)},
        }
        with our_errors(f"PutItem order in {self._table}"):
            self._client.put_item(TableName=self._table, Item=item, **condition)

    def _record(self, broker: str, account: str, sort: str) -> str | None:
        with our_errors(f"GetItem {sort} in {self._table}"):
            answer: Any = self._client.get_item(
                TableName=self._table, Key=_key(broker, account) | {"sk": {"S": sort}}, ConsistentRead=True
            )
        return str(answer["Item"]["record"]["S"]) if "Item" in answer else None

    def _query(self, broker: str, account: str, prefix: str) -> Iterator[Item]:
        query: dict[str, Any] = {
            "TableName": self._table,
            "KeyConditionExpression": "pk = :pk AND begins_with(sk, :prefix)",
            "ExpressionAttributeValues": {":pk": _key(broker, account)["pk"], ":prefix": {"S": prefix}},
            "ConsistentRead": True,
        }
        while True:
            with our_errors(f"Query {prefix} in {self._table}"):
                answer: Any = self._client.query(**query)
            yield from answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return
            query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


def _key(broker: str, account: str) -> dict[str, Any]:
    return {"pk": {"S": f"ACCOUNT#{broker}#{account}"}}


def _listed(name: str) -> dict[str, Any]:
    return {"pk": {"S": _LIST}, "sk": {"S": name}}
