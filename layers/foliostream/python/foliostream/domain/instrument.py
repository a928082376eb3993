"""What may be held and priced."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from msgspec import Struct

from foliostream.domain import money

Kind = Literal["stock", "forex", "cfd"]


class Instrument(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """An instrument of the registry; ``max_age_seconds`` None means the deployment's default for stale prices."""

    symbol: str
    kind: Kind
    currency: str
    base_currency: str | None = None
    contract_size: Decimal | None = None
    price_decimals: int | None = None
    allow_zero: bool = False
    max_age_seconds: int | None = None
    isin: str | None = None

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
