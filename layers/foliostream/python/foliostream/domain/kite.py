"""Kite Connect's answers as our own types: amounts exact, times of India as UTC, symbols looked up by token.

Fields are named by the broker; a field that is missing, of another type, or contradicts the others makes the whole
answer unusable (``RetryableError`` ``BROKER_ANSWER``), never a smaller account.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from hashlib import sha256
from typing import Literal, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from foliostream.domain import broker, keys, money
from foliostream.domain.broker import Answer, Holding, Row
from foliostream.domain.instrument import Instrument
from foliostream.domain.market_hours import INDIA
from foliostream.domain.money import ZERO
from foliostream.domain.order_fills import OrderState
from foliostream.errors import CallerError, RetryableError, UnauthorizedError

BROKER = keys.ZERODHA
FILL_PREFIX = "kite"
MAX_ORDERS = 5_000
MAX_POSTBACK_BYTES = 20_000
# An order that may still fill is none of these.
_ENDED = frozenset({"COMPLETE", "CANCELLED", "REJECTED"})
_ACCOUNT = re.compile(r"[A-Z0-9]{2,16}")
_T = TypeVar("_T")


class _Position(Struct):
    tradingsymbol: str
    exchange: str
    instrument_token: int
    product: str
    quantity: Decimal
    multiplier: Decimal
    average_price: Decimal
    last_price: Decimal
    value: Decimal
    buy_quantity: Decimal
    buy_value: Decimal
    sell_quantity: Decimal
    sell_value: Decimal


class _Positions(Struct):
    net: list[_Position]


class _Financed(Struct, frozen=True):
    quantity: Decimal = ZERO


class _Holding(Struct):
    tradingsymbol: str
    exchange: str
    instrument_token: int
    isin: str
    used_quantity: Decimal
    t1_quantity: Decimal
    realised_quantity: Decimal
    average_price: Decimal
    last_price: Decimal
    collateral_quantity: Decimal = ZERO
    mtf: _Financed = _Financed()


class _Available(Struct):
    live_balance: Decimal
    collateral: Decimal


class _Segment(Struct):
    enabled: bool
    available: _Available


class _Order(Struct):
    order_id: str
    status: str
    order_timestamp: str
    exchange: str
    tradingsymbol: str
    instrument_token: int
    transaction_type: Literal["BUY", "SELL"]
    product: str
    filled_quantity: Decimal
    average_price: Decimal
    exchange_timestamp: str | None = None
    exchange_update_timestamp: str | None = None
    tag: str | None = None
    tags: list[str] = []


class _Trade(Struct):
    trade_id: str
    order_id: str
    exchange: str
    quantity: Decimal
    average_price: Decimal


class _Profile(Struct):
    user_id: str


class _Postback(_Order):
    user_id: str = ""
    checksum: str = ""


def account_of(profile: object) -> str:
    """Whose token it is."""
    return _converted(profile, _Profile, "profile").user_id


def answer(positions: object, holdings: object, margins: object) -> Answer:
    """What ``positions()``, ``holdings()`` and ``margins()`` of the client say; symbols are not looked up yet."""
    with _in_range():
        rows = tuple(map(_row, _converted(positions, _Positions, "positions").net))
        items = tuple(map(_holding, _converted(holdings, list[_Holding], "holdings")))
        segments = _converted(margins, dict[str, _Segment], "margins").values()
        cash = [item.available.live_balance - item.available.collateral for item in segments if item.enabled]
        return broker.checked(Answer(rows=rows, holdings=items, cash=sum(cash, ZERO) if cash else None))


def _row(item: _Position) -> Row:
    where = f"position {item.exchange}:{item.tradingsymbol}"
    broker.check_figures(where, ("value", item.value, item.sell_value - item.buy_value))
    return Row(
        name=item.tradingsymbol,
        exchange=item.exchange,
        product=item.product,
        quantity=item.quantity,
        multiplier=item.multiplier,
        buy_quantity=item.buy_quantity,
        sell_quantity=item.sell_quantity,
        buy_value=item.buy_value,
        sell_value=item.sell_value,
        average_price=item.average_price,
        last_price=item.last_price,
        token=str(item.instrument_token),
    )


def _holding(item: _Holding) -> Holding:
    return Holding(
        name=item.tradingsymbol,
        exchange=item.exchange,
        isin=item.isin,
        settled=item.realised_quantity,
        incoming=item.t1_quantity,
        used=item.used_quantity,
        pledged=item.collateral_quantity,
        financed=item.mtf.quantity,
        average_price=item.average_price,
        last_price=item.last_price,
        token=str(item.instrument_token),
    )


def orders(raw: object, trades: object) -> list[OrderState]:
    """What ``orders()`` and ``trades()`` of the client say about today's orders. The trades of an order are exact, its
    average price is rounded: they are used where they are as far as the order."""
    listed = _converted(raw, list[_Order], "orders")
    if len(listed) > MAX_ORDERS:
        raise _unusable(f"more than {MAX_ORDERS} orders")
    traded: dict[str, tuple[Decimal, Decimal]] = {}
    seen: set[tuple[str, str]] = set()
    with _in_range(), localcontext(money.EXACT):
        for trade in _converted(trades, list[_Trade], "trades"):
            if (trade.exchange, trade.trade_id) not in seen:
                seen.add((trade.exchange, trade.trade_id))
                quantity, value = traded.get(trade.order_id, (ZERO, ZERO))
                traded[trade.order_id] = (quantity + trade.quantity, value + trade.quantity * trade.average_price)
        return [_state(order, *traded.get(order.order_id, (ZERO, ZERO))) for order in listed]


def _state(order: _Order, traded: Decimal = ZERO, value: Decimal = ZERO) -> OrderState:
    if not (order.filled_quantity.is_finite() and order.average_price.is_finite() and order.filled_quantity >= ZERO):
        raise _unusable(f"order {order.order_id[:40]} has a figure that is no number")
    known_exactly = traded >= order.filled_quantity
    placed = _at(order.order_timestamp)
    return OrderState(
        day=placed.astimezone(INDIA).date().isoformat(),
        order_id=order.order_id,
        name=order.tradingsymbol,
        exchange=order.exchange,
        product=order.product,
        side=order.transaction_type,
        filled=traded if known_exactly else order.filled_quantity,
        value=value if known_exactly else order.filled_quantity * order.average_price,
        timestamp_ms=_ms(_at(order.exchange_update_timestamp or order.exchange_timestamp or order.order_timestamp)),
        tags=tuple(dict.fromkeys([*([order.tag] if order.tag else []), *order.tags])),
        token=str(order.instrument_token),
        is_open=order.status not in _ENDED,
    )


def postback_account(body: str) -> str:
    """The account a postback says it is about; nothing is proved yet. ``CallerError`` for anything else."""
    return _postback(body).user_id


def postback(body: str, api_secret: str) -> OrderState:
    """The order of a postback whose checksum (order id + order timestamp + secret) is right, else
    ``UnauthorizedError``."""
    order = _postback(body)
    proof = sha256(f"{order.order_id}{order.order_timestamp}{api_secret}".encode()).hexdigest()
    if not hmac.compare_digest(proof, order.checksum.lower()):
        raise UnauthorizedError("the checksum is wrong")
    try:
        with _in_range():
            return _state(order)
    except RetryableError as fault:
        raise CallerError(fault.message) from None


def _postback(body: str) -> _Postback:
    if len(body) > MAX_POSTBACK_BYTES:
        raise CallerError(f"a postback has at most {MAX_POSTBACK_BYTES} bytes", code="PAYLOAD_TOO_LARGE")
    try:
        found = _postback_decoder.decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as fault:
        raise CallerError(f"not a postback: {str(fault)[:200]}") from None
    if not found.user_id or not found.checksum.isascii():
        raise CallerError("a postback names its user_id and has a checksum")
    return found


def resolved(found: Answer, by_token: Mapping[str, str], instruments: Mapping[str, Instrument]) -> Answer:
    """The answer with our symbols: by token, else by the exchange's name (of another than NSE, ``BSE:RELIANCE``; a
    delivery share traded on BSE only also by its bare name)."""
    rows = tuple(
        replace(row, symbol=symbol, isin=instruments[symbol].isin if symbol else None)
        for row in found.rows
        for symbol in [symbol_of(row, by_token, instruments)]
    )
    holdings = tuple(
        replace(item, symbol=_symbol_by_isin(item, instruments) or symbol_of(item, by_token, instruments))
        for item in found.holdings
    )
    return replace(found, rows=rows, holdings=holdings)


def _symbol_by_isin(item: Holding, instruments: Mapping[str, Instrument]) -> str | None:
    same = sorted(symbol for symbol, instrument in instruments.items() if instrument.isin == item.isin)
    return same[0] if len(same) == 1 else None


def names(item: Row | Holding | OrderState) -> list[str]:
    """The symbols that a row may be registered under, the best first."""
    qualified = f"{item.exchange}:{item.name}"
    delivered = isinstance(item, Holding) or item.product == broker.DELIVERY
    return [qualified, item.name] if item.exchange != "BSE" or delivered else [qualified]


def is_account(name: str) -> bool:
    """Whether it is the form of a user id."""
    return _ACCOUNT.fullmatch(name) is not None


def is_symbol(name: str) -> bool:
    """Whether an instrument can have the name here."""
    try:
        keys.symbol(name)
    except CallerError:
        return False
    return True


def symbol_of(
    item: Row | Holding | OrderState, by_token: Mapping[str, str], instruments: Mapping[str, Instrument]
) -> str | None:
    """The registered symbol; None where there is none."""
    if item.token in by_token and by_token[item.token] in instruments:
        return by_token[item.token]
    return next((name for name in names(item) if name in instruments), None)


def _converted(raw: object, kind: type[_T], name: str) -> _T:
    try:
        return msgspec.convert(msgspec.to_builtins(raw), kind, strict=False)  # the client makes some texts times
    except (msgspec.ValidationError, RecursionError, TypeError) as fault:
        raise _unusable(f"{name}: {fault}") from None


def _at(raw: str) -> datetime:
    """Times without an offset are those of India."""
    try:
        at = datetime.fromisoformat(raw)
    except ValueError:
        raise _unusable(f"{str(raw)[:40]!r} is no time") from None
    return at if at.tzinfo is not None else at.replace(tzinfo=INDIA)


def _ms(at: datetime) -> int:
    return int(at.astimezone(UTC).timestamp()) * 1000


@contextmanager
def _in_range() -> Iterator[None]:
    """A figure or a time that cannot be computed with cannot be used."""
    try:
        yield
    except ArithmeticError:
        raise _unusable("a figure or a time is out of range") from None


def _unusable(why: str) -> RetryableError:
    return RetryableError(f"the broker's answer cannot be used: {why}"[:500], code="BROKER_ANSWER")


_postback_decoder = msgspec.json.Decoder(_Postback)
