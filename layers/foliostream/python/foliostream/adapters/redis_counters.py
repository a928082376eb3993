"""The system's counters in Redis: a readable hash ``counters``."""

from __future__ import annotations

from collections.abc import Mapping

from foliostream.adapters.redis_connection import RedisConnection, command
from foliostream.ports import Clock, Counted

_KEY = "counters"
_SINCE = "since_ms"


class RedisCounters:
    """The port ``Counters``."""

    def __init__(self, connection: RedisConnection, clock: Clock) -> None:
        self._redis = connection
        self._clock = clock

    def count(self, figures: Mapping[str, int]) -> None:
        """Add to the sums."""
        added = [command("HINCRBY", _KEY, name, number) for name, number in figures.items() if number]
        if added:
            self._redis.call_all([command("HSETNX", _KEY, _SINCE, self._clock.now_ms()), *added])

    def counted(self) -> Counted:
        """The sums."""
        [answer] = self._redis.call_all([command("HGETALL", _KEY)])
        sums = {name.decode(): int(number) for name, number in answer.items()}
        return Counted(sums.pop(_SINCE, 0), sums)
