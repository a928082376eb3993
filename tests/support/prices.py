"""Prices taken as ``wiring.py`` has it, over the stores of a test."""

from __future__ import annotations

from foliostream import metrics
from foliostream.application.managers import Managers
from foliostream.application.marking import Marker
from foliostream.application.taking_prices import Figures, PriceTaking
from foliostream.ports import Clock, Instruments
from tests.fakes.hot_store import FakeHotStore


def price_taking(
    hot: FakeHotStore, instruments: Instruments, marker: Marker, managers: Managers, clock: Clock
) -> PriceTaking:
    """Measured as of the stack ``prod``."""

    def measure(figures: Figures) -> None:
        metrics.emit(clock.now_ms(), {"Stack": "prod"}, figures)

    return PriceTaking(hot, hot, instruments, marker, hot, managers, clock, measure)
