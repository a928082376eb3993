"""The daily history of a portfolio: one row a day that was closed with every position priced (definitions 13, 25)."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import msgspec
from msgspec import Struct

from foliostream.domain import money
from foliostream.domain.money import ZERO
from foliostream.domain.portfolio import Portfolio
from foliostream.domain.valuation import CalcStatus, PortfolioState
from foliostream.errors import CallerError

MAX_DAYS = 366


class Day(Struct, frozen=True):
    """A closed day, amounts in base currency as the closing snapshot showed them.

    ``inflows`` and ``outflows`` (both >= 0; deposits, withdrawals and transfers in kind) are those since the row
    before, whichever day that is: a day that could not be priced has no row, and its flows are in the next one.
    ``inflows_total`` and ``outflows_total`` are unrounded sums since the portfolio began.
    """

    day: str
    closed_at_ms: int
    ledger_version: int
    calc_status: CalcStatus
    total_value: Decimal
    cash_balance: Decimal | None
    realized_pnl: Decimal
    unrealized_pnl: Decimal | None
    daily_change: Decimal | None
    daily_change_percent: Decimal | None
    daily_pnl: Decimal | None
    daily_missing: list[str]
    inflows: Decimal
    outflows: Decimal
    inflows_total: Decimal
    outflows_total: Decimal


def parse_day(raw: str, name: str = "day") -> str:
    """``2026-02-26`` itself; ``CallerError`` (``INVALID_DATE``) for anything else."""
    try:
        parsed = date.fromisoformat(raw)
    except ValueError:
        parsed = None
    if parsed is None or parsed.isoformat() != raw:
        raise CallerError(f"{name} must be a date such as 2026-02-26, is {raw[:20]!r}", code="INVALID_DATE")
    return raw


def check_range(first: str, last: str) -> None:
    """``CallerError`` unless the days are dates in order and at most ``MAX_DAYS`` apart."""
    days = (date.fromisoformat(parse_day(last, "to")) - date.fromisoformat(parse_day(first, "from"))).days + 1
    if days < 1:
        raise CallerError(f"from {first} is after to {last}", code="INVALID_RANGE")
    if days > MAX_DAYS:
        raise CallerError(
            f"{first} to {last} are {days} days, at most {MAX_DAYS} are answered at once",
            code="RANGE_TOO_LONG",
            details=[{"limit": MAX_DAYS, "value": days}],
        )


def row(portfolio: Portfolio, state: PortfolioState, previous: Day | None, day: str, now_ms: int) -> Day | None:
    """The row of a day out of the snapshot taken at its close; None where the snapshot is unpriced."""
    if state.calc_status == "unpriced" or state.total_value is None:
        return None
    base = portfolio.base_currency
    inflows = portfolio.inflows_total - (previous.inflows_total if previous else ZERO)
    outflows = portfolio.outflows_total - (previous.outflows_total if previous else ZERO)
    return Day(
        day=day,
        closed_at_ms=now_ms,
        ledger_version=portfolio.version,
        calc_status=state.calc_status,
        total_value=state.total_value,
        cash_balance=state.cash_balance,
        realized_pnl=state.realized_pnl,
        unrealized_pnl=state.unrealized_pnl,
        daily_change=state.daily_change,
        daily_change_percent=state.daily_change_percent,
        daily_pnl=state.daily_pnl,
        daily_missing=state.daily_missing,
        inflows=money.money(inflows, base),
        outflows=money.money(outflows, base),
        inflows_total=portfolio.inflows_total,
        outflows_total=portfolio.outflows_total,
    )


_encoder = msgspec.json.Encoder(decimal_format="string")
_decoder = msgspec.json.Decoder(Day)


def encode(item: Day) -> bytes:
    """JSON with every Decimal as a string."""
    return _encoder.encode(item)


def decode(raw: bytes | str) -> Day:
    """The inverse of ``encode``."""
    return _decoder.decode(raw)
