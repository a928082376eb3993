"""What a stop-out closes: a plan, deterministic and no longer than needed (definitions 21), and what follows (22)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from decimal import ROUND_CEILING, ROUND_DOWN, Decimal, localcontext
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from foliostream.domain import keys, lots, margin, money, orders, posting, trading_hours
from foliostream.domain.account import AccountType, Portfolio
from foliostream.domain.entries import Entry
from foliostream.domain.margin import Basis, Line, Margin, Market
from foliostream.domain.margin_states import Thresholds
from foliostream.domain.money import ONE, ZERO
from foliostream.domain.orders import Costs
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
    part of a position that has a lot step. ``costs``: of a simulated account, whose closes are market orders."""

    portfolio_key: str
    ledger_version: int
    balance: Decimal
    leverage: Decimal | None
    lines: Sequence[Line]
    basis: Basis = "current"
    fees: Mapping[str, Decimal] = _NO_FEES
    closed: Collection[str] = ()
    partial: bool = False
    costs: Costs | None = None


class Close(Struct, frozen=True, array_like=True):
    """A fill to be made: ``quantity`` signed, against the position. ``price``: the one it was planned at; ``fx_rate``:
    base per unit of its currency, at which its result and its ``fee`` (in that currency) are booked."""

    fill_id: str
    symbol: str
    quantity: Decimal
    price: Decimal
    fx_rate: Decimal = ONE
    fee: Decimal = ZERO


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
        rate = money.rounded(_rate(account, line, -quantity), money.BOOKED_RATE_DECIMALS)
        price, fee = _price(account, line), _fee(account, line, abs(quantity))
        closes.append(Close(_fill_id(plan_id, line.symbol), line.symbol, quantity, price, rate, fee))
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


def _price(account: Account, line: Line) -> Decimal:
    """Where a position is really closed, whatever prices its margin is computed at."""
    long = line.position.quantity > 0
    found = line.sides.of(long=long)
    if found is None:
        raise ValueError(f"{line.symbol} is planned to be closed without a price")
    if account.costs is None or line.instrument is None:
        return found
    return orders.slipped(found, line.instrument, "SELL" if long else "BUY", account.costs)


def _fee(account: Account, line: Line, quantity: Decimal) -> Decimal:
    """Of a simulated fill, in the position's currency, as it is booked."""
    if account.costs is None:
        return ZERO
    worth = quantity * _price(account, line) * line.position.multiplier
    return money.money(worth * account.costs.fee / 100, line.position.currency)


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
    taken = lots.take(position, quantity)
    gained = _gained(account, line, quantity, taken.cost)
    rate = _worse(line, gained)
    fee = posting.in_base(_fee(account, line, quantity), rate) + account.fees.get(line.symbol, ZERO) * quantity
    balance += posting.in_base(gained, rate) - fee
    if quantity == abs(position.quantity):
        return balance, None
    left = position.quantity - (quantity if position.quantity > 0 else -quantity)
    rest = replace(position, quantity=left, cost=position.cost - taken.cost, lots=taken.left)
    return balance, line._replace(position=rest)


def _gained(account: Account, line: Line, quantity: Decimal, cost: Decimal) -> Decimal:
    """What closing ``quantity`` > 0 of it brings in its own currency."""
    gained = quantity * _price(account, line) * line.position.multiplier - cost
    return gained if line.position.quantity > 0 else -gained


def _rate(account: Account, line: Line, quantity: Decimal) -> Decimal:
    """The rate at which closing a signed part of the position is booked."""
    size = abs(quantity)
    return _worse(line, _gained(account, line, size, lots.take(line.position, size).cost))


def _worse(line: Line, gained: Decimal) -> Decimal:
    if line.rate is None:
        raise ValueError(f"{line.symbol} is planned to be closed without a rate")
    return line.rate.worse(gained)


# --- from plans to books ---------------------------------------------------------------------------------------------


def account_of(portfolio: Portfolio, market: Market, basis: Basis, *, partial: bool, costs: Costs) -> Account:
    """A margin account's book as a plan is made of it, at the prices of one moment. ``costs``: those of paper accounts,
    whose fills are all simulated."""
    registered = market.instruments
    closed = {
        symbol
        for symbol in portfolio.positions
        if symbol in registered and not trading_hours.is_open(registered[symbol].hours, market.now_ms)
    }
    balance = portfolio.cash.get(portfolio.base_currency, ZERO)
    lines = margin.lines_of(portfolio, market)
    return Account(
        portfolio.key,
        portfolio.version,
        balance,
        portfolio.leverage,
        lines,
        basis,
        closed=closed,
        partial=partial,
        costs=costs if portfolio.account_type == "paper" else None,
    )


class Liquidation(Struct, frozen=True):
    """What is to be done about a stop-out: book the closes of a plan that was made from the book of
    ``ledger_version``, before its prices are stale; ``announced``: the status of that book was LIQUIDATING already.
    ``suffices``: nothing more is to be done then. Without closes: the stop-out is over."""

    portfolio_id: str
    account_type: AccountType
    plan_id: str
    breach: int
    ledger_version: int
    announced: bool
    expires_at_ms: int
    suffices: bool
    closes: tuple[Close, ...]


def order_of(portfolio: Portfolio, made: Plan, breach: int, expires_at_ms: int) -> Liquidation:
    """The plan as it is ordered."""
    announced = portfolio.status == "LIQUIDATING"
    return Liquidation(
        portfolio.portfolio_id,
        portfolio.account_type,
        made.plan_id,
        breach,
        portfolio.version,
        announced,
        expires_at_ms,
        made.suffices,
        made.closes,
    )


def release_of(portfolio: Portfolio) -> Liquidation:
    """For an account that left its stop-out by itself."""
    return Liquidation(portfolio.portfolio_id, portfolio.account_type, "", 0, portfolio.version, True, 0, True, ())


def entries(order: Liquidation, now_ms: int) -> list[Entry]:
    """What is booked: it has happened, whatever the rules of the account say (definitions 5)."""
    return [
        Entry(
            transaction_id=f"fill:{close.fill_id}",
            transaction_type="BUY" if close.quantity > 0 else "SELL",
            timestamp_ms=now_ms,
            instrument_id=close.symbol,
            quantity=close.quantity,
            price=close.price,
            fee=close.fee,
            fx_rate=close.fx_rate if close.fx_rate != ONE else None,
            reason=REASON,
            reported=True,
        )
        for close in order.closes
    ]


def refusal(portfolio: Portfolio) -> str | None:
    """Why its plans are not executed here; None for paper money, which is."""
    if portfolio.account_type != "live":
        return None
    if not portfolio.auto_liquidate:
        return "AUTO_LIQUIDATE_OFF"
    return "NO_BROKER_EXECUTION"


def detail(made: Plan, why_not: str | None) -> dict[str, object]:
    """A liquidation plan as a ``stop_out`` event shows it. ``execution``: whether it is carried out here, and if not,
    why; prices as they were planned at."""
    level = made.after.level_percent
    return {
        "plan_id": made.plan_id,
        "execution": "automatic" if why_not is None else "none",
        "reason": why_not,
        "closes": [
            {
                "fill_id": close.fill_id,
                "instrument_id": close.symbol,
                "quantity": money.plain(close.quantity, money.QUANTITY_DECIMALS),
                "price": close.price,
                "fee": close.fee,
            }
            for close in made.closes
        ],
        "skipped": list(made.skipped),
        "level_percent_after": None if level is None else money.rounded(level, money.PERCENT_DECIMALS),
        "suffices": made.suffices,
    }


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
