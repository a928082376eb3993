"""What may be held and priced."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from msgspec import Struct

from foliostream.domain import keys, money
from foliostream.errors import CallerError

Kind = Literal["stock", "forex", "cfd"]
# A month: whatever is older is no price of today.
MAX_AGE_SECONDS = 30 * 86_400


class Instrument(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """An instrument of the registry; ``max_age_seconds`` None means the deployment's default for stale prices.
    ``token`` is the broker's number for it, by which fills may name it."""

    symbol: str
    kind: Kind
    currency: str
    base_currency: str | None = None
    contract_size: Decimal | None = None
    price_decimals: int | None = None
    allow_zero: bool = False
    max_age_seconds: int | None = None
    isin: str | None = None
    token: str | None = None

    @property
    def multiplier(self) -> Decimal:
        """Units of a quantity of one: the contract size, else 1 (definitions 19)."""
        return self.contract_size if self.contract_size is not None else money.ONE

    @property
    def price_places(self) -> int:
        """Decimals a price of it may have on the wire and in the books."""
        if self.price_decimals is not None:
            return self.price_decimals
        return money.FOREX_PRICE_DECIMALS if self.kind == "forex" else money.PRICE_DECIMALS


def checked(instrument: Instrument) -> Instrument:
    """The instrument, if books and prices can be kept with it; ``CallerError`` names the field otherwise."""
    keys.symbol(instrument.symbol)
    keys.currency(instrument.currency)
    if instrument.base_currency is not None:
        keys.currency(instrument.base_currency)
    if instrument.contract_size is not None:
        money.checked("contract_size", instrument.contract_size, money.QUANTITY_DECIMALS, zero=False)
    if instrument.price_decimals is not None and not 0 <= instrument.price_decimals <= money.FOREX_PRICE_DECIMALS:
        limit = money.FOREX_PRICE_DECIMALS
        raise CallerError(f"price_decimals must be from 0 to {limit}, is {instrument.price_decimals}")
    if instrument.max_age_seconds is not None and not 0 < instrument.max_age_seconds <= MAX_AGE_SECONDS:
        raise CallerError(f"max_age_seconds must be from 1 to {MAX_AGE_SECONDS}, is {instrument.max_age_seconds}")
    return instrument
