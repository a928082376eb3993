"""The liquidation queue in memory."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from foliostream.adapters.sqs_liquidations import encode
from foliostream.application.receiving import Received
from foliostream.domain.liquidation import Liquidation
from foliostream.errors import RetryableError


class FakeLiquidations:
    """Implements ``ports.Liquidations`` and swallows nothing; ``failing`` makes the next calls fail."""

    def __init__(self) -> None:
        self.failing = 0
        self._waiting: list[Received] = []
        self._numbers = count(1)

    def send(self, orders: Sequence[Liquidation]) -> None:
        if self.failing:
            self.failing -= 1
            raise RetryableError("the liquidation queue fails")
        self._waiting += [Received(f"m{next(self._numbers)}", encode(order), 1) for order in orders]

    def receive(self) -> list[Received]:
        """Everything that waits, which is then gone."""
        taken, self._waiting = self._waiting, []
        return taken
