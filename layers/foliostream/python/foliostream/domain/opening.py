"""Portfolios that are opened by what happens in them."""

from __future__ import annotations

from decimal import Decimal

from foliostream.domain import portfolio
from foliostream.domain.fills import Fill
from foliostream.domain.portfolio import Entry, Portfolio, Transaction


def by_fill(fill: Fill, currency: str, starting_cash: Decimal, now_ms: int) -> tuple[Portfolio, list[Transaction]]:
    """A paper portfolio of the fill's new owner with its starting cash, before the fill itself."""
    empty = Portfolio(
        portfolio_id=fill.portfolio_id,
        portfolio_name=fill.portfolio_id,
        owner=fill.new_owner,
        account_type="paper",
        account_kind="cash",
        base_currency=currency,
        cost_basis="average",
        created_at_ms=now_ms,
        updated_at_ms=now_ms,
        version=0,
        allow_short=True,
        cash={currency: Decimal(0)},
    )
    deposit = Entry("initial_cash", "DEPOSIT", now_ms, amount=starting_cash, currency=currency)
    return portfolio.apply(empty, [deposit] if starting_cash else [], {}, now_ms)
