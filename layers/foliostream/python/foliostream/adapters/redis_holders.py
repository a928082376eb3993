"""Dependents in Redis: a set ``symbol_holders:AAPL:live`` of portfolio keys per symbol and account type."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from foliostream.adapters.redis_connection import RedisConnection, command
from foliostream.domain.keys import split_key

# Sets are read in parts, many sets at a time: at most 100 x 2,000 keys of about 70 bytes are in memory, a popular
# symbol never makes one giant reply, and a symbol with few holders costs no round trip of its own.
SYMBOLS_AT_ONCE = 100
KEYS_PER_PART = 2_000


class RedisHolders:
    """The ports ``Holders`` and ``Dependents``."""

    def __init__(self, connection: RedisConnection) -> None:
        self._redis = connection

    def holders(self, symbols: Collection[str], account_type: str) -> Iterator[Sequence[str]]:
        """Portfolio keys in parts. SSCAN gives every member that is in the set from its start to its end."""
        waiting = [(_key(symbol, account_type), 0) for symbol in dict.fromkeys(symbols)]
        while waiting:
            now, waiting = waiting[:SYMBOLS_AT_ONCE], waiting[SYMBOLS_AT_ONCE:]
            answers = self._redis.call_all(
                [command("SSCAN", key, cursor, "COUNT", KEYS_PER_PART) for key, cursor in now]
            )
            for (key, _), (cursor, members) in zip(now, answers, strict=True):
                if int(cursor):
                    waiting.append((key, int(cursor)))
                if members:
                    yield [member.decode() for member in members]

    def add(self, portfolio_key: str, symbols: Collection[str]) -> None:
        """Make it a dependent of the symbols."""
        account_type, _ = split_key(portfolio_key)
        self._redis.call_all([command("SADD", _key(symbol, account_type), portfolio_key) for symbol in symbols])

    def missing(self, needs: Mapping[str, Collection[str]]) -> dict[str, list[str]]:
        """Asked set by set, since every symbol has a slot of its own."""
        asked = [(key, symbol) for key, symbols in needs.items() for symbol in symbols]
        answers = self._redis.call_all(
            [command("SISMEMBER", _key(symbol, split_key(key)[0]), key) for key, symbol in asked]
        )
        found: dict[str, list[str]] = {}
        for (key, symbol), is_member in zip(asked, answers, strict=True):
            if not is_member:
                found.setdefault(key, []).append(symbol)
        return found

    def restore(self, portfolio_key: str, symbols: Collection[str]) -> None:
        """The same as ``add``."""
        self.add(portfolio_key, symbols)

    def remove(self, portfolio_key: str, symbols: Collection[str], ledger_version: int | None) -> bool:  # noqa: ARG002
        """Always: the ledger's version is not known here."""
        account_type, _ = split_key(portfolio_key)
        self._redis.call_all([command("SREM", _key(symbol, account_type), portfolio_key) for symbol in symbols])
        return True


def _key(symbol: str, account_type: str) -> str:
    return f"symbol_holders:{symbol}:{account_type}"
