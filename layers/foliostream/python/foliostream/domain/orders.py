"""Simulated orders of paper accounts: what is asked for, at which price it is filled, and what that costs."""

from __future__ import annotations

import re
from decimal import ROUND_DOWN, ROUND_UP, Decimal
from hashlib import blake2b
from typing import Literal, Protocol

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from foliostream.domain import money, splitting, times, trading_hours
from foliostream.domain.context import figure
from foliostream.domain.fills import Side
from foliostream.domain.instrument import Instrument, expires_at_ms
from foliostream.domain.money import ZERO
from foliostream.domain.portfolio import Entry, OrderReference, Portfolio
from foliostream.domain.price import Price
from foliostream.errors import CallerError, RefusedError

OrderType = Literal["market", "limit"]
State = Literal["OPEN", "FILLED", "CANCELLED", "REJECTED"]
# Of one portfolio: a reset cancels all of them within one call.
MAX_OPEN = 100
# What a whole id must match, here and in the description of the API.
ORDER_ID = r"[A-Za-z0-9_.:-]{1,64}"
_ORDER_ID = re.compile(ORDER_ID)
_TRANSACTION_PREFIX = "order:"
_PERCENT = Decimal(100)


class Costs(Protocol):
    """What the simulation takes beside the price, in percent: ``fee`` of the value traded, ``slippage`` of the price
    of a market order, which it makes worse."""

    @property
    def fee(self) -> Decimal:
        """Of the value traded."""

    @property
    def slippage(self) -> Decimal:
        """Of the price."""


class Request(Struct, frozen=True):
    """What a caller asks for; ``quantity`` > 0, the ``side`` gives the direction. A limit order is bought at
    ``limit_price`` or below it, sold at it or above; a market order has none."""

    instrument_id: str
    side: Side
    quantity: Decimal
    order_type: OrderType
    limit_price: Decimal | None = None

    @property
    def digest(self) -> str:
        """Tells a repeat from another request under the same id, however its amounts were written."""
        limit = "" if self.limit_price is None else _written(self.limit_price)
        parts = (self.instrument_id, self.side, self.order_type, _written(self.quantity), limit)
        return blake2b("|".join(parts).encode(), digest_size=16).hexdigest()

    def takes(self, value: Decimal) -> bool:
        """Whether a price is within the limit."""
        if self.limit_price is None:
            return True
        return value <= self.limit_price if self.side == "BUY" else value >= self.limit_price


class Order(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An order of a portfolio as it is kept for ever. An OPEN one never changes but to another state, and then no
    more. ``fill_price`` and ``fee`` (in the instrument's currency, ``fee_currency``) where it is FILLED; ``code`` and
    ``reason`` where it is REJECTED: the books did not take its fill."""

    order_id: str
    portfolio_id: str
    request: Request
    state: State
    created_at_ms: int
    updated_at_ms: int
    fill_price: Decimal | None = None
    fee: Decimal | None = None
    fee_currency: str | None = None
    code: str | None = None
    reason: str | None = None

    @property
    def transaction_id(self) -> str:
        """Under which its fill is booked, once."""
        return _TRANSACTION_PREFIX + self.order_id


def order_id(raw: str) -> str:
    """The id itself; raises ``CallerError`` where it is empty, too long or has other characters."""
    if not _ORDER_ID.fullmatch(raw):
        raise CallerError(f"client_order_id must match [A-Za-z0-9_.:-]{{1,64}}, is {raw[:80]!r}")
    return raw


def is_of_order(transaction_id: str) -> bool:
    """Whether the id is one that an order's fill is booked under: nobody else may take it."""
    return transaction_id.startswith(_TRANSACTION_PREFIX)


def check(request: Request, instrument: Instrument, held: Decimal = ZERO) -> None:
    """``CallerError`` names the field of a request that is none. ``held``: the signed position, which may be closed as
    a whole where it is no multiple of the lot step (a split can make it so)."""
    money.checked("quantity", request.quantity, money.QUANTITY_DECIMALS, zero=False)
    if (request.order_type == "limit") != (request.limit_price is not None):
        raise CallerError("a limit order has a limit_price, a market order has none")
    if request.limit_price is not None:
        money.checked("limit_price", request.limit_price, instrument.price_places, zero=instrument.allow_zero)
    check_step(instrument, request.quantity if request.side == "BUY" else -request.quantity, held)


def check_step(instrument: Instrument, quantity: Decimal, held: Decimal) -> None:
    """``CallerError`` ``LOT_STEP`` for a signed quantity that is no multiple of the instrument's step and does not
    close what is held."""
    step = instrument.lot_step
    if step is None or quantity == -held or not money.EXACT.remainder(quantity, step):
        return
    raise CallerError(
        f"{instrument.symbol} is traded in steps of {figure(step)}, quantity is {figure(abs(quantity))}",
        code="LOT_STEP",
        details=[{"symbol": instrument.symbol, "lot_step": figure(step), "quantity": figure(abs(quantity))}],
    )


def opened(order_id: str, portfolio: Portfolio, request: Request, now_ms: int) -> Order:
    """The order as it comes in."""
    return Order(
        order_id=order_id,
        portfolio_id=portfolio.portfolio_id,
        request=request,
        state="OPEN",
        created_at_ms=now_ms,
        updated_at_ms=now_ms,
    )


def limit_of(request: Request) -> Decimal:
    """Of a limit order."""
    if request.limit_price is None:
        raise ValueError("a market order has no limit")
    return request.limit_price


def check_account(portfolio: Portfolio) -> None:
    """``RefusedError`` where orders are not simulated: with real money, or a demo's."""
    if portfolio.account_type != "paper":
        raise RefusedError(
            f"orders are simulated in paper accounts only, {portfolio.portfolio_id} is {portfolio.account_type}",
            code="NOT_A_PAPER_ACCOUNT",
        )


def market_price(price: Price | None, instrument: Instrument, side: Side, now_ms: int, stale_after_ms: int) -> Decimal:
    """What a trade of the side is done at now: the ask for a buy, the bid for a sale; ``last`` where there is no such
    quote, or only a stale one. ``RefusedError`` ``MARKET_CLOSED``, ``PRICE_MISSING``, ``PRICE_STALE`` (older than a
    split, too) or ``QUOTE_CROSSED``."""
    symbol = instrument.symbol
    if not trading_hours.is_open(instrument.hours, now_ms):
        raise RefusedError(f"{symbol} is not traded now", code="MARKET_CLOSED", details=[{"symbol": symbol}])
    found = _found(price, instrument, side)
    for value, ts_ms in found:
        fresh = now_ms < expires_at_ms(instrument, ts_ms, stale_after_ms)
        if fresh and splitting.factor(instrument.splits, ts_ms) == 1:
            return value
    if not found:
        raise RefusedError(
            f"{symbol} has neither {'an ask' if side == 'BUY' else 'a bid'} nor a last price",
            code="PRICE_MISSING",
            details=[{"symbol": symbol}],
        )
    newest = times.iso(max(ts_ms for _, ts_ms in found))
    raise RefusedError(
        f"the price of {symbol} is of {newest}: too old to trade at",
        code="PRICE_STALE",
        details=[{"symbol": symbol, "price_ts": newest}],
    )


def _found(price: Price | None, instrument: Instrument, side: Side) -> list[tuple[Decimal, int]]:
    """The prices that may do, the better one first, each with its time."""
    if price is None:
        return []
    if price.bid is not None and price.ask is not None and price.bid > price.ask:
        raise RefusedError(
            f"the quote of {instrument.symbol} is crossed: {price.bid} bid, {price.ask} ask", code="QUOTE_CROSSED"
        )
    quoted = price.ask if side == "BUY" else price.bid
    both = ((quoted, price.quote_ts_ms), (price.last, price.last_ts_ms))
    return [(value, ts_ms) for value, ts_ms in both if value is not None and (value or instrument.allow_zero)]


def slipped(value: Decimal, instrument: Instrument, side: Side, costs: Costs) -> Decimal:
    """The price of a market order: worse by the slippage, rounded to the instrument's decimals against the trader."""
    sign = 1 if side == "BUY" else -1
    moved = money.EXACT.divide(money.EXACT.multiply(value, _PERCENT + sign * costs.slippage), _PERCENT)
    quantum = money.ONE.scaleb(-instrument.price_places)
    return moved.quantize(quantum, ROUND_UP if side == "BUY" else ROUND_DOWN, money.EXACT)


def filled(order: Order, value: Decimal, instrument: Instrument, costs: Costs, now_ms: int) -> Order:
    """The order after its fill at a price."""
    worth = money.EXACT.multiply(money.EXACT.multiply(order.request.quantity, value), instrument.multiplier)
    fee = money.EXACT.divide(money.EXACT.multiply(worth, costs.fee), _PERCENT)
    return replace(
        order,
        state="FILLED",
        updated_at_ms=now_ms,
        fill_price=value,
        fee=money.money(fee, instrument.currency),
        fee_currency=instrument.currency,
    )


def ended(order: Order, state: State, now_ms: int, fault: CallerError | None = None) -> Order:
    """An open order that is not to be filled any more: CANCELLED, or REJECTED for what the books say."""
    code, reason = (fault.code, fault.message) if fault else (None, None)
    return replace(order, state=state, updated_at_ms=now_ms, code=code, reason=reason)


def check_units(order: Order, instrument: Instrument) -> None:
    """``RefusedError`` where a split came since: quantity and limit are in units that are traded no more."""
    if any(split.effective_ms > order.created_at_ms for split in instrument.splits):
        raise RefusedError(f"{instrument.symbol} was split after the order came", code="OLDER_THAN_SPLIT")


def entry(order: Order) -> Entry:
    """What is booked for a filled order: by the rules of the account, as if its owner had traded."""
    if order.fill_price is None or order.fee is None:
        raise ValueError(f"{order.order_id} is not filled")
    request = order.request
    return Entry(
        transaction_id=order.transaction_id,
        transaction_type=request.side,
        timestamp_ms=order.updated_at_ms,
        instrument_id=request.instrument_id,
        quantity=request.quantity if request.side == "BUY" else -request.quantity,
        price=order.fill_price,
        fee=order.fee,
        order=OrderReference(order_id=order.order_id),
    )


_encoder = msgspec.json.Encoder(decimal_format="string")
_decoder = msgspec.json.Decoder(Order)


def encode(order: Order) -> bytes:
    """JSON with every Decimal as a string: lossless and readable in a table browser."""
    return _encoder.encode(order)


def decode(raw: bytes | str) -> Order:
    """The inverse of ``encode``."""
    return _decoder.decode(raw)


def _written(value: Decimal) -> str:
    return format(value.normalize(money.EXACT), "f")
