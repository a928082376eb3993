"""A portfolio's snapshot: one book version and one set of prices, valued once, rounded once (definitions 9, 11-18)."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, localcontext
from typing import NamedTuple

from foliostream.domain import daily, marking, money, rates
from foliostream.domain.account import Portfolio, Position
from foliostream.domain.instrument import Instrument
from foliostream.domain.keys import CASH_PREFIX
from foliostream.domain.marking import NEVER_MS, Marked
from foliostream.domain.money import ONE, ZERO
from foliostream.domain.price import Price
from foliostream.domain.rates import Rate
from foliostream.domain.state import (
    CalcStatus,
    MarginState,
    PortfolioState,
    PositionState,
    calc_status,
    decode_state,
    encode_state,
    with_staleness,
)
from foliostream.domain.times import iso

__all__ = [
    "NEVER_MS",
    "CalcStatus",
    "MarginState",
    "PortfolioState",
    "PositionState",
    "Snapshot",
    "decode_state",
    "encode_state",
    "value",
    "with_staleness",
]


class Snapshot(NamedTuple):
    """A state with what the stores need beside it. ``read_at_ms``: the valuer's clock before its first read;
    ``fresh_until_ms``: from then on some price is stale and the state must be derived again on reading."""

    state: PortfolioState
    owner: str
    read_at_ms: int
    fresh_until_ms: int


class _Quoted(NamedTuple):
    """A currency's rate and when it is stale; ``side`` is the one a cash account's amounts are converted at."""

    rate: Rate
    side: Decimal
    expires_ms: int


class _Cash(NamedTuple):
    """Cash of one currency; ``worth`` in base, None without a rate."""

    currency: str
    amount: Decimal
    fx: Decimal | None
    worth: Decimal | None
    expires_ms: int
    rate_ts_ms: int | None


class _Figures(NamedTuple):
    """A portfolio's unrounded figures; ``currencies``: of those other than base that have a rate."""

    portfolio: Portfolio
    positions: list[Marked]
    cash: list[_Cash]
    currencies: dict[str, _Quoted]
    unpriced: list[str]
    stale: list[str]


def value(
    portfolio: Portfolio,
    prices: Mapping[str, Price],
    instruments: Mapping[str, Instrument],
    *,
    read_at_ms: int,
    previous_version: int,
    stale_after_ms: int,
) -> Snapshot:
    """Value a portfolio from the given prices: of ``portfolio.symbols``, positions and pairs alike.

    ``version`` = max(previous + 1, ``read_at_ms``), so that versions rise also after the stores were lost.
    ``stale_after_ms`` is the age limit of prices whose instrument names none. Raises nothing: what has no price or no
    rate is ``unpriced`` and everything that would need it is null.
    """
    with localcontext(money.EXACT):
        figures = _figures(portfolio, prices, instruments, read_at_ms, stale_after_ms)
        state = _state(figures, read_at_ms, max(previous_version + 1, read_at_ms))
    expiries = [item.expires_ms for item in figures.positions] + [item.expires_ms for item in figures.cash]
    return Snapshot(state, portfolio.owner, read_at_ms, min(expiries, default=NEVER_MS))


# --- unrounded -------------------------------------------------------------------------------------------------------


def _figures(
    portfolio: Portfolio,
    prices: Mapping[str, Price],
    instruments: Mapping[str, Instrument],
    read_at_ms: int,
    stale_after_ms: int,
) -> _Figures:
    positions = [
        marking.marked(symbol, position, prices.get(symbol), instruments.get(symbol), stale_after_ms)
        for symbol, position in sorted(portfolio.positions.items())
    ]
    quoted: dict[str, _Quoted] = {}
    if foreign := portfolio.foreign_currencies:
        quoted = _quoted(portfolio, positions, foreign, prices, instruments, read_at_ms, stale_after_ms)
        positions = [_converted(item, portfolio, quoted) for item in positions]
    cash = [_cash(name, portfolio, quoted) for name in sorted(portfolio.cash)]
    unpriced = [item.symbol for item in positions if item.value is None]
    unpriced += [CASH_PREFIX + item.currency for item in cash if item.worth is None]
    stale = [item.symbol for item in positions if item.outdated or item.expires_ms <= read_at_ms]
    stale += [CASH_PREFIX + item.currency for item in cash if item.expires_ms <= read_at_ms]
    return _Figures(portfolio, positions, cash, quoted, unpriced, stale)


def _quoted(
    portfolio: Portfolio,
    positions: list[Marked],
    foreign: list[str],
    prices: Mapping[str, Price],
    instruments: Mapping[str, Instrument],
    read_at_ms: int,
    stale_after_ms: int,
) -> dict[str, _Quoted]:
    """Each currency's rate; its worse side is that of the currency's net value (definitions 9)."""

    def fresh(symbol: str, ts_ms: int) -> bool:
        return ts_ms + marking.max_age_ms(instruments.get(symbol), stale_after_ms) >= read_at_ms

    net = {currency: portfolio.cash.get(currency, ZERO) for currency in foreign}
    for item in positions:
        if item.position.currency in net and item.value is not None:
            net[item.position.currency] += item.value
    found = {}
    for currency in foreign:
        rate = rates.find(currency, portfolio.base_currency, prices, fresh)
        if rate is not None:
            expires_ms = marking.rate_expires_ms(rate, instruments, stale_after_ms)
            found[currency] = _Quoted(rate, rate.worse(net[currency]), expires_ms)
    return found


def _converted(item: Marked, portfolio: Portfolio, quoted: dict[str, _Quoted]) -> Marked:
    currency = item.position.currency
    if currency == portfolio.base_currency:
        return item
    found = quoted.get(currency)
    if portfolio.account_kind == "margin":
        return marking.with_rate(item, found.rate if found else None, found.expires_ms if found else NEVER_MS)
    return marking.in_base(item, found.side if found else None)


def _cash(currency: str, portfolio: Portfolio, quoted: dict[str, _Quoted]) -> _Cash:
    amount = portfolio.cash[currency]
    if currency == portfolio.base_currency:
        return _Cash(currency, amount, ONE, amount, NEVER_MS, None)
    found = quoted.get(currency)
    if found is None:
        return _Cash(currency, amount, None, None if amount else ZERO, NEVER_MS, None)
    return _Cash(currency, amount, found.side, amount * found.side, found.expires_ms, found.rate.ts_ms)


def _sum(positions: list[Marked], figure: str) -> Decimal:
    return sum((getattr(item, figure) or ZERO for item in positions), ZERO)


def _fx_effect(figures: _Figures) -> Decimal:
    """Everything that moved a currency, at the rate now less at booked rates; a margin account books base alone."""
    portfolio = figures.portfolio
    if portfolio.account_kind == "margin" or not portfolio.totals.keys() - {portfolio.base_currency}:
        return ZERO
    now = portfolio.totals_of(portfolio.base_currency).net
    for currency in portfolio.totals:
        if currency in figures.currencies:
            now += portfolio.totals_of(currency).net * figures.currencies[currency].side
    return now - _booked(portfolio)


def _booked(portfolio: Portfolio) -> Decimal:
    return (
        portfolio.net_deposits
        + portfolio.realized_pnl
        - portfolio.fees_total
        + portfolio.dividends_total
        + portfolio.swap_total
        + portfolio.adjustments_total
    )


class _Daily(NamedTuple):
    change: Decimal | None
    percent: Decimal | None
    pnl: Decimal | None
    missing: list[str]


def _daily(figures: _Figures) -> _Daily:
    """Definitions 17 and 18: what has no open, or no mark at the last close, is left out and listed."""
    positions, base = figures.positions, figures.portfolio.base_currency
    closed, unknown = _closed_today(figures)
    missing = [item.symbol for item in positions if item.change is None or item.day_result is None]
    missing += [name for name in unknown if name not in missing]
    if figures.unpriced:
        return _Daily(None, None, None, missing)
    change, opening = _sum(positions, "change"), _sum(positions, "opening")
    percent = money.rounded(money.EXACT.divide(change * 100, opening), money.PERCENT_DECIMALS) if opening else None
    changes = not positions or any(item.change is not None for item in positions)
    results = [item.day_result for item in positions if item.day_result is not None] + closed
    return _Daily(
        money.money(change, base) if changes else None,
        percent,
        money.money(sum(results, ZERO), base) if results or not missing else None,
        missing,
    )


def _closed_today(figures: _Figures) -> tuple[list[Decimal], list[str]]:
    """The day's results of what is not held any more, in base, and what of it is not known."""
    portfolio = figures.portfolio
    if not portfolio.closed_today and not portfolio.day_results:
        return [], list(portfolio.day_unknown)
    results, unknown = [], list(portfolio.day_unknown)
    for symbol, item in portfolio.closed_today.items():
        result = daily.closed_result(item)
        worth = None if result is None else _at_rate(result, item.currency, figures)
        if worth is None:
            unknown.append(symbol)
        else:
            results.append(worth)
    for currency, amount in portfolio.day_results.items():
        worth = _at_rate(amount, currency, figures)
        if worth is None:
            unknown.append(CASH_PREFIX + currency)
        else:
            results.append(worth)
    return results, unknown


def _at_rate(amount: Decimal, currency: str, figures: _Figures) -> Decimal | None:
    if currency == figures.portfolio.base_currency:
        return amount
    found = figures.currencies.get(currency)
    if found is None:
        return None
    return amount * (found.rate.worse(amount) if figures.portfolio.account_kind == "margin" else found.side)


# --- rounded ---------------------------------------------------------------------------------------------------------


def _state(figures: _Figures, read_at_ms: int, version: int) -> PortfolioState:
    portfolio, positions = figures.portfolio, figures.positions
    base, complete = portfolio.base_currency, not figures.unpriced
    worths = [item.worth for item in figures.cash]
    cash = None if None in worths else sum((worth for worth in worths if worth is not None), ZERO)
    margin = portfolio.account_kind == "margin"
    total = cash + _sum(positions, "unrealized" if margin else "value") if complete and cash is not None else None
    weighable = total if total is not None and total > 0 and not margin else None
    day = _daily(figures)
    times = [item.mark_ts_ms for item in positions if item.mark is not None]
    return PortfolioState(
        portfolio_id=portfolio.portfolio_id,
        portfolio_name=portfolio.portfolio_name,
        account_type=portfolio.account_type,
        account_kind=portfolio.account_kind,
        base_currency=base,
        status=portfolio.status,
        total_value=_money(total, base),
        cash_balance=_money(cash, base),
        positions=[_position(item, base, weighable) for item in positions]
        + [_cash_position(item, portfolio, weighable) for item in figures.cash],
        weights=_weights(figures, weighable),
        last_updated=iso(read_at_ms),
        version=version,
        ledger_version=portfolio.version,
        as_of=iso(max(times)) if times else None,
        calc_status=calc_status(figures.unpriced, figures.stale),
        unpriced=figures.unpriced,
        stale=figures.stale,
        realized_pnl=money.money(portfolio.realized_pnl, base),
        unrealized_pnl=_money(_sum(positions, "unrealized") if complete else None, base),
        fees_total=money.money(portfolio.fees_total, base),
        net_deposits=money.money(portfolio.net_deposits, base),
        dividends_total=money.money(portfolio.dividends_total, base),
        swap_total=money.money(portfolio.swap_total, base),
        adjustments_total=money.money(portfolio.adjustments_total, base),
        fx_effect=_money(_fx_effect(figures) if complete else None, base),
        cash={item.currency: money.money(item.amount, item.currency) for item in figures.cash},
        daily_change=day.change,
        daily_change_percent=day.percent,
        daily_pnl=day.pnl,
        daily_missing=day.missing,
        margin=_margin(figures, cash or ZERO, total) if margin else None,
        unreconciled_since=None,
    )


def _margin(figures: _Figures, balance: Decimal, equity: Decimal | None) -> MarginState:
    """Used margin needs the instruments' margin rates: unknown until something computes it, but 0 where all is flat."""
    base, flat = figures.portfolio.base_currency, not figures.positions
    exposure = None if equity is None else sum((abs(item.value or ZERO) for item in figures.positions), ZERO)
    leveraged = exposure is not None and equity is not None and equity > 0
    return MarginState(
        balance=money.money(balance, base),
        equity=_money(equity, base),
        used=money.money(ZERO, base) if flat else None,
        free=_money(equity, base) if flat else None,
        level_percent=None,
        exposure=_money(exposure, base),
        leverage_used=money.plain(money.EXACT.divide(exposure, equity), money.WEIGHT_DECIMALS)
        if leveraged and exposure is not None and equity is not None
        else None,
        state="ok" if flat else "unknown",
    )


def _money(value: Decimal | None, currency: str) -> Decimal | None:
    return None if value is None else money.money(value, currency)


def _weight(value: Decimal | None, total: Decimal | None) -> Decimal | None:
    if value is None or total is None:
        return None
    return money.plain(money.EXACT.divide(value, total), money.WEIGHT_DECIMALS)


def _weights(figures: _Figures, total: Decimal | None) -> dict[str, Decimal] | None:
    if total is None:
        return None
    parts = {item.symbol: item.value for item in figures.positions}
    parts |= {CASH_PREFIX + item.currency: item.worth for item in figures.cash}
    return {name: weight for name, part in parts.items() if (weight := _weight(part, total)) is not None}


def _plain_price(value: Decimal | None, places: int) -> Decimal | None:
    return None if value is None else money.plain(value, places)


def _rate(fx: Decimal | None) -> Decimal | None:
    return fx if fx is None or fx is ONE else money.plain(fx, money.RATE_DECIMALS)


def _carried(position: Position, quantity: Decimal) -> Decimal:
    """What was carried in, mostly all of it or nothing: then without rounding anything again."""
    traded = position.day.traded if position.day else ZERO
    if not traded:
        return quantity
    return ZERO if traded == position.quantity else money.plain(daily.carried(position), money.QUANTITY_DECIMALS)


def _position(item: Marked, base: str, total: Decimal | None) -> PositionState:
    position, places = item.position, item.price_places
    quantity = money.plain(position.quantity, money.QUANTITY_DECIMALS)
    return PositionState(
        instrument_id=item.symbol,
        position_type="LONG" if position.quantity > 0 else "SHORT",
        quantity=quantity,
        cost_basis=_money(None if item.fx is None else position.cost * item.fx, base),
        average_price=money.plain(position.average_price, places),
        mark=_plain_price(item.mark, places),
        market_value=_money(item.value, base),
        weight=_weight(item.value, total),
        unrealized_pnl=_money(item.unrealized, base),
        realized_pnl=money.money(position.realized_pnl, base),
        daily_change=_money(item.change, base),
        daily_pnl=_money(item.day_result, base),
        open=_plain_price(item.opened, places),
        previous_close=_plain_price(item.closed, places),
        carried_quantity=_carried(position, quantity),
        fees=money.money(position.fees, base),
        margin_used=None,
        multiplier=money.plain(position.multiplier, money.QUANTITY_DECIMALS),
        opened_at=iso(position.opened_at_ms),
        currency=position.currency,
        fx_rate=_rate(item.fx),
        price_ts=iso(item.price_ts_ms) if item.mark is not None else None,
        last_updated=iso(position.updated_at_ms),
    )


def _cash_position(item: _Cash, portfolio: Portfolio, total: Decimal | None) -> PositionState:
    worth = _money(item.worth, portfolio.base_currency)
    return PositionState(
        instrument_id=CASH_PREFIX + item.currency,
        position_type="CASH",
        quantity=money.plain(item.amount, money.QUANTITY_DECIMALS),
        cost_basis=worth,
        average_price=None,
        mark=None,
        market_value=worth,
        weight=_weight(item.worth, total),
        unrealized_pnl=None,
        realized_pnl=None,
        daily_change=None,
        daily_pnl=None,
        open=None,
        previous_close=None,
        carried_quantity=None,
        fees=None,
        margin_used=None,
        multiplier=None,
        opened_at=None,
        currency=item.currency,
        fx_rate=_rate(item.fx),
        price_ts=None if item.rate_ts_ms is None else iso(item.rate_ts_ms),
        last_updated=iso(portfolio.updated_at_ms),
    )
