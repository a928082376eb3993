"""What is counted about the system in its hot store, for its status."""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

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
# Ages of valuations are counted by the first of these they do not exceed, those beyond by none: quantiles of any time
# between two readings follow from the counts, without keeping values. Few, so that a counter's item stays below 1 KB.
AGE_BOUNDS_MS: Final = (200, 300, 400, 600, 1_000, 1_500, 2_000, 3_000, 4_000, 6_000, 10_000, 30_000)


def count_prices(counters: Counters, report: PriceReport) -> None:
    """Prices taken, and portfolios marked for them."""
    _count(counters, {SYMBOLS_PROCESSED: report.accepted, USERS_AFFECTED: report.portfolios_marked})


def count_valued(counters: Counters, valued: Valued, broken: int, ages_ms: Mapping[str, Iterable[int]]) -> None:
    """Portfolios valued, those that failed, messages nobody can read, and by account type how old the prices' windows
    were."""
    sums = {PORTFOLIOS_VALUED: len(valued.written), ERRORS: len(valued.failed) + broken}
    for account_type, ages in ages_ms.items():
        for age_ms in ages:
            name = _age_name(account_type, bisect_left(AGE_BOUNDS_MS, age_ms))
            sums[name] = sums.get(name, 0) + 1
    _count(counters, sums)


def ages(sums: Mapping[str, int], account_type: str) -> list[int]:
    """Of the sums, how many valuations each of the bounds had, and how many were beyond the last."""
    return [sums.get(_age_name(account_type, place), 0) for place in range(len(AGE_BOUNDS_MS) + 1)]


def _age_name(account_type: str, place: int) -> str:
    return f"age_{account_type}_{AGE_BOUNDS_MS[place] if place < len(AGE_BOUNDS_MS) else 'more'}"


def _count(counters: Counters, figures: Mapping[str, int]) -> None:
    """After the work, which is not done again because it was not counted."""
    try:
        counters.count(figures)
    except RetryableError as fault:
        log.warning("not counted: %s: %s", dict(figures), fault.message)
