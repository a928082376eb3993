"""Daily closes in memory."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from decimal import Decimal

from foliostream.domain import closes as daily
from foliostream.domain.closes import RECENT_CLOSES, Closes


class FakeCloses:
    """Implements ``ports.PriceHistory``."""

    def __init__(self) -> None:
        self._kept: dict[str, Closes] = {}

    def merge(self, symbol: str, closes: Mapping[str, Decimal]) -> Closes:
        kept = daily.merged(self._kept.get(symbol, {}), closes)
        if kept:
            self._kept[symbol] = kept
        return dict(kept)

    def all(self, symbol: str) -> Closes:
        return dict(self._kept.get(symbol, {}))

    def recent(self, symbols: Collection[str]) -> dict[str, Closes]:
        return {
            symbol: dict(list(self._kept[symbol].items())[-RECENT_CLOSES:])
            for symbol in symbols
            if symbol in self._kept
        }
