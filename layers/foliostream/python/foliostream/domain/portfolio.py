"""The portfolio aggregate: its parts under one name, and how they are stored."""

from __future__ import annotations

import msgspec

from foliostream.domain.account import (
    MAX_LOTS,
    MAX_NAME_LENGTH,
    MAX_POSITIONS,
    AccountKind,
    AccountType,
    BrokerAccount,
    CostBasis,
    Day,
    Lot,
    Portfolio,
    Position,
    Status,
    Totals,
)
from foliostream.domain.booking import FUTURE_ALLOWANCE_MS, apply, price_symbols, repeatable
from foliostream.domain.daily import close_day
from foliostream.domain.entries import Entry, LotUse, OrderReference, Transaction, TransactionType
from foliostream.domain.instrument import Split

__all__ = [
    "FUTURE_ALLOWANCE_MS",
    "MAX_LOTS",
    "MAX_NAME_LENGTH",
    "MAX_POSITIONS",
    "AccountKind",
    "AccountType",
    "BrokerAccount",
    "CostBasis",
    "Day",
    "Entry",
    "Lot",
    "LotUse",
    "OrderReference",
    "Portfolio",
    "Position",
    "Split",
    "Status",
    "Totals",
    "Transaction",
    "TransactionType",
    "apply",
    "close_day",
    "decode",
    "decode_transaction",
    "encode",
    "price_symbols",
    "repeatable",
]

_encoder = msgspec.json.Encoder(decimal_format="string")
_decoder = msgspec.json.Decoder(Portfolio)
_transaction_decoder = msgspec.json.Decoder(Transaction)


def encode(item: Portfolio | Transaction) -> bytes:
    """JSON with every Decimal as a string: lossless and readable in a table browser."""
    return _encoder.encode(item)


def decode(raw: bytes | str) -> Portfolio:
    """The inverse of ``encode`` for a portfolio; raises ``msgspec.ValidationError`` on anything else."""
    return _decoder.decode(raw)


def decode_transaction(raw: bytes | str) -> Transaction:
    """The inverse of ``encode`` for a transaction."""
    return _transaction_decoder.decode(raw)
