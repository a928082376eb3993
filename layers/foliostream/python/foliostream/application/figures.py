"""What is counted about the system in its hot store, for its status."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from foliostream.errors import RetryableError
from foliostream.ports import Counters

if TYPE_CHECKING:  # each function loads its own use case only
    from foliostream.application.update_prices import PriceReport
    from foliostream.application.valuing import Valued

log = logging.getLogger(__name__)

SYMBOLS_PROCESSED = "symbols_processed"
USERS_AFFECTED = "users_affected_total"
PORTFOLIOS_VALUED = "portfolios_valued"
ERRORS = "errors"


def count_prices(counters: Counters, report: PriceReport) -> None:
    """Prices taken, and portfolios marked for them."""
    _count(counters, {SYMBOLS_PROCESSED: report.accepted, USERS_AFFECTED: report.portfolios_marked})


def count_valued(counters: Counters, valued: Valued, broken: int) -> None:
    """Portfolios valued, those that failed, and messages nobody can read."""
    _count(counters, {PORTFOLIOS_VALUED: len(valued.written), ERRORS: len(valued.failed) + broken})


def _count(counters: Counters, figures: Mapping[str, int]) -> None:
    """After the work, which is not done again because it was not counted."""
    try:
        counters.count(figures)
    except RetryableError as fault:
        log.warning("not counted: %s: %s", dict(figures), fault.message)
