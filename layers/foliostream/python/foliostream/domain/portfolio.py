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
    decode,
    encode,
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
    "encode_transaction",
    "price_symbols",
    "repeatable",
]

_transaction_encoder = msgspec.json.Encoder(decimal_format="string")
_transaction_decoder = msgspec.json.Decoder(Transaction)


def encode_transaction(transaction: Transaction) -> bytes:
    """As ``encode`` a portfolio."""
    return _transaction_encoder.encode(transaction)


def decode_transaction(raw: bytes | str) -> Transaction:
    """The inverse of ``encode_transaction``."""
    return _transaction_decoder.decode(raw)
