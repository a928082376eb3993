"""Trades: what a fill does to a position, to cash and to the totals (definitions 1 to 5, 7)."""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from foliostream.domain import daily, lots, money
from foliostream.domain.account import MAX_LOTS, MAX_POSITIONS, NO_DAY, Day, Lot, Portfolio, Position
from foliostream.domain.context import Context, figure
from foliostream.domain.instrument import Instrument, Split
from foliostream.domain.money import ZERO
from foliostream.domain.posting import Line, in_base, post
from foliostream.errors import RefusedError


class Fill(Struct, frozen=True):
    """``quantity`` signed; ``fee`` >= 0 in ``fee_currency``."""

    quantity: Decimal
    price: Decimal
    fee: Decimal
    fee_currency: str


class _Since(Struct, frozen=True):
    """What a symbol keeps while it is closed and opened again: its day with this fill in it, and its splits."""

    day: Day
    splits: tuple[Split, ...]


class _Booked(Struct, frozen=True):
    """A fill in base: realized profit and fee at booked rates."""

    realized: Decimal
    fee: Decimal
    taken: lots.Taken | None


def book(portfolio: Portfolio, fill: Fill, instrument: Instrument, context: Context, *, in_kind: bool) -> Portfolio:
    """The portfolio after a fill of any account kind. ``in_kind``: no cash moves, the value is an external flow."""
    held = portfolio.positions.get(instrument.symbol)
    taken, realized = _closing(held, fill)
    currency = instrument.currency
    rate = context.rate(currency, realized)
    fee_rate = context.rate(fill.fee_currency, -fill.fee)
    booked = _Booked(in_base(realized, rate), in_base(fill.fee, fee_rate), taken)
    context.realized, context.lots = context.realized + realized, context.lots + (taken.uses if taken else ())
    lines = [
        Line("realized", currency, realized, booked.realized),
        Line("fees", fill.fee_currency, fill.fee, booked.fee),
    ]
    if portfolio.account_kind == "margin" and in_kind:
        # The balance does not move: what the closed part had gained leaves with it.
        cash = {}
        lines.append(Line("flows", currency, -realized, -booked.realized))
    elif portfolio.account_kind == "margin":
        cash = {portfolio.base_currency: booked.realized - booked.fee}
    else:
        cash = _cash(fill, instrument, lines, context, in_kind=in_kind)
    _check_cash(portfolio, fill, cash, context)
    positions, changes = _positions(portfolio, held, fill, instrument, context, booked)
    return post(portfolio, lines, cash, positions=positions, **changes)


def _closing(held: Position | None, fill: Fill) -> tuple[lots.Taken | None, Decimal]:
    """What the fill closes and the gross profit of it, in the instrument's currency."""
    if held is None or (held.quantity > ZERO) == (fill.quantity > ZERO):
        return None, ZERO
    taken = lots.take(held, min(abs(fill.quantity), abs(held.quantity)))
    gained = taken.quantity * fill.price * held.multiplier - taken.cost
    return taken, gained if held.quantity > ZERO else -gained


def _cash(
    fill: Fill, instrument: Instrument, lines: list[Line], context: Context, *, in_kind: bool
) -> dict[str, Decimal]:
    """What a cash account's currencies gain."""
    worth = fill.quantity * fill.price * instrument.multiplier
    cash = {instrument.currency: ZERO}
    if in_kind:
        rate = context.rate(instrument.currency, worth)
        lines.append(Line("flows", instrument.currency, worth, in_base(worth, rate)))
    else:
        cash[instrument.currency] = -worth
    if fill.fee:
        cash[fill.fee_currency] = cash.get(fill.fee_currency, ZERO) - fill.fee
    return cash


def _check_cash(portfolio: Portfolio, fill: Fill, cash: dict[str, Decimal], context: Context) -> None:
    if fill.quantity <= ZERO or portfolio.account_kind == "margin":
        return  # a sale may take its fee out of what it brings, and that may be too little
    for currency, change in cash.items():
        check_available(portfolio, currency, -change, context)


def check_available(portfolio: Portfolio, currency: str, needed: Decimal, context: Context) -> None:
    """Refuse what the currency's cash does not cover."""
    available = portfolio.cash.get(currency, ZERO)
    if needed > ZERO and needed > available:
        context.refuse(
            RefusedError(
                f"{figure(needed)} {currency} needed, {figure(available)} available",
                code="INSUFFICIENT_CASH",
                details=[{"currency": currency, "needed": figure(needed), "available": figure(available)}],
            )
        )


def _positions(
    portfolio: Portfolio,
    held: Position | None,
    fill: Fill,
    instrument: Instrument,
    context: Context,
    booked: _Booked,
) -> tuple[dict[str, Position], dict[str, object]]:
    """The open positions after the fill, and the fields of the day that change with them."""
    symbol = instrument.symbol
    positions = portfolio.positions.copy()
    changes: dict[str, object] = {}
    if held is not None and held.quantity + fill.quantity == ZERO:
        held = daily.with_previous_close(held, context.prices.get(symbol), instrument)
    before = (held.day if held else None) or NO_DAY
    splits = held.splits if held else ()
    if held is None and symbol in portfolio.closed_today:
        before, splits = portfolio.closed_today[symbol].day, portfolio.closed_today[symbol].splits
        changes = {"closed_today": {name: item for name, item in portfolio.closed_today.items() if name != symbol}}
    day = daily.with_fill(before, fill.quantity, fill.price)
    position = _after(portfolio, held, fill, instrument, context, booked, _Since(day, splits))
    if position is not None:
        # In its old place where it was held: the order of books says nothing, their bytes should not move for it.
        positions[symbol] = position
        _check_limits(positions, held, context)
    else:
        positions.pop(symbol, None)
        changes = daily.with_closed(portfolio, symbol, day, instrument, splits)
    return _within_lots(positions, symbol, portfolio, context), changes


def _after(
    portfolio: Portfolio,
    held: Position | None,
    fill: Fill,
    instrument: Instrument,
    context: Context,
    booked: _Booked,
    since: _Since,
) -> Position | None:
    at_ms = context.entry.timestamp_ms
    if held is None:
        return _opened(fill, instrument, fill.quantity, booked.fee, portfolio, at_ms, since)
    if booked.taken is None:
        return _added(held, fill, booked.fee, at_ms, since)
    rest = held.quantity + fill.quantity
    if not rest:
        return None
    if (rest > ZERO) != (held.quantity > ZERO):
        closing_fee = money.divide(booked.fee * booked.taken.quantity, abs(fill.quantity))
        return _opened(fill, instrument, rest, booked.fee - closing_fee, portfolio, at_ms, since)
    return replace(
        held,
        quantity=rest,
        cost=held.cost - booked.taken.cost,
        realized_pnl=held.realized_pnl + booked.realized,
        fees=held.fees + booked.fee,
        updated_at_ms=at_ms,
        day=since.day,
        lots=booked.taken.left,
        splits=since.splits,
    )


def _opened(
    fill: Fill,
    instrument: Instrument,
    quantity: Decimal,
    fee: Decimal,
    portfolio: Portfolio,
    at_ms: int,
    since: _Since,
) -> Position:
    cost = abs(quantity) * fill.price * instrument.multiplier
    fifo = portfolio.cost_basis == "fifo"
    return Position(
        quantity=quantity,
        cost=cost,
        realized_pnl=ZERO,
        fees=fee,
        multiplier=instrument.multiplier,
        currency=instrument.currency,
        opened_at_ms=at_ms,
        updated_at_ms=at_ms,
        day=since.day,
        lots=(Lot(1, abs(quantity), cost, at_ms),) if fifo else (),
        last_lot=1 if fifo else 0,
        splits=since.splits,
    )


def _added(held: Position, fill: Fill, fee: Decimal, at_ms: int, since: _Since) -> Position:
    cost = abs(fill.quantity) * fill.price * held.multiplier
    number = held.last_lot + 1
    return replace(
        held,
        quantity=held.quantity + fill.quantity,
        cost=held.cost + cost,
        fees=held.fees + fee,
        updated_at_ms=at_ms,
        day=since.day,
        lots=(*held.lots, Lot(number, abs(fill.quantity), cost, at_ms)) if held.lots else (),
        last_lot=number if held.lots else 0,
    )


def _check_limits(positions: dict[str, Position], held: Position | None, context: Context) -> None:
    if held is None and len(positions) > MAX_POSITIONS:
        context.refuse(RefusedError(f"a portfolio holds at most {MAX_POSITIONS} positions", code="TOO_MANY_POSITIONS"))


def _within_lots(
    positions: dict[str, Position], symbol: str, portfolio: Portfolio, context: Context
) -> dict[str, Position]:
    """Refuse one lot too many; where it is booked all the same, the symbol's two oldest lots become one."""
    if portfolio.cost_basis != "fifo" or symbol not in positions:
        return positions
    if sum(len(position.lots) for position in positions.values()) <= MAX_LOTS:
        return positions
    if positions[symbol].last_lot > (portfolio.positions[symbol].last_lot if symbol in portfolio.positions else 0):
        context.refuse(RefusedError(f"a portfolio keeps at most {MAX_LOTS} lots", code="TOO_MANY_LOTS"))
        positions[symbol] = replace(positions[symbol], lots=lots.merge_oldest(positions[symbol].lots))
    return positions
