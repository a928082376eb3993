"""Prices in the hot table: pk ``MARKET#AAPL``, sk ``PRICE``; amounts are strings, exact as given."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import Executor
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from foliostream.adapters.dynamodb_batch import Item, batch_get, conditional, each
from foliostream.domain.price import Price, PriceUpdate

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_AMOUNTS = ("bid", "ask", "last", "open", "previous_close")
_ORDERS = {
    "quote_ts_ms": "quote_ts",
    "quote_seq": "quote_seq",
    "last_ts_ms": "last_ts",
    "last_seq": "last_seq",
    "open_ts_ms": "open_ts",
    "previous_close_ts_ms": "previous_close_ts",
}


class _Judged(NamedTuple):
    """Which parts of an update may still be newer than what is stored. ``session``: open and previous close, which an
    update brings that is older in neither part."""

    quote: bool
    last: bool
    session: bool


class DynamoDbHotPrices:
    """The port ``Prices``."""

    def __init__(self, client: DynamoDBClient, hot_table: str, pool: Executor) -> None:
        self._client = client
        self._table = hot_table
        self._pool = pool

    def get(self, symbols: Collection[str]) -> dict[str, Price]:
        """Those that have one."""
        items = batch_get(self._client, self._table, [_key(symbol) for symbol in symbols], pool=self._pool)
        return {item["pk"]["S"].removeprefix("MARKET#"): _price(item) for item in items}

    def put(self, updates: Sequence[PriceUpdate]) -> list[bool]:
        """Merge: the updates of a symbol in their order, symbols side by side."""
        by_symbol: dict[str, list[int]] = {}
        for index, update in enumerate(updates):
            by_symbol.setdefault(update.symbol, []).append(index)

        def merge_all(indexes: list[int]) -> list[bool]:
            return [self._merge(updates[index]) for index in indexes]

        taken = [False] * len(updates)
        groups = list(by_symbol.values())
        for indexes, flags in zip(groups, each(self._pool, merge_all, groups), strict=True):
            for index, flag in zip(indexes, flags, strict=True):
                taken[index] = flag
        return taken

    def _merge(self, update: PriceUpdate) -> bool:
        """One conditional write takes every part that is not older. When it is refused, the item it met tells which
        part is older, and stays so, since stored orders only rise: that part is left out and the rest is tried again.
        So a write is never repeated for contention, and four tries are the most."""
        brings_session = update.open is not None or update.previous_close is not None
        judged = _Judged(update.has_quote, update.last is not None, brings_session)
        while judged.quote or judged.last:
            stored = self._write(update, judged)
            if stored is None:
                return True
            quote = update.order >= (stored.quote_ts_ms, stored.quote_seq)
            last = update.order >= (stored.last_ts_ms, stored.last_seq)
            judged = _Judged(judged.quote and quote, judged.last and last, judged.session and quote and last)
        return False

    def _write(self, update: PriceUpdate, judged: _Judged) -> Price | None:
        """None if it was taken, else the price that refused it."""
        change = _Change(update)
        if judged.quote:
            change.part("quote", {"bid": update.bid, "ask": update.ask})
        if judged.last:
            change.part("last", {"last": update.last})
        if judged.session:
            change.unless_newer("quote")
            change.unless_newer("last")
            change.session({"open": update.open, "previous_close": update.previous_close})
        attempt = conditional(
            self._client.update_item,
            f"UpdateItem {update.symbol} in {self._table}",
            {"TableName": self._table, "Key": _key(update.symbol), **change.arguments()},
        )
        return None if attempt.held else _price(attempt.item)


class _Change:
    """An UpdateItem in the making: what is set, what is removed, on which condition."""

    def __init__(self, update: PriceUpdate) -> None:
        self._values: Item = {":ts": {"N": str(update.ts_ms)}, ":seq": {"N": str(update.seq)}}
        self._names: dict[str, str] = {}
        self._set: list[str] = []
        self._remove: list[str] = []
        self._conditions: list[str] = []

    def part(self, name: str, amounts: dict[str, Decimal | None]) -> None:
        """Replace the amounts of one part, missing ones too, unless the stored part is newer."""
        self.unless_newer(name)
        self._set += [f"{self._name(f'{name}_ts')} = :ts", f"{self._name(f'{name}_seq')} = :seq"]
        self.amounts(amounts)

    def unless_newer(self, name: str) -> None:
        """Hold only where the stored part is not newer."""
        ts, seq = self._name(f"{name}_ts"), self._name(f"{name}_seq")
        self._conditions.append(f"(attribute_not_exists({ts}) OR {ts} < :ts OR ({ts} = :ts AND {seq} <= :seq))")

    def amounts(self, amounts: dict[str, Decimal | None]) -> None:
        """Set amounts, remove missing ones."""
        for name, value in amounts.items():
            if value is None:
                self._remove.append(self._name(name))
            else:
                self._amount(name, value)

    def session(self, amounts: dict[str, Decimal | None]) -> None:
        """Set amounts and the time of each, keep missing ones."""
        for name, value in amounts.items():
            if value is not None:
                self._amount(name, value)
                self._set.append(f"{self._name(f'{name}_ts')} = :ts")

    def _amount(self, name: str, value: Decimal) -> None:
        self._values[f":{name}"] = {"S": format(value, "f")}
        self._set.append(f"{self._name(name)} = :{name}")

    def arguments(self) -> dict[str, Any]:
        """For ``update_item``."""
        remove = f" REMOVE {', '.join(self._remove)}" if self._remove else ""
        return {
            "UpdateExpression": f"SET {', '.join(self._set)}{remove}",
            "ConditionExpression": " AND ".join(self._conditions),
            "ExpressionAttributeNames": self._names,
            "ExpressionAttributeValues": self._values,
        }

    def _name(self, attribute: str) -> str:
        """A placeholder: ``last`` and ``open`` are reserved words."""
        self._names[f"#{attribute}"] = attribute
        return f"#{attribute}"


def _key(symbol: str) -> Item:
    return {"pk": {"S": f"MARKET#{symbol}"}, "sk": {"S": "PRICE"}}


def _price(item: Item) -> Price:
    amounts: dict[str, Any] = {name: Decimal(item[name]["S"]) for name in _AMOUNTS if name in item}
    orders: dict[str, Any] = {field: int(item[name]["N"]) for field, name in _ORDERS.items() if name in item}
    return Price(**amounts, **orders)
