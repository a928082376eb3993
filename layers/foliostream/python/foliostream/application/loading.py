"""Reading many books of the ledger where one of them may be broken."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from foliostream.domain.portfolio import Portfolio
from foliostream.ports import Ledger


def readable(ledger: Ledger, portfolio_ids: Collection[str]) -> tuple[list[Portfolio], dict[str, str]]:
    """Those that exist, strongly consistent, and why others cannot be read; a broken book costs a second look at all
    that are asked for."""
    broken: dict[str, str] = {}
    try:
        return list(ledger.load(portfolio_ids).values()), broken
    except msgspec.MsgspecError:
        pass  # which one it is shows below
    found: list[Portfolio] = []
    for identifier in portfolio_ids:
        try:
            found += ledger.load([identifier]).values()
        except msgspec.MsgspecError as fault:
            broken[identifier] = f"the book cannot be read: {fault}"
    return found, broken
