"""What booking one entry needs beside the portfolio: instruments, rates, and what to do about a broken rule."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from msgspec import Struct

from foliostream.domain import money, rates
from foliostream.domain.entries import Entry, LotUse
from foliostream.domain.instrument import Instrument
from foliostream.domain.money import ONE, ZERO
from foliostream.domain.price import Price
from foliostream.errors import CallerError, RefusedError

# Only for the choice among crosses: which of them counts as fresh while a trade is booked.
FRESH_MS = 900_000


class Context(Struct):
    """Of one entry. ``lenient``: what has happened is booked whatever the rules say, and their codes are noted."""

    base_currency: str
    entry: Entry
    instruments: Mapping[str, Instrument]
    prices: Mapping[str, Price]
    now_ms: int
    lenient: bool = False
    review: list[str] = []
    used_rates: dict[str, Decimal] = {}
    lots: tuple[LotUse, ...] = ()
    realized: Decimal = ZERO

    def refuse(self, fault: CallerError) -> None:
        """Raise it, or note its code where the entry is booked all the same."""
        if not self.lenient:
            raise fault
        if fault.code not in self.review:
            self.review.append(fault.code)

    def instrument(self) -> Instrument:
        """The entry's; ``CallerError`` (``UNKNOWN_SYMBOL``) if it is not registered: nothing can be booked with it."""
        found = self.instruments.get(self.entry.instrument_id or "")
        if found is None:
            raise CallerError(f"no instrument {self.entry.instrument_id} is registered", code="UNKNOWN_SYMBOL")
        return found

    def rate(self, currency: str, amount: Decimal) -> Decimal:
        """Base per unit for booking: the entry's own rate, else the side of the rate now that is worse for ``amount``.

        One rate a currency and entry. ``RefusedError`` (``RATE_MISSING``) names the pairs that would help.
        """
        if currency == self.base_currency:
            return ONE
        if not amount:
            return self.used_rates.get(currency, ONE)  # nothing times anything
        if currency not in self.used_rates:
            self.used_rates[currency] = self._given(currency) or self._found(currency, amount)
        return self.used_rates[currency]

    def kept_rate(self, currency: str, amount: Decimal) -> Decimal | None:
        """The rate used, else the one that would have been; None if there is none, and for base itself."""
        if currency == self.base_currency:
            return None
        try:
            return self.rate(currency, amount or ONE)
        except RefusedError:
            return None

    def _given(self, currency: str) -> Decimal | None:
        entry = self.entry
        if entry.fee_currency == currency and entry.fee_rate is not None:
            return entry.fee_rate
        fee_only = entry.fee_currency == currency and entry.currency != currency and not self._quoted_in(currency)
        return None if fee_only else entry.fx_rate

    def _quoted_in(self, currency: str) -> bool:
        instrument = self.instruments.get(self.entry.instrument_id or "")
        return instrument is not None and instrument.currency == currency

    def _found(self, currency: str, amount: Decimal) -> Decimal:
        fresh_after = self.now_ms - FRESH_MS
        rate = rates.find(currency, self.base_currency, self.prices, lambda _, ts_ms: ts_ms >= fresh_after)
        if rate is None:
            names = rates.pairs(currency, self.base_currency)
            raise RefusedError(
                f"no rate from {currency} to {self.base_currency}: "
                f"give fx_rate, or a price of {names[0]} or {names[1]}",
                code="RATE_MISSING",
                details=[{"currency": currency, "base_currency": self.base_currency, "pairs": list(names)}],
            )
        return money.rounded(rate.worse(amount), money.BOOKED_RATE_DECIMALS)


def figure(value: Decimal) -> str:
    """An amount in a message."""
    return str(money.plain(value, money.QUANTITY_DECIMALS))
