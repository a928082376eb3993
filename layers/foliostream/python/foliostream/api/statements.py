"""Transactions and closed days as they go out."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from foliostream.api.shapes import (
    DayOut,
    HistoryOut,
    LotOut,
    Period,
    PortfolioAnalytics,
    TransactionList,
    TransactionOut,
    Unknown,
)
from foliostream.application.analytics import Parts
from foliostream.application.analytics import PortfolioAnalytics as Found
from foliostream.application.statements import Booked, History
from foliostream.domain.history import Day
from foliostream.domain.portfolio import Transaction
from foliostream.domain.times import iso


def transaction_list(page: Booked) -> TransactionList:
    """A page."""
    return TransactionList([_transaction(item) for item in page.transactions], page.cursor)


def _transaction(item: Transaction) -> TransactionOut:
    entry = item.entry
    return TransactionOut(
        sequence=item.sequence,
        transaction_id=entry.transaction_id,
        transaction_type=entry.transaction_type,
        timestamp=iso(entry.timestamp_ms),
        booked_at=iso(item.booked_at_ms),
        ledger_version=item.ledger_version,
        instrument_id=entry.instrument_id,
        quantity_change=entry.quantity or None,
        price=entry.price if entry.quantity else None,
        fee=entry.fee,
        fee_currency=entry.fee_currency,
        amount=entry.amount or None,
        currency=item.currency,
        to_currency=entry.to_currency,
        rate=entry.rate,
        ratio=None if entry.ratio is None else ratio(*entry.ratio),
        cash_price=entry.cash_price,
        reason=entry.reason,
        cash_change=item.cash_change,
        cash_changes=item.cash_changes,
        realized_pnl=item.realized_pnl,
        realized_native=item.realized_native,
        fx_rate=item.fx_rate,
        quantity_after=item.quantity_after,
        lots=[LotOut(lot.number, lot.quantity, lot.cost, iso(lot.opened_at_ms)) for lot in item.lots],
        needs_review=list(item.needs_review),
    )


def ratio(new: Decimal, old: Decimal) -> str:
    """A split's ratio as it goes out: ``4:1`` are four new for one old."""
    return f"{new:f}:{old:f}"


def history_out(portfolio_id: str, found: History) -> HistoryOut:
    """The days of a range."""
    return HistoryOut(portfolio_id, found.first, found.last, [_day(item) for item in found.days])


def portfolio_analytics(found: Found) -> PortfolioAnalytics:
    """Each figure is a number, or null with its reason."""
    return PortfolioAnalytics(
        portfolio_id=found.portfolio_id,
        version=found.version,
        as_of=found.as_of,
        period=Period(found.first, found.last, found.observations),
        benchmark=found.benchmark,
        beta_observations=found.benchmark_observations,
        exposure_by_currency=_exposure(found.exposure_by_currency),
        exposure_by_kind=_exposure(found.exposure_by_kind),
        **{name: _known(*figure) for name, figure in found.figures.items()},
    )


def _exposure(found: Parts) -> dict[str, Any]:
    return {"value": None, "reason": found.reason} if found.parts is None else found.parts


def _known(value: Decimal | None, reason: str | None) -> Decimal | Unknown:
    return Unknown(None, reason or "") if value is None else value


def _day(item: Day) -> DayOut:
    return DayOut(
        date=item.day,
        total_value=item.total_value,
        cash_balance=item.cash_balance,
        daily_change=item.daily_change,
        daily_change_percent=item.daily_change_percent,
        daily_pnl=item.daily_pnl,
        daily_missing=item.daily_missing,
        inflows=item.inflows,
        outflows=item.outflows,
        realized_pnl=item.realized_pnl,
        unrealized_pnl=item.unrealized_pnl,
        calc_status=item.calc_status,
        ledger_version=item.ledger_version,
        closed_at=iso(item.closed_at_ms),
    )
