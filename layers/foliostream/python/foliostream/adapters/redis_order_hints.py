"""Symbols that may have open orders, in Redis: a set ``order_symbols``."""

from __future__ import annotations

from collections.abc import Collection

from foliostream.adapters.redis_connection import RedisConnection, command

_KEY = "order_symbols"


class RedisOrderHints:
    """The port ``OrderHints``."""

    def __init__(self, connection: RedisConnection) -> None:
        self._redis = connection

    def hinted(self, symbols: Collection[str]) -> set[str]:
        """One command, whatever their number."""
        asked = list(symbols)
        if not asked:
            return set()
        [members] = self._redis.call_all([command("SMISMEMBER", _KEY, *asked)])
        return {symbol for symbol, is_member in zip(asked, members, strict=True) if is_member}

    def hint(self, symbols: Collection[str]) -> None:
        """Add them."""
        if symbols:
            self._redis.call_all([command("SADD", _KEY, *symbols)])

    def unhint(self, symbols: Collection[str]) -> None:
        """Remove them."""
        if symbols:
            self._redis.call_all([command("SREM", _KEY, *symbols)])
