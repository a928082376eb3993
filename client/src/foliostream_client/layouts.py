"""Brokers' exports of transactions, known by their headers, and how a row of each becomes a transaction."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from foliostream_client.cells import CellError, Row, UnsupportedError, amount, moment, symbol, written

Update = dict[str, Any]


class Context(NamedTuple):
    """``names``: symbols by the broker's names; ``zone``: where times without an offset are of."""

    names: Mapping[str, str]
    zone: ZoneInfo


class Layout(NamedTuple):
    """A kind of file: the columns that tell it, the zone of its times, and what becomes of a row: an update as the API
    takes it, with ``reference``, whatever of the row tells it from another one just like it."""

    name: str
    title: str
    needs: frozenset[str]
    zone: str
    read: Callable[[Row, Context], Update]


# What each type of transaction is made of: the rest of a row would be refused.
_TRADE: Final = ("instrument_id", "quantity_change", "price", "fee", "fee_currency")
_CASH: Final = ("instrument_id", "quantity_change", "price", "amount", "currency")
FIELDS: Final[Mapping[str, Sequence[str]]] = {
    "BUY": _TRADE,
    "SELL": _TRADE,
    "DEPOSIT": _CASH,
    "WITHDRAWAL": _CASH,
    "DIVIDEND": _CASH,
    "FEE": _CASH,
    "SWAP": _CASH,
    "SPLIT": ("instrument_id", "ratio", "cash_price"),
    "FX": ("from", "to", "amount", "rate", "fee", "fee_currency"),
    "ADJUSTMENT": (*_CASH, "reason"),
}
_AMOUNTS: Final = frozenset({"quantity_change", "price", "fee", "amount", "rate", "cash_price"})
_ALIASES: Final[Mapping[str, Sequence[str]]] = {
    "transaction_type": ("transaction_type", "type", "action"),
    "timestamp": ("timestamp", "date", "time", "datetime"),
    "instrument_id": ("instrument_id", "symbol", "ticker"),
    "quantity_change": ("quantity_change", "quantity"),
    "from": ("from", "currency"),
    "to": ("to", "to_currency"),
    "fee": ("fee", "commission", "fees"),
}
_DAYS: Final = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d", "%Y/%m/%d %H:%M:%S")


def _generic(row: Row, context: Context) -> Update:
    """The columns are the API's own; what ``foliostream export`` writes comes back as it was."""
    kind = row.needed(*_ALIASES["transaction_type"]).upper()
    if kind not in FIELDS:
        raise CellError(f"{kind[:40]} is no type of transaction: {', '.join(FIELDS)}")
    update: Update = {"transaction_type": kind, "timestamp": _generic_time(row, context)}
    for field in FIELDS[kind]:
        text = row.text(*_ALIASES.get(field, (field,)))
        if text:
            update[field] = amount(text) if field in _AMOUNTS else text
    if "instrument_id" in update and not update["instrument_id"].startswith("CASH:"):
        update["instrument_id"] = symbol(update["instrument_id"], context.names)
    _tidy(update)
    return update | {"reference": row.text("transaction_id")}


def _generic_time(row: Row, context: Context) -> str:
    text = row.needed(*_ALIASES["timestamp"])
    if text.isdecimal() and len(text) == 13:
        return written(datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=int(text)))
    return moment(text, _DAYS, context.zone)


def _tidy(update: Update) -> None:
    """Leave out what an export shows beside: the currency of an adjustment in kind, a fee of nothing."""
    if update["transaction_type"] == "ADJUSTMENT" and update.get("quantity_change") and "amount" not in update:
        update.pop("currency", None)
    if not update.get("fee"):
        update.pop("fee", None)
        update.pop("fee_currency", None)
    elif update["fee"] < 0:
        raise CellError(f"a fee of {update['fee']} would be paid out")


def _trade(kind: str, row_symbol: str, quantity: Decimal, price: Decimal, fee: Decimal, currency: str = "") -> Update:
    if not quantity or kind not in ("BUY", "SELL"):
        raise CellError(f"neither a purchase nor a sale: {kind[:40]} {quantity}")
    update: Update = {"transaction_type": kind, "instrument_id": row_symbol, "quantity_change": abs(quantity)}
    update |= {"price": price, "fee": fee}
    if currency:
        update["fee_currency"] = currency
    _tidy(update)
    return update


_IB_TIMES: Final = ("%Y-%m-%d, %H:%M:%S", "%Y%m%d;%H%M%S", "%Y-%m-%d;%H:%M:%S", "%Y%m%d %H%M%S", "%Y%m%d")
_IB_STOCKS: Final = frozenset({"STK", "STOCKS", "STOCK", "ETF", "FUND"})


def _ib_flex(row: Row, context: Context) -> Update:
    """A row of a Flex query's trades; the commission is negative where it is paid."""
    _ib_only_stocks(row.text("assetclass", "asset class", "assetcategory"))
    level = row.text("levelofdetail").upper()
    if level and level != "EXECUTION":
        raise UnsupportedError(f"a row of {level}, its executions count")
    quantity = amount(row.needed("quantity"))
    kind = row.text("buy/sell").upper().split(" ")[0] or ("BUY" if quantity > 0 else "SELL")
    name = symbol(row.needed("symbol"), context.names)
    fee = -amount(row.text("ibcommission") or "0")
    update = _trade(kind, name, quantity, amount(row.needed("tradeprice")), fee, row.text("ibcommissioncurrency"))
    update["timestamp"] = moment(row.needed("datetime", "tradedate"), _IB_TIMES, context.zone)
    return update | {"reference": row.text("ibexecid", "transactionid", "tradeid")}


def _ib_statement(row: Row, context: Context) -> Update:
    """A row of an activity statement: trades, and what moves cash."""
    return _IB_SECTIONS[row.section](row, context)


def _ib_trade(row: Row, context: Context) -> Update:
    _ib_only_stocks(row.text("asset category"))
    quantity = amount(row.needed("quantity"))
    name = symbol(row.needed("symbol"), context.names)
    fee = -amount(row.text("comm/fee") or "0")
    kind = "BUY" if quantity > 0 else "SELL"
    update = _trade(kind, name, quantity, amount(row.needed("t. price")), fee, row.text("currency"))
    return update | {"timestamp": moment(row.needed("date/time"), _IB_TIMES, context.zone), "reference": ""}


def _ib_only_stocks(category: str) -> None:
    if category.upper() not in _IB_STOCKS:
        raise UnsupportedError(f"{category or 'a trade without a category'} is no stock")


def _ib_transfer(row: Row, context: Context) -> Update:
    moved = amount(row.needed("amount"))
    return _ib_cash(row, context, "DEPOSIT" if moved > 0 else "WITHDRAWAL", abs(moved))


def _ib_dividend(row: Row, context: Context) -> Update:
    update = _ib_cash(row, context, "DIVIDEND", amount(row.needed("amount")))
    named = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9 ._-]*?)\s*\(", row.text("description"))
    return update | ({"instrument_id": symbol(named[1], context.names)} if named else {})


def _ib_fee(row: Row, context: Context) -> Update:
    """Also tax that is withheld; what comes back is a negative fee, and booked as such."""
    return _ib_cash(row, context, "FEE", -amount(row.needed("amount")))


def _ib_cash(row: Row, context: Context, kind: str, value: Decimal) -> Update:
    day = moment(row.needed("date", "settle date"), (*_DAYS, *_IB_TIMES), context.zone)
    update: Update = {"transaction_type": kind, "amount": value, "currency": row.needed("currency"), "timestamp": day}
    return update | {"reference": row.text("description")}


_IB_SECTIONS: Final[Mapping[str, Callable[[Row, Context], Update]]] = {
    "trades": _ib_trade,
    "deposits & withdrawals": _ib_transfer,
    "dividends": _ib_dividend,
    "withholding tax": _ib_fee,
    "fees": _ib_fee,
}


def _zerodha(row: Row, context: Context) -> Update:
    """A row of a tradebook; it has no charges."""
    segment = row.text("segment").upper()
    if segment not in ("EQ", ""):
        raise UnsupportedError(f"the segment {segment}: only EQ is booked")
    name = symbol(row.needed("symbol"), context.names)
    kind = row.needed("trade_type").upper()
    update = _trade(kind, name, amount(row.needed("quantity")), amount(row.needed("price")), Decimal(0))
    update["timestamp"] = moment(row.needed("order_execution_time", "trade_date"), _DAYS, context.zone)
    return update | {"reference": f"{row.text('exchange')} {row.text('trade_id')}"}


_DEGIRO_TIMES: Final = ("%d-%m-%Y %H:%M", "%d-%m-%Y %H:%M:%S", "%d/%m/%Y %H:%M")
_DEGIRO_FEES: Final = (
    "transaction and/or third",
    "transaction and/or third party fees",
    "transaction and/or third party fees eur",
    "transaction costs",
)


def _degiro(row: Row, context: Context) -> Update:
    """A row of the transactions; a column without a name has the currency of the one before it."""
    isin, product = row.needed("isin"), row.text("product")
    if isin not in context.names:
        raise CellError(f"{product} is known by its ISIN only: --map {isin}=SYMBOL says what it is here")
    quantity = amount(row.needed("quantity"), "decimal")
    fee = -amount(row.text(*_DEGIRO_FEES) or "0", "decimal")
    paid_in = row.text(*(f"{name} currency" for name in _DEGIRO_FEES)) or "EUR"
    kind = "BUY" if quantity > 0 else "SELL"
    price = amount(row.needed("price"), "decimal")
    update = _trade(kind, symbol(isin, context.names), quantity, price, fee, paid_in)
    when = f"{row.needed('date')} {row.text('time') or '00:00'}"
    return update | {"timestamp": moment(when, _DEGIRO_TIMES, context.zone), "reference": row.text("order id")}


_T212_CASH: Final = {"deposit": "DEPOSIT", "withdrawal": "WITHDRAWAL", "interest on cash": "DEPOSIT"}
_T212_CONVERSIONS: Final = ("currency conversion fee", "stamp duty reserve tax", "transaction fee", "finra fee")


def _trading212(row: Row, context: Context) -> Update:
    """A row of the history: purchases, sales, dividends, deposits and withdrawals."""
    action = row.needed("action").lower()
    when = moment(row.needed("time"), ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S.%f"), context.zone)
    about: Update = {"timestamp": when, "reference": row.text("id")}
    total = row.text("total", *(name for name in row.cells if name.startswith("total (")))
    paid_in = row.text("currency (total)") or _in_brackets(row, "total (")
    if action.endswith((" buy", " sell")):
        quantity, price = amount(row.needed("no. of shares")), amount(row.needed("price / share"))
        fees = [amount(row.text(name)) for name in _T212_CONVERSIONS if row.text(name)]
        name = symbol(row.needed("ticker"), context.names)
        kind = action.rsplit(" ", 1)[1].upper()
        return about | _trade(kind, name, quantity, price, sum(fees, Decimal(0)), paid_in if fees else "")
    if action.startswith("dividend"):
        name = symbol(row.needed("ticker"), context.names)
        received = {"amount": amount(total), "currency": paid_in, "instrument_id": name}
        return about | {"transaction_type": "DIVIDEND"} | received
    if action in _T212_CASH:
        return about | {"transaction_type": _T212_CASH[action], "amount": abs(amount(total)), "currency": paid_in}
    raise UnsupportedError(f"{row.text('action')[:60]!r} is not booked")


def _in_brackets(row: Row, beginning: str) -> str:
    """``EUR`` of a column called ``Total (EUR)``."""
    return next((name[len(beginning) : -1].upper() for name in row.cells if name.startswith(beginning)), "")


IB_STATEMENT: Final = Layout(
    "ib-statement", "Interactive Brokers, activity statement", frozenset(), "America/New_York", _ib_statement
)
IB_SECTIONS: Final = frozenset(_IB_SECTIONS)
# The first that fits: the more particular ones come first.
LAYOUTS: Final = (
    Layout(
        "ib-flex",
        "Interactive Brokers, Flex query of trades",
        frozenset({"symbol", "quantity", "tradeprice", "ibcommission"}),
        "America/New_York",
        _ib_flex,
    ),
    Layout(
        "zerodha",
        "Zerodha, tradebook",
        frozenset({"symbol", "trade_type", "quantity", "price", "trade_id"}),
        "Asia/Kolkata",
        _zerodha,
    ),
    Layout(
        "degiro",
        "DEGIRO, transactions",
        frozenset({"date", "product", "isin", "quantity", "price", "order id"}),
        "Europe/Amsterdam",
        _degiro,
    ),
    Layout(
        "trading212",
        "Trading 212, history",
        frozenset({"action", "time", "ticker", "no. of shares", "price / share"}),
        "UTC",
        _trading212,
    ),
)
GENERIC: Final = Layout(
    "generic",
    "the API's own fields (timestamp, transaction_type, instrument_id, quantity_change, price, ...)",
    frozenset(),
    "UTC",
    _generic,
)
EVERY: Final = (*LAYOUTS, IB_STATEMENT, GENERIC)
