"""Execution modes: what is different for a portfolio whose orders a broker executes. Everything else is shared.

``managers`` maps a mode to its manager; another broker is another entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from foliostream.application.access import Caller, own_portfolio
from foliostream.application.broker_orders import BrokerOrders
from foliostream.application.reconcile import Reconciliation
from foliostream.domain import kite
from foliostream.domain.portfolio import Portfolio
from foliostream.domain.reconciliation import Report
from foliostream.errors import CallerError, UnauthorizedError
from foliostream.ports import Accounts, Broker, Clock, Ledger

PAPER = "paper"


class Manager(Protocol):
    """What a mode does in its own way."""

    def reconcile(self, portfolio: Portfolio, *, apply: bool, confirm_empty: bool) -> Report:
        """Bring missed fills in, then compare the books with whoever executes the orders."""

    def reported(self, body: str) -> int:
        """A report of an order from outside; how many fills were queued. ``UnauthorizedError`` without its proof."""


@dataclass(frozen=True)
class PaperManager:
    """Orders are executed here: the books are the truth."""

    clock: Clock

    def reconcile(self, portfolio: Portfolio, *, apply: bool, confirm_empty: bool) -> Report:  # noqa: ARG002
        """There is nobody to ask."""
        return Report(
            broker=PAPER,
            account=portfolio.portfolio_id,
            status="skipped",
            checked_at_ms=self.clock.now_ms(),
            code="NO_BROKER",
            reason="NO_BROKER: the orders of this portfolio are not executed by a broker",
        )

    def reported(self, body: str) -> int:  # noqa: ARG002
        """Nobody outside executes anything."""
        raise CallerError("paper orders are not reported from outside")


@dataclass(frozen=True)
class KiteManager:
    """Orders are executed by Zerodha."""

    accounts: Accounts
    broker: Broker
    orders: BrokerOrders
    reconciliation: Reconciliation

    def reconcile(self, portfolio: Portfolio, *, apply: bool, confirm_empty: bool) -> Report:
        """Of the whole account that the portfolio is on."""
        if portfolio.broker is None:
            raise ValueError(f"{portfolio.portfolio_id} has no broker")
        return self.reconciliation(
            portfolio.broker.name, portfolio.broker.account, apply=apply, confirm_empty=confirm_empty
        )

    def reported(self, body: str) -> int:
        """A postback. An account that is not ours is refused like a wrong checksum: nothing is told apart."""
        account = kite.postback_account(body)
        members = self.accounts.members(kite.BROKER, account) if kite.is_account(account) else []
        if not members:
            raise UnauthorizedError("the checksum is wrong")
        order = self.broker.reported(account, body)
        return self.orders.take(kite.BROKER, account, [order], members).queued


@dataclass(frozen=True)
class Reconciling:
    """Reconciliation on demand: the manager is chosen by the portfolio."""

    ledger: Ledger
    managers: Mapping[str, Manager]

    def __call__(self, caller: Caller, portfolio_id: str, *, apply: bool, confirm_empty: bool) -> Report:
        """``NotFoundError`` for a portfolio that is not the caller's."""
        portfolio = own_portfolio(caller, portfolio_id, self.ledger)
        mode = portfolio.broker.name if portfolio.broker else PAPER
        return self.managers[mode].reconcile(portfolio, apply=apply, confirm_empty=confirm_empty)
