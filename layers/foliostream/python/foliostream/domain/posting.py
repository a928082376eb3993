"""Amounts onto the totals: in their own currency and, at booked rates, in base (definitions 8 and 9)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from foliostream.domain import money
from foliostream.domain.account import NO_TOTALS, Portfolio
from foliostream.domain.money import ONE, ZERO

Kind = Literal["flows", "realized", "fees", "dividends", "swap", "conversions", "adjustments"]

# Both legs of a conversion are booked at one value in base, so that their sum is nothing.
_BASE_TOTALS: dict[str, str] = {
    "flows": "net_deposits",
    "realized": "realized_pnl",
    "fees": "fees_total",
    "dividends": "dividends_total",
    "swap": "swap_total",
    "adjustments": "adjustments_total",
}
_EXTERNAL = frozenset({"flows", "adjustments"})


class Line(Struct, frozen=True):
    """``native`` of ``currency``; ``base`` is the same at the booked rate."""

    kind: Kind
    currency: str
    native: Decimal
    base: Decimal


def in_base(native: Decimal, rate: Decimal) -> Decimal:
    """An amount at a booked rate: base itself as it is, other currencies rounded half even to ten decimals."""
    return native if rate is ONE else money.rounded(native * rate, money.COST_DECIMALS)


def post(portfolio: Portfolio, lines: Iterable[Line], cash: Mapping[str, Decimal], **changes: Any) -> Portfolio:  # noqa: ANN401
    """The portfolio with the lines on its totals, ``cash`` added by currency, and other fields replaced."""
    totals = portfolio.totals.copy() or {portfolio.base_currency: portfolio.totals_of(portfolio.base_currency)}
    fields: dict[str, Any] = changes
    for line in lines:
        if not line.native:
            continue
        kind, base = line.kind, line.base
        before = totals.get(line.currency, NO_TOTALS)
        totals[line.currency] = replace(before, **{kind: getattr(before, kind) + line.native})
        name = _BASE_TOTALS.get(kind)
        if name is not None:
            fields[name] = fields.get(name, getattr(portfolio, name)) + base
        if kind in _EXTERNAL:
            side, amount = ("inflows_total", base) if base > ZERO else ("outflows_total", -base)
            fields[side] = fields.get(side, getattr(portfolio, side)) + amount
    balances = portfolio.cash.copy()
    for currency, amount in cash.items():
        balances[currency] = balances.get(currency, ZERO) + amount
    return replace(portfolio, cash=balances, totals=totals, **fields)
