"""What may be held and priced."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from foliostream.domain import keys, money, trading_hours
from foliostream.domain.money import ONE
from foliostream.errors import CallerError

Kind = Literal["stock", "forex", "cfd"]
SwapMode = Literal["points", "currency", "interest"]
Weekday = Literal["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
# A month: whatever is older is no price of today.
MAX_AGE_SECONDS = 30 * 86_400
# Of one instrument; the newest price of a symbol is older than the last one or two at most.
MAX_SPLITS = 20
MAX_TIERS = 20
MARGIN_RATE_DECIMALS = 8


class Split(Struct, frozen=True, array_like=True):
    """Prices older than ``effective_ms`` are worth ``new``/``old`` times too much: they are divided by it."""

    effective_ms: int
    new: Decimal
    old: Decimal


class MarginTier(Struct, frozen=True):
    """The part of a position's notional (in the portfolio's base currency) from ``notional_from`` up to the next
    tier's needs ``margin_rate`` of itself as margin: tiers are marginal, like those of an income tax."""

    notional_from: Decimal
    margin_rate: Decimal


class Swap(Struct, frozen=True):
    """What holding a position over night brings (or, negative, costs), ``long`` and ``short``.

    ``points``: points of the price (10^-``price_decimals``) a unit and night. ``currency``: an amount of the
    instrument's currency a lot and night. ``interest``: percent a year of the position's value, over 360 days.
    ``triple_day``: the night that counts three times because the weekend's do not count; without one every night of
    the week counts once.
    """

    long: Decimal
    short: Decimal
    mode: SwapMode
    triple_day: Weekday | None = None


class Instrument(Struct, frozen=True, omit_defaults=True):
    """An instrument of the registry; ``max_age_seconds`` None means the deployment's default for stale prices.
    ``token`` is the broker's number for it, by which fills may name it. ``margin_rate`` or ``margin_tiers`` say what
    margin it needs at least, whatever the portfolio's leverage; ``lot_step`` is the smallest quantity it is traded in;
    ``hours`` is a text of ``trading_hours``, None: always open. ``splits``: oldest first; they divide older prices for
    every holder, what they do to a portfolio's quantity is booked there (SPLIT).

    What is stored may have fields of the next release, which are left out on reading: while it is tried on a part of
    the traffic, both releases read what the other has written."""

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
    margin_rate: Decimal | None = None
    margin_tiers: tuple[MarginTier, ...] = ()
    lot_step: Decimal | None = None
    hours: str | None = None
    swap: Swap | None = None

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

    @property
    def limits_age(self) -> bool:
        """Whether it says itself when a price of it is stale."""
        return self.max_age_seconds is not None or self.hours is not None

    @property
    def has_margin_rate(self) -> bool:
        """Whether it says itself what margin it needs."""
        return self.margin_rate is not None or bool(self.margin_tiers)


def expires_at_ms(instrument: Instrument | None, ts_ms: int, stale_after_ms: int) -> int:
    """From when on a price of ``ts_ms`` is stale: its age counts within trading hours only (definitions 13).
    ``stale_after_ms`` is the limit of instruments that name none."""
    if instrument is None:
        return ts_ms + stale_after_ms + 1
    max_age_ms = stale_after_ms if instrument.max_age_seconds is None else instrument.max_age_seconds * 1000
    return trading_hours.expires_at_ms(instrument.hours, ts_ms, max_age_ms)


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
    if instrument.lot_step is not None:
        money.checked("lot_step", instrument.lot_step, money.QUANTITY_DECIMALS, zero=False)
    if instrument.hours is not None:
        trading_hours.parse(instrument.hours)
    _check_margin(instrument)
    _check_swap(instrument)
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


def _check_margin(instrument: Instrument) -> None:
    if instrument.margin_rate is not None:
        if instrument.margin_tiers:
            raise CallerError("an instrument has a margin_rate or margin_tiers, not both")
        _check_rate("margin_rate", instrument.margin_rate)
    if not instrument.margin_tiers:
        return
    if len(instrument.margin_tiers) > MAX_TIERS:
        raise CallerError(f"margin_tiers has at most {MAX_TIERS} tiers, not {len(instrument.margin_tiers)}")
    for number, tier in enumerate(instrument.margin_tiers):
        name = f"margin_tiers[{number}]"
        money.checked(f"{name}.notional_from", tier.notional_from, money.QUANTITY_DECIMALS)
        _check_rate(f"{name}.margin_rate", tier.margin_rate)
    if instrument.margin_tiers[0].notional_from:
        raise CallerError("the first of margin_tiers begins at notional_from 0")
    if any(upper.notional_from <= lower.notional_from for lower, upper in pairwise(instrument.margin_tiers)):
        raise CallerError("margin_tiers are in the order of notional_from, each above the one before")


def _check_rate(name: str, rate: Decimal) -> None:
    money.checked(name, rate, MARGIN_RATE_DECIMALS, zero=False)
    if rate > ONE:
        raise CallerError(f"{name} is above 0 and at most 1 (1 is the whole value), is {rate}")


def _check_swap(instrument: Instrument) -> None:
    swap = instrument.swap
    if swap is None:
        return
    for name, value in (("swap.long", swap.long), ("swap.short", swap.short)):
        money.checked(name, value, money.QUANTITY_DECIMALS, signed=True)
    if swap.mode == "points" and instrument.price_decimals is None:
        raise CallerError("a swap in points needs price_decimals: they say what a point is")
