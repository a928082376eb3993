"""Prices taken, whichever way they come in: stored, told to every execution mode, counted and measured."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from foliostream.application import managers
from foliostream.application.figures import count_prices
from foliostream.application.managers import Managers
from foliostream.application.marking import Marker
from foliostream.application.price_input import Parsed
from foliostream.application.update_prices import PriceReport, update_prices
from foliostream.domain.price import Refused
from foliostream.ports import Clock, Counters, Holders, Instruments, Prices

log = logging.getLogger(__name__)

Figures = Mapping[str, int | Sequence[int]]


def figures(report: PriceReport, orders_told: int, queue_ages_ms: Sequence[int]) -> Figures:
    """Of one call, as they are measured."""
    return {
        "SymbolsProcessed": report.accepted,
        "PricesRefused": len(report.rejected),
        "HoldersResolved": report.portfolios_marked,
        "BundlesSent": report.bundles_sent,
        "OrdersTold": orders_told,
        "QueueAge": list(queue_ages_ms),
    }


@dataclass(frozen=True)
class PriceTaking:
    """``measure`` gets the figures of every call, by name."""

    prices: Prices
    holders: Holders
    instruments: Instruments
    marker: Marker
    counters: Counters
    managers: Managers
    clock: Clock
    measure: Callable[[Figures], None]

    def __call__(
        self,
        parsed: Parsed,
        unreadable: Sequence[Refused] = (),
        queue_ages_ms: Sequence[int] = (),
        causes: Sequence[str] = (),
    ) -> PriceReport:
        """Take what could be read; refused is also what could not. ``unreadable``: messages that are none.
        ``queue_ages_ms`` and ``causes``: of the messages, for who looks at the way here. ``RetryableError`` as
        ``update_prices``."""
        report = update_prices(
            parsed.updates,
            prices=self.prices,
            holders=self.holders,
            instruments=self.instruments,
            marker=self.marker,
            clock=self.clock,
        )
        report.rejected[:0] = parsed.refused
        report.rejected.extend(unreadable)
        orders_told = managers.ticked(self.managers, report.symbols)
        count_prices(self.counters, report)
        self.measure(figures(report, orders_told, queue_ages_ms))
        self._log(report, causes)
        return report

    def _log(self, report: PriceReport, causes: Sequence[str]) -> None:
        told = {
            "accepted": report.accepted,
            "symbols": report.shown_symbols,
            "marked": report.portfolios_marked,
            "bundles": report.bundles_sent,
            "origins": self.marker.origins.ids,
            "causes": causes,
        }
        log.info("prices", extra=told)
