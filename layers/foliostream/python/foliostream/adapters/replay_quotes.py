"""The packaged sample replayed as if it were today: real daily closes, one trading day a tick."""

from __future__ import annotations

from decimal import Decimal
from functools import cached_property
from importlib.resources import files
from typing import Final

SAMPLE: Final = "data/sp500_20_closes_2020_2022.csv"


class ReplayQuotes:
    """Implements ``ports.QuoteSource`` with the closes of 20 stocks from 2020 to 2022 (``data/ATTRIBUTION.txt``).

    Slots go through the days of the sample, round and round. Its first day serves only as a previous close, so that
    every update has a real one.

    What the sample does not have is said here, not made up: the closes are *adjusted* for later splits and dividends,
    and there are no opening prices. ``open`` is therefore the previous close, which makes ``daily_change`` (measured
    from the open) the change from close to close that most quote pages show. The values are exact as the file
    writes them, at most four decimals, never rounded here.
    """

    @cached_property
    def symbols(self) -> tuple[str, ...]:
        """The 20 symbols, sorted."""
        return tuple(self._rows[0][1:])

    @property
    def days(self) -> int:
        """How many days are replayed before they start again."""
        return len(self._rows) - 2

    def day(self, slot: int) -> str:
        """The date, ``YYYY-MM-DD``, that is replayed in this slot."""
        return self._rows[self._index(slot)][0]

    def quotes(self, slot: int, now_ms: int) -> list[dict[str, object]]:
        """An update for every symbol: ``last`` is the day's close, ``ts`` is now."""
        index = self._index(slot)
        closes, before = (map(Decimal, self._rows[row][1:]) for row in (index, index - 1))
        return [
            {"symbol": symbol, "last": close, "open": previous, "previous_close": previous, "ts": now_ms}
            for symbol, close, previous in zip(self.symbols, closes, before, strict=True)
        ]

    def _index(self, slot: int) -> int:
        return 2 + slot % self.days

    @property
    def lines(self) -> list[str]:
        """The file, a CSV: header, then a line a day."""
        return files("foliostream").joinpath(SAMPLE).read_text(encoding="ascii").splitlines()

    @cached_property
    def _rows(self) -> list[list[str]]:
        """Numbers stay text until a tick needs them."""
        return [line.split(",") for line in self.lines]
