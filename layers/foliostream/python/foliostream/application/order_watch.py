"""New prices, told to whoever fills open orders."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass

from foliostream.errors import FoliostreamError
from foliostream.ports import OrderHints, OrderQueue

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OrderWatch:
    """Prices of symbols without open orders cost one look at the hints for all of them together."""

    hints: OrderHints
    queue: OrderQueue

    def tell(self, symbols: Collection[str]) -> int:
        """After the prices were stored; how many symbols have orders that are going to be looked at.

        Valuations must not wait for simulated orders, nor prices come again for them: what fails here is logged, and
        made good by the look at all open orders that ``fill_orders`` takes every minute.
        """
        try:
            hinted = self.hints.hinted(symbols) if symbols else set()
            if hinted:
                self.queue.send(hinted)
        except FoliostreamError as fault:
            log.warning("open orders of %d symbols wait for the look of the minute: %r", len(symbols), fault)
            return 0
        return len(hinted)
