"""What orders would do to a margin account, and whether it may have them; nothing is changed by asking.

The preview of orders and the check before something is booked are one rule, ``refusal``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal, localcontext
from typing import Any, Literal, NamedTuple

from foliostream.domain import booking, margin, money, price, rates
from foliostream.domain.account import AccountType, Portfolio
from foliostream.domain.context import figure
from foliostream.domain.entries import Entry
from foliostream.domain.instrument import Instrument
from foliostream.domain.margin import Basis, Margin, Market
from foliostream.domain.money import ZERO
from foliostream.domain.orders import check_step
from foliostream.domain.price import Price
from foliostream.errors import CallerError

MAX_ORDERS = 40
_TRADES = frozenset({"BUY", "SELL"})


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
    ``refusal`` says why. With both, they could be booked and would not be taken. ``assumed``: symbols that have no
    price and are valued at the one of their order."""

    before: Margin
    after: Margin | None
    refusal: Refusal | None
    assumed: tuple[str, ...] = ()


def symbols(portfolio: Portfolio, traded: Collection[str], instruments: Mapping[str, Instrument]) -> frozenset[str]:
    """Whose prices the figures before and after trades need: positions, what is traded, and the pairs on the ways from
    their currencies to base."""
    currencies = {instruments[symbol].currency for symbol in traded if symbol in instruments}
    pairs = (pair for currency in sorted(currencies) for pair in rates.pairs(currency, portfolio.base_currency))
    return portfolio.symbols.union(traded, pairs)


def stale(portfolio: Portfolio, traded: Collection[str], market: Market) -> list[str]:
    """The symbols of ``symbols`` whose price the figures use and is older than it may be."""
    used: dict[str, int] = {}
    currencies = set()
    for symbol in portfolio.positions.keys() | traded:
        instrument, quote = market.instruments.get(symbol), market.prices.get(symbol)
        if instrument is not None and quote is not None:
            used[symbol] = quote.quote_ts_ms if instrument.kind != "stock" or quote.last is None else quote.last_ts_ms
            currencies.add(instrument.currency)
    for currency in currencies:
        rate = rates.find(currency, portfolio.base_currency, market.prices, market.fresh)
        used.update(rate.legs if rate else ())
    return sorted(symbol for symbol, ts_ms in used.items() if not market.fresh(symbol, ts_ms))


def preview(portfolio: Portfolio, orders: Sequence[Order], market: Market, basis: Basis = "current") -> Preview:
    """Book the orders on a copy, all or none, and compare. ``CallerError`` for too many or none."""
    if not 0 < len(orders) <= MAX_ORDERS:
        raise CallerError(f"orders has 1 to {MAX_ORDERS} entries, not {len(orders)}", code="TOO_MANY_ORDERS")
    before = margin.assess(portfolio, market, basis)
    try:
        _check_steps(portfolio, orders, market)
        entries = [_entry(number, order, market) for number, order in enumerate(orders)]
        booked, _ = booking.apply(portfolio, entries, market.instruments, market.now_ms, market.prices)
    except CallerError as fault:
        return Preview(before, None, Refusal(fault.code, fault.message, fault.details))
    priced = _priced(portfolio, entries, market)
    after = margin.assess(booked, priced, basis)
    assumed = tuple(sorted(priced.prices.keys() - market.prices.keys()))
    return Preview(before, after, refusal(portfolio, booked, before, after, entries), assumed)


def is_checked(
    portfolio: Portfolio, booked: Portfolio, entries: Sequence[Entry], checked: Collection[AccountType]
) -> bool:
    """Whether margin is to be looked at before the entries are booked: where an account of a ``checked`` type trades
    and does not only reduce, and where any margin account pays out. What is on a live account has happened."""
    if portfolio.account_kind != "margin":
        return False
    if any(entry.transaction_type == "WITHDRAWAL" for entry in entries):
        return True
    trades = any(entry.transaction_type in _TRADES for entry in entries)
    return trades and portfolio.account_type in checked and not _only_reduces(portfolio, booked)


def check(
    portfolio: Portfolio, booked: Portfolio, entries: Sequence[Entry], market: Market, basis: Basis = "current"
) -> Refusal | None:
    """Why the account may not become what ``booking.apply`` made of it; None where it may."""
    before = margin.assess(portfolio, market, basis)
    after = margin.assess(booked, _priced(portfolio, entries, market), basis)
    return refusal(portfolio, booked, before, after, entries)


def refusal(
    portfolio: Portfolio, booked: Portfolio, before: Margin, after: Margin, entries: Sequence[Entry]
) -> Refusal | None:
    """The rule. None where free margin stays at or above zero; and, unless money is paid out, where positions are only
    reduced or less margin is used than before: who is short of margin may always reduce.

    ``MARGIN_UNKNOWN`` where a price, a rate or a margin rate is missing; not of what was reported as filled, which only
    figures refuse. ``INSUFFICIENT_MARGIN`` has the figures: ``available`` - ``needed`` = ``free_after``.
    """
    pays_out = any(entry.transaction_type == "WITHDRAWAL" for entry in entries)
    if not pays_out and _only_reduces(portfolio, booked):
        return None
    if after.used is None or after.free is None:
        return None if all(entry.reported for entry in entries) else _unknown(after)
    uses_less = before.used is not None and after.used < before.used
    if after.free >= ZERO or (uses_less and not pays_out):
        return None
    return _insufficient(before.free, after.free, portfolio.base_currency)


def _unknown(after: Margin) -> Refusal:
    names = ", ".join(after.missing)
    return Refusal("MARGIN_UNKNOWN", f"no price, rate or margin rate for {names}", [{"symbols": list(after.missing)}])


def _insufficient(free: Decimal | None, free_after: Decimal, base: str) -> Refusal:
    needed = None if free is None else free - free_after
    shown = {
        "currency": base,
        "needed": None if needed is None else figure(needed),
        "available": None if free is None else figure(free),
        "free_after": figure(free_after),
    }
    message = f"free margin would be {shown['free_after']} {base}"
    if free is not None:
        message += f": {shown['needed']} needed for margin, spread, fees and payments, {shown['available']} available"
    return Refusal("INSUFFICIENT_MARGIN", message, [shown])


def _only_reduces(portfolio: Portfolio, booked: Portfolio) -> bool:
    """Whether no position is new, larger or turned round."""
    for symbol, position in booked.positions.items():
        held = portfolio.positions.get(symbol)
        if held is None or (held.quantity > ZERO) != (position.quantity > ZERO):
            return False
        if abs(position.quantity) > abs(held.quantity):
            return False
    return True


def _priced(portfolio: Portfolio, entries: Sequence[Entry], market: Market) -> Market:
    """The market with what is newly traded and has no price at the last price of its entries: what is paid for it is
    known. What is held already keeps having none."""
    known = market.prices.keys() | portfolio.positions.keys()
    paid = {
        entry.instrument_id: Price(entry.price, entry.price, market.now_ms, 0, entry.price, market.now_ms)
        for entry in entries
        if entry.transaction_type in _TRADES and entry.instrument_id and entry.instrument_id not in known
    }
    return market._replace(prices={**market.prices, **paid}) if paid else market


def _check_steps(portfolio: Portfolio, orders: Sequence[Order], market: Market) -> None:
    """``CallerError`` ``LOT_STEP``, one order after the other."""
    held = {symbol: position.quantity for symbol, position in portfolio.positions.items()}
    for order in orders:
        instrument: Instrument | None = market.instruments.get(order.symbol)
        if instrument is not None:
            check_step(instrument, order.quantity, held.get(order.symbol, ZERO))
        held[order.symbol] = held.get(order.symbol, ZERO) + order.quantity


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
