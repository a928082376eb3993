"""What may be held and priced."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from foliostream.domain import keys, money
from foliostream.errors import CallerError

Kind = Literal["stock", "forex", "cfd"]
# A month: whatever is older is no price of today.
MAX_AGE_SECONDS = 30 * 86_400
# Of one instrument; the newest price of a symbol is older than the last one or two at most.
MAX_SPLITS = 20


class Split(Struct, frozen=True, array_like=True):
    """Prices older than ``effective_ms`` are worth ``new``/``old`` times too much: they are divided by it."""

    effective_ms: int
    new: Decimal
    old: Decimal


class Instrument(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """An instrument of the registry; ``max_age_seconds`` None means the deployment's default for stale prices.
    ``token`` is the broker's number for it, by which fills may name it. ``splits``: oldest first; they divide older
    prices for every holder, what they do to a portfolio's quantity is booked there (SPLIT)."""

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
    splits: tuple[Split, ...] = ()

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
    """The instrument with its splits in order, if books and prices can be kept with it; ``CallerError`` names the
    field otherwise."""
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
    return replace(instrument, splits=_checked_splits(instrument))


def _checked_splits(instrument: Instrument) -> tuple[Split, ...]:
    """In the order of their times."""
    splits = sorted(instrument.splits, key=lambda split: split.effective_ms)
    if splits and instrument.kind == "forex":
        raise CallerError("a currency pair has no splits")
    if len(splits) > MAX_SPLITS:
        raise CallerError(f"an instrument has at most {MAX_SPLITS} splits, not {len(splits)}", code="TOO_MANY_SPLITS")
    if len({split.effective_ms for split in splits}) < len(splits):
        raise CallerError("two splits have the same effective_at")
    for split in splits:
        money.checked("ratio", split.new, money.QUANTITY_DECIMALS, zero=False)
        money.checked("ratio", split.old, money.QUANTITY_DECIMALS, zero=False)
    return tuple(splits)
