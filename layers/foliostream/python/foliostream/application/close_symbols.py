"""The close of the day of instruments: the last price of each goes into its history."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import tzinfo

from foliostream.domain import closes
from foliostream.errors import FoliostreamError, RetryableError
from foliostream.ports import Each, Instruments, PriceHistory, Prices


@dataclass(frozen=True)
class SymbolClosing:
    """``zone``: the market's; ``each`` works over several symbols at a time."""

    prices: Prices
    instruments: Instruments
    price_history: PriceHistory
    zone: tzinfo
    each: Each

    def close(self, day: str, bucket: int) -> int:
        """Keep the day's closes of all instruments of a bucket; how many had one. What has not traded on that day, or
        has on a later one, has none. Repeating it changes nothing; ``RetryableError`` after all others are done."""
        instruments = {item.symbol: item for item in self.instruments.walk(bucket)}
        prices = self.prices.get(instruments) if instruments else {}
        found = {
            symbol: close
            for symbol, item in instruments.items()
            if (close := closes.of_price(prices.get(symbol), item, day, self.zone)) is not None
        }

        def keep(symbol: str) -> str | None:
            try:
                self.price_history.merge(symbol, {day: found[symbol]})
            except FoliostreamError as fault:
                return f"{symbol}: {fault}"
            return None

        failed = [reason for reason in self.each(keep, found) if reason is not None]
        if failed:
            raise RetryableError(f"closes not kept: {'; '.join(failed)}")
        return len(found)
