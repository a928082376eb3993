"""Execution modes: what is different for a portfolio whose orders a broker executes. Everything else is shared.

``Managers`` maps a mode to its manager, chosen by the portfolio; another broker is another entry. What a manager needs
is made when it is needed: every function that meets a mode loads this module, also those that must start quickly.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from foliostream.domain.keys import PAPER
from foliostream.errors import CallerError, FoliostreamError

if TYPE_CHECKING:
    from decimal import Decimal

    from foliostream.application.fill_orders import OrderFiller
    from foliostream.application.order_watch import OrderWatch
    from foliostream.application.postbacks import Postbacks
    from foliostream.application.reconcile import Reconciliation
    from foliostream.application.reconcile_schedule import ReconcileSchedule
    from foliostream.domain.fills import Fill
    from foliostream.domain.portfolio import Portfolio, Transaction
    from foliostream.domain.reconciliation import Report
    from foliostream.ports import Clock, Instruments

log = logging.getLogger(__name__)


class Manager(Protocol):
    """What a mode does in its own way."""

    def opened(self, fill: Fill) -> tuple[Portfolio, list[Transaction]]:
        """What a fill opens whose portfolio is not there; ``CallerError`` where it opens none."""

    def ticked(self, symbols: Collection[str]) -> int:
        """What new prices mean beside valuations; for how many symbols."""

    def recover(self) -> int:
        """After a start or an outage, and then from time to time: begin to make good what was missed; how much there is
        to look at."""

    def reconcile(self, portfolio: Portfolio, *, apply: bool, confirm_empty: bool) -> Report:
        """Bring missed fills in, then compare the books with whoever executes the orders."""

    def reported(self, body: str) -> int:
        """A report of an order from outside; how many fills were queued. ``UnauthorizedError`` without its proof."""


Managers = Mapping[str, Manager]


def mode(portfolio: Portfolio) -> str:
    """How a portfolio's orders are executed."""
    return portfolio.broker.name if portfolio.broker else PAPER


def ticked(managers: Managers, symbols: Collection[str]) -> int:
    """New prices, told to every mode; what fails in one stops neither the others nor the prices. The sum."""
    told = 0
    for name, manager in managers.items():
        try:
            told += manager.ticked(symbols)
        except FoliostreamError as fault:
            log.warning("%s was not told of %d prices: %r", name, len(symbols), fault)
    return told


@dataclass(frozen=True)
class PaperManager:
    """Orders are executed here: the books are the truth, and ticks fill open limit orders."""

    clock: Clock
    instruments: Instruments
    starting_cash: Decimal
    watch: Callable[[], OrderWatch]
    filler: Callable[[], OrderFiller]

    def opened(self, fill: Fill) -> tuple[Portfolio, list[Transaction]]:
        """With its starting cash, in the currency of its first trade."""
        from foliostream.domain import opening

        if not fill.new_owner:
            raise CallerError(f"no portfolio {fill.portfolio_id}", code="PORTFOLIO_NOT_FOUND")
        instrument = self.instruments.get([fill.instrument_id]).get(fill.instrument_id)
        if instrument is None:
            raise CallerError(f"no instrument {fill.instrument_id} is registered", code="UNKNOWN_SYMBOL")
        return opening.by_fill(fill, instrument.currency, self.starting_cash, self.clock.now_ms())

    def ticked(self, symbols: Collection[str]) -> int:
        """Open orders are looked at where there are some."""
        return self.watch().tell(symbols)

    def recover(self) -> int:
        """All symbols with open orders are looked at."""
        return self.filler().tell_all()

    def reconcile(self, portfolio: Portfolio, *, apply: bool, confirm_empty: bool) -> Report:  # noqa: ARG002
        """There is nobody to ask."""
        from foliostream.domain.reconciliation import Report

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

    postbacks: Callable[[], Postbacks]
    reconciliation: Callable[[], Reconciliation]
    schedule: Callable[[], ReconcileSchedule]

    def opened(self, fill: Fill) -> tuple[Portfolio, list[Transaction]]:
        """An account at a broker is opened by nobody's fill."""
        raise CallerError(f"no portfolio {fill.portfolio_id}", code="PORTFOLIO_NOT_FOUND")

    def ticked(self, symbols: Collection[str]) -> int:  # noqa: ARG002
        """The broker fills its orders itself."""
        return 0

    def recover(self) -> int:
        """The accounts that are due: missed fills of the day, then a comparison."""
        return self.schedule().start()

    def reconcile(self, portfolio: Portfolio, *, apply: bool, confirm_empty: bool) -> Report:
        """Of the whole account that the portfolio is on."""
        if portfolio.broker is None:
            raise ValueError(f"{portfolio.portfolio_id} has no broker")
        return self.reconciliation()(
            portfolio.broker.name, portfolio.broker.account, apply=apply, confirm_empty=confirm_empty
        )

    def reported(self, body: str) -> int:
        """A broker's postback as it came; the number of fills that were queued. ``UnauthorizedError`` if it is forged
        or of nobody here."""
        return self.postbacks()(body)
