"""Prices: what an update must be like, which of two is newer, and the mark of a position."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from foliostream.domain import money
from foliostream.domain.instrument import Instrument, Kind
from foliostream.errors import CallerError

FUTURE_ALLOWANCE_MS = 5_000

Refusal = Literal["STALE", "CROSSED", "INVALID", "UNKNOWN_SYMBOL"]


class PriceUpdate(Struct, frozen=True):
    """One update as it came in: ``ts_ms`` epoch milliseconds of the source, ``seq`` orders updates of one time."""

    symbol: str
    ts_ms: int
    seq: int = 0
    bid: Decimal | None = None
    ask: Decimal | None = None
    last: Decimal | None = None
    open: Decimal | None = None
    previous_close: Decimal | None = None

    @property
    def order(self) -> tuple[int, int]:
        """What newer means: (``ts``, ``seq``)."""
        return self.ts_ms, self.seq

    @property
    def has_quote(self) -> bool:
        """Whether it carries a side; bid and ask always replace together, a missing side with it."""
        return self.bid is not None or self.ask is not None


class Price(Struct, frozen=True, array_like=True):
    """The newest known price of a symbol. Quote and last keep an order each: they are judged apart. ``open_ts_ms`` and
    ``previous_close_ts_ms`` are the times of the updates that brought them: a split divides what is older.

    Snapshots keep prices by the place of their fields: new ones come last.
    """

    bid: Decimal | None = None
    ask: Decimal | None = None
    quote_ts_ms: int = 0
    quote_seq: int = 0
    last: Decimal | None = None
    last_ts_ms: int = 0
    last_seq: int = 0
    open: Decimal | None = None
    previous_close: Decimal | None = None
    open_ts_ms: int = 0
    previous_close_ts_ms: int = 0

    @property
    def open_at_ms(self) -> int:
        """How old the open is: prices stored before it had a time of its own have that of their newest part."""
        return self.open_ts_ms or max(self.quote_ts_ms, self.last_ts_ms)

    @property
    def previous_close_at_ms(self) -> int:
        """The same of the previous close."""
        return self.previous_close_ts_ms or max(self.quote_ts_ms, self.last_ts_ms)


class Refused(NamedTuple):
    """Why an update was not taken; goes to the caller as it is."""

    symbol: str
    code: Refusal
    message: str


class Mark(NamedTuple):
    """The price a position is valued at, and the time of that price."""

    value: Decimal
    ts_ms: int


def refusal(update: PriceUpdate, instrument: Instrument | None, now_ms: int) -> Refused | None:
    """None if the update may be stored, as far as itself and the clock tell."""
    if instrument is None:
        return Refused(update.symbol, "UNKNOWN_SYMBOL", f"no instrument {update.symbol} is registered")
    fault = _invalid(update, instrument, now_ms)
    if fault:
        return Refused(update.symbol, "INVALID", fault)
    if update.bid is not None and update.ask is not None and update.bid > update.ask:
        return Refused(update.symbol, "CROSSED", f"bid {update.bid} is above ask {update.ask}")
    return None


def _invalid(update: PriceUpdate, instrument: Instrument, now_ms: int) -> str | None:
    if not update.has_quote and update.last is None:
        return "an update needs bid, ask or last"
    if update.ts_ms > now_ms + FUTURE_ALLOWANCE_MS:
        return f"ts {update.ts_ms} is more than {FUTURE_ALLOWANCE_MS} ms ahead of {now_ms}"
    if update.ts_ms <= 0:
        return f"ts must be after 1970, is {update.ts_ms}"
    for name in ("bid", "ask", "last", "open", "previous_close"):
        value = getattr(update, name)
        if value is None:
            continue
        try:
            money.checked(name, value, instrument.price_places)
        except CallerError as fault:
            return fault.message
        if not value and name in {"bid", "ask", "last"} and not instrument.allow_zero:
            return f"{name} is 0 and {update.symbol} does not allow a price of zero"
    return None


def merge(stored: Price | None, update: PriceUpdate) -> Price | None:
    """The stored price after the update, or None when every part of it is strictly older than what is stored.

    An equal order is taken: the later arrival wins, and a redelivered price must mark its dependents again.
    Open and previous close stay until an update that is older than neither part brings others.
    """
    price = stored or Price()
    quote = update.has_quote and update.order >= (price.quote_ts_ms, price.quote_seq)
    last = update.last is not None and update.order >= (price.last_ts_ms, price.last_seq)
    if not quote and not last:
        return None
    if quote:
        price = replace(price, bid=update.bid, ask=update.ask, quote_ts_ms=update.ts_ms, quote_seq=update.seq)
    if last:
        price = replace(price, last=update.last, last_ts_ms=update.ts_ms, last_seq=update.seq)
    if update.order < max((price.quote_ts_ms, price.quote_seq), (price.last_ts_ms, price.last_seq)):
        return price
    if update.open is not None:
        price = replace(price, open=update.open, open_ts_ms=update.ts_ms)
    if update.previous_close is not None:
        price = replace(price, previous_close=update.previous_close, previous_close_ts_ms=update.ts_ms)
    return price


def mark(price: Price | None, kind: Kind = "stock", *, long: bool = True) -> Mark | None:
    """What a position is valued at (definitions 11); None is unpriced.

    A stock at last, else the middle of a whole quote; forex and CFD at the side the position would be closed at.
    """
    if price is None:
        return None
    if kind != "stock":
        side = price.bid if long else price.ask
        return None if side is None else Mark(side, price.quote_ts_ms)
    if price.last is not None:
        return Mark(price.last, price.last_ts_ms)
    if price.bid is not None and price.ask is not None:
        return Mark((price.bid + price.ask) / 2, price.quote_ts_ms)
    return None
