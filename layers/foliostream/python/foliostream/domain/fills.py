"""Fills: what a broker or a simulator says was traded, and the entry it becomes in the books."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Literal

from msgspec import Struct

from foliostream.domain import keys, money
from foliostream.domain.instrument import Instrument
from foliostream.domain.money import ZERO
from foliostream.domain.portfolio import Entry, OrderReference
from foliostream.errors import CallerError

Side = Literal["BUY", "SELL"]
# An execution mode names the portfolio of a strategy: paper_momentum, zerodha_momentum.
EXECUTION_MODES = (keys.PAPER, keys.ZERODHA)
_TRANSACTION_PREFIX = "fill:"
# What a whole id, and a name of the broker's, must match, here and in the description of the API. With its prefix an id
# is a transaction's.
FILL_ID = r"[A-Za-z0-9_.:|-]{1,123}"
# An execution mode and a line are before it in the portfolio id that it names.
STRATEGY_ID = r"[A-Za-z0-9_.-]{0,58}"
TEXT = r"[^\x00-\x1f\x7f]{1,128}"
# What has happened may be finer than what a caller may ask for; the books note it (definitions 5).
_DECIMALS = 12
_FILL_ID = re.compile(FILL_ID)
_TEXT = re.compile(TEXT)


class Fill(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An accepted fill, as it waits in the queue. ``quantity`` > 0, the ``side`` gives the direction; ``owner`` is
    named by the fill itself, ``new_owner`` owns a portfolio that this fill creates ("": nobody, it creates none).
    ``order_id``, ``tag``, ``exchange`` and ``product`` are the broker's names for it, kept as they came. ``live``: of
    a live account, and in its queue: real money waits for no simulation's fills."""

    fill_id: str
    portfolio_id: str
    instrument_id: str
    side: Side
    quantity: Decimal
    price: Decimal
    timestamp_ms: int
    fee: Decimal = ZERO
    fee_currency: str | None = None
    owner: str | None = None
    new_owner: str = ""
    order_id: str | None = None
    tag: str | None = None
    exchange: str | None = None
    product: str | None = None
    v: int = 1
    live: bool = False

    @property
    def transaction_id(self) -> str:
        """Under which it counts once, for ever."""
        return _TRANSACTION_PREFIX + self.fill_id

    @property
    def entry(self) -> Entry:
        """What is booked: it has happened, whether the rules of the account like it or not (definitions 5)."""
        return Entry(
            transaction_id=self.transaction_id,
            transaction_type=self.side,
            timestamp_ms=self.timestamp_ms,
            instrument_id=self.instrument_id,
            quantity=self.quantity if self.side == "BUY" else -self.quantity,
            price=self.price,
            fee=self.fee,
            fee_currency=self.fee_currency,
            reported=True,
            order=self._order,
        )

    @property
    def _order(self) -> OrderReference | None:
        order = OrderReference(self.order_id, self.tag, self.exchange, self.product)
        return None if order == OrderReference() else order


def is_of_fill(transaction_id: str) -> bool:
    """Whether the id is one that a fill is booked under: nobody else may take it, or the fill would be a conflict."""
    return transaction_id.startswith(_TRANSACTION_PREFIX)


def mode_of(portfolio_id: str) -> str:
    """The execution mode that the id of a strategy's portfolio names; "" for any other id."""
    return next((mode for mode in EXECUTION_MODES if portfolio_id.startswith(f"{mode}_")), "")


def may_create(portfolio_id: str) -> bool:
    """Whether a fill creates the portfolio where there is none: paper money only."""
    return mode_of(portfolio_id) == EXECUTION_MODES[0]


def portfolio_of(execution_mode: str, strategy_id: str) -> str:
    """``paper_momentum``; ``CallerError`` for a mode that is not known."""
    if execution_mode not in EXECUTION_MODES:
        raise CallerError(
            f"execution_mode must be one of {', '.join(EXECUTION_MODES)}, is {execution_mode[:40]!r}",
            code="UNKNOWN_EXECUTION_MODE",
        )
    return keys.portfolio_id(f"{execution_mode}_{strategy_id}")


def fill_id(raw: str) -> str:
    """The id itself; raises ``CallerError`` where it is empty, too long or has other characters."""
    if not _FILL_ID.fullmatch(raw):
        raise CallerError(f"fill_id must match {FILL_ID}")
    return raw


def text(name: str, raw: str) -> str:
    """A name that the broker gave; raises ``CallerError`` where it is empty, too long or has control characters."""
    if not _TEXT.fullmatch(raw):
        raise CallerError(f"{name} has 1 to 128 characters and no control characters")
    return raw


def checked(fill: Fill, instrument: Instrument, currency: str | None) -> Fill:
    """The fill, if books can be kept with it; ``CallerError`` names the field. ``currency``: the one it states."""
    money.checked("quantity", fill.quantity, _DECIMALS, zero=False)
    money.checked("fill_price", fill.price, _DECIMALS)
    money.checked("fee", fill.fee, _DECIMALS)
    if fill.fee_currency is not None:
        keys.currency(fill.fee_currency)
    if currency is not None and currency != instrument.currency:
        raise CallerError(
            f"{instrument.symbol} is traded in {instrument.currency}, the fill says {currency[:40]}",
            code="CURRENCY_MISMATCH",
        )
    return fill
