"""A portfolio's state, rendered: one book version and the prices of one snapshot, rounded once (definitions 15, 16)."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, localcontext
from typing import NamedTuple

from foliostream.domain import daily, figures, margin, money
from foliostream.domain.account import Portfolio, Position
from foliostream.domain.assessing import DEFAULT_RULES, Market, assess, plan
from foliostream.domain.figures import Cash, Figures
from foliostream.domain.instrument import Instrument
from foliostream.domain.keys import CASH_PREFIX
from foliostream.domain.margin import Basis, Margin
from foliostream.domain.margin_states import MarginRules
from foliostream.domain.margin_status import UNSEEN, MarginStatus
from foliostream.domain.marking import NEVER_MS, Marked
from foliostream.domain.money import ONE, ZERO
from foliostream.domain.price import Price
from foliostream.domain.snapshot import Snapshot
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
    "Valuation",
    "decode_state",
    "encode_state",
    "render",
    "value",
    "with_staleness",
]


class Valuation(NamedTuple):
    """A snapshot and the state that is rendered of it."""

    snapshot: Snapshot
    state: PortfolioState


def value(
    portfolio: Portfolio,
    prices: Mapping[str, Price],
    instruments: Mapping[str, Instrument],
    *,
    read_at_ms: int,
    previous_version: int,
    stale_after_ms: int,
    before: MarginStatus = UNSEEN,
    rules: MarginRules = DEFAULT_RULES,
) -> Valuation:
    """Assess and render one portfolio, for who needs all of its figures at once; arguments as of ``assess`` and
    ``Market``."""
    market = Market(prices, instruments, stale_after_ms)
    with localcontext(money.EXACT):
        snapshot = assess(
            plan(portfolio),
            market,
            read_at_ms=read_at_ms,
            previous_version=previous_version,
            before=before,
            rules=rules,
        )
    state = render(snapshot, portfolio, instruments, stale_after_ms=stale_after_ms, basis=rules.basis)
    return Valuation(snapshot, state)


def render(
    snapshot: Snapshot,
    portfolio: Portfolio,
    instruments: Mapping[str, Instrument],
    *,
    stale_after_ms: int,
    basis: Basis = "current",
) -> PortfolioState:
    """The state as of the snapshot's ``read_at_ms``; ``with_staleness`` brings it up to now.

    A pure function of the book (``ValueError`` for another version than the snapshot's), the snapshot's own prices
    and the instruments, so all its parts are of one book and one set of prices (G5). What has no price or no rate is
    ``unpriced`` and everything that would need it is null. ``stale_after_ms`` as in ``Market``; ``basis``: the prices
    at which margin is needed.
    """
    if portfolio.version != snapshot.ledger_version:
        raise ValueError(f"a snapshot of book version {snapshot.ledger_version} is not of {portfolio.version}")
    with localcontext(money.EXACT):
        found = figures.figures_of(portfolio, snapshot.prices, instruments, snapshot.read_at_ms, stale_after_ms)
        leveraged = None
        if portfolio.account_kind == "margin":
            now = margin.Market(snapshot.prices, instruments, snapshot.read_at_ms, stale_after_ms)
            leveraged = margin.assess(portfolio, now, basis)
        return _state(found, snapshot, leveraged)


def _state(found: Figures, snapshot: Snapshot, leveraged: Margin | None) -> PortfolioState:
    portfolio, positions = found.portfolio, found.positions
    base, complete = portfolio.base_currency, not found.unpriced
    cash, total = found.cash_worth, found.total
    weighable = total if total is not None and total > 0 and leveraged is None else None
    day = figures.daily_figures(found)
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
        positions=[_position(item, base, weighable, leveraged) for item in positions]
        + [_cash_position(item, portfolio, weighable) for item in found.cash],
        weights=_weights(found, weighable),
        last_updated=iso(snapshot.read_at_ms),
        version=snapshot.version,
        ledger_version=portfolio.version,
        as_of=iso(max(times)) if times else None,
        calc_status=calc_status(found.unpriced, found.stale),
        unpriced=found.unpriced,
        stale=found.stale,
        realized_pnl=money.money(portfolio.realized_pnl, base),
        unrealized_pnl=_money(figures.summed(positions, "unrealized") if complete else None, base),
        fees_total=money.money(portfolio.fees_total, base),
        net_deposits=money.money(portfolio.net_deposits, base),
        dividends_total=money.money(portfolio.dividends_total, base),
        swap_total=money.money(portfolio.swap_total, base),
        adjustments_total=money.money(portfolio.adjustments_total, base),
        fx_effect=_money(figures.fx_effect(found) if complete else None, base),
        cash={item.currency: money.money(item.amount, item.currency) for item in found.cash},
        daily_change=day.change,
        daily_change_percent=day.percent,
        daily_pnl=day.pnl,
        daily_missing=day.missing,
        margin=None if leveraged is None else margin.wire(leveraged, base, (snapshot.margin or UNSEEN).shown),
        unreconciled_since=_since(portfolio.unreconciled_since_ms),
    )


def _since(at_ms: int | None) -> str | None:
    return None if at_ms is None else iso(at_ms)


def _money(value: Decimal | None, currency: str) -> Decimal | None:
    return None if value is None else money.money(value, currency)


def _weight(value: Decimal | None, total: Decimal | None) -> Decimal | None:
    if value is None or total is None:
        return None
    return money.plain(money.EXACT.divide(value, total), money.WEIGHT_DECIMALS)


def _weights(found: Figures, total: Decimal | None) -> dict[str, Decimal] | None:
    if total is None:
        return None
    parts = {item.symbol: item.value for item in found.positions}
    parts |= {CASH_PREFIX + item.currency: item.worth for item in found.cash}
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


def _position(item: Marked, base: str, total: Decimal | None, leveraged: Margin | None) -> PositionState:
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
        margin_used=_money(leveraged.used_of(item.symbol), base) if leveraged else None,
        multiplier=money.plain(position.multiplier, money.QUANTITY_DECIMALS),
        opened_at=iso(position.opened_at_ms),
        currency=position.currency,
        fx_rate=_rate(item.fx),
        price_ts=iso(item.price_ts_ms) if item.mark is not None else None,
        last_updated=iso(position.updated_at_ms),
    )


def _cash_position(item: Cash, portfolio: Portfolio, total: Decimal | None) -> PositionState:
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
