"""Names: portfolio ids, portfolio keys, symbols, currencies and the shard a name falls into."""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import blake2b

from foliostream.errors import CallerError

# Each name is looked at several times on its way through a batch: as many as a batch has, and the ones before it.
NAMES_REMEMBERED = 20_000
ACCOUNT_TYPES = ("live", "demo", "paper")
# Execution modes: orders are simulated here, or executed by the broker of this name.
PAPER = "paper"
ZERODHA = "zerodha"

CASH_PREFIX = "CASH:"
# What a whole name must match, here and in the descriptions of the APIs.
PORTFOLIO_ID = r"[A-Za-z0-9_.-]{1,64}"
SYMBOL = rf"(?!{CASH_PREFIX})[A-Z0-9][A-Z0-9_.:&-]{{0,31}}"
CURRENCY = r"[A-Z]{3}"
CASH = CASH_PREFIX + CURRENCY
SYMBOL_OR_CASH = f"({SYMBOL}|{CASH})"
TRANSACTION_ID = r"[A-Za-z0-9_.:|-]{1,128}"

_PORTFOLIO_ID = re.compile(PORTFOLIO_ID)
_SYMBOL = re.compile(SYMBOL)
_CURRENCY = re.compile(CURRENCY)
_TRANSACTION_ID = re.compile(TRANSACTION_ID)


def portfolio_id(raw: str) -> str:
    """The id itself; raises ``CallerError`` where it is not of the contract's form."""
    if not _PORTFOLIO_ID.fullmatch(raw):
        raise CallerError(f"portfolio_id must match [A-Za-z0-9_.-]{{1,64}}, is {raw[:80]!r}")
    return raw


def symbol(raw: str) -> str:
    """The symbol itself; raises ``CallerError`` where it is malformed or reserved for cash."""
    if not _SYMBOL.fullmatch(raw):
        raise CallerError(f"symbol must match [A-Z0-9][A-Z0-9_.:&-]{{0,31}} and not start with CASH:, is {raw[:80]!r}")
    return raw


def currency(raw: str) -> str:
    """An ISO 4217 code of three letters; raises ``CallerError`` otherwise."""
    if not _CURRENCY.fullmatch(raw):
        raise CallerError(f"currency must be three capital letters, is {raw[:80]!r}")
    return raw


def transaction_id(raw: str) -> str:
    """The id itself; raises ``CallerError`` where it is empty, too long or has other characters."""
    if not _TRANSACTION_ID.fullmatch(raw):
        raise CallerError(f"transaction_id must match [A-Za-z0-9_.:|-]{{1,128}}, is {raw[:160]!r}")
    return raw


def portfolio_key(account_type: str, portfolio_id: str) -> str:
    """``live:12345``."""
    return f"{account_type}:{portfolio_id}"


@lru_cache(maxsize=NAMES_REMEMBERED)
def split_key(key: str) -> tuple[str, str]:
    """``live:12345`` -> ``("live", "12345")``; raises ``CallerError`` where it is no portfolio key."""
    account_type, _, identifier = key.partition(":")
    if account_type not in ACCOUNT_TYPES or not _PORTFOLIO_ID.fullmatch(identifier):
        raise CallerError(f"a portfolio key is live|demo|paper:portfolio_id, is {key[:80]!r}")
    return account_type, identifier


def stable_hash(text: str, salt: bytes = b"") -> int:
    """64 bits that never change between processes, machines or releases (Python's own ``hash`` does)."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8, salt=salt).digest(), "big")


def shard_of(identifier: str, shards: int) -> int:
    """The shard of a portfolio id or connection id: the FIFO group and the slot of its keys."""
    return stable_hash(identifier) % shards
