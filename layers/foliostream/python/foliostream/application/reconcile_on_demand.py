"""Reconciliation when the owner asks for it."""

from __future__ import annotations

from dataclasses import dataclass

from foliostream.application import managers
from foliostream.application.access import Caller, own_portfolio
from foliostream.application.managers import Managers
from foliostream.domain.reconciliation import Report
from foliostream.ports import Ledger


@dataclass(frozen=True)
class Reconciling:
    """The manager is chosen by the portfolio."""

    ledger: Ledger
    managers: Managers

    def __call__(self, caller: Caller, portfolio_id: str, *, apply: bool, confirm_empty: bool) -> Report:
        """``NotFoundError`` for a portfolio that is not the caller's."""
        portfolio = own_portfolio(caller, portfolio_id, self.ledger)
        return self.managers[managers.mode(portfolio)].reconcile(portfolio, apply=apply, confirm_empty=confirm_empty)
