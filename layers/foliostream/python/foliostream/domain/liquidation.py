"""What a stop-out closes: a plan, deterministic and no longer than needed (definitions 21), and what follows (22)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from decimal import ROUND_CEILING, ROUND_DOWN, Decimal, localcontext
from typing import NamedTuple

from msgspec.structs import replace

from foliostream.domain import keys, lots, margin, money, posting
from foliostream.domain.account import Portfolio
from foliostream.domain.entries import Entry
from foliostream.domain.margin import Basis, Line, Margin
from foliostream.domain.margin_states import Thresholds
from foliostream.domain.money import ZERO
from foliostream.domain.state import CalcStatus

REASON = "STOP_OUT"
PROTECTION_REASON = "negative balance protection"
# Fills that one transaction of the ledger takes, each with what it changes beside; a further plan goes on from there.
MAX_CLOSES = 30

_NO_FEES: Mapping[str, Decimal] = {}
# The balance a book can be raised to exactly; it is never left below zero by what is too fine for it.
_MILLIONTH = Decimal(1).scaleb(-money.QUANTITY_DECIMALS)


class Account(NamedTuple):
    """The account as the plan sees it. ``fees``: base currency a unit of quantity closed, by symbol, none where a
    symbol is not in it. ``closed``: symbols that do not trade now. ``partial``: whether the last close may leave a
    part of a position that has a lot step."""

    portfolio_key: str
    ledger_version: int
    balance: Decimal
    leverage: Decimal | None
    lines: Sequence[Line]
    basis: Basis = "current"
    fees: Mapping[str, Decimal] = _NO_FEES
    closed: Collection[str] = ()
    partial: bool = False


class Close(NamedTuple):
    """A fill to be made: ``quantity`` signed, against the position. ``price``: the one it was planned at."""

    fill_id: str
    symbol: str
    quantity: Decimal
    price: Decimal


class Plan(NamedTuple):
    """``closes`` in their order; ``skipped``: symbols that stay because their market is closed. ``after``: the figures
    once all is filled at the planned prices. ``suffices``: the level is then out of the stop-out, or all is flat."""

    plan_id: str
    closes: tuple[Close, ...]
    skipped: tuple[str, ...]
    after: Margin
    suffices: bool


def plan(account: Account, calc_status: CalcStatus, stop_out_version: int, limits: Thresholds) -> Plan | None:
    """What to close so that the level leaves the stop-out (above its threshold and the hysteresis); None where the
    figures are not to be trusted or the level is not at or below the threshold.

    The position with the largest loss first, then the larger margin, the older, the symbol; after each the level is
    computed again, and the plan ends with the first close that suffices: no proper prefix of it would do.

    The id names the breach and the book it was made from. Booked as a whole, on the condition that the book is still
    that one, a plan counts once however often it is asked for, at whatever prices. Where fills come one by one, from
    a broker, each of them makes another book: then a further plan is made only once all fills of the last are booked.
    """
    now = _figures(account, account.balance, account.lines)
    if calc_status != "ok" or now.used is None or not now.at_or_below(limits.stop_out):
        return None
    plan_id = f"{account.portfolio_key}:{stop_out_version}:{account.ledger_version}"
    with localcontext(money.EXACT):
        return _planned(account, now, plan_id, limits.stopped_until)


def _planned(account: Account, now: Margin, plan_id: str, until: Decimal) -> Plan:
    lines = {line.symbol: line for line in account.lines}
    balance, after, closes = account.balance, now, list[Close]()
    skipped = tuple(sorted(symbol for symbol in lines if symbol in account.closed))
    for line in _order(account.lines, now):
        if line.symbol in account.closed:
            continue
        if after.above(until) or len(closes) == MAX_CLOSES:
            break
        balance, rest = _closed(account, balance, lines, line, until)
        quantity = (rest.position.quantity if rest else ZERO) - line.position.quantity
        lines = {symbol: item for symbol, item in lines.items() if symbol != line.symbol}
        if rest is not None:
            lines[line.symbol] = rest
        after = _figures(account, balance, lines.values())
        closes.append(Close(_fill_id(plan_id, line.symbol), line.symbol, quantity, _price(line)))
    return Plan(plan_id, tuple(closes), skipped, after, after.above(until))


def _fill_id(plan_id: str, symbol: str) -> str:
    """The same for a symbol whatever its place in the plan: made again at other prices, it closes nothing twice."""
    return f"{REASON}:{plan_id}:{keys.stable_hash(symbol):016x}"


def _order(lines: Sequence[Line], now: Margin) -> list[Line]:
    def key(line: Line) -> tuple[Decimal, Decimal, int, str]:
        used = now.used_of(line.symbol) or ZERO
        return now.positions[line.symbol].unrealized, -used, line.position.opened_at_ms, line.symbol

    return sorted(lines, key=key)


def _figures(account: Account, balance: Decimal, lines: Collection[Line]) -> Margin:
    return margin.figures(balance, account.leverage, lines, account.basis)


def _price(line: Line) -> Decimal:
    """Where a position is really closed, whatever prices its margin is computed at."""
    found = line.sides.of(long=line.position.quantity > 0)
    if found is None:
        raise ValueError(f"{line.symbol} is planned to be closed without a price")
    return found


def _closed(
    account: Account, balance: Decimal, lines: Mapping[str, Line], line: Line, until: Decimal
) -> tuple[Decimal, Line | None]:
    """The balance after a close, and what is left of the position: the most that may stay, or nothing."""
    held = abs(line.position.quantity)
    step = line.instrument.lot_step if line.instrument and account.partial else None
    if step is not None:
        others = [item for symbol, item in lines.items() if symbol != line.symbol]
        count = _fewest(account, balance, others, line, step, until)
        if count is not None:
            return _after(account, balance, line, count * step)
    return _after(account, balance, line, held)


def _fewest(
    account: Account, balance: Decimal, others: list[Line], line: Line, step: Decimal, until: Decimal
) -> int | None:
    """The least number of lot steps, short of the whole position, that suffices; None if none does.

    By halving: each step more raises the level as long as its fee is less than the part of the margin it sets free
    that the threshold asks for, which any fee worth its name is.
    """

    def suffices(count: int) -> bool:
        left_balance, rest = _after(account, balance, line, count * step)
        return _figures(account, left_balance, [*others, rest] if rest else others).above(until)

    held = abs(line.position.quantity)
    most = int((held / step).to_integral_value(ROUND_DOWN))
    if most * step == held:
        most -= 1
    if most < 1 or not suffices(most):
        return None
    low, high = 1, most
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if suffices(middle) else (middle + 1, high)
    return high


def _after(account: Account, balance: Decimal, line: Line, quantity: Decimal) -> tuple[Decimal, Line | None]:
    """Balance and rest once ``quantity`` > 0 of the position is closed at its price, as the books will have it."""
    position = line.position
    if line.rate is None:
        raise ValueError(f"{line.symbol} is planned to be closed without a rate")
    taken = lots.take(position, quantity)
    gained = quantity * _price(line) * position.multiplier - taken.cost
    gained = gained if position.quantity > 0 else -gained
    fee = account.fees.get(line.symbol, ZERO) * quantity
    balance += posting.in_base(gained, line.rate.worse(gained)) - fee
    if quantity == abs(position.quantity):
        return balance, None
    left = position.quantity - (quantity if position.quantity > 0 else -quantity)
    rest = replace(position, quantity=left, cost=position.cost - taken.cost, lots=taken.left)
    return balance, line._replace(position=rest)


def protection(portfolio: Portfolio, stop_out_version: int, now_ms: int) -> Entry | None:
    """Negative balance protection: the ADJUSTMENT that brings a flat account's balance below zero back to it, None
    where there is nothing to do. To be asked for once all fills of the plan are booked; its id is the breach's, so it
    counts once. What is finer than a millionth is rounded in the owner's favour.
    """
    balance = portfolio.cash.get(portfolio.base_currency, ZERO)
    if portfolio.positions or balance >= 0:
        return None
    return Entry(
        transaction_id=f"PROTECTION:{portfolio.key}:{stop_out_version}",
        transaction_type="ADJUSTMENT",
        timestamp_ms=now_ms,
        amount=(-balance).quantize(_MILLIONTH, rounding=ROUND_CEILING, context=money.EXACT),
        currency=portfolio.base_currency,
        reason=PROTECTION_REASON,
    )
