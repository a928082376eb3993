"""What is asked of the books (``Entry``) and what they keep of it (``Transaction``)."""

from __future__ import annotations

from decimal import Decimal
from hashlib import blake2b
from typing import Literal

from msgspec import Struct

from foliostream.domain import money
from foliostream.domain.money import ZERO

TransactionType = Literal[
    "BUY", "SELL", "DEPOSIT", "WITHDRAWAL", "DIVIDEND", "FEE", "SPLIT", "SWAP", "FX", "ADJUSTMENT"
]


class OrderReference(Struct, frozen=True, omit_defaults=True):
    """The broker's names for an order; information only, no part of an entry's digest."""

    order_id: str | None = None
    tag: str | None = None
    exchange: str | None = None
    product: str | None = None


class Entry(Struct, frozen=True):
    """One line of an update. ``quantity`` is signed (+ buy, - sell).

    ``amount``: of DEPOSIT, WITHDRAWAL and FX > 0 (FX: what is given up of ``currency``, ``amount * rate`` of
    ``to_currency`` is received); of DIVIDEND, SWAP and ADJUSTMENT what cash gains, of FEE what it costs, signed.
    ``fx_rate``: base per unit of the entry's currency; ``fee_rate`` the same of ``fee_currency``. ``reported``: the
    broker says it has happened, so it is booked whatever the limits are. ``in_kind``: an ADJUSTMENT of a quantity at
    ``price`` that moves no cash.
    """

    transaction_id: str
    transaction_type: TransactionType
    timestamp_ms: int
    instrument_id: str | None = None
    quantity: Decimal = ZERO
    price: Decimal = ZERO
    fee: Decimal = ZERO
    amount: Decimal = ZERO
    currency: str | None = None
    fx_rate: Decimal | None = None
    to_currency: str | None = None
    rate: Decimal | None = None
    ratio: tuple[Decimal, Decimal] | None = None
    cash_price: Decimal | None = None
    reason: str | None = None
    fee_currency: str | None = None
    fee_rate: Decimal | None = None
    reported: bool = False
    in_kind: bool = False
    order: OrderReference | None = None

    @property
    def digest(self) -> str:
        """Tells a repeat of this entry from another one under the same id: the amounts, however they were written."""
        parts = (self.transaction_type, self.instrument_id, self.currency, self.timestamp_ms)
        amounts = (_written(value) for value in (self.quantity, self.price, self.fee, self.amount))
        return blake2b("|".join((*map(str, parts), *amounts, *self._others)).encode(), digest_size=16).hexdigest()

    @property
    def _others(self) -> list[str]:
        """What an entry may carry beyond the first fields: named, so that leaving one out changes no digest."""
        amounts = {
            "fx_rate": self.fx_rate,
            "rate": self.rate,
            "cash_price": self.cash_price,
            "fee_rate": self.fee_rate,
            "of": self.ratio[0] if self.ratio else None,
            "for": self.ratio[1] if self.ratio else None,
        }
        texts = {
            "to": self.to_currency,
            "fee_currency": self.fee_currency,
            "reason": self.reason,
            "in_kind": "1" if self.in_kind else None,
        }
        texts |= {name: _written(value) for name, value in amounts.items() if value is not None}
        return [f"{name}={text}" for name, text in texts.items() if text is not None]


def _written(value: Decimal) -> str:
    return format(value.normalize(money.EXACT), "f")


class LotUse(Struct, frozen=True):
    """What a close took out of a FIFO lot: ``number`` counts the lots of a position from 1, ``cost`` is what the
    quantity had cost, in the instrument's currency."""

    number: int
    quantity: Decimal
    cost: Decimal
    opened_at_ms: int


class Transaction(Struct, frozen=True):
    """An entry as booked: what it did, and the ledger version it made.

    ``currency`` is that of the entry's amounts; ``cash_change`` what it did to the cash of that currency (of a margin
    account: to the balance, in base), ``cash_changes`` to every currency it touched. ``realized_pnl`` in base at
    ``fx_rate``, ``realized_native`` in ``currency``. ``sequence`` counts the portfolio's transactions from 1 without a
    gap. ``lots``: the FIFO lots consumed. ``needs_review``: codes of the rules a reported entry was booked against.
    """

    entry: Entry
    currency: str
    cash_change: Decimal
    realized_pnl: Decimal
    quantity_after: Decimal
    ledger_version: int
    booked_at_ms: int
    sequence: int = 0
    realized_native: Decimal = ZERO
    cash_changes: dict[str, Decimal] = {}
    fx_rate: Decimal | None = None
    fee_rate: Decimal | None = None
    lots: tuple[LotUse, ...] = ()
    needs_review: tuple[str, ...] = ()
