"""Marking everybody whose value depends on symbols, for other reasons than a price."""

from __future__ import annotations

from collections.abc import Collection

from foliostream.application.marking import Marker
from foliostream.domain.keys import ACCOUNT_TYPES
from foliostream.ports import Holders


def mark_dependents(symbols: Collection[str], holders: Holders, marker: Marker) -> int:
    """How many portfolios were marked. Call it after what it is for is stored."""
    marked = 0
    for account_type in ACCOUNT_TYPES:
        window = marker.window(account_type)
        keys = {key for part in holders.holders(symbols, account_type) for key in part}
        marker.mark(account_type, keys, window, "bulk", symbols=sorted(symbols))
        marked += len(keys)
    return marked
