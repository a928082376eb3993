"""The registry of execution modes, with what a test has of them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from foliostream.application.managers import KiteManager, Managers, PaperManager
from foliostream.application.order_watch import OrderWatch
from foliostream.domain.keys import PAPER, ZERODHA
from foliostream.ports import Clock, Instruments


def absent() -> Any:  # noqa: ANN401
    """A part that the test must not need."""
    raise AssertionError("this part of a mode is not there")


def managers(
    clock: Clock, instruments: Instruments, *, starting_cash: Decimal = Decimal(0), watch: OrderWatch | None = None
) -> Managers:
    """Both modes."""
    return {
        PAPER: PaperManager(clock, instruments, starting_cash, lambda: watch or absent(), absent),
        ZERODHA: KiteManager(absent, absent, absent),
    }
