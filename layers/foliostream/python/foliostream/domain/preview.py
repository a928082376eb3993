"""What orders would do to a margin account, and whether it may have them; nothing is changed by asking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal, localcontext
from typing import Any, Literal, NamedTuple

from foliostream.domain import booking, margin, money, price
from foliostream.domain.account import Portfolio
from foliostream.domain.context import figure
from foliostream.domain.entries import Entry
from foliostream.domain.instrument import Instrument
from foliostream.domain.margin import Basis, Margin, Market
from foliostream.domain.money import ZERO
from foliostream.errors import CallerError

MAX_ORDERS = 40


class Order(NamedTuple):
    """A hypothetical trade: ``quantity`` signed; ``price`` None: the market's, a purchase at the ask. ``fee`` in the
    instrument's currency."""

    symbol: str
    quantity: Decimal
    price: Decimal | None = None
    fee: Decimal = ZERO


class Refusal(NamedTuple):
    """Why the orders would not be taken, as a caller is told."""

    code: str
    message: str
    details: Sequence[Mapping[str, Any]]


class Preview(NamedTuple):
    """The figures before and after all orders; ``after`` is None where the orders cannot be booked at all, and
    ``refusal`` says why. With both, they could be booked and would not be taken."""

    before: Margin
    after: Margin | None
    refusal: Refusal | None


def preview(portfolio: Portfolio, orders: Sequence[Order], market: Market, basis: Basis = "current") -> Preview:
    """Book the orders on a copy, all or none, and compare. ``CallerError`` for too many or none."""
    if not 0 < len(orders) <= MAX_ORDERS:
        raise CallerError(f"orders has 1 to {MAX_ORDERS} entries, not {len(orders)}", code="TOO_MANY_ORDERS")
    before = margin.assess(portfolio, market, basis)
    try:
        entries = [_entry(number, order, market) for number, order in enumerate(orders)]
        after = _after(portfolio, entries, market, basis)
    except CallerError as fault:
        return Preview(before, None, Refusal(fault.code, fault.message, fault.details))
    return Preview(before, after, refusal(before, after, portfolio.base_currency))


def check(portfolio: Portfolio, entries: Sequence[Entry], market: Market, basis: Basis = "current") -> Refusal | None:
    """The pre-trade check of what is about to be booked, None where the account may have it. Raises what booking
    would: ``CallerError`` for an entry that is wrong, ``RefusedError`` for one that the books do not allow."""
    before = margin.assess(portfolio, market, basis)
    return refusal(before, _after(portfolio, entries, market, basis), portfolio.base_currency)


def refusal(before: Margin, after: Margin, base: str) -> Refusal | None:
    """None where free margin stays at or above zero, or where less margin is used than before: who is short of margin
    may always reduce. ``MARGIN_UNKNOWN`` where a price, a rate or a margin rate is missing."""
    if after.used is None or after.free is None:
        names = ", ".join(after.missing)
        return Refusal(
            "MARGIN_UNKNOWN", f"no price, rate or margin rate for {names}", [{"symbols": list(after.missing)}]
        )
    if after.free >= ZERO or (before.used is not None and after.used < before.used):
        return None
    needed = after.used - (before.used or ZERO)
    available = before.free if before.free is not None else before.equity
    shown = {
        "currency": base,
        "needed": figure(needed),
        "available": None if available is None else figure(available),
        "free_after": figure(after.free),
    }
    message = f"{shown['needed']} {base} of margin needed, {shown['available']} available"
    return Refusal("INSUFFICIENT_MARGIN", message, [shown])


def _after(portfolio: Portfolio, entries: Sequence[Entry], market: Market, basis: Basis) -> Margin:
    booked, _ = booking.apply(portfolio, entries, market.instruments, market.now_ms, market.prices)
    return margin.assess(booked, market, basis)


def _entry(number: int, order: Order, market: Market) -> Entry:
    side: Literal["BUY", "SELL"] = "BUY" if order.quantity > 0 else "SELL"
    return Entry(
        transaction_id=f"preview:{number}",
        transaction_type=side,
        timestamp_ms=market.now_ms,
        instrument_id=order.symbol,
        quantity=order.quantity,
        price=_price(order, market) if order.price is None else order.price,
        fee=order.fee,
    )


def _price(order: Order, market: Market) -> Decimal:
    instrument: Instrument | None = market.instruments.get(order.symbol)
    if instrument is None:
        raise CallerError(f"no instrument {order.symbol} is registered", code="UNKNOWN_SYMBOL")
    with localcontext(money.EXACT):
        # Whoever buys pays what a short position would be closed at.
        found = price.mark(market.prices.get(order.symbol), instrument.kind, long=order.quantity < 0)
    if found is None:
        raise CallerError(f"{order.symbol} has no price to trade at: give one", code="PRICE_MISSING")
    return money.rounded(found.value, instrument.price_places)
