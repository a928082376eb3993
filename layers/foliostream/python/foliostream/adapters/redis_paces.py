"""Paces in Redis: ``pace:{s17}:12345``, in the slot of the portfolio's shard."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TypeVar

from foliostream.adapters.redis_connection import Argument, RedisConnection, command, script
from foliostream.domain import pacing
from foliostream.domain.keys import shard_of
from foliostream.domain.pacing import Pace
from foliostream.ports import Paced

T = TypeVar("T")
# The server does nothing else during a command.
PACES_MAX = 500

# KEYS: one pace each. ARGV: before (empty: none) and after of each. Our own write, repeated after a lost answer, holds.
_SWAP = """
local answers = {}
for number = 1, #KEYS do
  local before, after = ARGV[2 * number - 1], ARGV[2 * number]
  local current = redis.call('GET', KEYS[number]) or ''
  if current == before then redis.call('SET', KEYS[number], after) end
  answers[number] = (current == before or current == after) and 1 or 0
end
return answers
"""


class RedisPaces:
    """The port ``Paces``."""

    def __init__(self, connection: RedisConnection) -> None:
        self._redis = connection

    def paces(self, portfolio_ids: Collection[str]) -> dict[str, Pace]:
        """One MGET per shard."""
        calls = list(self._parts((name, name) for name in dict.fromkeys(portfolio_ids)))
        answers = self._redis.call_all([command("MGET", *map(self._key, call)) for call in calls])
        return {
            name: pacing.decode(raw)
            for call, values in zip(calls, answers, strict=True)
            for name, raw in zip(call, values, strict=True)
            if raw is not None
        }

    def pace(self, changes: Sequence[Paced]) -> list[bool]:
        """One script call per shard and bounded part; answers in the order given."""
        calls = list(self._parts((change.portfolio_id, index) for index, change in enumerate(changes)))
        commands = []
        for call in calls:
            arguments: list[Argument] = []
            for index in call:
                before = changes[index].before
                arguments += (b"" if before is None else pacing.encode(before), pacing.encode(changes[index].after))
            commands.append(script(_SWAP, [self._key(changes[index].portfolio_id) for index in call], arguments))
        held = [False] * len(changes)
        for call, answer in zip(calls, self._redis.call_all(commands), strict=True):
            for index, stands in zip(call, answer, strict=True):
                held[index] = bool(stands)
        return held

    def _parts(self, items: Iterable[tuple[str, T]]) -> Iterable[list[T]]:
        """What goes in one command: of one shard, and bounded."""
        shards: dict[int, list[T]] = {}
        for portfolio_id, item in items:
            shards.setdefault(shard_of(portfolio_id, self._redis.shards), []).append(item)
        for part in shards.values():
            yield from (part[start : start + PACES_MAX] for start in range(0, len(part), PACES_MAX))

    def _key(self, portfolio_id: str) -> str:
        return f"pace:{{s{shard_of(portfolio_id, self._redis.shards)}}}:{portfolio_id}"
