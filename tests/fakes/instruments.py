"""The registry of instruments in memory."""

from __future__ import annotations

from collections.abc import Collection

from foliostream.domain.instrument import Instrument
from foliostream.domain.keys import stable_hash
from foliostream.ports import SYMBOL_BUCKETS


class FakeInstruments:
    """Implements ``ports.Instruments``; never older than it is."""

    def __init__(self, *instruments: Instrument) -> None:
        self._known = {instrument.symbol: instrument for instrument in instruments}

    def get(self, symbols: Collection[str]) -> dict[str, Instrument]:
        return {symbol: self._known[symbol] for symbol in symbols if symbol in self._known}

    def by_token(self, tokens: Collection[str]) -> dict[str, str]:
        return {item.token: item.symbol for item in self._known.values() if item.token in tokens and item.token}

    def walk(self, bucket: int) -> list[Instrument]:
        return [item for symbol, item in self._known.items() if stable_hash(symbol) % SYMBOL_BUCKETS == bucket]

    def put(self, instrument: Instrument) -> None:
        self._known.pop(instrument.symbol, None)
        self._known[instrument.symbol] = instrument
