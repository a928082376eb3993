"""What the REST API needs from the composition root."""

from __future__ import annotations

from datetime import tzinfo
from typing import Protocol

from foliostream.application.accept_fills import FillAccepter
from foliostream.application.amending import Amending
from foliostream.application.analytics import Analytics
from foliostream.application.managers import Managers
from foliostream.application.margin_check import Previewing
from foliostream.application.marking import Marker
from foliostream.application.ordering import Ordering
from foliostream.application.origins import Origins
from foliostream.application.portfolios import Portfolios
from foliostream.application.reconcile_on_demand import Reconciling
from foliostream.application.resetting import Resetting
from foliostream.application.status import Operations
from foliostream.application.taking_prices import PriceTaking
from foliostream.application.tickets import TicketOffice
from foliostream.ports import Clock, Holders, HotStore, Instruments, Ledger, PriceHistory
from foliostream.settings import Settings


class Parts(Protocol):
    """Read when a request needs them, never before: what one request does not use is not built for it."""

    @property
    def settings(self) -> Settings:
        """The environment."""

    @property
    def origins(self) -> Origins:
        """What set off the work of this invocation."""

    @property
    def clock(self) -> Clock:
        """The machine's clock."""

    @property
    def ledger(self) -> Ledger:
        """The books."""

    @property
    def instruments(self) -> Instruments:
        """The registry."""

    @property
    def price_history(self) -> PriceHistory:
        """Daily closes."""

    @property
    def market_zone(self) -> tzinfo:
        """Whose dates name the market's days."""

    @property
    def hot(self) -> HotStore:
        """Prices and snapshots."""

    @property
    def holders(self) -> Holders:
        """Dependents of symbols."""

    @property
    def marker(self) -> Marker:
        """Marks portfolios dirty."""

    @property
    def operations(self) -> Operations:
        """The system's status."""

    @property
    def fill_accepter(self) -> FillAccepter:
        """Judges fills and queues them."""

    @property
    def amending(self) -> Amending:
        """Changes of status and settings."""

    @property
    def resetting(self) -> Resetting:
        """Brings paper accounts back to their start."""

    @property
    def ordering(self) -> Ordering:
        """Simulated orders of paper accounts."""

    @property
    def previewing(self) -> Previewing:
        """Previews of orders."""

    @property
    def price_taking(self) -> PriceTaking:
        """Prices in."""

    @property
    def ticket_office(self) -> TicketOffice:
        """Tickets for the WebSocket."""

    @property
    def analytics(self) -> Analytics:
        """Risk and return of portfolios."""

    @property
    def portfolios(self) -> Portfolios:
        """The use cases of portfolios."""

    @property
    def managers(self) -> Managers:
        """What execution modes do on their own."""

    @property
    def reconciling(self) -> Reconciling:
        """Reconciliation on demand."""
